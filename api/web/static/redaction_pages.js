// The pages of a document with the marks on them. A mark is drawn, moved and changed by mouse, pen or
// finger on the picture of its page, and by keys and numbers in the list beside it.

import { draw } from "./pictures.js";
import { announce, text } from "./texts.js";

/** The width and the height of a page, in the unit of marks. */
const WHOLE = 10_000;
const PERCENT = 100;
/** How far a key moves a mark. */
const STEP = 100;
const LEAST = 10;
/** The number of a mark that lies so near to the upper edge stands below it. */
const NUMBER_HEIGHT = 300;
/** What is drawn smaller than this was a click. */
const CLICK = 50;
const WIDEST = 1600;
const SIDES = ["left", "top", "width", "height"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const between = (value, least, most) => Math.min(most, Math.max(least, Math.round(value)));

/** Give a mark numbers that lie on its page. */
function settle(mark) {
  mark.width = between(mark.width, LEAST, WHOLE);
  mark.height = between(mark.height, LEAST, WHOLE);
  mark.left = between(mark.left, 0, WHOLE - mark.width);
  mark.top = between(mark.top, 0, WHOLE - mark.height);
}

/** The rectangle between two points, which may be given in any order. */
const spanned = ([ax, ay], [bx, by]) => ({
  left: Math.min(ax, bx), top: Math.min(ay, by), width: Math.abs(ax - bx), height: Math.abs(ay - by),
});

const part = (place, name) => place.querySelector(`[data-part="${name}"]`);

/** Show a blob on a page's picture, and keep its shape. False if the browser cannot read it. */
export async function showPicture(article, blob) {
  const canvas = part(article, "picture");
  const isShown = await draw(canvas, blob, WIDEST);
  if (isShown) canvas.parentElement.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  return isShown;
}

/** Take a picture away. The place of its page stays as high as it is. */
export function clearPicture(article) {
  Object.assign(part(article, "picture"), { width: 0, height: 0 });
}

/** Until its picture comes, a page is as high as another one: so few come into sight at once. */
export function shapeLike(article, other) {
  const [own, known] = [article, other].map((one) => part(one, "picture").parentElement);
  own.style.aspectRatio = known.style.aspectRatio;
}

/**
 * Begin a page in its element. `state` has `marks` and the set `out` of all pages. `before` is called
 * before each change, so that it can be undone, `forget` if nothing came of it, and `after` after it.
 * `draws` tells whether a finger draws. Gives `render`, which shows the state as it is.
 */
export function beginPage(article, { page, pages, state, before, forget, after, draws }) {
  const sheet = part(article, "sheet");
  const overlay = part(article, "marks");
  const list = part(article, "list");
  const out = part(article, "out");
  let shown = [];
  let selected = null;
  let drag = null;

  const own = () => state.marks.filter((mark) => mark.page === page);
  const values = (mark) => Object.fromEntries(SIDES.map((side) => [side, (mark[side] / PERCENT).toFixed(1)]));

  function place({ mark, box, row }) {
    box.classList.toggle("at-top", mark.top < NUMBER_HEIGHT);
    for (const side of SIDES) {
      box.style.setProperty(side, `${mark[side] / PERCENT}%`);
      const input = row.querySelector(`[data-side="${side}"]`);
      if (input !== document.activeElement) input.value = values(mark)[side];
    }
  }

  function select(mark, { focus = false } = {}) {
    selected = mark;
    for (const one of shown) {
      one.box.classList.toggle("selected", one.mark === mark);
      one.row.classList.toggle("selected", one.mark === mark);
      if (one.mark === mark && focus) part(one.row, "move").focus({ preventScroll: true });
    }
  }

  function remove(mark) {
    const at = own().indexOf(mark);
    before();
    state.marks.splice(state.marks.indexOf(mark), 1);
    render();
    after();
    const next = shown[Math.min(at, shown.length - 1)];
    (next ? part(next.row, "move") : part(article, "add")).focus({ preventScroll: true });
    announce(text("redact.removed", { number: at + 1, page }));
  }

  /** Move a mark by arrows, or its lower right corner with Shift. */
  function byKey(event, one) {
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      remove(one.mark);
      return;
    }
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    if ((!x && !y) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (!event.repeat) before();
    const { mark } = one;
    if (event.shiftKey) {
      mark.width = Math.min(mark.width + x * STEP, WHOLE - mark.left);
      mark.height = Math.min(mark.height + y * STEP, WHOLE - mark.top);
    } else {
      mark.left += x * STEP;
      mark.top += y * STEP;
    }
    settle(mark);
    place(one);
    one.box.scrollIntoView({ block: "nearest" });
    announce(text("redact.at", values(mark)));
    after();
  }

  function byNumber(input, one) {
    const side = input.dataset.side;
    const value = input.valueAsNumber;
    input.setAttribute("aria-invalid", String(Number.isNaN(value)));
    if (Number.isNaN(value)) return;
    before();
    one.mark[side] = value * PERCENT;
    settle(one.mark);
    place(one);
    after();
  }

  function show(mark, number) {
    const box = document.createElement("div");
    box.className = "mark";
    box.append(Object.assign(document.createElement("b"), { textContent: number }));
    for (const corner of ["nw", "ne", "sw", "se"]) {
      const handle = document.createElement("i");
      handle.dataset.corner = corner;
      box.append(handle);
    }
    overlay.append(box);
    const row = part(article, "row").content.firstElementChild.cloneNode(true);
    const one = { mark, box, row };
    const names = { number, page };
    row.dataset.mark = `${page}-${number}`;
    const move = part(row, "move");
    move.textContent = text("redact.mark", names);
    move.setAttribute("aria-label", text("redact.mark_of_page", names));
    move.addEventListener("keydown", (event) => byKey(event, one));
    move.addEventListener("focus", () => select(mark));
    move.addEventListener("click", () => box.scrollIntoView({ block: "center" }));
    for (const input of row.querySelectorAll("[data-side]")) {
      input.addEventListener("change", () => byNumber(input, one));
      input.addEventListener("focus", () => select(mark));
      input.addEventListener("blur", () => place(one));
    }
    part(row, "remove").setAttribute("aria-label", text("redact.remove_of_page", names));
    part(row, "remove").addEventListener("click", () => remove(mark));
    list.append(row);
    place(one);
    return one;
  }

  /** Show the marks of the page as the state has them. */
  function render() {
    overlay.replaceChildren();
    list.replaceChildren();
    shown = own().map((mark, index) => show(mark, index + 1));
    out.checked = state.out.has(page);
    article.classList.toggle("out", out.checked);
    part(article, "add").disabled = out.checked;
    select(shown.some((one) => one.mark === selected) ? selected : null);
  }

  function point({ clientX, clientY }) {
    const { left, top, width, height } = overlay.getBoundingClientRect();
    const [x, y] = [(clientX - left) / width, (clientY - top) / height];
    return [between(x * WHOLE, 0, WHOLE), between(y * WHOLE, 0, WHOLE)];
  }

  function begin(event) {
    const found = shown.find(({ box }) => box.contains(event.target));
    if (event.button !== 0 || drag || out.checked) return;
    if (!found && event.pointerType === "touch" && !draws()) return; // the finger scrolls
    event.preventDefault();
    sheet.setPointerCapture(event.pointerId);
    const at = point(event);
    const { corner } = event.target.dataset;
    drag = { id: event.pointerId, at, one: found, was: found && { ...found.mark }, changed: false };
    if (found) {
      select(found.mark, { focus: true });
      const { left, top, width, height } = found.mark;
      drag.fixed = corner && [left + (corner.includes("w") ? width : 0), top + (corner.includes("n") ? height : 0)];
      return;
    }
    before();
    const mark = { page, left: at[0], top: at[1], width: 0, height: 0 };
    state.marks.push(mark);
    drag.one = show(mark, own().length);
    drag.isNew = true;
    drag.fixed = at;
    shown.push(drag.one);
    select(mark);
  }

  function go(event) {
    if (drag?.id !== event.pointerId) return;
    const at = point(event);
    const { one, fixed, was } = drag;
    if (!drag.isNew && !drag.changed) {
      if (Math.abs(at[0] - drag.at[0]) + Math.abs(at[1] - drag.at[1]) < LEAST) return;
      before();
    }
    drag.changed = true;
    if (fixed) Object.assign(one.mark, spanned(fixed, at));
    else Object.assign(one.mark, { left: was.left + at[0] - drag.at[0], top: was.top + at[1] - drag.at[1] });
    if (!drag.isNew) settle(one.mark);
    place(one);
  }

  function end(event) {
    if (drag?.id !== event.pointerId) return;
    const { one, isNew, changed } = drag;
    drag = null;
    if (isNew && one.mark.width < CLICK && one.mark.height < CLICK) {
      drop(one.mark);
      return;
    }
    settle(one.mark);
    place(one);
    if (isNew || changed) after();
    if (isNew) select(one.mark, { focus: true });
  }

  /** Take back what is being drawn. */
  function drop(mark) {
    state.marks.splice(state.marks.indexOf(mark), 1);
    render();
    forget();
    select(null);
  }

  function cancel() {
    if (!drag) return;
    const { one, isNew, was, changed } = drag;
    drag = null;
    if (isNew) {
      drop(one.mark);
    } else if (changed) {
      Object.assign(one.mark, was);
      place(one);
      forget();
    }
  }

  sheet.addEventListener("pointerdown", begin);
  sheet.addEventListener("pointermove", go);
  sheet.addEventListener("pointerup", end);
  sheet.addEventListener("pointercancel", cancel);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel(); });

  /** Add a mark where the person looks, below the last one, and lead to it. */
  part(article, "add").addEventListener("click", () => {
    const { top, height } = sheet.getBoundingClientRect();
    const seen = ((Math.max(0, -top) + Math.min(height, innerHeight - top)) / 2 / height) * WHOLE;
    const last = own().at(-1);
    before();
    const mark = { page, left: 1000, top: last ? last.top + last.height + STEP : seen, width: 8000, height: 300 };
    settle(mark);
    state.marks.push(mark);
    render();
    after();
    select(mark, { focus: true });
    shown.at(-1).box.scrollIntoView({ block: "nearest" });
    announce(text("redact.added", { number: shown.length, page }));
  });
  out.addEventListener("change", () => {
    before();
    if (out.checked) state.out.add(page);
    else state.out.delete(page);
    render();
    after();
  });
  part(article, "name").textContent = text("docs.page_of", { page, pages });
  part(article, "picture").setAttribute("aria-label", text("redact.picture_of", { page }));
  part(article, "add").setAttribute("aria-label", text("redact.add_to_page", { page }));
  part(article, "out-label").textContent = text("redact.leave_out", { page });
  render();
  return render;
}
