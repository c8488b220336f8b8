/**
 * The crop box over a picture: eight handles, moved and resized by mouse, touch, pen and keyboard.
 * Arrow keys move what has the focus (the box, or the edges of one handle), Shift with an arrow resizes the box.
 *
 * @typedef {import("./box.js").Box} Box
 * @typedef {import("./box.js").Handle} Handle
 */
import { HANDLES, WHOLE, isWhole, moved, resized, spanned } from "./box.js";
import { h, style } from "./dom.js";

const MINIMUM = 28; // pixels between opposite edges
const STEP = 0.02; // of the picture, an arrow key
const DRAWN = 12; // pixels: a shorter stroke is a click

const NAMES = { nw: "Top left corner", n: "Top edge", ne: "Top right corner", w: "Left edge", e: "Right edge", sw: "Bottom left corner", s: "Bottom edge", se: "Bottom right corner" };
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Crop {
  /** @type {Readonly<Box>} */
  box = WHOLE;

  /**
   * @param {HTMLElement} frame holds the picture, exactly its size
   * @param {(box: Readonly<Box>, settled: boolean) => void} changed by the person; settled: a drag has ended or a key was pressed
   */
  constructor(frame, changed) {
    this.frame = frame;
    this.changed = changed;
    this.hole = h("div", { class: "hole" });
    this.element = h(
      "div",
      { class: "crop", tabindex: "0", role: "group", "aria-roledescription": "crop box", "aria-describedby": "crop-help" },
      ...HANDLES.map((handle) => h("button", { type: "button", class: `handle handle-${handle}`, "data-handle": handle, "aria-label": NAMES[handle] })),
    );
    frame.append(h("div", { class: "shade", "aria-hidden": "true" }, this.hole), this.element);
    frame.addEventListener("pointerdown", (event) => this.#press(event));
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.set(WHOLE);
  }

  /** Show a box, without telling. @param {Readonly<Box>} box @param {boolean} [glide] move there visibly */
  set(box, glide = false) {
    this.box = box;
    const [x0, y0, x1, y1] = box.map((value) => value * 100);
    for (const element of [this.element, this.hole]) {
      element.classList.toggle("glide", glide);
      style(element, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
    }
    this.frame.classList.toggle("is-whole", isWhole(box));
    this.element.setAttribute("aria-label", isWhole(box) ? "Crop: the whole picture" : `Crop: ${Math.round(x1 - x0)}% wide and ${Math.round(y1 - y0)}% high, from ${Math.round(x0)}% left and ${Math.round(y0)}% down`);
  }

  /** @param {Readonly<Box>} box @param {boolean} settled */
  #change(box, settled) {
    this.set(box);
    this.changed(box, settled);
  }

  /** @returns {[number, number]} the least width and height, fractions */
  #minimum() {
    const { width, height } = this.frame.getBoundingClientRect();
    return [Math.min(MINIMUM / width, 0.5), Math.min(MINIMUM / height, 0.5)];
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const handle = /** @type {Handle|undefined} */ (target.dataset.handle);
    const inside = target === this.element && !isWhole(this.box);
    if (!handle && !inside && target.closest("button, a")) return; // a dot
    const drawing = !handle && !inside;
    // A finger on the bare picture scrolls the page; only a drawing mode takes it.
    if (drawing && event.pointerType === "touch" && !this.frame.classList.contains("drawing")) return;
    event.preventDefault();
    (handle ? target : this.element).focus({ preventScroll: true });
    this.#follow(event, handle, drawing);
  }

  /** Follow the pointer until it lifts. @param {PointerEvent} event @param {Handle|undefined} handle @param {boolean} drawing */
  #follow(event, handle, drawing) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    /** @param {PointerEvent} at @returns {[number, number]} */
    const point = (at) => [(at.clientX - left) / width, (at.clientY - top) / height];
    const before = this.box;
    const from = point(event);
    const minimum = this.#minimum();
    let pixels = 0;
    const following = new AbortController();
    const options = { signal: following.signal };
    this.frame.setPointerCapture(event.pointerId);
    this.frame.classList.add("dragging");

    /** @param {PointerEvent} at @param {boolean} settled */
    const follow = (at, settled) => {
      const [x, y] = point(at);
      pixels = Math.max(pixels, Math.hypot((x - from[0]) * width, (y - from[1]) * height));
      if (drawing && pixels < DRAWN) return;
      const [dx, dy] = [x - from[0], y - from[1]];
      if (handle) this.#change(resized(before, handle, dx, dy, minimum), settled);
      else if (drawing) this.#change(atLeast(spanned(from, [x, y]), minimum), settled);
      else this.#change(moved(before, dx, dy), settled);
    };
    const stop = () => {
      following.abort();
      this.frame.classList.remove("dragging");
    };
    this.frame.addEventListener("pointermove", (at) => follow(at, false), options);
    this.frame.addEventListener("pointerup", (at) => { stop(); follow(at, true); }, options);
    this.frame.addEventListener("pointercancel", () => { stop(); this.#change(before, true); }, options);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const handle = /** @type {Handle|undefined} */ (/** @type {HTMLElement} */ (event.target).dataset.handle);
    const minimum = this.#minimum();
    if (handle) this.#change(resized(this.box, handle, ...arrow, minimum), true);
    else if (event.shiftKey) this.#change(resized(this.box, "se", ...arrow, minimum), true);
    else this.#change(moved(this.box, ...arrow), true);
  }
}

/** A drawn box grown to the least size, inside the picture. @param {Box} box @param {[number, number]} minimum @returns {Box} */
function atLeast([x0, y0, x1, y1], [width, height]) {
  const left = Math.min(x0, 1 - width);
  const top = Math.min(y0, 1 - height);
  return [left, top, Math.max(x1, left + width), Math.max(y1, top + height)];
}
