// After recording: the focus is on the message, and the address says it once.

const message = document.getElementById("recorded");
if (message) {
  message.focus();
  // A reload, a bookmark or a language later does not say again what was recorded.
  const address = new URL(location.href);
  address.searchParams.delete("recorded");
  history.replaceState(null, "", address);
}
