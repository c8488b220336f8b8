/** Small helpers over the DOM. Text only ever enters the page as text, so that no name in the data can become markup. */

/**
 * Make an element. Attributes that are null or false are left out; `on…` functions become listeners.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {any} the element (typed loosely: its kind follows from the tag)
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {any} */ (value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** @param {string} id an icon of the sprite in index.html */
export function icon(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${id}`);
  svg.append(use);
  return svg;
}

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return /** @type {any} */ (element);
}

/** Set CSS properties through the CSSOM (a style attribute would need CSP's unsafe-inline).
 * @param {HTMLElement} element
 * @param {Record<string, string|number>} properties */
export function style(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, String(value));
}

/** Say something to screen readers, politely. @param {string} text */
export function announce(text) {
  byId("announcer").textContent = text;
}

let toastTimer = 0;
/** A short visible message at the foot of the page, also announced. @param {string} text */
export function toast(text) {
  const element = byId("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => (element.hidden = true), 5000);
}

/**
 * A notice in place of results: what happened and what to do about it.
 * @param {{icon: string, title: string, text?: string, small?: string, actions?: Node[], tone?: "error"}} notice
 */
export function notice({ icon: name, title, text, small, actions = [], tone }) {
  return h(
    "div",
    { class: tone ? `notice notice-${tone}` : "notice" },
    icon(name),
    h("h2", {}, title),
    text && h("p", {}, text),
    actions.length > 0 && h("div", { class: "notice-actions" }, ...actions),
    small && h("p", { class: "small" }, small),
  );
}

/** @param {string} label @param {() => void} onclick @param {string} [name] icon @param {string} [kind] class */
export function button(label, onclick, name, kind = "button") {
  return h("button", { type: "button", class: kind, onclick }, name && icon(name), h("span", {}, label));
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Whether a click asks for a new tab or window, which the browser should do itself. @param {MouseEvent} event */
export const isPlainClick = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
