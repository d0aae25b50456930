// Message log of the open conversation: rows, a button to the end, older messages at the top.
//
// The element has role="log", so that screen readers find it, but aria-live="off". Rows enter the page by
// scrolling, by loading history and by redrawing, and a live region would read all of them as new.
// announcer.ts announces new entries in a live region of its own.

import type { Change, Chat, Conversation, Entry } from "../core/api.ts";
import { plainName } from "../core/text.ts";
import { byId, h, setText } from "./dom.ts";
import { icon } from "./icons.ts";
import { estimateHeight, type RowContext, rowElement } from "./row-element.ts";
import { buildRows } from "./rows.ts";
import { type Anchor, END, VirtualList } from "./virtual-list.ts";

const NEAR_TOP = 600; // pixels: load older messages before the reader reaches the top
const RETRY_AFTER = 3000; // ms before loading again after a failure

export class MessageLog {
  readonly element = byId("log", HTMLElement);
  readonly #toEnd = byId("jump-to-end", HTMLButtonElement);
  readonly #loading = byId("loading", HTMLElement);
  readonly #list: VirtualList;
  readonly #anchors = new Map<string, Anchor>(); // scroll positions, by conversation
  readonly #expanded = new Map<string, Set<string>>();
  #shown = ""; // id of the displayed conversation
  #newBelow = 0; // messages that arrived while the user reads further up
  #firstNew = "";
  #isLoading = false; // older messages
  #retryAt = 0; // ms of performance.now()

  constructor(
    private readonly chat: Chat,
    unlock: () => void,
    private readonly onScroll: () => void, // called when the end becomes visible or hidden
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
    this.element.tabIndex = 0; // a scrollable element must be reachable by keyboard
    this.#toEnd.addEventListener("click", () => this.#list.toEnd());
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element && this.handleScrollKey(event)) event.preventDefault();
    });
  }

  get atEnd(): boolean {
    return this.#list.atEnd;
  }

  /** Scroll by a key, in the log or in the input field. Return whether it is such a key. */
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

  /** Count the new messages below the visible ones; `update` draws them. */
  countNew(change: Change): void {
    if (change.type !== "added" || change.id !== this.#shown || this.#list.atEnd) return;
    this.#newBelow += change.entries.filter((entry) => countsAsUnread(entry)).length;
  }

  /** Go to the end, as the user sent a message. A user who answers has read the others. */
  toEnd(): void {
    this.#firstNew = "";
    this.#list.toEnd();
  }

  /** Redraw the dates after midnight. */
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
    const named = plainName(conversation.name);
    const name = conversation.kind === "room" ? named : `direct messages with ${named}`;
    this.element.setAttribute("aria-label", `Messages: ${name}`);
    const place = this.#anchors.get(conversation.id) ?? END;
    this.#showFrom(conversation, this.#firstNew && place.type === "end" ? this.#newLineAnchor() : place);
  }

  /** The page is visible again: show the line above the messages that are new since. */
  pageShown(): void {
    const conversation = this.#conversation();
    if (!conversation?.unread || !this.#list.atEnd) return;
    this.#firstNew = firstUnreadKey(conversation);
    this.#showFrom(conversation, this.#newLineAnchor());
  }

  #showFrom(conversation: Conversation, place: Anchor): void {
    this.#list.show(buildRows(conversation.entries, !conversation.more, this.#firstNew), place);
  }

  /** The line above new messages, as high as leaves room for both them and some older ones. */
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
      // It disappears.
      if (document.activeElement === this.#toEnd) this.element.focus({ preventScroll: true });
      this.#toEnd.hidden = atEnd;
    }
    if (!atEnd) {
      const text = this.#newBelow
        ? `${this.#newBelow} new message${this.#newBelow > 1 ? "s" : ""}`
        : "Jump to the end";
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

/** Return the key of the first unread entry. */
function firstUnreadKey({ entries, unread }: Conversation): string {
  let at = entries.length;
  for (let left = unread; left > 0 && at > 0; ) {
    const entry = entries[--at];
    if (entry && countsAsUnread(entry)) left--;
  }
  return entries[at]?.key ?? "";
}

/** Whether the entry counts as unread. */
export function countsAsUnread(entry: Entry): boolean {
  return (
    !entry.isHistory &&
    !entry.isOwn &&
    (entry.kind === "said" || entry.kind === "action" || entry.kind === "whisper")
  );
}
