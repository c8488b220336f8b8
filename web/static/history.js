/** What was searched on this device, newest first; it never leaves it. */
import { cropped, link } from "./cards.js";
import { button, byId, h, icon } from "./dom.js";
import { WHOLE } from "./box.js";
import { forgetAll, kept } from "./pictures.js";
import { go, href } from "./state.js";
import { ago } from "./words.js";

const KEY = "visearch.history";
const MOST = 40; // entries

/**
 * @typedef {import("./state.js").State} State
 * @typedef {{state: Pick<State, "mode"|"item"|"picture"|"box"|"collection">, name: string, image: string|null, ratio: number, at: number}} Entry
 * `image` is the URL of an item's thumbnail; a person's own picture comes from pictures.js.
 */

/** @returns {Entry[]} */
function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(entries) ? entries.filter((entry) => entry?.state && typeof entry.name === "string") : [];
  } catch {
    return [];
  }
}

/** @param {Entry[]} entries */
function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries.slice(0, MOST)));
  } catch {
    // storage is off or full: no history
  }
}

/** @param {Entry} entry */
const subject = ({ state: { mode, item, picture, collection } }) => JSON.stringify([mode, item, picture, collection]);

/** Remember a query; one entry per picture and mode, with its last box. @param {Entry} entry */
export function remember(entry) {
  write([entry, ...read().filter((other) => subject(other) !== subject(entry))]);
}

const MODES = { flashlight: "Look-alikes", lens: "Lens", shop: "Shop the look" };

/** Wire up the panel. */
export function listen() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("history"));
  byId("history-open").addEventListener("click", () => { dialog.showModal(); render(dialog); });
}

/** @param {HTMLDialogElement} dialog */
async function render(dialog) {
  const body = byId("history-body");
  const entries = read();
  if (entries.length === 0) {
    body.replaceChildren(h("p", { class: "small" }, "Nothing yet. What you search for is listed here, on this device only."));
    return;
  }
  const rows = await Promise.all(entries.map((entry) => row(entry, dialog)));
  const clear = button("Clear history", () => { write([]); forgetAll(); render(dialog); }, "trash", "button quiet");
  body.replaceChildren(h("ul", { class: "past" }, ...rows), clear);
}

/** @param {Entry} entry @param {HTMLDialogElement} dialog */
async function row(entry, dialog) {
  const { state, name, image, ratio, at } = entry;
  const blob = state.picture ? await kept(state.picture) : null;
  const url = blob ? URL.createObjectURL(blob) : image;
  if (blob) dialog.addEventListener("close", () => URL.revokeObjectURL(String(url)), { once: true });
  const view = url ? cropped(url, state.box ?? WHOLE, ratio) : h("span", { class: "cropped" }, icon("picture"));
  return h(
    "li",
    {},
    link(href(state), () => { dialog.close(); go(state); }, { class: "past-link" }, view, h("span", { class: "past-text" }, h("span", { class: "title" }, name), h("span", { class: "small" }, `${MODES[state.mode] ?? ""}${state.box ? ", a part" : ""} · ${ago(at)}`))),
    h("button", { type: "button", class: "icon-button", "aria-label": `Remove ${name} from the history`, onclick: () => { write(read().filter((other) => subject(other) !== subject(entry))); render(dialog); } }, icon("close")),
  );
}
