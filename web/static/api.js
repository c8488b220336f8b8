/**
 * The HTTP API, as the page uses it; /docs describes it in full.
 *
 * @typedef {import("./box.js").Box} Box
 * @typedef {{title?: string, price?: number, price_currency?: string, availability?: string, seller?: string, url?: string}} Product
 * @typedef {{id: number, width: number, height: number, metadata: Record<string, unknown>, product: Product|null, image_url: string, thumbnail_url: string}} Item
 * @typedef {{item: number, region: number, box: Box, distance: number, score: number, closeness: string, duplicates: number,
 *            width: number, height: number, metadata: Record<string, unknown>, product: Product|null, image_url: string, thumbnail_url: string}} Match
 * @typedef {{box: Box, label: string, category: string|null, score: number}} Detected
 * @typedef {Detected & {matches: Match[], relevant?: number, first?: number}} Look
 * @typedef {{query_id: string, mode: string, collection: string, model: string, generation: number, score: string, width: number, height: number, box?: Box|null,
 *            took: Record<string, number>, coverage?: number, logged: boolean}} Head
 * @typedef {Head & {matches: Match[], relevant: number, next_cursor: string|null, objects?: Detected[]}} Found
 * @typedef {Head & {detector: string|null, objects: Look[]}} Looks
 * @typedef {{key: string, type: "text"|"number"|"boolean", count: number, distinct: number, values: {value: any, count: number}[], min: number|null, max: number|null}} Facet
 * @typedef {{item: number}|{blob: Blob}} Query
 * @typedef {{box?: Readonly<Box>|null, boxes?: Readonly<Box>[], filter?: Record<string, any>, limit?: number}} Options
 */
import { boxToText } from "./box.js";
import { current } from "./state.js";

const BASE = new URL("api/v1/", document.baseURI);
const TIMEOUT = 30_000; // milliseconds

/** What went wrong with a request, in words for the person. */
export class Problem extends Error {
  /** @param {string} title @param {{detail?: string, status?: number, requestId?: string}} [more] status 0: the server was not reached */
  constructor(title, { detail = "", status = 0, requestId = "" } = {}) {
    super(title);
    this.detail = detail;
    this.status = status;
    this.requestId = requestId;
  }
}

/** Whether an error only says that its request is no longer wanted. @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * @param {string} path under /api/v1/
 * @param {{method?: string, json?: unknown, form?: FormData, query?: Record<string, unknown>, signal?: AbortSignal}} [options]
 */
async function request(path, { method = "GET", json, form, query = {}, signal } = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
  }
  const timeout = AbortSignal.timeout(TIMEOUT);
  let response;
  try {
    response = await fetch(url, {
      method,
      body: form ?? (json === undefined ? undefined : JSON.stringify(json)),
      headers: { accept: "application/json", ...(json !== undefined && { "content-type": "application/json" }) },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.ok) return await response.json();
  } catch (error) {
    if (isAbort(error)) throw error;
    if (timeout.aborted) throw new Problem("The server took too long", { detail: "It may be busy. Try again in a moment." });
    throw new Problem(navigator.onLine ? "The server cannot be reached" : "You are offline", {
      detail: navigator.onLine ? "Check that visearch is still running, then try again." : "Connect again, then try once more.",
    });
  }
  throw await problemOf(response);
}

/** @param {Response} response an RFC 9457 answer, or what a proxy put in its place */
async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const fields = (body.errors ?? []).map((/** @type {any} */ error) => error.message).filter(Boolean);
  const titles = { 404: "This is not in the collection", 413: "This picture is too large", 415: "This kind of file cannot be read", 429: "The server is busy", 503: "The server is not ready yet" };
  return new Problem(titles[/** @type {413} */ (response.status)] ?? body.title ?? "Something went wrong", {
    detail: body.detail || fields.join(" ") || `The server answered ${response.status}.`,
    status: response.status,
    requestId: body.request_id ?? "",
  });
}

/** @param {Record<string, any>|undefined} filter */
const filled = (filter) => (filter && Object.keys(filter).length ? filter : undefined);

/**
 * @param {import("./state.js").Mode} mode @param {Query} query @param {Options} options @param {AbortSignal} [signal]
 * @returns {Promise<any>} Found, or Looks for "shop"
 */
export async function search(mode, query, { box, boxes, filter, limit = 30 }, signal) {
  const options = { box: box ?? undefined, boxes, filter: filled(filter), limit, collection: current().collection ?? undefined };
  const path = `search/${mode}`;
  if ("item" in query) return request(path, { method: "POST", json: { item: query.item, ...options }, signal });
  return request(path, { method: "POST", form: form(query.blob, options), signal });
}

/** The next page of a query. @param {import("./state.js").Mode} mode @param {string} cursor @param {AbortSignal} [signal] @returns {Promise<Found>} */
export function nextPage(mode, cursor, signal) {
  return request(`search/${mode}`, { method: "POST", json: { cursor, limit: 30, collection: current().collection ?? undefined }, signal });
}

/** @param {Blob} blob @param {Options & {collection?: string}} [options] */
function form(blob, { box, boxes, filter, limit, collection } = {}) {
  const data = new FormData();
  data.set("image", blob, "picture");
  if (box) data.set("box", boxToText(box));
  if (boxes) data.set("boxes", JSON.stringify(boxes));
  if (filter) data.set("filter", JSON.stringify(filter));
  if (limit) data.set("limit", String(limit));
  if (collection) data.set("collection", collection);
  return data;
}

/**
 * A page of the collection. @param {{cursor?: string|null, limit?: number, filter?: Record<string, any>, product?: boolean}} options @param {AbortSignal} [signal]
 * @returns {Promise<{items: Item[], next_cursor: string|null, total?: number}>}
 */
export function items({ cursor, limit = 40, filter, product }, signal) {
  const text = filled(filter) && JSON.stringify(filter);
  return request("items", { query: { cursor, limit, filter: text, product, collection: current().collection }, signal });
}

/** @param {number} id @param {AbortSignal} [signal] @returns {Promise<Item>} */
export const item = (id, signal) => request(`items/${id}`, { query: { collection: current().collection }, signal });

/** What the detector finds. @param {Query} query @param {AbortSignal} [signal] @returns {Promise<{detector: string|null, objects: Detected[]}>} */
export function objects(query, signal) {
  const collection = current().collection;
  if ("item" in query) return request(`items/${query.item}/objects`, { query: { collection }, signal });
  return request("objects", { method: "POST", form: form(query.blob, { collection: collection ?? undefined }), signal });
}

/** @returns {Promise<{facets: Facet[]}>} */
export const facets = () => request("facets", { query: { collection: current().collection } });

/** @returns {Promise<{collections: {name: string, items: number}[]}>} */
export const collections = () => request("collections");

/** Tell the search log which match was opened, where one is kept. @param {Head} head @param {number} item @param {number} rank from 0, in the whole answer */
export function clicked(head, item, rank) {
  if (!head.logged) return;
  // The log is for the collection's keeper: a person's way is not held up by it.
  request("clicks", { method: "POST", json: { query_id: head.query_id, item, rank, collection: head.collection } }).catch(() => {});
}
