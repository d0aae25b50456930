// The messages of the conversation that is looked at: rows, the way to the end, older ones at the top.
//
// The element has role="log", so that those who listen find it by that name, but aria-live="off": it holds only the
// rows near what is seen, so rows come into the page by scrolling, by loading history and by being drawn again, and a
// live region would read all of these out as if they were said now. What is new is said by announcer.ts in a live log
// of its own, one sentence each.

import type { Change, Chat, Conversation, Entry } from "../core/api.ts";
import { byId, h, setText } from "./dom.ts";
import { icon } from "./icons.ts";
import { estimateHeight, type RowContext, rowElement } from "./row-element.ts";
import { buildRows } from "./rows.ts";
import { type Anchor, END, VirtualList } from "./virtual-list.ts";

const NEAR_TOP = 600; // pixels; older ones are asked for before the reader is at the top
const RETRY_AFTER = 3000; // ms until they are asked for again when that failed

export class MessageLog {
  readonly element = byId("log", HTMLElement);
  readonly #toEnd = byId("jump-to-end", HTMLButtonElement);
  readonly #loading = byId("loading", HTMLElement);
  readonly #list: VirtualList;
  readonly #anchors = new Map<string, Anchor>(); // where one was reading, by conversation
  readonly #expanded = new Map<string, Set<string>>();
  #shown = ""; // id of the conversation that is in the page
  #newBelow = 0; // came in while reading further up
  #firstNew = "";
  #isLoading = false; // for older ones
  #retryAt = 0; // ms of performance.now(); when older ones may be asked for again

