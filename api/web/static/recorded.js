// After recording: the focus is on the message, and the address says it once.

const message = document.querySelector("#recorded.note");
if (message) {
  message.focus();
  // A reload, a bookmark or a language later does not say again what was recorded.
  const address = new URL(location.href);
  address.searchParams.delete("recorded");
  history.replaceState(null, "", address);
}

/** Say on a page that stays what became of an act, in its message `place`, which gets the focus. */
export function tellOutcome(place, said, isRecorded) {
  place.querySelector("strong").textContent = said;
  place.classList.toggle("good", isRecorded);
  place.classList.toggle("soon", !isRecorded);
  place.hidden = false;
  place.focus();
}
