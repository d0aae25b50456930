// Sidebar at the left: the rooms of the user, and the people with whom they have direct messages.

import type { Chat, Conversation } from "../core/api.ts";
import { bdi, byId, h, screenReaderText } from "./dom.ts";
import { icon } from "./icons.ts";
import { avatar } from "./names.ts";

export class ConversationList {
  readonly #element = byId("rooms", HTMLElement);
  #drawn = "";

  constructor(
    private readonly chat: Chat,
    private readonly open: (id: string) => void,
    private readonly startLine: (text: string) => void, // put text into the input field
  ) {}

  update(): void {
    const { conversations, current } = this.chat;
    // Draw only if something changed: this runs for every message of every room.
    const state = JSON.stringify([
      current,
      conversations.map(({ id, name, unread, mentions, locked }) => [id, name, unread, mentions, locked]),
    ]);
    if (state === this.#drawn) return;
    this.#drawn = state;
    const focused = this.#element.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.id
      : undefined;
    const items = (kind: Conversation["kind"]): HTMLElement[] =>
      conversations.filter((one) => one.kind === kind).map((one) => h("li", {}, this.#item(one)));
    const join = h(
      "button",
      { type: "button", class: "nav-item add", "data-id": "+", onclick: () => this.startLine("/join ") },
      h("span", { class: "symbol", "aria-hidden": "true" }, icon("plus")),
      h("span", { class: "label" }, "Join a room"),
    );
    const people = items("person");
    this.#element.replaceChildren(
      h("h2", { class: "group", id: "rooms-title" }, "Rooms"),
      h("ul", { "aria-labelledby": "rooms-title" }, ...items("room"), h("li", {}, join)),
      ...(people.length
        ? [
            h("h2", { class: "group", id: "direct-title" }, "Direct messages"),
            h("ul", { "aria-labelledby": "direct-title" }, ...people),
          ]
        : []),
    );
    if (focused === undefined) return;
    for (const button of this.#element.querySelectorAll("button"))
      if (button.dataset.id === focused) button.focus();
  }

  #item(one: Conversation): HTMLElement {
    const here = one.id === this.chat.current;
    const sign =
      one.kind === "room" ? h("span", { class: "symbol", "aria-hidden": "true" }, "#") : avatar(one.name);
    const lock =
      one.locked === "no"
        ? null
        : h(
            "span",
            { class: "lock" },
            icon("locked"),
            screenReaderText(one.locked === "unlocked" ? ", encrypted" : ", encrypted, passphrase needed"),
          );
    return h(
      "button",
      {
        type: "button",
        class: `nav-item${one.unread ? " unread" : ""}`,
        "data-id": one.id,
        "aria-current": here ? "true" : undefined,
        onclick: () => this.open(one.id),
      },
      sign,
      h("span", { class: "label" }, bdi(one.name)),
      lock,
      ...unreadCounts(one),
    );
  }
}

/** Return the number of unread messages, and of those among them that mention the user. */
function unreadCounts({ kind, unread, mentions }: Conversation): HTMLElement[] {
  const count = (number: number): string => (number > 99 ? "99+" : String(number));
  const found: HTMLElement[] = [];
  if (unread > mentions)
    found.push(
      h(
        "span",
        { class: "unread-count" },
        screenReaderText(", "),
        count(unread),
        screenReaderText(" unread"),
      ),
    );
  if (!mentions) return found;
  const meaning =
    kind === "person"
      ? " unread"
      : unread === mentions
        ? " unread, you are mentioned"
        : ` of them mention${mentions === 1 ? "s" : ""} you`;
  found.push(
    h(
      "span",
      { class: "unread-count mentioned" },
      screenReaderText(", "),
      `@ ${count(mentions)}`,
      screenReaderText(meaning),
    ),
  );
  return found;
}
