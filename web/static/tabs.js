/** Tabs of the objects in a picture, each with a small view of it. Arrow keys go from tab to tab. */
import { cropped } from "./cards.js";
import { h, reducedMotion } from "./dom.js";
import { labelOf } from "./dots.js";

export class Tabs {
  /** @param {HTMLElement} place a tablist @param {(index: number) => void} chosen */
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    place.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const tabs = [...place.children];
      const at = tabs.indexOf(/** @type {Element} */ (document.activeElement));
      if (!step || at < 0) return;
      event.preventDefault();
      const next = (at + step + tabs.length) % tabs.length;
      this.chosen(next);
      /** @type {HTMLElement} */ (place.children[next]).focus();
    });
  }

  /** @param {import("./api.js").Detected[]} objects @param {string} url @param {number} ratio of the picture */
  set(objects, url, ratio) {
    this.place.hidden = objects.length === 0;
    this.place.replaceChildren(
      ...objects.map((object, index) =>
        h("button", { type: "button", role: "tab", class: "tab", id: `tab-${index}`, "aria-selected": "false", "aria-controls": "results", tabindex: "-1", onclick: () => this.chosen(index) }, url && cropped(url, object.box, ratio), h("span", {}, labelOf(object))),
      ),
    );
  }

  /** @param {number} index -1: none */
  select(index) {
    [...this.place.children].forEach((tab, each) => {
      tab.setAttribute("aria-selected", String(each === index));
      tab.setAttribute("tabindex", each === Math.max(index, 0) ? "0" : "-1");
    });
    const tab = /** @type {HTMLElement|undefined} */ (this.place.children[index]);
    if (tab) this.place.scrollTo({ left: tab.offsetLeft - (this.place.clientWidth - tab.offsetWidth) / 2, behavior: reducedMotion() ? "instant" : "smooth" });
  }
}
