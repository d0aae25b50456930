// Sidebar at the right: the members of the room. A click starts a direct message.

import type { Chat } from "../core/api.ts";
import { bdi, byId, h, screenReaderText } from "./dom.ts";
import { icon } from "./icons.ts";
import { avatar } from "./names.ts";

export class People {
  readonly #element = byId("people", HTMLElement);
  readonly #title = byId("people-title", HTMLElement);
  readonly #button = byId("people-button", HTMLButtonElement);
  readonly #list = h("ul", { "aria-labelledby": "people-title" });
  readonly #more = h("p", { class: "dim and-more" });
  #names: readonly string[] = [];
  #total = -1;
  #current = "";

  constructor(
    private readonly chat: Chat,
    private readonly openDirect: (name: string) => void,
  ) {
    this.#element.append(this.#list, this.#more);
  }

  update(): void {
    const { current } = this.chat;
    const conversation = this.chat.conversation(current);
    const names = conversation?.people ?? [];
    const total = conversation?.total ?? 0;
    if (current === this.#current && total === this.#total && sameNames(names, this.#names)) return;
    this.#current = current;
    this.#total = total;
    this.#title.replaceChildren("People ", h("span", { class: "dim" }, String(total)));
    this.#button.replaceChildren(
      icon("people"),
      h("span", { class: "number" }, screenReaderText("People: "), String(total)),
    );
    this.#more.textContent = total > names.length ? `and ${total - names.length} more` : "";
    this.#draw(names);
  }

  /** Both lists are sorted. Unchanged items stay in place, with the focus and the scroll position. */
  #draw(names: readonly string[]): void {
    const existing = new Map([...this.#list.children].map((item, index) => [this.#names[index], item]));
    let next = this.#list.firstElementChild;
    const wanted = new Set(names);
    for (const [name, item] of existing) {
      if (name !== undefined && wanted.has(name)) continue;
      if (item === next) next = next.nextElementSibling;
      item.remove();
    }
    for (const name of names) {
      const item = existing.get(name) ?? this.#person(name);
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
    this.#names = [...names];
  }

  #person(name: string): HTMLElement {
    if (name === this.chat.name) {
      const own = h(
        "span",
        { class: "nav-item own" },
        avatar(name),
        h("span", { class: "label" }, bdi(name), " (you)"),
      );
      return h("li", {}, own);
    }
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "nav-item", onclick: () => this.openDirect(name) },
        avatar(name),
        h("span", { class: "label" }, screenReaderText("Direct message to "), bdi(name)),
      ),
    );
  }
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index]);
}