  constructor(
    private readonly chat: Chat,
    unlock: () => void,
    private readonly onScroll: () => void, // called when the end came into sight, or went
  ) {
    const context: RowContext = {
      conversation: () => this.#conversation() as Conversation,
      expanded: new Set(),
      keepInPlace: (key) => this.#list.keepInPlace(key),
      retry: (entry) => this.chat.retry(this.#shown, entry.key),
      askPassphrase: unlock,
    };
    this.#list = new VirtualList(
      this.element,
      (row) => rowElement(row, { ...context, expanded: this.#expandedRows() }),
      estimateHeight,
      () => this.#onListScroll(),
    );
    this.element.tabIndex = 0; // what scrolls must be reachable by keyboard
    this.#toEnd.addEventListener("click", () => this.#list.toEnd());
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element && this.handleScrollKey(event)) event.preventDefault();
    });
  }

  get atEnd(): boolean {
    return this.#list.atEnd;
  }

  /** Scroll by a key, from the log or from the field below it; returns whether it is such a key. */
  handleScrollKey(event: KeyboardEvent): boolean {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
    const page = this.element.clientHeight * 0.85;
    if (event.key === "PageUp") this.#list.scrollBy(-page);
    else if (event.key === "PageDown") this.#list.scrollBy(page);
    else if (event.key === "Home") this.#list.scrollBy(-this.#list.scrollTop);
    else if (event.key === "End") this.#list.toEnd();
    else return false;
    return true;
  }

  /** What changed in the conversation that is shown; `update` draws it. */
  countNew(change: Change): void {
    if (change.type !== "added" || change.id !== this.#shown || this.#list.atEnd) return;
    this.#newBelow += change.entries.filter((entry) => countsAsUnread(entry)).length;
  }

  /** Something of one's own was said: go where it is. Whoever answers has read. */
  toEnd(): void {
    this.#firstNew = "";
    this.#list.toEnd();
  }

  /** "Today" is not today for ever. */
  redrawDates(): void {
    this.#list.redraw();
  }

  update(): void {
    const conversation = this.#conversation();
    if (!conversation) {
      this.#shown = "";
      this.#list.clear();
      return;
    }
    if (conversation.id !== this.#shown) this.#showConversation(conversation);
    const rows = buildRows(conversation.entries, !conversation.more, this.#firstNew);
    this.#list.show(rows);
    this.#onListScroll();
  }

  #showConversation(conversation: Conversation): void {
    if (this.#shown) this.#anchors.set(this.#shown, this.#list.anchor);
    this.#shown = conversation.id;
    this.#newBelow = 0;
    this.#retryAt = 0;
    this.#firstNew = conversation.unread ? firstUnreadKey(conversation) : conversation.firstUnread;
    this.#list.clear();
    const name = conversation.kind === "room" ? conversation.name : `whispers with ${conversation.name}`;
    this.element.setAttribute("aria-label", `Messages: ${name}`);
    const place = this.#anchors.get(conversation.id) ?? END;
    this.#showFrom(conversation, this.#firstNew && place.type === "end" ? this.#newLineAnchor() : place);
  }

  /** The page is seen again: what came meanwhile begins with the line for new ones. */
  pageShown(): void {
    const conversation = this.#conversation();
    if (!conversation?.unread || !this.#list.atEnd) return;
    this.#firstNew = firstUnreadKey(conversation);
    this.#showFrom(conversation, this.#newLineAnchor());
  }

  #showFrom(conversation: Conversation, place: Anchor): void {
    this.#list.show(buildRows(conversation.entries, !conversation.more, this.#firstNew), place);
  }

  /** The line for new ones and as much after it as there is room for, below some of what was read already. */
  #newLineAnchor(): Anchor {
    return { type: "row", key: "new", offset: Math.round(this.element.clientHeight / 4) };
  }

  #conversation(): Conversation | undefined {
    return this.chat.conversation(this.#shown === this.chat.current ? this.#shown : this.chat.current);
  }

  #expandedRows(): Set<string> {
    let expanded = this.#expanded.get(this.#shown);
    if (!expanded) {
      expanded = new Set();
      this.#expanded.set(this.#shown, expanded);
    }
    return expanded;
  }

  #onListScroll(): void {
    const { atEnd } = this.#list;
    if (atEnd) this.#newBelow = 0;
    if (atEnd !== this.#toEnd.hidden) {
      if (document.activeElement === this.#toEnd) this.element.focus({ preventScroll: true }); // it goes
      this.#toEnd.hidden = atEnd;
    }
    if (!atEnd) {
      const text = this.#newBelow
        ? `${this.#newBelow} new message${this.#newBelow > 1 ? "s" : ""}`
        : "To the end";
      if (this.#toEnd.textContent !== text) this.#toEnd.replaceChildren(icon("down"), h("span", {}, text));
    }
    this.onScroll();
    if (this.#list.scrollTop < NEAR_TOP) void this.#loadOlder();
  }

  async #loadOlder(): Promise<void> {
    const conversation = this.#conversation();
    if (!conversation?.more || this.#isLoading || performance.now() < this.#retryAt) return;
    if (this.chat.link.state !== "online") return;
    this.#isLoading = true;
    setText(this.#loading, "Loading older messages…");
    const before = conversation.entries.length;
    try {
      await this.chat.loadOlder(conversation.id);
      if (this.chat.conversation(conversation.id)?.entries.length === before)
        this.#retryAt = performance.now() + RETRY_AFTER;
    } catch {
      this.#retryAt = performance.now() + RETRY_AFTER;
    } finally {
      this.#isLoading = false;
      setText(this.#loading, "");
    }
  }
}

/** Key of the first of those that are unread still. */
function firstUnreadKey({ entries, unread }: Conversation): string {
  let at = entries.length;
  for (let left = unread; left > 0 && at > 0; ) {
    const entry = entries[--at];
    if (entry && countsAsUnread(entry)) left--;
  }
  return entries[at]?.key ?? "";
}

/** Whether it is something that is missed if it is not seen. */
export function countsAsUnread(entry: Entry): boolean {
  return (
    !entry.isHistory &&
    !entry.isOwn &&
    (entry.kind === "said" || entry.kind === "action" || entry.kind === "whisper")
  );
}
