// What a coordinator found out on two cases that may be one person's.

import { announce, text } from "./texts.js";

for (const button of document.querySelectorAll("[data-duplicate] button")) {
  button.addEventListener("click", async () => {
    if (button.value === "same_person" && !window.confirm(text("duplicate.confirm"))) return;
    const { duplicate } = button.parentElement.dataset;
    try {
      const answer = await fetch(`/v1/duplicates/${duplicate}/assessment`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ finding: button.value }),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      location.reload();
    } catch {
      announce(text("js.failed"));
    }
  });
}
