// Local time of the reader's country, wherever the browser's own clock is set to.

const HALF_A_DAY = 12 * 3600_000;

/** A moment as a field of date and time has it, at the local time of an IANA zone. */
export function localTime(moment, zone) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, hourCycle: "h23", calendar: "gregory", numberingSystem: "latn",
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
  }).formatToParts(moment);
  const { year, month, day, hour, minute } = Object.fromEntries(parts.map((p) => [p.type, p.value]));
  return `${year.padStart(4, "0")}-${month}-${day}T${hour}:${minute}`;
}

/** The moment that a local time of a zone is: in an hour that a clock repeats, the first one; in an
    hour that a clock skips, the moment as long after the skip. */
export function momentAt(local, zone) {
  const asIfUtc = Date.parse(`${local.slice(0, 16)}Z`);
  const offset = (at) => Date.parse(`${localTime(new Date(at), zone)}Z`) - at;
  const before = new Date(asIfUtc - offset(asIfUtc - HALF_A_DAY));
  const after = new Date(asIfUtc - offset(asIfUtc + HALF_A_DAY));
  const isAt = (moment) => localTime(moment, zone) === local.slice(0, 16);
  return isAt(before) || !isAt(after) ? before : after;
}

/** The offset of a zone from UTC at a moment, such as `UTC+1`. */
export function offsetText(moment, zone) {
  const minutes = Math.round((Date.parse(`${localTime(moment, zone)}Z`) - moment) / 60_000);
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "-" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}
