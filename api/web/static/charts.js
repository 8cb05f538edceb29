// Draws each chart from the specification that stands under it. The tables need no script.

import { expressionInterpreter } from "./vendor/vega-interpreter-2.3.2.js";

const { vega, vegaLite } = globalThis;

for (const place of document.querySelectorAll("[data-chart]")) {
  const written = document.getElementById(`specification-${place.dataset.chart}`).textContent;
  const { spec } = vegaLite.compile(JSON.parse(written));
  // Expressions are interpreted: the page's policy lets no text become a program.
  const runtime = vega.parse(spec, null, { ast: true });
  const picture = document.createElement("div");
  picture.setAttribute("aria-hidden", "true"); // the table says the same, in words
  place.append(picture);
  const view = new vega.View(runtime, {
    expr: expressionInterpreter,
    renderer: "svg",
    container: picture,
  });
  await view.runAsync();
  place.hidden = false; // what could not be drawn leaves no gap
}
