// Dates in three plain fields, in the order of the page's language, with the time of day in a fourth
// one where a moment is asked for. A control of the browser for dates drops what is half typed.

import { serverNow } from "./server_time.js";
import { text } from "./texts.js";
import { dayText } from "./written_dates.js";
import { localTime, momentAt, offsetText } from "./zones.js";

const PARTS = ["day", "month", "year"];
const YEAR_DIGITS = 4;

export const isDate = (field) => "date" in field.dataset;

const inputs = (field) => [...field.querySelectorAll("[data-part]")];
const part = (field, name) => field.querySelector(`[data-part="${name}"]`);

/** What is typed in each part, to be kept as it is. */
export const typed = (field) =>
  Object.fromEntries(inputs(field).map((one) => [one.dataset.part, one.value]));

/** Fill in a date `2026-12-03`, a moment `2026-12-03T14:30`, or the parts of `typed`. */
export function fill(field, value) {
  const parts = typeof value === "string" ? partsOf(value) : value;
  for (const one of inputs(field)) one.value = parts[one.dataset.part] ?? "";
}

function partsOf(value) {
  const [day, time] = value.split("T");
  const [year = "", month = "", date = ""] = day.split("-");
  const plain = (number) => number.replace(/^0(?=\d)/, "");
  return { year, month: plain(month), day: plain(date), time };
}

const asDay = (moment) => moment.toISOString().slice(0, 10);

/** A bound of a field: a day, or the present one in the zone of the page. */
function bound(field, name) {
  const said = field.dataset[name];
  return said === "today" ? localTime(new Date(serverNow()), field.dataset.zone).slice(0, 10) : said;
}

/** The time of day as `14:30`, or "" where the text is none. */
export function timeOf(written) {
  const found = /^(\d{1,2})\s*[:.h]?\s*(\d{2})$/.exec(written.trim());
  if (!found || Number(found[1]) > 23 || Number(found[2]) > 59) return "";
  return `${found[1].padStart(2, "0")}:${found[2]}`;
}

/**
 * The date or the moment of a field: `value` as ISO 8601, or "" where nothing is typed. If it is none,
 * `wrong` says why in the page's language, and `control` is the part that is to be corrected.
 */
export function read(field) {
  const given = Object.fromEntries(Object.entries(typed(field)).map(([name, one]) => [name, one.trim()]));
  const refuse = (wrong, name) => ({ value: "", wrong, control: part(field, name) });
  const asked = inputs(field).map((one) => one.dataset.part);
  const missing = asked.filter((name) => !given[name]);
  if (missing.length === asked.length) return { value: "", wrong: "", control: inputs(field)[0] };
  const dateMissing = missing.filter((name) => PARTS.includes(name));
  if (dateMissing.length) {
    const parts = dateMissing.map((name) => text(`date.${name}`)).join(", ");
    return refuse(text("date.part_missing", { parts }), dateMissing[0]);
  }
  const strange = PARTS.find((name) => !/^\d+$/.test(given[name]));
  if (strange) return refuse(text("date.digits", { part: text(`date.${strange}`) }), strange);
  if (given.year.length !== YEAR_DIGITS) return refuse(text("date.four_digits"), "year");
  const [year, month, day] = [given.year, given.month, given.day].map(Number);
  if (month < 1 || month > 12) return refuse(text("date.no_month"), "month");
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) {
    return refuse(text("date.no_day"), "day");
  }
  const found = asDay(date);
  const [first, last] = [bound(field, "first"), bound(field, "last")];
  if (found < first || found > last) {
    const [from, to] = [first, last].map(dayText);
    return refuse(text("date.between", { from, to }), "year");
  }
  if (!asked.includes("time")) return { value: found, wrong: "" };
  const time = timeOf(given.time);
  return time ? { value: `${found}T${time}`, wrong: "" } : refuse(text("date.no_time"), "time");
}

/** What is typed, in the words of the page's language. */
export function said(field) {
  const [day, time] = read(field).value.split("T");
  if (!day) return "";
  const { zone } = field.dataset;
  if (!time) return dayText(day);
  return `${dayText(day)} ${time} (${offsetText(momentAt(`${day}T${time}`, zone), zone)})`;
}

/** The parts of a whole date that was copied from elsewhere, in the order of the fields, or null. */
export function pasted(content, order) {
  const numbers = /^\s*(\d{1,4})\s*[-./ ]\s*(\d{1,2})\s*[-./ ]\s*(\d{1,4})\.?\s*$/.exec(content)?.slice(1);
  if (!numbers) return null;
  const names = numbers[0].length === YEAR_DIGITS ? ["year", "month", "day"] : order;
  return Object.fromEntries(names.map((name, place) => [name, numbers[place]]));
}

globalThis.document?.addEventListener("paste", (event) => {
  const field = event.target.closest?.("[data-date]");
  if (!field || !event.target.matches("[data-part]")) return;
  const order = inputs(field).map((one) => one.dataset.part).filter((name) => PARTS.includes(name));
  const parts = pasted(event.clipboardData.getData("text"), order);
  if (!parts) return;
  event.preventDefault();
  fill(field, { ...typed(field), ...parts });
  event.target.dispatchEvent(new Event("input", { bubbles: true }));
  event.target.dispatchEvent(new Event("change", { bubbles: true }));
});
