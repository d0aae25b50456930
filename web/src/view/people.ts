// Who is here: the list at the right. A click begins a whisper.

import type { Chat } from "../core/api.ts";
import { bdi, h, part, spoken } from "./dom.ts";
import { icon } from "./icons.ts";
import { disc } from "./names.ts";

export class People {
  readonly #element = part("people", HTMLElement);
  readonly #title = part("people-title", HTMLElement);
  readonly #button = part("people-button", HTMLButtonElement);
  readonly #list = h("ul", { "aria-labelledby": "people-title" });
  readonly #rest = h("p", { class: "dim rest" });
  #names: readonly string[] = [];
  #total = -1;
  #current = "";

  constructor(
    private readonly chat: Chat,
    private readonly whisper: (name: string) => void,
  ) {
    this.#element.append(this.#list, this.#rest);
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
      h("span", { class: "number" }, spoken("People: "), String(total)),
    );
    this.#rest.textContent = total > names.length ? `and ${total - names.length} more` : "";
    this.#draw(names);
  }

  /** Both lists are sorted: what is the same stays, so that the focus and the scroll position do. */
  #draw(names: readonly string[]): void {
    const had = new Map([...this.#list.children].map((item, index) => [this.#names[index], item]));
    let next = this.#list.firstElementChild;
    const wanted = new Set(names);
    for (const [name, item] of had) {
      if (name !== undefined && wanted.has(name)) continue;
      if (item === next) next = next.nextElementSibling;
      item.remove();
    }
    for (const name of names) {
      const item = had.get(name) ?? this.#person(name);
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
    this.#names = [...names];
  }

  #person(name: string): HTMLElement {
    if (name === this.chat.name) {
      const own = h(
        "span",
        { class: "place own" },
        disc(name),
        h("span", { class: "label" }, bdi(name), " (you)"),
      );
      return h("li", {}, own);
    }
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "place", onclick: () => this.whisper(name) },
        disc(name),
        h("span", { class: "label" }, spoken("Whisper to "), bdi(name)),
      ),
    );
  }
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index]);
}
