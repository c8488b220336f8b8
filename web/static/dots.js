/** Dots on the objects of a picture: tap one to look at it. They keep apart from one another, so that each can be hit. */
import { centre, spread } from "./box.js";
import { h, style } from "./dom.js";
import { capital } from "./words.js";

const APART = 34; // pixels

/** @typedef {import("./api.js").Detected} Detected */

/** @param {Detected} object @returns {string} */
export const labelOf = ({ category, label }) => capital(category || label || "Object");

export class Dots {
  /** @type {Detected[]} */
  objects = [];
  #selected = -1;

  /** @param {HTMLElement} frame @param {(index: number) => void} tapped */
  constructor(frame, tapped) {
    this.frame = frame;
    this.tapped = tapped;
    this.element = h("div", { class: "dots" });
    frame.append(this.element);
    new ResizeObserver(() => this.#place()).observe(frame);
  }

  /** @param {Detected[]} objects */
  set(objects) {
    this.objects = objects;
    this.#selected = -1;
    this.element.replaceChildren(
      ...objects.map((object, index) =>
        h("button", { type: "button", class: "dot", "aria-pressed": "false", "aria-label": labelOf(object), onclick: () => this.tapped(index) }, h("span", { class: "dot-label", "aria-hidden": "true" }, labelOf(object))),
      ),
    );
    this.#place();
  }

  /** @param {number} index -1: none */
  select(index) {
    this.#selected = index;
    [...this.element.children].forEach((dot, each) => dot.setAttribute("aria-pressed", String(each === index)));
  }

  #place() {
    const { width, height } = this.frame.getBoundingClientRect();
    if (!width || !height) return;
    const points = this.objects.map(({ box }) => /** @type {[number, number]} */ ([centre(box)[0] * width, centre(box)[1] * height]));
    spread(points, APART, [width, height]).forEach(([x, y], index) => {
      const dot = /** @type {HTMLElement} */ (this.element.children[index]);
      style(dot, { left: `${(x / width) * 100}%`, top: `${(y / height) * 100}%` });
      dot.classList.toggle("label-left", x > width * 0.7);
    });
    this.select(this.#selected);
  }
}
