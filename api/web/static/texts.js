// The texts that scripts show: the page brings them, in its language.

export function text(name, values = {}) {
  const found = document.getElementById("texts").content.querySelector(`[data-text="${name}"]`);
  const said = found?.textContent ?? name;
  return said.replace(/\{(\w+)\}/g, (place, key) => values[key] ?? place);
}

// The rules that end with a fact of the case, and the text that has the fact in it.
const OF_FACTS = [["requires-", "requires"], ["not-while-", "not_while"], ["safeguard-", "safeguard"]];

// The rules whose English detail names the part at fault: it follows the text in brackets.
const DETAILED = new Set(["amendment", "log-policy", "model", "protocol"]);

/** Details are for terminals too, which mark names with backticks: here these are quotation marks. */
const quoted = (detail) => detail?.replace(/`([^`]*)`/g, "“$1”");

/** The reason of a refusal, in the page's language where the page has a text for its rule. */
export function reason(problem, status) {
  const rule = String(problem.rule ?? "");
  const found = OF_FACTS.find(([start]) => rule.startsWith(start));
  if (found) {
    const fact = rule.slice(found[0].length);
    const said = text(`fact.${fact}`);
    return text(`why.${found[1]}`, { fact: said === `fact.${fact}` ? fact : said });
  }
  const name = `why.${rule}`;
  const said = text(name);
  if (said === name || said.includes("{")) return quoted(problem.detail) ?? problem.title ?? String(status);
  const exact = quoted(problem.detail_en ?? problem.detail);
  return DETAILED.has(rule) && exact ? `${said} (${exact})` : said;
}

/** Get the texts of refusals on a page that does not bring them. */
export async function loadReasons() {
  const place = document.getElementById("texts").content;
  if (place.querySelector('[data-text^="why."]')) return;
  const answer = await fetch("/texts/refusals").catch(() => null);
  if (!answer?.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  place.append(...found.querySelectorAll("[data-text]"));
}

/** Say something to who looks and to who listens. */
export function announce(message) {
  document.getElementById("announce").textContent = message;
}
