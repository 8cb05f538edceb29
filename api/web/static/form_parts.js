// The parts of a form that signs: its message of trouble, and the review that takes its place.

/** Show a message in its place and lead to it, or take it away. */
export function showTrouble(place, message) {
  place.textContent = message;
  place.hidden = !message;
  if (!message) return;
  place.focus({ preventScroll: true }); // the button that was pressed is gone or disabled
  place.scrollIntoView({ block: "center" });
}

/** Show either the form, or the review of what will be signed. */
export function showReview(form, review, title, reviewing) {
  form.hidden = reviewing;
  review.hidden = !reviewing;
  if (reviewing) title.focus();
}

/** A list of terms with what is said of each. `said` may be text or a node. */
export function definitions(rows) {
  const list = document.createElement("dl");
  for (const [term, said] of rows) {
    const [name, value] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = term;
    value.append(said);
    list.append(name, value);
  }
  return list;
}

/** An element with a text in it. */
export function element(name, content, className = "") {
  const made = document.createElement(name);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}
