/**
 * What the page shows is in its URL: every view can be shared, and the back button works.
 * @typedef {import("./box.js").Box} Box
 * @typedef {"flashlight"|"lens"|"shop"} Mode
 * @typedef {{mode: Mode, item: number|null, picture: string|null, box: Box|null, filter: Record<string, any>, collection: string|null}} State
 * `item` is a picture of the collection, `picture` one of the person's own, kept on this device (pictures.js).
 */
import { boxFromText, boxToText } from "./box.js";

/** @returns {State} of the address bar */
export function current() {
  const query = new URLSearchParams(location.search);
  const mode = query.get("mode");
  const item = query.get("item");
  return {
    mode: mode === "lens" || mode === "shop" ? mode : "flashlight",
    item: item !== null && /^\d{1,15}$/.test(item) ? Number(item) : null,
    picture: query.get("picture"),
    box: boxFromText(query.get("box")),
    filter: filterFromText(query.get("filter")),
    collection: query.get("collection"),
  };
}

/** The URL of a state; what is at its default is left out. @param {Partial<State>} state */
export function href(state) {
  const query = new URLSearchParams();
  const { mode, item, picture, box, filter, collection } = state;
  if (mode && (mode !== "flashlight" || item != null || picture)) query.set("mode", mode);
  if (item != null) query.set("item", String(item));
  else if (picture) query.set("picture", picture);
  if (box) query.set("box", boxToText(box));
  if (filter && Object.keys(filter).length) query.set("filter", JSON.stringify(filter));
  if (collection) query.set("collection", collection);
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : location.pathname;
}

/** A state that starts afresh but keeps the collection. @param {Partial<State>} state */
export const fresh = (state) => ({ collection: current().collection, ...state });

/** @type {((state: State) => void)[]} */
const listeners = [];

/** @param {(state: State) => void} listener called at every change of place */
export function onChange(listener) {
  listeners.push(listener);
}

const tell = () => listeners.forEach((listener) => listener(current()));
addEventListener("popstate", tell);

/** Go to a state. @param {Partial<State>} state */
export function go(state) {
  history.pushState(null, "", href(state));
  tell();
}

/** Note a state in the address bar without a step in the history, and without telling (the view already shows it).
 * @param {Partial<State>} patch */
export function note(patch) {
  history.replaceState(history.state, "", href({ ...current(), ...patch }));
}

/** @param {string|null} text @returns {Record<string, any>} */
function filterFromText(text) {
  try {
    const value = JSON.parse(text ?? "{}");
    return value && typeof value === "object" && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}
