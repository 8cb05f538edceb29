// The files of a form: chosen, dropped or photographed, kept encrypted in this browser, sent to the
// node while the person goes on, and described for the action that will have them.

import * as drafts from "./drafts.js";
import * as kept from "./kept_files.js";
import { draw } from "./pictures.js";
import { signedInAgain } from "./session_over.js";
import { announce, reason, text } from "./texts.js";
import * as tus from "./upload.js";

const THUMB = 320;
const DESCRIBED = ["title", "document_kind", "language", "group"];
const REPEATED = ["document_kind", "language"];
const LONGEST_TITLE = 200;
/** Parts of a file that a copy without metadata keeps. */
const STAYING = ["attachments", "scripts", "signature"];
/** Characters of direction and format, which nobody can see: a title may not have them. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu; // joiners stand between letters

/** A size as the server's texts have it: in kilobytes if it is small. */
function sizeText(bytes, locale) {
  const [number, unit] = bytes < 100_000 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(number)} ${unit}`;
}

/**
 * Begin the files of a form. `place` is their element, `draft` the id of the form's draft, `most`
 * how many files the form takes, `changed` is called when a file was added, sent or removed.
 */
export function begin(place, { draft, caseId, most = Infinity, changed = () => {} }) {
  const id = kept.draftOf(draft);
  const { locale, maxBytes, caseLeft } = place.dataset;
  const part = (name) => place.querySelector(`[data-part="${name}"]`);
  let items = [];
  let saved = Promise.resolve();
  let restored = null;
  let owned = null;
  let isElsewhere = false;

  /**
   * Hold the files of this form for this tab. Gives whether it does: a second tab would write over
   * what the first one keeps, and would sign its files again.
   */
  function own() {
    owned ??= new Promise((resolve) => {
      navigator.locks.request(`files ${id}`, { ifAvailable: true }, (lock) => {
        if (!lock) owned = null; // asked for again the next time: the other tab may be closed then
        resolve(Boolean(lock));
        return lock && new Promise(() => {}); // until the page is left
      });
    });
    return owned;
  }

  const fieldOf = (item, name) => item.row.querySelector(`[data-describes="${name}"]`);
  const partOf = (item, name) => item.row.querySelector(`[data-part="${name}"]`);
  const size = (bytes) => sizeText(bytes, locale);

  /** One after another: what was kept last is what is there. */
  function save() {
    const files = items.map(({ row, ended, isNew, ...file }) => file);
    saved = saved.then(() => (files.length ? drafts.keep(id, { files }) : drafts.dropBelow(id)));
    return saved;
  }

  function say(item, message) {
    partOf(item, "said").textContent = message ? `· ${message}` : "";
  }

  function refuse(item, message) {
    const place = partOf(item, "refused");
    place.textContent = message;
    place.hidden = !message;
    partOf(item, "again").hidden = !message || item.isUseless;
    item.isRefused = Boolean(message);
    item.row.classList.toggle("useless", item.isRefused && Boolean(item.isUseless));
  }

  /** Say why files were not taken, each in a line of its own. */
  function troubled(messages) {
    part("trouble").replaceChildren(...messages.map((message) => {
      const line = document.createElement("p");
      line.textContent = message;
      return line;
    }));
    part("trouble").hidden = !messages.length;
  }

  const isReady = (item) => Boolean(item.upload && item.isLookedAt);
  /** The upload that an action names: the copy without metadata, unless they are kept on purpose. */
  const chosen = (item) => (item.copy && !item.keepsMetadata ? item.copy : item.upload);
  const isPicture = (upload) => upload.media_type.startsWith("image/");

  /** The row of a file, with controls that have ids of their own. */
  function show(item) {
    const row = part("item").content.firstElementChild.cloneNode(true);
    for (const one of row.querySelectorAll("[data-describes]")) {
      one.id = `${one.dataset.describes}-${item.id}`;
      row.querySelector(`[data-label="${one.dataset.describes}"]`).htmlFor = one.id;
      if (item[one.dataset.describes] !== undefined) one.value = item[one.dataset.describes];
      one.addEventListener("input", () => {
        item[one.dataset.describes] = one.value;
        one.setAttribute("aria-invalid", "false");
        if (!item.isRefused) refuse(item, "");
        tellReaders(item);
        save();
      });
    }
    item.row = row;
    partOf(item, "name").textContent = item.name;
    partOf(item, "size").textContent = size(item.size);
    partOf(item, "sent").setAttribute("aria-label", text("docs.progress", { name: item.name }));
    partOf(item, "again").addEventListener("click", () => start(item));
    const remove = partOf(item, "remove");
    remove.setAttribute("aria-label", text("docs.remove_name", { name: item.name }));
    remove.addEventListener("click", () => drop(item));
    partOf(item, "keep-metadata").addEventListener("change", (event) => {
      item.keepsMetadata = event.target.checked;
      tellMetadata(item);
      save();
      changed();
    });
    part("list").append(row);
    tellReaders(item);
  }

  function tellReaders(item) {
    const group = fieldOf(item, "group")?.selectedOptions[0];
    if (group) partOf(item, "readers").textContent = group.dataset.readers ?? "";
  }

  async function picture(item, blob) {
    const canvas = partOf(item, "picture");
    canvas.hidden = !(await draw(canvas, blob, THUMB));
    canvas.setAttribute("aria-label", text("docs.picture_of", { name: item.name }));
  }

  /** Say what the file tells besides what it shows, and what becomes of it. */
  function tellMetadata(item) {
    const { metadata, unread, copy, keepsMetadata } = item;
    const told = metadata ? toldBy(metadata) : [];
    const isAsked = Boolean(copy || (unread && isPicture(item.upload)));
    partOf(item, "metadata").hidden = !told.length && !isAsked;
    partOf(item, "metadata-said").textContent = unread
      ? text("docs.unread", { reason: unread }) : text("docs.tells");
    partOf(item, "metadata-list").replaceChildren(...told.map((line) => {
      const one = document.createElement("li");
      one.textContent = line;
      return one;
    }));
    partOf(item, "metadata-fate").textContent = !metadata || !told.length ? ""
      : text(!copy ? "docs.stays" : keepsMetadata ? "docs.kept" : "docs.removed");
    const box = partOf(item, "keep-metadata");
    box.checked = Boolean(keepsMetadata);
    box.parentElement.hidden = !isAsked;
    partOf(item, "keep-label").textContent = text(unread ? "docs.as_it_is" : "docs.keep_metadata");
  }

  const hasRemovable = ({ other, is_removable: _, ...rest }) =>
    other.some((part) => !STAYING.includes(part)) || Object.values(rest).some((value) => value !== null);

  function toldBy({ latitude, longitude, other, ...rest }) {
    const lines = [];
    if (latitude !== null && longitude !== null) {
      lines.push(text("docs.meta.place", {
        latitude: latitude.toFixed(4), longitude: longitude.toFixed(4),
      }));
    }
    for (const name of ["made_at", "camera", "serial_number", "author", "organisation", "title", "program"]) {
      const value = rest[name]?.replace(/^(\d{4}-\d\d-\d\d)T/, "$1 ");
      if (value) lines.push(text(`docs.meta.${name}`, { value }));
    }
    if (!lines.length && other.some((part) => !STAYING.includes(part))) {
      lines.push(text("docs.meta.other"));
    }
    if (other.includes("attachments") || other.includes("scripts")) {
      lines.push(text("docs.meta.staying"));
    }
    return lines;
  }

  /** Have the node look what the file tells, and make a copy of a photograph that tells nothing. */
  async function look(item, how) {
    const path = `${tus.uploadsOf(caseId)}/${item.upload.id}`;
    const asked = (what, options = {}) => tus.insist(
      async () => (await tus.ask(`${path}/${what}`, { ...options, signal: how.signal })), how,
    );
    try {
      item.metadata = await (await asked("metadata")).json();
      if (item.metadata.is_removable && hasRemovable(item.metadata)) {
        item.copy = await (await asked("without-metadata", { method: "POST" })).json();
      }
    } catch (error) {
      if (!(error instanceof tus.RefusedUpload)) throw error;
      if (error.problem.rule === "unknown-upload") throw error;
      // A file of which no pictures are made is not opened by the node: there is nothing to say.
      const { problem, status } = error;
      if (problem.rule !== "no-preview") item.unread = reason(problem, status);
    }
    if (partOf(item, "picture").hidden && item.metadata) {
      try {
        await picture(item, await (await asked("preview?page=1")).blob());
      } catch (error) {
        if (!(error instanceof tus.RefusedUpload)) throw error;
      }
    }
    item.isLookedAt = true;
    tellMetadata(item);
  }

  /** Keep a file that was chosen. Gives why it was not taken, or "". */
  async function take(file) {
    const name = file.name.replace(UNSEEN, "");
    if (items.length >= most) return text("docs.one_only");
    const added = items.filter((one) => one.isNew).reduce((sum, one) => sum + one.size, 0);
    const left = Number(caseLeft) - added; // what was begun before is in the node's count
    if (!file.size) return text("docs.empty", { name });
    if (file.size > Number(maxBytes)) {
      return text("docs.too_large", { name, size: size(file.size), most: size(Number(maxBytes)) });
    }
    if (file.size > left) {
      return text("docs.case_full", { name, left: size(Math.max(0, left)) });
    }
    let bytes;
    try {
      bytes = new Uint8Array(await file.arrayBuffer());
    } catch {
      return text("docs.unreadable", { name });
    }
    if (!kept.typeOf(bytes)) return text("docs.type", { name });
    let item;
    try {
      item = await kept.keep(id, name, bytes);
    } catch {
      return text("docs.no_room", { name });
    }
    if (items.some((one) => one.sha256 === item.sha256)) {
      await kept.drop(id, item.id);
      return text("docs.twice", { name });
    }
    const last = items.at(-1);
    item.title = /^(image|img|dsc|pxl)?[-_ ]?\d+/i.test(name)
      ? "" : [...name.replace(/\.[^.]{1,5}$/, "")].slice(0, LONGEST_TITLE).join("");
    for (const one of last ? REPEATED : []) item[one] = last[one];
    item.isNew = true;
    items.push(item);
    show(item);
    if (place.dataset.kind && !item.document_kind) {
      item.document_kind = place.dataset.kind;
      fieldOf(item, "document_kind").value = item.document_kind;
    }
    await save();
    await picture(item, new Blob([bytes]));
    changed();
    return "";
  }

  /** Keep every chosen file, then send them: none is lost if the page is left meanwhile. */
  async function takeAll(files) {
    troubled([]);
    if (!(await restore())) return;
    const before = new Set(items);
    const refusals = [];
    for (const file of files) {
      const refusal = await take(file);
      if (refusal) troubled([...new Set(refusals.concat(refusal))]);
      if (refusal) refusals.push(refusal);
    }
    for (const item of items.filter((one) => !before.has(one))) await start(item);
  }

  /** Show the files that are kept from before, once, and go on sending them. False in a second tab. */
  async function restore() {
    if (!(await own())) {
      isElsewhere = Boolean(await drafts.find(id));
      troubled([text("docs.other_tab")]);
      return false;
    }
    isElsewhere = false;
    restored ??= showKept();
    await restored;
    return true;
  }

  /** Show the node's picture of a file that was sent before, if it makes one. */
  async function preview(item) {
    if (!item.metadata) return;
    const answer = await tus.ask(`${tus.uploadsOf(caseId)}/${item.upload.id}/preview?page=1`).catch(() => null);
    if (answer) await picture(item, await answer.blob());
  }

  async function showKept() {
    const found = await drafts.find(id);
    for (const file of found?.files ?? []) {
      items.push(file);
      show(file);
      const content = await kept.whole(id, file);
      if (content) await picture(file, content);
      if (isReady(file)) {
        say(file, text("docs.sent"));
        tellMetadata(file);
        if (partOf(file, "picture").hidden) preview(file);
      } else {
        start(file);
      }
    }
    if (found) changed();
  }

  /** Send a file, and go on after interruptions until it is whole, refused or removed. */
  async function start(item) {
    item.ended = new AbortController();
    refuse(item, "");
    const bar = partOf(item, "sent");
    bar.max = item.size;
    bar.hidden = false;
    say(item, text("docs.sending"));
    const how = {
      signal: item.ended.signal,
      signIn: () => {
        say(item, text("docs.signed_out"));
        return signedInAgain();
      },
      waiting: (problem) => say(item, problem?.rule
        ? text("docs.waits_for_node", { reason: reason(problem, problem.status) })
        : text("docs.waits_for_line")),
      progress: (received) => {
        bar.value = received;
        say(item, text("docs.sent_so_far", { sent: size(received), size: size(item.size) }));
      },
    };
    try {
      if (!item.upload) {
        const rest = (offset) => kept.rest(id, item.id, offset);
        item.upload = await tus.send(caseId, item, rest, how);
        await save();
      }
      bar.hidden = true;
      say(item, text("docs.looking"));
      await look(item, how);
      say(item, text("docs.sent"));
      announce(text("docs.sent_name", { name: item.name }));
      await save();
      changed();
    } catch (error) {
      if (item.ended.signal.aborted) return;
      bar.hidden = true;
      say(item, "");
      if (!(error instanceof tus.RefusedUpload)) throw error;
      const { rule } = error.problem;
      if (rule === "unknown-upload") item.upload = null;
      item.isUseless = ["document-type", "document-too-large", "document-infected", "gone"].includes(rule);
      refuse(item, rule === "gone"
        ? text("docs.gone") : text("docs.refused", { reason: reason(error.problem, error.status) }));
      changed();
    }
  }

  /** Forget a file here, and its upload at the node. */
  async function drop(item) {
    item.ended?.abort();
    items = items.filter((one) => one !== item);
    const next = item.row.nextElementSibling ?? item.row.previousElementSibling;
    item.row.remove();
    (next?.querySelector("button:not([hidden])") ?? part("choose")).focus();
    await kept.drop(id, item.id);
    await save();
    for (const one of [item.upload, item.copy]) if (one) await tus.remove(caseId, one.id);
    changed();
  }

  part("choose").addEventListener("click", () => part("files").click());
  part("photograph").addEventListener("click", () => part("camera").click());
  for (const name of ["files", "camera"]) {
    part(name).addEventListener("change", async (event) => {
      const chosen = [...event.target.files];
      event.target.value = ""; // the same file can be chosen again after it was removed
      await takeAll(chosen);
    });
  }
  // A file that is dropped beside the area would otherwise take the place of the page.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
  }
  const area = part("drop");
  for (const kind of ["dragenter", "dragover"]) {
    area.addEventListener(kind, (event) => {
      event.preventDefault();
      area.classList.add("over");
    });
  }
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    takeAll([...event.dataTransfer.files]);
  });

  return {
    list: () => items,

    /** The files that are kept from before, with the time, or undefined. They are not shown. */
    find: () => drafts.find(id),

    restore,

    /** What is still to be done before signing, all of it: the words for it, and where. */
    missing() {
      const found = isElsewhere ? [{ message: text("docs.other_tab"), control: part("choose") }] : [];
      return found.concat(items.flatMap((item) => {
        const { name } = item;
        const remove = partOf(item, "remove");
        if (item.isRefused) return [{ message: text("docs.remove_first", { name }), control: remove }];
        const found = [];
        for (const one of DESCRIBED) {
          const field = fieldOf(item, one);
          const isBare = Boolean(field?.required && !field.value.trim());
          const isUnseen = one === "title" && field.value.search(UNSEEN) >= 0;
          field?.setAttribute("aria-invalid", String(isBare || isUnseen));
          const label = item.row.querySelector(`[data-label="${one}"]`)?.firstChild.textContent.trim();
          if (isBare) found.push({ message: text("docs.fill", { name, field: label }), control: field });
          if (isUnseen) found.push({ message: text("docs.unseen", { name, field: label }), control: field });
        }
        if (!isReady(item)) found.push({ message: text("docs.not_sent", { name }), control: remove });
        else if (item.unread && isPicture(item.upload) && !item.keepsMetadata) {
          found.push({ message: text("docs.decide_first", { name }), control: partOf(item, "keep-metadata") });
        }
        return found;
      }));
    },

    /** The document as an action signs it, and the group whose field has it ("" for the case). */
    described(item) {
      const { media_type, size: bytes, sha256 } = chosen(item);
      const { title, document_kind, language } = item;
      return {
        group: (place.dataset.group ?? item.group).replace(/^case$/, ""),
        document: {
          sha256, size: bytes, media_type, document_kind,
          ...(language ? { language } : {}),
          title: title.trim(),
        },
      };
    },

    /** The same in words, for the review: term and value. */
    said(item) {
      const { document } = this.described(item);
      const option = (name) => fieldOf(item, name)?.selectedOptions[0]?.textContent.trim() ?? "";
      const label = (name) =>
        item.row.querySelector(`[data-label="${name}"]`).firstChild.textContent.trim();
      return [
        [label("title"), document.title],
        [label("document_kind"), option("document_kind")],
        ...(document.language ? [[label("language"), option("language")]] : []),
        [text("docs.file"), `${item.name}, ${size(document.size)}`],
        ["SHA-256", document.sha256],
      ];
    },

    /** Say at a file why the node refused its action. */
    tell(item, message) {
      partOf(item, "refused").textContent = message;
      partOf(item, "refused").hidden = !message;
    },

    readers: (item) => fieldOf(item, "group")?.selectedOptions[0]?.dataset.readers ?? "",

    save,

    /** Send a file whose upload is gone from the node. */
    again(item) {
      Object.assign(item, { upload: null, copy: null, isLookedAt: false });
      return start(item);
    },

    /** Keep what was signed from being changed, or let it be changed again. */
    lock(item, isLocked) {
      for (const name of DESCRIBED) {
        const field = fieldOf(item, name);
        if (field) field.disabled = isLocked;
      }
      partOf(item, "remove").hidden = isLocked;
      partOf(item, "keep-metadata").disabled = isLocked;
    },

    /** Forget a file that an action has now. */
    async done(item) {
      items = items.filter((one) => one !== item);
      item.row.remove();
      await kept.drop(id, item.id);
      await save();
      const unused = chosen(item) === item.copy ? item.upload : item.copy;
      if (unused) await tus.remove(caseId, unused.id);
    },

    /** Forget every file, here and at the node. False if another tab has them. */
    async clear() {
      if (!(await own())) {
        troubled([text("docs.other_tab")]);
        return false;
      }
      const found = (await drafts.find(id))?.files ?? [];
      for (const item of items) item.ended?.abort();
      items = [];
      restored = null;
      part("list").replaceChildren();
      await saved;
      await drafts.dropBelow(id);
      for (const { upload, copy } of found) {
        for (const one of [upload, copy]) if (one) await tus.remove(caseId, one.id);
      }
      return true;
    },
  };
}
