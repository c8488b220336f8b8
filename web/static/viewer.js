/**
 * One picture, large, with what was found for it: look-alikes of it or of a part (Flashlight), of the thing in a photo (Lens),
 * or products for each object in a scene (Shop the Look). The crop box is the same in all three; results follow it.
 *
 * @typedef {import("./box.js").Box} Box
 * @typedef {import("./state.js").State} State
 * @typedef {import("./api.js").Look} Look
 */
import * as api from "./api.js";
import { WHOLE, isWhole, overlap } from "./box.js";
import { link } from "./cards.js";
import { Crop } from "./crop.js";
import { announce, button, byId, h, icon, style, toast } from "./dom.js";
import { Dots, labelOf } from "./dots.js";
import { problemNotice } from "./feed.js";
import { activeChips } from "./filters.js";
import { remember } from "./history.js";
import { choosePicture } from "./intake.js";
import { kept } from "./pictures.js";
import { Results } from "./results.js";
import { current, fresh, go, href, note } from "./state.js";
import { Tabs } from "./tabs.js";
import { heading, nameOf, priceOf, stockOf, webUrl } from "./words.js";

const PAUSE = 130; // milliseconds the crop rests before it is searched
const LONGEST_PAUSE = 400; // milliseconds between searches while it keeps moving
const SAME = 0.85; // overlap from which a box counts as that of a found object
const DRAWN = /** @type {Box} */ ([0.25, 0.25, 0.75, 0.75]); // where a box drawn by hand starts

export class Viewer {
  /** @type {State|null} */
  #state = null;
  /** @type {api.Query|null} */
  #query = null;
  /** @type {api.Item|null} */
  #item = null;
  #imageUrl = "";
  #ratio = 1;
  /** @type {api.Looks|null} the objects found, each with its products (Shop the Look) */
  #scene = null;
  #view = new AbortController(); // of everything asked for this picture
  #searching = new AbortController(); // of the newest search alone
  #finding = new AbortController(); // of the search for the scene's objects: a box searched meanwhile does not end it
  #timer = 0;
  #lastSearch = 0;

