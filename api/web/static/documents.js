// Opens documents of a case for a purpose: as pictures on the page, as a copy that carries a visible
// mark, or as the original, whose SHA-256 is compared with the signed one. Each is an entry of the
// access log.

import { base64, hex, sha256 } from "./bytes.js";
import { draw } from "./pictures.js";
import { reason, text } from "./texts.js";

const WIDEST = 1600;
const part = (id) => document.getElementById(id);
let shown = null;

function say(message, isBad = false) {
  part("said").textContent = message;
  part("said").classList.toggle("bad", isBad);
  part("said").hidden = !message;
  if (isBad) part("said").scrollIntoView({ block: "nearest" });
}

/** What the node answers, or null: then the reason is said. */
async function opened(row, what, values = {}, method = "GET") {
  const purpose = part("open-purpose");
  if (!purpose.value) {
    say(text("docs.purpose_first"), true);
    purpose.focus();
    return null;
  }
  const basis = part("open-basis").value;
  const why = { purpose: purpose.value, ...(basis ? { basis } : {}) };
  say(text("docs.opening"));
  try {
    const path = `${row.dataset.path}/${what}`;
    const answer = await (method === "GET" ? fetch(`${path}?${new URLSearchParams({ ...why, ...values })}`)
      : fetch(path, {
        method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(why),
      }));
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    say(text("docs.not_opened", { reason: reason(problem, answer.status) }), true);
  } catch {
    say(text("js.offline"), true);
  }
  return null;
}

/** Save a blob as a file, by a link that nobody sees. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The SHA-256 that a marked copy was sent with, in base64. */
function sentDigest(answer) {
  return /^sha-256=:([^:]+):$/.exec(answer.headers.get("Repr-Digest") ?? "")?.[1];
}

async function download(row, copy) {
  const answer = await opened(row, "content", { copy });
  if (!answer) return;
  let blob;
  try {
    blob = await answer.blob();
  } catch {
    say(text("js.offline"), true);
    return;
  }
  const digest = await sha256(await blob.arrayBuffer());
  const isSound =
    copy === "original"
      ? hex(digest) === row.dataset.sha256
      : base64(digest) === sentDigest(answer);
  if (!isSound) {
    say(text("docs.broken"), true);
    return;
  }
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"));
  save(blob, named?.[1] ?? row.dataset.document);
  const done = copy === "original" ? "docs.opened" : "docs.copied";
  say(text(done, { title: row.dataset.title }));
}

async function preview(row, page) {
  const answer = await opened(row, "preview", { page });
  if (!answer) return;
  const pages = Number(answer.headers.get("Document-Pages")) || 1;
  const canvas = part("preview-picture");
  if (!(await draw(canvas, await answer.blob(), WIDEST))) {
    say(text("docs.no_picture"), true);
    return;
  }
  const said = Number(row.dataset.pages ?? pages);
  say(said === pages ? "" : text("docs.version_pages", { pages, said }), said !== pages);
  shown = { row, page, pages };
  part("preview-title").textContent = row.dataset.title;
  part("preview-page").textContent = text("docs.page_of", { page, pages });
  canvas.setAttribute("aria-label", text("docs.picture_of", { name: row.dataset.title }));
  for (const name of ["preview-before", "preview-after"]) part(name).hidden = pages === 1;
  part("preview-before").disabled = page <= 1;
  part("preview-after").disabled = page >= pages;
  part("preview").hidden = false;
  // A button that is disabled now has lost the focus. The list may be long: show the picture.
  if (!part("preview").contains(document.activeElement)) part("preview-title").focus();
}

/** Compare a redacted version with its original, as far as this node has both. */
async function compare(row) {
  const answer = await opened(row, "comparison", {}, "POST");
  if (!answer) return;
  const found = await answer.json();
  const { pages, pages_said: said, differing } = found;
  if (differing.length) say(text("docs.version_differs", { pages: differing.join(", ") }), true);
  else if (!found.agrees) say(text("docs.version_pages", { pages, said: said ?? "–" }), true);
  else say(text(found.is_compared ? "docs.version_agrees" : "docs.version_counted", { pages }));
}

for (const row of document.querySelectorAll("[data-document]")) {
  const original = row.querySelector('[data-does="original"]');
  row.dataset.path = new URL(original.formAction).pathname.replace(/\/content$/, "");
  for (const [does, copy] of [["original", "original"], ["download", "marked"]]) {
    row.querySelector(`[data-does="${does}"]`)?.addEventListener("click", (event) => {
      event.preventDefault();
      download(row, copy);
    });
  }
  const compares = row.querySelector('[data-does="compare"]');
  if (compares) {
    compares.hidden = false;
    compares.addEventListener("click", () => compare(row));
  }
  // The basis goes with the form only where one is chosen: a link without scripts has none.
  row.querySelector('[data-does="redact"]')?.addEventListener("click", () => {
    part("open-basis").name = part("open-basis").value ? "basis" : "";
  });
  const look = row.querySelector('[data-does="preview"]');
  if (!look) continue;
  look.hidden = false;
  look.addEventListener("click", () => preview(row, 1));
}
part("preview-before")?.addEventListener("click", () => preview(shown.row, shown.page - 1));
part("preview-after")?.addEventListener("click", () => preview(shown.row, shown.page + 1));
part("preview-close")?.addEventListener("click", () => {
  part("preview").hidden = true;
  shown.row.querySelector('[data-does="preview"]').focus();
  shown = null;
  // What was opened is not left where nobody looks.
  const canvas = part("preview-picture");
  canvas.width = 0;
  canvas.height = 0;
});
