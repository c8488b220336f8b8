/**
 * Cards: a picture of the collection, a match, a product.
 * @typedef {import("./api.js").Item} Item
 * @typedef {import("./api.js").Match} Match
 */
import { h, icon, isPlainClick, style } from "./dom.js";
import { current, fresh, go, href } from "./state.js";
import { capital, closenessLevel, counted, idOf, nameOf, priceOf, stockOf, webUrl } from "./words.js";

const THUMBNAIL = 192; // pixels, longest side
const SIDE = 480; // pixels, longest side of what the server makes for sharper screens

/** @param {Item|Match} shown @param {string} [sizes] */
export function photo(shown, sizes = "(max-width: 600px) 46vw, 240px") {
  const { width, height } = shown;
  const longest = Math.max(width, height);
  const across = (/** @type {number} */ side) => Math.round(width * Math.min(1, side / longest));
  const sharper = longest > SIDE ? `${shown.image_url}&side=${SIDE}` : shown.image_url;
  const image = h("img", {
    alt: nameOf(shown),
    loading: "lazy",
    decoding: "async",
    width,
    height,
    sizes,
    srcset: `${shown.thumbnail_url} ${across(THUMBNAIL)}w, ${sharper} ${across(SIDE)}w`,
    src: shown.thumbnail_url,
    // Of several candidates the browser tries one; the thumbnail is there when the original is not.
    onerror: () => (image.srcset ? image.removeAttribute("srcset") : image.closest(".photo")?.classList.add("broken")),
    onload: () => image.closest(".photo")?.classList.add("loaded"),
  });
  const frame = h("span", { class: "photo" }, image);
  style(frame, { "--ratio": Math.min(Math.max(width / height || 1, 0.5), 2) });
  return frame;
}

/** A link inside the page. @param {string} url @param {() => void} follow @param {Record<string, unknown>} attributes @param {...any} children */
export function link(url, follow, attributes, ...children) {
  return h("a", { href: url, ...attributes, onclick: (/** @type {MouseEvent} */ event) => { if (isPlainClick(event)) { event.preventDefault(); follow(); } } }, ...children);
}

/** A picture of the collection. @param {Item} item @param {import("./state.js").Mode} mode in which it opens */
export function itemCard(item, mode) {
  const state = fresh({ mode, item: item.id, filter: mode === current().mode ? current().filter : {} });
  const price = priceOf(item.product);
  const card = link(
    href(state),
    () => go(state),
    { class: "card" },
    photo(item),
    item.product && h("span", { class: "caption" }, h("span", { class: "title", "aria-hidden": "true" }, nameOf(item)), price && h("span", { class: "price" }, price)),
  );
  return h("li", {}, card);
}

/** A match: its picture opens it; the words say how close it is. @param {Match} match @param {() => void} opened */
export function matchCard(match, opened) {
  const state = fresh({ mode: "flashlight", item: match.item, filter: current().filter });
  const open = link(href(state), () => { opened(); go(state); }, { class: "card" }, photo(match));
  const { product } = match;
  const url = webUrl(product?.url);
  const stock = stockOf(product);
  const title = nameOf(match);
  return h(
    "li",
    {},
    open,
    h(
      "div",
      { class: "caption" },
      product && h("span", { class: "title" }, title),
      product && h("span", { class: "offer" }, h("span", { class: "price" }, priceOf(product)), stock && stock.tone !== "good" && h("span", { class: `stock stock-${stock.tone}` }, stock.text)),
      url && h("a", { class: "seller", href: url, target: "_blank", rel: "noopener nofollow", onclick: opened, "aria-label": `${title} at ${sellerOf(match, url)}, opens in a new tab` }, h("span", {}, sellerOf(match, url)), icon("out")),
      closeness(match),
    ),
  );
}

/** A product for sale: everything a person needs to decide. @param {Match} match @param {() => void} opened */
export function productCard(match, opened) {
  const { product } = match;
  const url = webUrl(product?.url);
  const stock = stockOf(product);
  const title = nameOf(match);
  const alike = fresh({ mode: "flashlight", item: match.item });
  return h(
    "li",
    { class: "product" },
    link(href(alike), () => { opened(); go(alike); }, { class: "card" }, photo(match)),
    h(
      "div",
      { class: "caption" },
      h("span", { class: "title" }, title),
      h("span", { class: "offer" }, h("span", { class: "price" }, priceOf(product)), stock && h("span", { class: `stock stock-${stock.tone}` }, stock.text)),
      closeness(match, ["more photo", "more photos"]),
      url && h("a", { class: "button visit", href: url, target: "_blank", rel: "noopener nofollow", onclick: opened, "aria-label": `${title} at ${sellerOf(match, url)}, opens in a new tab` }, h("span", {}, sellerOf(match, url)), icon("out")),
      !url && product?.seller && h("span", { class: "seller" }, product.seller),
    ),
  );
}

/** @param {Match} match @param {string} url */
const sellerOf = ({ product }, url) => product?.seller || new URL(url).hostname.replace(/^www\./, "");

/** Closeness in words beside its number, and what is folded into the match. @param {Match} match @param {string[]} folded one, many */
function closeness({ closeness: words, score, duplicates }, folded = ["near copy", "near copies"]) {
  const level = closenessLevel(words);
  return h(
    "span",
    { class: "closeness" },
    h("span", { class: `marks marks-${level}`, "aria-hidden": "true" }, h("i"), h("i"), h("i"), h("i")),
    h("span", {}, capital(words)),
    h("span", { class: "number" }, score.toFixed(2)),
    duplicates > 0 && h("span", { class: "twins" }, `+${counted(duplicates, ...folded)}`),
  );
}

/**
 * A round or square view of a part of a picture. @param {string} url @param {Readonly<import("./box.js").Box>} box
 * @param {number} ratio width over height of the whole picture
 */
export function cropped(url, [x0, y0, x1, y1], ratio) {
  const image = h("img", { src: url, alt: "", decoding: "async" });
  const [width, height] = [x1 - x0, y1 - y0];
  // Cover a unit square with the box: the shorter side of the box, in pixels, spans it.
  const unit = Math.min(width * ratio, height);
  const across = (ratio / unit) * 100;
  const down = (1 / unit) * 100;
  style(image, { width: `${across}%`, height: `${down}%`, left: `${50 - ((x0 + x1) / 2) * across}%`, top: `${50 - ((y0 + y1) / 2) * down}%` });
  return h("span", { class: "cropped" }, image);
}

/** Skeletons while the first cards come. @param {number} count @param {boolean} captions */
export function skeletons(count, captions) {
  return Array.from({ length: count }, (_, index) => {
    const frame = h("span", { class: "photo" });
    style(frame, { "--ratio": [1, 0.75, 1.25, 0.85, 1.1][index % 5] });
    return h("li", { class: "skeleton", "aria-hidden": "true" }, frame, captions && h("span", { class: "caption" }, h("span", { class: "bar" }), h("span", { class: "bar" })));
  });
}
