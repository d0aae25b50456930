// The messages of the conversation that is looked at: rows, the way to the end, older ones at the top.
//
// The element has role="log", so that those who listen find it by that name, but aria-live="off": it holds only the
// rows near what is seen, so rows come into the page by scrolling, by loading history and by being drawn again, and a
// live region would read all of these out as if they were said now. What is new is said by announcer.ts in a live log
// of its own, one sentence each.

import type { Change, Chat, Conversation, Entry } from "../core/api.ts";
import { h, part, say } from "./dom.ts";
import { icon } from "./icons.ts";
import { type Anchor, END, VirtualList } from "./list.ts";
import { type Around, guessHeight, rowElement } from "./row.ts";
import { layOut } from "./rows.ts";

const NEAR_TOP = 600; // pixels; older ones are asked for before the reader is at the top
const PAUSE = 3000; // ms until they are asked for again when that failed

export class Log {
  readonly element = part("log", HTMLElement);
  readonly #toEnd = part("to-end", HTMLButtonElement);
  readonly #loading = part("loading", HTMLElement);
  readonly #list: VirtualList;
  readonly #places = new Map<string, Anchor>(); // where one was reading, by conversation
  readonly #unfolded = new Map<string, Set<string>>();
  #shown = ""; // id of the conversation that is in the page
  #missed = 0; // came in while reading further up
  #firstNew = "";
  #asking = false; // for older ones
  #notBefore = 0; // ms of performance.now(); when older ones may be asked for again

  constructor(
    private readonly chat: Chat,
    unlock: () => void,
    private readonly seen: () => void, // called when the end came into sight, or went
  ) {
    const around: Around = {
      conversation: () => this.#conversation() as Conversation,
      unfolded: new Set(),
      hold: (key) => this.#list.hold(key),
      retry: (entry) => this.chat.retry(this.#shown, entry.key),
      unlock,
    };
    this.#list = new VirtualList(
      this.element,
      (row) => rowElement(row, { ...around, unfolded: this.#folds() }),
      guessHeight,
      () => this.#moved(),
    );
    this.element.tabIndex = 0; // what scrolls must be reachable by keyboard
    this.#toEnd.addEventListener("click", () => this.#list.toEnd());
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element && this.key(event)) event.preventDefault();
    });
  }

  get atEnd(): boolean {
    return this.#list.atEnd;
  }

  /** Scroll by a key, from the log or from the field below it; returns whether it is such a key. */
  key(event: KeyboardEvent): boolean {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
    const page = this.element.clientHeight * 0.85;
    if (event.key === "PageUp") this.#list.scrollBy(-page);
    else if (event.key === "PageDown") this.#list.scrollBy(page);
    else if (event.key === "Home") this.#list.scrollBy(-this.#list.before);
    else if (event.key === "End") this.#list.toEnd();
    else return false;
    return true;
  }

  /** What changed in the conversation that is shown; `update` draws it. */
  note(change: Change): void {
    if (change.what !== "added" || change.id !== this.#shown || this.#list.atEnd) return;
    this.#missed += change.entries.filter((entry) => counts(entry)).length;
  }

  /** Something of one's own was said: go where it is. Whoever answers has read. */
  toEnd(): void {
    this.#firstNew = "";
    this.#list.toEnd();
  }

  /** "Today" is not today for ever. */
  newDay(): void {
    this.#list.redraw();
  }

  update(): void {
    const conversation = this.#conversation();
    if (!conversation) {
      this.#shown = "";
      this.#list.clear();
      return;
    }
    if (conversation.id !== this.#shown) this.#turnTo(conversation);
    const rows = layOut(conversation.entries, !conversation.more, this.#firstNew);
    this.#list.show(rows);
    this.#moved();
  }

  #turnTo(conversation: Conversation): void {
    if (this.#shown) this.#places.set(this.#shown, this.#list.anchor);
    this.#shown = conversation.id;
    this.#missed = 0;
    this.#notBefore = 0;
    this.#firstNew = conversation.unread ? firstOfNew(conversation) : conversation.firstUnread;
    this.#list.clear();
    const name = conversation.kind === "room" ? conversation.name : `whispers with ${conversation.name}`;
    this.element.setAttribute("aria-label", `Messages: ${name}`);
    const place = this.#places.get(conversation.id) ?? END;
    this.#showFrom(conversation, this.#firstNew && place.at === "end" ? this.#atNew() : place);
  }

  /** The page is seen again: what came meanwhile begins with the line for new ones. */
  returned(): void {
    const conversation = this.#conversation();
    if (!conversation?.unread || !this.#list.atEnd) return;
    this.#firstNew = firstOfNew(conversation);
    this.#showFrom(conversation, this.#atNew());
  }

  #showFrom(conversation: Conversation, place: Anchor): void {
    this.#list.show(layOut(conversation.entries, !conversation.more, this.#firstNew), place);
  }

  /** The line for new ones and as much after it as there is room for, below some of what was read already. */
  #atNew(): Anchor {
    return { at: "row", key: "new", offset: Math.round(this.element.clientHeight / 4) };
  }

  #conversation(): Conversation | undefined {
    return this.chat.conversation(this.#shown === this.chat.current ? this.#shown : this.chat.current);
  }

  #folds(): Set<string> {
    let folds = this.#unfolded.get(this.#shown);
    if (!folds) {
      folds = new Set();
      this.#unfolded.set(this.#shown, folds);
    }
    return folds;
  }

  #moved(): void {
    const { atEnd } = this.#list;
    if (atEnd) this.#missed = 0;
    if (atEnd !== this.#toEnd.hidden) {
      if (document.activeElement === this.#toEnd) this.element.focus({ preventScroll: true }); // it goes
      this.#toEnd.hidden = atEnd;
    }
    if (!atEnd) {
      const text = this.#missed ? `${this.#missed} new message${this.#missed > 1 ? "s" : ""}` : "To the end";
      if (this.#toEnd.textContent !== text) this.#toEnd.replaceChildren(icon("down"), h("span", {}, text));
    }
    this.seen();
    if (this.#list.before < NEAR_TOP) void this.#older();
  }

  async #older(): Promise<void> {
    const conversation = this.#conversation();
    if (!conversation?.more || this.#asking || performance.now() < this.#notBefore) return;
    if (this.chat.link.state !== "online") return;
    this.#asking = true;
    say(this.#loading, "Loading older messages…");
    const had = conversation.entries.length;
    try {
      await this.chat.older(conversation.id);
      if (this.chat.conversation(conversation.id)?.entries.length === had)
        this.#notBefore = performance.now() + PAUSE;
    } catch {
      this.#notBefore = performance.now() + PAUSE;
    } finally {
      this.#asking = false;
      say(this.#loading, "");
    }
  }
}

/** Key of the first of those that are unread still. */
function firstOfNew({ entries, unread }: Conversation): string {
  let at = entries.length;
  for (let left = unread; left > 0 && at > 0; ) {
    const entry = entries[--at];
    if (entry && counts(entry)) left--;
  }
  return entries[at]?.key ?? "";
}

/** Whether it is something that is missed if it is not seen. */
export function counts(entry: Entry): boolean {
  return (
    !entry.old &&
    !entry.mine &&
    (entry.kind === "said" || entry.kind === "action" || entry.kind === "whisper")
  );
}
