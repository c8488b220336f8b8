/** The matches of a query: the relevant ones first, the looser ones behind a button, more as the person scrolls. */
import * as api from "./api.js";
import { matchCard, productCard } from "./cards.js";
import { announce, button, byId, h, notice } from "./dom.js";
import { Feed, problemNotice } from "./feed.js";
import { counted } from "./words.js";

/**
 * @typedef {import("./api.js").Match} Match
 * @typedef {{matches: Match[], relevant?: number, next?: string|null}} Page
 */

export class Results {
  failed = false; // the last search

  constructor() {
    this.element = byId("results");
    this.status = byId("results-status");
    const place = byId("results-feed");
    this.notice = h("div", {});
    this.looser = h("div", { class: "looser" });
    place.append(this.notice);
    this.feed = new Feed(place, { label: "Matches", captions: true, kind: "matches" });
    place.append(this.looser);
    this.looserFeed = new Feed(place, { label: "Looser matches", captions: true, kind: "matches" });
  }

  /** A new picture: nothing of the old one stays. */
  clear() {
    this.notice.replaceChildren();
    this.looser.replaceChildren();
    this.feed.reset();
    this.looserFeed.reset();
    this.say("");
  }

  /** Searching: skeletons the first time, then the last answer, dimmed. @param {boolean} on */
  busy(on) {
    clearTimeout(this.slow);
    this.element.setAttribute("aria-busy", String(on));
    if (!on) return;
    this.failed = false;
    if (!this.feed.list.children.length && !this.notice.children.length) this.feed.skeletons();
    this.slow = window.setTimeout(() => this.say("Still searching: the server is slow just now."), 3000);
  }

  /** @param {string} text */
  say(text) {
    this.status.textContent = text;
  }

  /**
   * @param {Page} page the first @param {api.Head} head
   * @param {{noun: string, nouns?: string, products: boolean, first?: number, more?: (cursor: string, signal: AbortSignal) => Promise<Page>, again?: () => void}} options
   * `first`: place of the first match in the answer; `again`: repeats the search
   */
  show(page, head, { noun, nouns = `${noun}s`, products, first = 0, more, again = () => {} }) {
    this.busy(false);
    this.notice.replaceChildren();
    this.looser.replaceChildren();
    this.looserFeed.reset();
    let rank = first;
    const cardsOf = (/** @type {Match[]} */ matches) =>
      matches.map((match) => {
        const at = rank++;
        return (products ? productCard : matchCard)(match, () => api.clicked(head, match.item, at));
      });
    const later = async (/** @type {string|null} */ cursor, /** @type {AbortSignal} */ signal) => {
      const following = await /** @type {NonNullable<typeof more>} */ (more)(String(cursor), signal);
      announce(`${counted(following.matches.length, noun, nouns)} more below`);
      return following;
    };
    const looseLater = async (/** @type {string|null} */ cursor, /** @type {AbortSignal} */ signal) => loosely(await later(cursor, signal));
    const loosely = (/** @type {Page} */ { matches, next = null }) => ({ cards: cardsOf(matches), next });
    /** The relevant ones of a page; from the first that is not, the rest waits behind a button. @param {Page} page */
    const closely = ({ matches, relevant = matches.length, next = null }) => {
      const close = matches.slice(0, relevant);
      const rest = matches.slice(close.length);
      const cards = cardsOf(close);
      if (rest.length) this.#loose(rank === first, () => this.looserFeed.show(loosely({ matches: rest, next }), looseLater, again));
      return { cards, next: rest.length ? null : next };
    };
    this.feed.show(closely(page), async (cursor, signal) => closely(await later(cursor, signal)), again);
    const relevant = page.relevant ?? page.matches.length;
    const whole = relevant === page.matches.length;
    const count = relevant ? `${counted(relevant, noun, nouns)}${whole && page.next ? " and more" : ""}` : page.matches.length ? `No close ${noun}` : `No ${noun}`;
    const part = partly(head);
    this.status.replaceChildren(h("strong", {}, count), ` in ${milliseconds(head)} ms`, part);
    announce(count + part);
    if (page.matches.length === 0) {
      this.notice.replaceChildren(notice({ icon: "picture", title: "Nothing found", text: "Try a larger part of the picture, or remove a filter." }));
    }
  }

  /** Matches below the cut: shown at once where there is nothing better. @param {boolean} open @param {() => void} show */
  #loose(open, show) {
    const reveal = () => {
      this.looser.replaceChildren(h("h2", { class: "divider" }, open ? "Nothing here is close. The nearest are:" : "Looser matches"));
      show();
    };
    if (open) reveal();
    else this.looser.replaceChildren(button("Show looser matches", reveal, "down", "button wide"));
  }

  /** @param {unknown} error @param {() => void} retry */
  fail(error, retry) {
    this.clear();
    this.busy(false);
    this.failed = true;
    const shown = problemNotice(error, retry);
    this.notice.replaceChildren(shown);
    announce(shown.textContent ?? "");
  }

  /** Say something in place of results. @param {Parameters<typeof notice>[0]} what */
  instead(what) {
    this.clear();
    this.busy(false);
    this.notice.replaceChildren(notice(what));
    announce(`${what.title}. ${what.text ?? ""}`);
  }
}

/** Said while a part of the collection cannot be searched. @param {api.Head} head */
const partly = ({ coverage }) => (coverage === undefined ? "" : `. Only ${Math.floor(coverage * 100)}% of the collection could be searched: search again in a moment.`);

/** What a search took on the server. @param {api.Head} head */
function milliseconds({ took }) {
  const sum = took.total ?? Object.values(took).reduce((total, stage) => total + stage, 0);
  return sum < 10 ? sum.toFixed(1) : String(Math.round(sum));
}
