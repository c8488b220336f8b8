/** Pages of cards that come as the person scrolls. */
import { Problem, isAbort } from "./api.js";
import { skeletons } from "./cards.js";
import { button, h, notice } from "./dom.js";
import { choosePicture } from "./intake.js";
import { Masonry } from "./masonry.js";

const AHEAD = "1200px"; // the next page is asked for this far before its place is reached

/** @typedef {{cards: HTMLElement[], next: string|null}} Page */

export class Feed {
  /** @type {AbortController|null} */
  #loading = null;
  /** @type {string|null} */
  #next = null;
  /** @type {((cursor: string|null, signal: AbortSignal) => Promise<Page>)|null} */
  #load = null;
  #again = () => {};

  /** @param {HTMLElement} place gets the list @param {{label: string, captions?: boolean, kind?: string}} options */
  constructor(place, { label, captions = false, kind = "" }) {
    this.captions = captions;
    this.list = h("ul", { class: `masonry ${kind}`, "aria-label": label });
    this.sentinel = h("div", { class: "sentinel", hidden: true }, h("span", { class: "spinner" }));
    this.trouble = h("div", {});
    place.append(this.list, this.trouble, this.sentinel);
    this.masonry = new Masonry(this.list);
    this.observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.more(), { rootMargin: AHEAD });
  }

  /** Something to look at until the first page comes. */
  skeletons() {
    this.masonry.append(skeletons(15, this.captions));
  }

  /** Start over with skeletons. @param {(cursor: string|null, signal: AbortSignal) => Promise<Page>} load @returns {Promise<void>} settled when the first page is shown */
  start(load) {
    this.reset();
    this.skeletons();
    this.list.setAttribute("aria-busy", "true");
    this.#again = () => this.start(load);
    return this.#page(load, null);
  }

  /**
   * Show a first page that is here already. @param {Page} page
   * @param {(cursor: string|null, signal: AbortSignal) => Promise<Page>} load @param {() => void} again repeats what gave the first page
   */
  show(page, load, again) {
    this.reset();
    this.#again = again;
    this.masonry.append(page.cards);
    this.#follow(page.next, load);
  }

  reset() {
    this.#loading?.abort();
    this.#loading = null;
    this.#follow(null, null);
    this.list.removeAttribute("aria-busy");
    this.trouble.replaceChildren();
    this.masonry.clear();
  }

  /** The next page, unless one is on its way or there is none. */
  more() {
    if (!this.#loading && this.#next && this.#load) this.#page(this.#load, this.#next);
  }

  /** @param {string|null} next @param {((cursor: string|null, signal: AbortSignal) => Promise<Page>)|null} load */
  #follow(next, load) {
    this.#next = next;
    this.#load = load;
    this.#watch();
  }

  /** Ask for the next page when its place comes near. An observer tells of changes only, and a short page may leave the place as near as it was: so it begins anew. */
  #watch() {
    this.sentinel.hidden = !this.#next;
    this.observer.unobserve(this.sentinel);
    if (this.#next) this.observer.observe(this.sentinel);
  }

  /** @param {(cursor: string|null, signal: AbortSignal) => Promise<Page>} load @param {string|null} cursor */
  async #page(load, cursor) {
    const loading = (this.#loading = new AbortController());
    try {
      const { cards, next } = await load(cursor, loading.signal);
      if (loading.signal.aborted) return;
      if (cursor === null) this.masonry.clear();
      this.masonry.append(cards);
      this.#follow(next, load);
    } catch (error) {
      if (isAbort(error) || loading.signal.aborted) return;
      if (cursor === null) this.masonry.clear();
      this.sentinel.hidden = true;
      const retry = () => {
        this.trouble.replaceChildren();
        this.#watch();
        this.#page(load, cursor);
      };
      const forgotten = cursor !== null && error instanceof Problem && error.status === 422;
      this.trouble.replaceChildren(forgotten ? expired(this.#again) : problemNotice(error, retry));
    } finally {
      if (this.#loading === loading) this.#loading = null;
      this.list.removeAttribute("aria-busy");
    }
  }
}

/** The server keeps the pages of the latest searches only. @param {() => void} again */
const expired = (again) => notice({ icon: "alert", title: "These results have expired", text: "Search again to see more of them.", actions: [button("Search again", again, "retry")] });

/** What went wrong, and a way on. @param {unknown} error @param {() => void} retry */
export function problemNotice(error, retry) {
  const problem = error instanceof Problem ? error : new Problem("Something went wrong", { detail: String(error) });
  const final = [404, 413, 415, 422].includes(problem.status);
  return notice({
    icon: problem.status === 0 ? "offline" : "alert",
    title: problem.message,
    text: problem.detail,
    tone: "error",
    small: problem.requestId && `Request ${problem.requestId}`,
    actions: final ? [button("Choose another picture", choosePicture, "upload")] : [button("Try again", retry, "retry")],
  });
}
