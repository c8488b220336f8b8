/** Filters from the metadata that the collection has: quick chips over the grid, and a panel with all of them. */
import * as api from "./api.js";
import { button, byId, h, icon } from "./dom.js";
import { current, go } from "./state.js";
import { capital, heading } from "./words.js";

/** @typedef {import("./api.js").Facet} Facet */

const QUICK_KEYS = ["category", "label", "room", "type", "class"]; // first choice for the chips
const FIRST_KEYS = ["category", "label", "room", "price", "availability", "seller", "color"]; // of the panel, before the others
const MOST_CHIPS = 24;

/** @type {Promise<Facet[]>|null} */
let asked = null;
let askedFor = "";

/** The facets worth filtering by. @returns {Promise<Facet[]>} */
function facets() {
  const collection = current().collection ?? "";
  if (!asked || askedFor !== collection) {
    askedFor = collection;
    asked = api.facets().then(({ facets: all }) => sorted(all.filter(useful))).catch(() => {
      asked = null; // asked again next time
      return [];
    });
  }
  return asked;
}

/** Whether a facet is a range of numbers, rather than a choice of values. @param {Facet} facet */
const isRange = ({ type, min, max, distinct }) => type === "number" && min !== max && distinct > 6;

/** @param {Facet} facet */
const useful = (facet) => isRange(facet) || (facet.values.length > 1 && facet.values.some(({ count }) => count > 1) && facet.distinct <= facet.count / 2);

/** What people look for first comes first; of two keys with the same values (label and category) one is enough. @param {Facet[]} all */
function sorted(all) {
  const place = (/** @type {Facet} */ { key }) => (FIRST_KEYS.indexOf(key) + FIRST_KEYS.length + 1) % (FIRST_KEYS.length + 1);
  const ordered = all.toSorted((a, b) => place(a) - place(b));
  const same = (/** @type {Facet} */ { values, count }) => JSON.stringify([values, count]);
  return ordered.filter((facet, index) => ordered.findIndex((other) => same(other) === same(facet)) === index);
}

/** @param {unknown} condition @returns {any[]} the values that a condition allows */
const allowed = (condition) => (Array.isArray(condition) ? condition : condition === undefined || (condition !== null && typeof condition === "object") ? [] : [condition]);

/** @param {Record<string, any>} filter */
function apply(filter) {
  go({ ...current(), filter });
}

export const clearFilter = () => apply({});

/** The filter with one value of a key switched. @param {Record<string, any>} filter @param {string} key @param {any} value */
function toggled(filter, key, value) {
  const values = allowed(filter[key]);
  const left = values.includes(value) ? values.filter((other) => other !== value) : [...values, value];
  const { [key]: _, ...rest } = filter;
  return left.length ? { ...rest, [key]: left } : rest;
}

/** The filter with one bound of a key set, or (NaN) taken away. @param {Record<string, any>} filter @param {string} key @param {string} bound @param {number} value */
function bounded(filter, key, bound, value) {
  const { [bound]: _, exists, ...others } = allowed(filter[key]).length ? {} : (filter[key] ?? {});
  const range = Number.isNaN(value) ? others : { ...others, [bound]: value };
  return Object.keys(range).length ? { ...filter, [key]: range } : toggledAll(filter, key);
}

/** The commonest values of the most telling key. @param {HTMLElement} place @param {import("./state.js").State} state @param {boolean} scenes rooms, not products */
export async function quickChips(place, state, scenes) {
  const all = await facets();
  if (state.collection !== current().collection) return; // another collection was chosen meanwhile
  const texts = all.filter(({ type }) => type === "text");
  const keys = scenes ? ["room", "scene", "place"] : QUICK_KEYS;
  const facet = keys.map((key) => texts.find((candidate) => candidate.key === key)).find(Boolean) ?? (scenes ? undefined : texts[0]);
  const focused = /** @type {HTMLElement|null} */ (place.contains(document.activeElement) ? document.activeElement : null)?.dataset.value;
  place.hidden = !facet;
  if (!facet) return place.replaceChildren();
  const chosen = allowed(state.filter[facet.key]);
  const values = facet.values.slice(0, MOST_CHIPS).map(({ value }) => value);
  place.setAttribute("aria-label", heading(facet.key));
  place.replaceChildren(
    chip("All", chosen.length === 0, () => apply(toggledAll(state.filter, facet.key)), ""),
    ...values.map((value) => chip(capital(String(value)), chosen.includes(value), () => apply(toggled(current().filter, facet.key, value)), String(value))),
  );
  if (focused !== undefined) place.querySelectorAll("button").forEach((element) => element.dataset.value === focused && element.focus());
}

