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

// On a narrow screen the line of a case's pages scrolls: the chosen one is brought into sight.
const chosen = document.querySelector(".tabs [aria-current]");
if (chosen) chosen.closest("ul").scrollLeft = chosen.offsetLeft - chosen.closest("ul").offsetLeft - 16;
