// On the page of one case in a sitting: what becomes possible once the meeting on it is recorded, by
// whichever country, while what is being typed stays.

document.addEventListener("htmx:afterSettle", () => {
  const { met } = document.getElementById("live").dataset;
  for (const one of document.querySelectorAll("[data-when]")) one.hidden = one.dataset.when !== met;
});
