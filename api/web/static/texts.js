// The texts that scripts show: the page brings them, in its language.

export function text(name, values = {}) {
  const found = document.getElementById("texts").content.querySelector(`[data-text="${name}"]`);
  const said = found?.textContent ?? name;
  return said.replace(/\{(\w+)\}/g, (place, key) => values[key] ?? place);
}

/** The reason of a refusal, in the page's language where the page has a text for its rule. */
export function reason(problem, status) {
  const name = `why.${problem.rule}`;
  const said = text(name);
  return said === name || said.includes("{") ? problem.detail ?? problem.title ?? String(status) : said;
}

/** Say something to who looks and to who listens. */
export function announce(message) {
  document.getElementById("announce").textContent = message;
}
