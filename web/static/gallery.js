/** The start of two modes: the collection to browse, and the rooms of Shop the Look. */
import * as api from "./api.js";
import { itemCard } from "./cards.js";
import { announce, button, byId, h, notice } from "./dom.js";
import { Feed } from "./feed.js";
import { clearFilter, quickChips } from "./filters.js";
import { choosePicture } from "./intake.js";
import { counted } from "./words.js";

/** @typedef {import("./state.js").State} State */

export class Gallery {
  /** What is shown now: the same is not loaded again on the way back. */
  #shown = "";

  constructor() {
    this.element = byId("gallery");
    this.title = byId("gallery-title");
    this.lead = byId("gallery-lead");
    this.chips = byId("gallery-chips");
    this.count = byId("gallery-count");
    const place = byId("gallery-feed");
    place.replaceChildren(); // the skeletons of index.html
    this.feed = new Feed(place, { label: "Pictures of the collection" });
    this.empty = h("div", {});
    place.append(this.empty);
  }

  /** @param {State} state @returns {boolean} whether it is as it was left */
  show(state) {
    const shop = state.mode === "shop";
    this.title.textContent = shop ? "Shop the look" : "Find it by how it looks";
    this.lead.textContent = shop ? "Open a picture, then tap anything in it to see what is for sale." : "Open a picture, or search with your own: drop, paste or photograph it.";
    quickChips(this.chips, state, shop);
    const wanted = JSON.stringify([shop, state.filter, state.collection]);
    if (wanted === this.#shown) return true;
    this.#shown = wanted;
    this.empty.replaceChildren();
    this.count.textContent = "";
    let first = true;
    this.feed.start(async (cursor, signal) => {
      const page = await api.items({ cursor, filter: state.filter, product: shop ? false : undefined }, signal);
      if (first) this.#counted(page, state);
      else announce(`${counted(page.items.length, "more picture")} below`);
      first = false;
      return { cards: page.items.map((item) => itemCard(item, shop ? "shop" : "flashlight")), next: page.next_cursor };
    });
    return false;
  }

  /** @param {{items: api.Item[], total?: number}} page @param {State} state */
  #counted({ items, total }, state) {
    const shop = state.mode === "shop";
    const number = total ?? items.length;
    this.count.textContent = number ? counted(number, "picture") : "";
    if (number) return announce(counted(number, "picture"));
    const filtered = Object.keys(state.filter).length > 0;
    const title = filtered ? "Nothing matches these filters" : shop ? "No rooms in this collection yet" : "This collection is empty";
    this.empty.replaceChildren(
      notice({
        icon: "picture",
        title,
        text: filtered ? "Remove a filter to see more." : shop ? "Use a picture of your own: a room, a shelf, an outfit." : "Add pictures with: visearch index FOLDER",
        actions: filtered ? [button("Clear filters", clearFilter, "close")] : shop ? [button("Choose a picture", choosePicture, "upload", "button primary")] : [],
      }),
    );
    announce(title);
  }
}
