// The rooms one is in and the people one whispers with: the list at the left.

import type { Chat, Conversation } from "../core/api.ts";
import { bdi, h, part, spoken } from "./dom.ts";
import { icon } from "./icons.ts";
import { disc } from "./names.ts";

export class Places {
  readonly #element = part("rooms", HTMLElement);
  #drawn = "";

  constructor(
    private readonly chat: Chat,
    private readonly open: (id: string) => void,
    private readonly write: (text: string) => void, // begin a line in the field
  ) {}

  update(): void {
    const { conversations, current } = this.chat;
    // It is drawn again only if it looks different: this runs for every message of every room.
    const looks = JSON.stringify([
      current,
      conversations.map(({ id, name, unread, mentioned, locked }) => [id, name, unread, mentioned, locked]),
    ]);
    if (looks === this.#drawn) return;
    this.#drawn = looks;
    const focused = this.#element.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.id
      : undefined;
    const of = (kind: Conversation["kind"]): HTMLElement[] =>
      conversations.filter((one) => one.kind === kind).map((one) => h("li", {}, this.#place(one)));
    const join = h(
      "button",
      { type: "button", class: "place add", "data-id": "+", onclick: () => this.write("/join ") },
      h("span", { class: "sign", "aria-hidden": "true" }, icon("plus")),
      h("span", { class: "label" }, "Join a room"),
    );
    const whispers = of("person");
    this.#element.replaceChildren(
      h("h2", { class: "group", id: "rooms-title" }, "Rooms"),
      h("ul", { "aria-labelledby": "rooms-title" }, ...of("room"), h("li", {}, join)),
      ...(whispers.length
        ? [
            h("h2", { class: "group", id: "whispers-title" }, "Whispers"),
            h("ul", { "aria-labelledby": "whispers-title" }, ...whispers),
          ]
        : []),
    );
    if (focused === undefined) return;
    for (const button of this.#element.querySelectorAll("button"))
      if (button.dataset.id === focused) button.focus();
  }

  #place(one: Conversation): HTMLElement {
    const here = one.id === this.chat.current;
    const count = one.unread > 99 ? "99+" : String(one.unread);
    const mentioned = one.mentioned && one.unread > 0;
    const sign =
      one.kind === "room" ? h("span", { class: "sign", "aria-hidden": "true" }, "#") : disc(one.name);
    const lock =
      one.locked === "no"
        ? null
        : h(
            "span",
            { class: "lock" },
            icon("locked"),
            spoken(one.locked === "open" ? ", encrypted" : ", encrypted, passphrase needed"),
          );
    return h(
      "button",
      {
        type: "button",
        class: `place${one.unread ? " unread" : ""}`,
        "data-id": one.id,
        "aria-current": here ? "true" : undefined,
        onclick: () => this.open(one.id),
      },
      sign,
      h("span", { class: "label" }, bdi(one.name)),
      lock,
      one.unread
        ? h(
            "span",
            { class: mentioned ? "count mentioned" : "count" },
            spoken(", "),
            mentioned ? `@ ${count}` : count,
            spoken(mentioned && one.kind === "room" ? " unread, you are mentioned" : " unread"),
          )
        : null,
    );
  }
}
