// The texts that scripts show: the page brings them, in its language.

export function text(name, values = {}) {
  const found = document.getElementById("texts").content.querySelector(`[data-text="${name}"]`);
  const said = found?.textContent ?? name;
  return said.replace(/\{(\w+)\}/g, (place, key) => values[key] ?? place);
}

/** Say something to who looks and to who listens. */
export function announce(message) {
  document.getElementById("announce").textContent = message;
}