  constructor() {
    this.element = byId("viewer");
    this.title = byId("viewer-title");
    this.image = /** @type {HTMLImageElement} */ (byId("stage-image"));
    this.frame = byId("frame");
    this.dots = new Dots(this.frame, (index) => this.#tapped(index));
    this.crop = new Crop(this.frame, (box, settled) => this.#cropped(box, settled));
    this.frame.append(this.dots.element); // above the crop box
    this.tabs = new Tabs(byId("tabs"), (index) => this.#tapped(index));
    this.results = new Results();
    byId("stage-whole").addEventListener("click", () => this.#reset());
    byId("stage-draw").addEventListener("click", () => this.#draw());
    byId("viewer-share").addEventListener("click", () => share(this.title.textContent ?? ""));
    this.image.addEventListener("error", () => this.#notShown());
  }

  /** @param {State} state with an item or a picture */
  show(state) {
    const before = this.#state;
    this.#state = state;
    activeChips(byId("viewer-chips"), state.filter);
    const same = before && ["mode", "item", "picture", "collection"].every((key) => before[/** @type {"mode"} */ (key)] === state[/** @type {"mode"} */ (key)]);
    if (!same || !this.#query) return this.#open(state);
    clearTimeout(this.#timer);
    this.crop.set(state.box ?? WHOLE);
    if (state.mode === "shop") this.#shop(state.box);
    else this.#search(state.box);
  }

  hide() {
    this.#view.abort();
    this.#searching.abort();
    this.#finding.abort();
    clearTimeout(this.#timer);
    this.#state = this.#query = null;
    if (this.#imageUrl.startsWith("blob:")) URL.revokeObjectURL(this.#imageUrl);
    this.#imageUrl = "";
    this.image.removeAttribute("src");
  }

  /** @param {State} state */
  async #open(state) {
    this.hide();
    this.#state = state;
    const view = (this.#view = new AbortController());
    this.results.clear();
    this.results.busy(true);
    this.dots.set([]);
    this.tabs.set([], "", 1);
    this.#scene = null;
    this.frame.classList.remove("drawing", "no-preview");
    this.crop.set(state.box ?? WHOLE);
    byId("stage-whole").hidden = state.mode === "shop";
    byId("stage-help").textContent = state.mode === "shop" ? "Tap a dot, or draw a box" : "Drag to search a part";
    try {
      if (state.item !== null) await this.#openItem(state.item, view.signal);
      else await this.#openPicture(String(state.picture), view.signal);
    } catch (error) {
      if (api.isAbort(error)) return;
      this.#nothingToShow("Picture not found");
      return this.results.fail(error, () => this.#open(state));
    }
    if (view.signal.aborted || !this.#query) return;
    this.#modeLinks(state);
    if (state.mode === "shop") this.#shop(state.box);
    else {
      await this.#search(state.box);
      if (state.mode === "flashlight" && !this.results.failed) this.#findObjects(view.signal); // the matches come first
    }
  }

  /** @param {number} id @param {AbortSignal} signal */
  async #openItem(id, signal) {
    this.#item = await api.item(id, signal);
    this.#stage(this.#item.image_url, this.#item.width, this.#item.height, nameOf(this.#item));
    this.#about(this.#item);
    this.#query = { item: id };
    byId("viewer-share").hidden = false;
  }

  /** The original may be gone, or of a kind that this browser does not show; an item has its thumbnail still. */
  #notShown() {
    const thumbnail = this.#item?.thumbnail_url;
    if (thumbnail && this.#imageUrl !== thumbnail) this.image.src = this.#imageUrl = thumbnail;
    else this.frame.classList.add("no-preview");
  }

  /** @param {string} title */
  #nothingToShow(title) {
    this.frame.hidden = true;
    this.title.textContent = title;
    this.#about(null);
    byId("viewer-modes").replaceChildren();
    byId("viewer-share").hidden = true;
  }

  /** @param {string} key @param {AbortSignal} signal */
  async #openPicture(key, signal) {
    const blob = await kept(key);
    if (signal.aborted) return;
    this.#item = null;
    this.#about(null);
    byId("viewer-share").hidden = true; // such a link works on this device only
    if (!blob) {
      this.#nothingToShow("Your picture");
      const text = "People's own pictures stay on the device that searched with them. Choose a picture to search with yours.";
      return this.results.instead({ icon: "picture", title: "This picture is not on this device", text, actions: [button("Choose a picture", choosePicture, "upload", "button primary")] });
    }
    const url = URL.createObjectURL(blob);
    const size = await createImageBitmap(blob).then(({ width, height }) => ({ width, height }), () => ({ width: 4, height: 3 }));
    if (signal.aborted) return URL.revokeObjectURL(url);
    this.#stage(url, size.width, size.height, "Your picture");
    this.#query = { blob };
  }

  /** @param {string} url @param {number} width @param {number} height @param {string} name */
  #stage(url, width, height, name) {
    this.#imageUrl = url;
    this.#ratio = width / height || 1;
    this.frame.hidden = false;
    style(this.frame, { "--ratio": this.#ratio });
    this.image.src = url;
    this.image.alt = name;
    this.image.width = width;
    this.image.height = height;
    this.title.textContent = name;
    document.title = `${name} · visearch`;
  }

  /** What is known of an item, under its name. @param {api.Item|null} item */
  #about(item) {
    const { product, metadata = {} } = item ?? {};
    const url = webUrl(product?.url);
    const stock = stockOf(product);
    const hidden = new Set(["title", "price", "price_currency", "availability", "seller", "url"]);
    const facts = Object.entries(metadata).filter(([key, value]) => !hidden.has(key) && ["string", "number", "boolean"].includes(typeof value) && value !== "");
    byId("viewer-about").replaceChildren(
      ...[
        product && h("p", { class: "offer" }, h("span", { class: "price" }, priceOf(product)), stock && h("span", { class: `stock stock-${stock.tone}` }, stock.text)),
        url && h("a", { class: "button", href: url, target: "_blank", rel: "noopener nofollow" }, h("span", {}, `See it at ${product?.seller || new URL(url).hostname}`), icon("out")),
        facts.length > 0 && h("details", {}, h("summary", {}, "About this picture"), h("dl", {}, ...facts.flatMap(([key, value]) => [h("dt", {}, heading(key)), h("dd", {}, String(value))]))),
      ].filter((node) => node instanceof Node),
    );
  }

  /** The same picture in the other mode. @param {State} state */
  #modeLinks(state) {
    const alike = state.mode === "lens" ? "lens" : "flashlight";
    const entry = (/** @type {import("./state.js").Mode} */ mode, /** @type {string} */ text, /** @type {string} */ name) => {
      const target = fresh({ mode, item: state.item, picture: state.picture });
      return link(href(target), () => go(target), { class: "segment", "aria-current": state.mode === mode ? "page" : null }, icon(name), h("span", {}, text));
    };
    byId("viewer-modes").replaceChildren(entry(alike, "Look-alikes", "alike"), entry("shop", "Shop the look", "bag"));
  }

  /** Objects to tap, for the modes whose answer does not bring them. @param {AbortSignal} signal */
  async #findObjects(signal) {
    try {
      if (!this.#query || signal.aborted) return;
      const { objects } = await api.objects(this.#query, signal);
      if (signal.aborted) return;
      this.dots.set(objects);
      this.#mark(this.crop.box);
    } catch {
      // dots are a help, not the answer: the picture is searched without them
    }
  }

  /** The person moved the box. @param {Readonly<Box>} box @param {boolean} settled */
  #cropped(box, settled) {
    this.#mark(box);
    clearTimeout(this.#timer);
    if (settled) note({ box: boxOrNull(box) });
    const wait = Math.max(0, Math.min(PAUSE, this.#lastSearch + LONGEST_PAUSE - Date.now()));
    this.#timer = window.setTimeout(() => this.#search(boxOrNull(box)), wait);
  }

  /** Show which object, if any, the box stands on. @param {Readonly<Box>} box */
  #mark(box) {
    const index = this.dots.objects.findIndex((object) => overlap(object.box, box) > SAME);
    this.dots.select(index);
    this.tabs.select(index);
  }

  /** An object was chosen, by its dot or its tab. @param {number} index */
  #tapped(index) {
    const object = this.dots.objects[index];
    this.crop.set(object.box, true);
    this.dots.select(index);
    this.tabs.select(index);
    note({ box: object.box });
    clearTimeout(this.#timer);
    announce(`${labelOf(object)} chosen`);
    const look = this.#scene?.objects[index];
    if (!this.#scene || !look) return this.#search(object.box);
    this.#searching.abort();
    this.#showLook(look, this.#scene);
  }

  #reset() {
    this.crop.set(WHOLE, true);
    this.#cropped(WHOLE, true);
  }

  /** A box drawn by hand: it starts in the middle, to be moved by pointer or keys. */
  #draw() {
    this.frame.classList.add("drawing");
    this.crop.set(DRAWN, true);
    this.crop.element.focus({ preventScroll: true });
    this.#cropped(DRAWN, true);
    byId("stage-help").textContent = "Drag the box onto what you want";
  }

  /**
   * @template T @param {(signal: AbortSignal) => Promise<T>} ask @param {(answer: T) => void} show @param {() => void} retry
   * @param {AbortSignal} [own] ends it, rather than the next search
   */
  async #run(ask, show, retry, own) {
    this.#searching.abort();
    const newest = (this.#searching = new AbortController()).signal;
    const signal = own ?? newest;
    this.#lastSearch = Date.now();
    this.results.busy(true);
    try {
      const answer = await ask(signal);
      if (!signal.aborted) show(answer);
    } catch (error) {
      if (!newest.aborted && !api.isAbort(error)) this.results.fail(error, retry);
    }
  }

  /** Search with the box, or the whole picture. @param {Readonly<Box>|null} box */
  #search(box) {
    const [state, query] = [this.#state, this.#query];
    if (!state || !query) return;
    const { mode, filter } = state;
    if (mode === "shop") return this.#shopBox(box ?? WHOLE);
    const options = { box, filter };
    const again = () => this.#search(box);
    return this.#run(
      (signal) => api.search(mode, query, options, signal),
      (/** @type {api.Found} */ found) => {
        if (mode === "lens" && !box) this.#lensFound(found);
        this.#size(found);
        this.#remember(boxOrNull(this.crop.box));
        this.results.show(page(found), found, {
          noun: "match",
          nouns: "matches",
          products: false,
          more: async (cursor, signal) => page(await api.nextPage(mode, cursor, signal)),
          again,
        });
      },
      again,
    );
  }

  /** Outline what Lens found in the photo. @param {api.Found} found */
  #lensFound(found) {
    this.dots.set(found.objects ?? []);
    if (!found.box) return;
    this.crop.set(found.box, true);
    this.#mark(found.box);
  }

  /** Every object of the scene, each with its products. @param {Readonly<Box>|null} box the one to begin with */
  #shop(box) {
    const [state, query] = [this.#state, this.#query];
    if (!state || !query) return;
    const start = this.crop.box;
    this.#scene = null;
    this.#finding.abort();
    this.#finding = new AbortController();
    this.#run(
      (signal) => api.search("shop", query, { filter: state.filter }, signal),
      (/** @type {api.Looks} */ looks) => {
        const objects = arranged(looks.objects);
        const scene = (this.#scene = { ...looks, objects });
        this.#size(looks);
        this.dots.set(objects);
        this.tabs.set(objects, this.#imageUrl, this.#ratio);
        this.#mark(this.crop.box);
        if (this.crop.box !== start) return; // the person has moved it: that box is searched, or about to be
        this.#remember(box);
        const look = box ? objects.find((each) => overlap(each.box, box) > SAME) : objects[0];
        if (look) {
          this.#mark(look.box);
          this.crop.set(look.box);
          this.#showLook(look, scene);
        } else if (box) this.#shopBox(box);
        else this.#nothingDetected(looks.detector);
      },
      () => this.#shop(box),
      this.#finding.signal,
    );
  }

  /** @param {string|null} detector */
  #nothingDetected(detector) {
    const text = detector ? "Draw a box around what you want, and its products appear here." : "No object detector is installed on this server, so nothing is found by itself. Draw a box around what you want.";
    this.results.instead({ icon: "draw", title: detector ? "No objects found in this picture" : "Show what you are looking for", text, actions: [button("Draw a box", () => this.#draw(), "draw", "button primary")] });
  }

  /** Products for one box, drawn or adjusted by hand. @param {Readonly<Box>} box */
  #shopBox(box) {
    const [state, query] = [this.#state, this.#query];
    if (!state || !query) return;
    this.#run(
      (signal) => api.search("shop", query, { boxes: [box], filter: state.filter }, signal),
      (/** @type {api.Looks} */ looks) => {
        this.#remember(box);
        if (looks.objects[0]) this.#showLook(looks.objects[0], looks);
      },
      () => this.#shopBox(box),
    );
  }

  /** @param {Look} look @param {api.Head} head of the answer that it is in */
  #showLook({ matches, relevant, first }, head) {
    this.results.show({ matches, relevant }, head, { noun: "product", products: true, first });
  }

  /** The server knows the size of pictures that this browser cannot show. @param {api.Head} head */
  #size({ width, height }) {
    if (!this.frame.classList.contains("no-preview") || !width || !height) return;
    this.#ratio = width / height;
    style(this.frame, { "--ratio": this.#ratio });
  }

  /** @param {Readonly<Box>|null} box */
  #remember(box) {
    if (!this.#state) return;
    const { mode, item, picture, collection } = this.#state;
    const name = this.title.textContent ?? "";
    remember({ state: { mode, item, picture, collection, box: box && [...box] }, name, image: this.#item?.thumbnail_url ?? null, ratio: this.#ratio, at: Date.now() });
  }
}

/** What has no product category comes after the rest; every look knows the place of its first match in the answer. @param {Look[]} looks */
function arranged(looks) {
  let next = 0;
  const placed = looks.map((look) => {
    const first = next;
    next += look.matches.length;
    return { ...look, first };
  });
  return placed.toSorted((a, b) => Number(!a.category) - Number(!b.category));
}

/** @param {api.Found} found */
const page = ({ matches, relevant, next_cursor }) => ({ matches, relevant, next: next_cursor });

/** @param {Readonly<Box>} box @returns {Readonly<Box>|null} null is the whole picture */
const boxOrNull = (box) => (isWhole(box) ? null : box);

/** Hand the link on: the phone's share sheet, or the clipboard. @param {string} title */
async function share(title) {
  const url = new URL(href(current()), location.href).href;
  try {
    if (navigator.share && matchMedia("(pointer: coarse)").matches) return await navigator.share({ title, url });
    await navigator.clipboard.writeText(url);
    toast("Link copied");
  } catch (error) {
    if (!api.isAbort(error)) toast("The link is in the address bar");
  }
}
