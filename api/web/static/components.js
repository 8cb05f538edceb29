// The page of components: its button opens its dialog.

const dialog = document.getElementById("c-dialog");
document.getElementById("c-open").addEventListener("click", () => dialog.showModal());
