// The menu of the header: Escape and a press beside it close it, and the focus goes back to its button.

const menu = document.getElementById("menu");

/** Close the menu, unless the person is in it, or in a dialog that it opened. */
function closeFor(place) {
  if (menu.open && place instanceof Element && !menu.contains(place) && !place.closest("dialog")) menu.open = false;
}

menu?.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
if (menu) document.addEventListener("click", (event) => closeFor(event.target));
menu?.addEventListener("focusout", (event) => closeFor(event.relatedTarget));
