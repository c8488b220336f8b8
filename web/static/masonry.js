/**
 * Columns of cards of different heights. Cards are placed in the order of the document, each under the shortest column,
 * so that reading order, Tab order and rank agree. Heights are known before the pictures come (cards carry their aspect
 * ratio), so nothing jumps; cards far off screen are skipped by the browser (`content-visibility` in style.css).
 */
import { style } from "./dom.js";

export class Masonry {
  /** @type {number[]} pixels, of each column */
  #heights = [];
  #columnWidth = 0;
  #columns = 0;

  /** @param {HTMLElement} list its --column (least column width) and --gap (both in pixels) say how */
  constructor(list) {
    this.list = list;
    let frame = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.#measure() && this.#place([...this.list.children]));
    }).observe(list);
  }

  /** @param {HTMLElement[]} cards */
  append(cards) {
    this.list.append(...cards);
    if (this.#measure()) this.#place([...this.list.children]);
    else this.#place(cards);
  }

  clear() {
    this.list.replaceChildren();
    this.#heights = this.#heights.fill(0);
    style(this.list, { height: "0px" });
  }

  /** Read the list's width; true where columns changed and all must be placed anew. */
  #measure() {
    const width = this.list.clientWidth;
    if (!width) return false;
    const read = getComputedStyle(this.list);
    const gap = parseFloat(read.getPropertyValue("--gap")) || 16;
    const least = parseFloat(read.getPropertyValue("--column")) || 180;
    const columns = Math.max(2, Math.floor((width + gap) / (least + gap)));
    const columnWidth = (width - gap * (columns - 1)) / columns;
    if (columns === this.#columns && Math.abs(columnWidth - this.#columnWidth) < 0.5) return false;
    this.gap = gap;
    this.#columns = columns;
    this.#columnWidth = columnWidth;
    this.#heights = Array(columns).fill(0);
    return true;
  }

  /** @param {Element[]} cards */
  #place(cards) {
    if (!this.#columns) return;
    const elements = /** @type {HTMLElement[]} */ (cards);
    for (const card of elements) {
      card.classList.remove("placed");
      style(card, { width: `${this.#columnWidth}px`, height: "auto" });
    }
    const heights = elements.map((card) => card.offsetHeight); // one layout for all
    elements.forEach((card, index) => {
      const lowest = Math.min(...this.#heights);
      const column = this.#heights.findIndex((height) => height <= lowest + 1);
      style(card, {
        height: `${heights[index]}px`,
        left: `${column * (this.#columnWidth + this.gap)}px`,
        top: `${this.#heights[column]}px`,
      });
      card.classList.add("placed");
      this.#heights[column] += heights[index] + this.gap;
    });
    style(this.list, { height: `${Math.max(0, ...this.#heights)}px` });
  }
}
