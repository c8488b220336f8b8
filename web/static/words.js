/** Data in plain words: names, prices, stock, closeness. */

/** @typedef {import("./api.js").Item|import("./api.js").Match} Shown */

/** @param {Shown} shown */
export const idOf = (shown) => ("id" in shown ? shown.id : shown.item);

/** @param {Shown} shown @returns {string} its title, else its label, else its number */
export function nameOf(shown) {
  const { product, metadata = {} } = shown;
  for (const name of [product?.title, metadata.title, metadata.name, metadata.label, metadata.category, metadata.room]) {
    if (typeof name === "string" && name.trim()) return capital(name.trim());
  }
  return `Picture ${idOf(shown)}`;
}

/** @param {import("./api.js").Product|null|undefined} product @returns {string} in the person's own way of writing money */
export function priceOf(product) {
  const { price, price_currency: currency } = product ?? {};
  if (typeof price !== "number" || !Number.isFinite(price)) return "";
  try {
    return new Intl.NumberFormat(undefined, {
      style: "currency",
      currency,
      ...(Number.isInteger(price) && { minimumFractionDigits: 0 }),
    }).format(price);
  } catch {
    return [new Intl.NumberFormat().format(price), currency].filter(Boolean).join(" ");
  }
}

/** @param {import("./api.js").Product|null|undefined} product @returns {{text: string, tone: "good"|"bad"|"neutral"}|null} */
export function stockOf(product) {
  const given = product?.availability;
  if (typeof given !== "string" || !given.trim()) return null;
  const key = given.replace(/^https?:\/\/schema\.org\//i, "").replaceAll(/[^a-z]/gi, "").toLowerCase();
  if (key === "instock") return { text: "In stock", tone: "good" };
  if (["outofstock", "soldout", "discontinued"].includes(key)) return { text: "Out of stock", tone: "bad" };
  if (["limitedavailability", "lowstock"].includes(key)) return { text: "Few left", tone: "neutral" };
  if (["preorder", "presale"].includes(key)) return { text: "Pre-order", tone: "neutral" };
  if (key === "backorder") return { text: "Back-order", tone: "neutral" };
  return { text: given, tone: "neutral" };
}

/** @param {string|undefined} url @returns {string|null} only an address of the web may become a link */
export function webUrl(url) {
  try {
    const parsed = new URL(String(url));
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/** @type {Record<string, number>} marks of four */
const LEVELS = { "very close": 4, close: 3, similar: 2, "loosely similar": 1 };

/** How many of four marks a closeness has. @param {string} closeness */
export const closenessLevel = (closeness) => LEVELS[closeness] ?? 1;

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A metadata key as a heading: `price_currency` -> "Price currency". @param {string} key */
export const heading = (key) => capital(key.replaceAll(/[_-]+/g, " ").trim());

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${new Intl.NumberFormat().format(count)} ${count === 1 ? one : many}`;

/** @param {number} then milliseconds since 1970 */
export function ago(then) {
  const minutes = Math.round((Date.now() - then) / 60_000);
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  if (minutes < 1) return "just now";
  if (minutes < 60) return format.format(-minutes, "minute");
  if (minutes < 60 * 24) return format.format(-Math.round(minutes / 60), "hour");
  return format.format(-Math.round(minutes / 60 / 24), "day");
}