/** @param {Record<string, any>} filter @param {string} key */
const toggledAll = (filter, key) => Object.fromEntries(Object.entries(filter).filter(([name]) => name !== key));

/** @param {string} text @param {boolean} pressed @param {() => void} onclick @param {string} value */
const chip = (text, pressed, onclick, value) => h("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick, "data-value": value }, text);

/** Chips that take one condition away. @param {HTMLElement} place @param {Record<string, any>} filter */
export function activeChips(place, filter) {
  const entries = Object.entries(filter).flatMap(([key, condition]) => {
    const values = allowed(condition);
    if (values.length) return values.map((value) => ({ text: capital(String(value)), next: toggled(filter, key, value) }));
    return [{ text: rangeText(key, condition ?? {}), next: toggledAll(filter, key) }];
  });
  place.hidden = entries.length === 0;
  place.replaceChildren(
    ...entries.map(({ text, next }) => h("button", { type: "button", class: "chip removable", "aria-label": `Remove filter ${text}`, onclick: () => apply(next) }, text, icon("close"))),
  );
}

/** @param {string} key @param {Record<string, any>} range */
function rangeText(key, { gte, gt, lte, lt, exists }) {
  if (exists) return `With ${heading(key).toLowerCase()}`;
  const [from, to] = [gte ?? gt, lte ?? lt];
  if (from === undefined) return `${heading(key)} up to ${to}`;
  return to === undefined ? `${heading(key)} from ${from}` : `${heading(key)} ${from} to ${to}`;
}

/** How many conditions are on, beside the filter button. @param {Record<string, any>} filter */
export function showCount(filter) {
  const count = Object.keys(filter).length;
  const badge = byId("filter-count");
  badge.textContent = String(count);
  badge.hidden = count === 0;
  byId("filter-open").setAttribute("aria-label", count ? `Filters, ${count} on` : "Filters");
}

/** Open the panel. */
export async function openPanel() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("filters"));
  const body = byId("filters-body");
  dialog.showModal();
  body.replaceChildren(h("p", { class: "small" }, "Loading…"));
  const all = await facets();
  const filter = current().filter;
  body.replaceChildren(...(all.length ? all.map((facet) => section(facet, filter)) : [h("p", { class: "small" }, "There is nothing to filter by: the pictures carry no metadata, or it cannot be read right now.")]));
}

/** @param {Facet} facet @param {Record<string, any>} filter */
function section(facet, filter) {
  const { key, values, min, max } = facet;
  if (isRange(facet)) {
    const range = filter[key] ?? {};
    const field = (/** @type {string} */ text, /** @type {string} */ bound, /** @type {any} */ extreme) =>
      h("label", { class: "field" }, h("span", {}, text), h("input", { type: "number", step: "any", inputmode: "decimal", placeholder: extreme, value: range[bound], "data-key": key, "data-bound": bound }));
    return h("fieldset", {}, h("legend", {}, heading(key)), h("div", { class: "range" }, field("From", "gte", min), field("To", "lte", max)));
  }
  const chosen = allowed(filter[key]);
  const options = [
    ...chosen.map((value) => ({ value, count: values.find((each) => each.value === value)?.count })),
    ...values.filter(({ value }) => !chosen.includes(value)),
  ];
  return h(
    "fieldset",
    {},
    h("legend", {}, heading(key)),
    h(
      "div",
      { class: "options" },
      ...options.map(({ value, count }) =>
        h("label", { class: "option" }, h("input", { type: "checkbox", "data-key": key, "data-value": JSON.stringify(value), checked: chosen.includes(value) }), h("span", {}, capital(String(value))), h("span", { class: "small" }, count)),
      ),
    ),
  );
}

/** The filter with what the person changed in the panel: conditions that it has no field for stay. @returns {Record<string, any>} */
function readPanel() {
  let { filter } = current();
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (byId("filters-body").querySelectorAll("input"))) {
    const { key = "", value, bound } = input.dataset;
    if (bound && input.value !== input.defaultValue) filter = bounded(filter, key, bound, input.valueAsNumber);
    else if (value !== undefined && input.checked !== input.defaultChecked) filter = toggled(filter, key, JSON.parse(value));
  }
  return filter;
}

/** Wire up the panel. */
export function listen() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("filters"));
  byId("filter-open").addEventListener("click", openPanel);
  byId("filters-form").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    dialog.close();
    apply(readPanel());
  });
  byId("filters-clear").replaceWith(button("Clear all", () => { dialog.close(); clearFilter(); }, undefined, "button quiet"));
}
