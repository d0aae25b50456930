// What can be typed, and which keys do something.

import type { Chat } from "../core/api.ts";
import { byId, h } from "./dom.ts";

const KEYS: readonly (readonly [string, string])[] = [
  ["Enter", "send what you wrote; Shift-Enter begins a new line"],
  ["Tab", "completes names, rooms and commands; in an empty field it goes on to the next control"],
  ["Up", "in an empty field: what you wrote before"],
  ["PageUp, PageDown", "scroll the messages, also from the field"],
  ["Home, End", "to the oldest and the newest message, also from the empty field"],
  ["Alt-Up, Alt-Down", "the room before, the room after"],
  ["Escape", "closes what is open"],
];

export class Help {
  readonly #dialog = byId("help-dialog", HTMLDialogElement);
  readonly #text = byId("help-text", HTMLElement);

  constructor(private readonly chat: Chat) {}

  open(): void {
    if (this.#dialog.open) return;
    const commands = (operators: boolean): HTMLElement =>
      list(
        this.chat.commands
          .filter((one) => one.operatorsOnly === operators)
          .map(({ usage, help }) => [usage, help]),
      );
    this.#text.replaceChildren(
      h("h3", {}, "Commands"),
      commands(false),
      h("h3", {}, "For operators"),
      commands(true),
      h("h3", {}, "Keys"),
      list(KEYS),
      h("h3", {}, "Good to know"),
      h("p", {}, "Words in `backticks` and blocks between ``` lines are shown as code. //text says /text."),
      h(
        "p",
        {},
        "The page holds only what is near; what was said before, the browser's own search cannot find: /search does.",
      ),
    );
    this.#dialog.showModal();
    this.#dialog.scrollTop = 0;
  }
}

function list(lines: readonly (readonly [string, string])[]): HTMLElement {
  return h(
    "dl",
    {},
    ...lines.map(([what, means]) => h("div", {}, h("dt", {}, h("code", {}, what)), h("dd", {}, means))),
  );
}
