// Days and moments in the words of the page's language. The page brings the names of months: some browsers
// lack those of a language, such as Chromium the Albanian ones, and write them in another language.

import { localTime } from "./zones.js";

/** A day `2026-12-03` in words, such as `3 dhjetor 2026`. */
export function dayText(day) {
  const [year, month, date] = day.split("-").map(Number);
  return document.documentElement.dataset.days.split("|")[month - 1].replace("{day}", date).replace("{year}", year);
}

/** A moment in words, at the local time of an IANA zone, such as `3 dhjetor 2026, 14:30`. */
export function writtenMoment(moment, zone) {
  const [day, time] = localTime(new Date(moment), zone).split("T");
  return `${dayText(day)}, ${time}`;
}
