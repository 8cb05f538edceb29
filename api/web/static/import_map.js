// Has the node read the head of a file with existing cases, shows what it guessed, and saves the map.
//
// Of a long CSV only the head leaves this browser. Nothing of the file is kept, here or there.

import { showTrouble } from "./form_parts.js";
import { announce, text } from "./texts.js";

const part = (id) => document.getElementById(id);
const form = part("import");
const most = Number(form.dataset.most);
const trouble = (message) => showTrouble(part("trouble"), message);

const suffixOf = (name) => (/\.[a-z]+$/i.exec(name)?.[0] ?? "").toLowerCase();
const isText = (suffix) => [".csv", ".txt", ".tsv"].includes(suffix);

/** The file's head, cut behind a line; null for a spreadsheet that is too long. */
async function headOf(file, suffix) {
  if (file.size <= most) return { bytes: new Uint8Array(await file.arrayBuffer()), isHead: false };
  if (!isText(suffix)) return null;
  const bytes = new Uint8Array(await file.slice(0, most).arrayBuffer());
  return { bytes: bytes.slice(0, bytes.lastIndexOf(10) + 1), isHead: true };
}

function base64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}

function show(found) {
  for (const place of document.querySelectorAll("[data-part]")) {
    const value = found[place.dataset.part];
    place.textContent = value ?? "";
    place.parentElement.hidden = value === null;
  }
  part("map").value = found.map;
  const titles = [...document.querySelectorAll("#persons th[scope=col]")].map((one) => one.textContent);
  part("persons").tBodies[0].replaceChildren(...found.persons.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((value, at) => {
      const cell = document.createElement(at ? "td" : "th");
      if (at) cell.dataset.label = titles[at];
      else cell.scope = "row";
      const shown = document.createElement("span");
      shown.textContent = value || "–";
      cell.append(shown);
      return cell;
    }));
    return row;
  }));
  part("persons").parentElement.hidden = !found.persons.length;
  part("nobody").hidden = found.persons.length > 0;
  part("found").hidden = false;
  announce(text("import.done"));
}

async function read(map) {
  const file = part("file").files[0];
  if (!file) return trouble(text("import.choose"));
  const suffix = suffixOf(file.name);
  const head = await headOf(file, suffix).catch(() => null);
  if (!head) return trouble(text("import.too_large"));
  const sent = { content: base64(head.bytes), suffix, is_head: head.isHead, ...(map === null ? {} : { map }) };
  const answer = await fetch("/import-map", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(sent),
  }).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok || !found) return trouble(found?.problem ?? text("import.no_answer"));
  trouble("");
  return show(found);
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([part("map").value], { type: "application/toml" }));
  link.download = "map.toml";
  link.click();
  URL.revokeObjectURL(link.href);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  read(null);
});
part("again").addEventListener("click", () => read(part("map").value));
part("save").addEventListener("click", save);
