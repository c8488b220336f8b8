/** The page: which view is shown, and what is there in all of them. */
import * as api from "./api.js";
import { byId, h, isPlainClick, toast } from "./dom.js";
import * as filters from "./filters.js";
import { Gallery } from "./gallery.js";
import * as past from "./history.js";
import * as intake from "./intake.js";
import { Lens } from "./lens.js";
import { current, fresh, go, href, onChange } from "./state.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./state.js").State} State */

const gallery = new Gallery();
const viewer = new Viewer();
const lens = new Lens();
/** @type {"gallery"|"viewer"|"camera"|null} */
let shown = null;
let steps = 0; // taken inside the page: whether Back stays in it
/** Where the gallery was left. */
const left = { scroll: 0, focus: /** @type {Element|null} */ (null) };

/** @param {State} state */
function render(state) {
  const name = state.item !== null || state.picture ? "viewer" : state.mode === "lens" ? "camera" : "gallery";
  if (shown === "gallery" && name !== "gallery") Object.assign(left, { scroll: scrollY, focus: document.activeElement });
  if (shown === "viewer" && name !== "viewer") viewer.hide();
  if (shown === "camera" && name !== "camera") lens.hide();
  for (const view of ["gallery", "viewer", "camera"]) byId(view).hidden = view !== name;
  document.body.dataset.view = name;
  document.body.dataset.mode = state.mode;
  document.querySelectorAll("nav a[data-mode]").forEach((element) => {
    const anchor = /** @type {HTMLAnchorElement} */ (element);
    anchor.href = href(fresh({ mode: modeOf(anchor) }));
    if (anchor.dataset.mode === state.mode) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  });
  showCollection(state);
  filters.showCount(state.filter);
  byId("filter-open").hidden = name === "camera";
  const moved = shown !== name;
  shown = name;
  if (name === "viewer") showViewer(state);
  else if (name === "camera") lens.show();
  else showGallery(state, moved);
  if (name !== "viewer") document.title = { flashlight: "visearch", lens: "Lens · visearch", shop: "Shop the look · visearch" }[state.mode];
  if (moved && name !== "gallery") scrollTo(0, 0);
}

/** @param {HTMLElement} element */
const modeOf = (element) => /** @type {import("./state.js").Mode} */ (element.dataset.mode);

let subject = "";
/** @param {State} state */
function showViewer(state) {
  const now = JSON.stringify([state.mode, state.item, state.picture]);
  viewer.show(state);
  if (now === subject) return;
  subject = now;
  scrollTo(0, 0);
  byId("viewer-title").focus({ preventScroll: true });
}

/** @param {State} state @param {boolean} returned from another view */
function showGallery(state, returned) {
  subject = "";
  const same = gallery.show(state);
  if (!same) scrollTo(0, 0);
  else if (returned) {
    requestAnimationFrame(() => {
      scrollTo(0, left.scroll);
      if (left.focus instanceof HTMLElement && left.focus.isConnected) left.focus.focus({ preventScroll: true });
    });
  }
}

/** Go back where the person came from, within the page. */
function back() {
  if (steps > 0) history.back();
  else go(fresh({ mode: current().mode }));
}

function listen() {
  history.scrollRestoration = "manual";
  onChange(render);
  onChange(() => steps++);
  addEventListener("popstate", () => (steps = Math.max(steps - 2, 0))); // after onChange counted it as a step
  document.querySelectorAll("nav a[data-mode], a.logo").forEach((element) =>
    element.addEventListener("click", (event) => {
      if (!isPlainClick(/** @type {MouseEvent} */ (event))) return;
      event.preventDefault();
      const anchor = /** @type {HTMLElement} */ (element);
      go(fresh({ mode: anchor.classList.contains("logo") ? "flashlight" : modeOf(anchor) }));
    }),
  );
  byId("viewer-back").addEventListener("click", back);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown === "viewer" && !document.querySelector("dialog[open]")) back();
  });
  for (const id of ["upload", "hero-upload"]) byId(id).addEventListener("click", intake.choosePicture);
  byId("hero-camera").addEventListener("click", () => go(fresh({ mode: "lens" })));
  for (const dialog of /** @type {NodeListOf<HTMLDialogElement>} */ (document.querySelectorAll("dialog"))) {
    dialog.addEventListener("click", (event) => (event.target === dialog || /** @type {Element} */ (event.target).closest("[data-close]")) && dialog.close());
  }
  byId("theme").addEventListener("click", switchTheme);
  addEventListener("offline", () => toast("You are offline"));
  addEventListener("online", () => toast("Back online"));
}

/** Light or dark, remembered where it differs from the system's. */
function switchTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  if (next === system) delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    if (next === system) localStorage.removeItem("visearch.theme");
    else localStorage.setItem("visearch.theme", next);
  } catch {
    // storage is off: the choice lasts as long as the page
  }
}

/** What is looked at; the first collection is the one where none is named. @param {State} state */
function showCollection(state) {
  const select = byId("collection");
  if (select.options.length) select.value = state.collection ?? select.options[0].value;
}

/** A choice of collections, where the server has several. */
async function offerCollections() {
  const { collections } = await api.collections();
  const select = byId("collection");
  if (collections.length < 2) return;
  select.append(...collections.map(({ name }) => h("option", { value: name }, name)));
  select.hidden = false;
  showCollection(current());
  select.addEventListener("change", () => go({ mode: current().mode, collection: select.value }));
}

intake.listen();
filters.listen();
past.listen();
listen();
render(current());
offerCollections().catch(() => {}); // the view itself says when the server cannot be reached
