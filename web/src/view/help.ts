// Help dialog: commands and keys.

import type { Chat } from "../core/api.ts";
import { byId, h } from "./dom.ts";

const KEYS: readonly (readonly [string, string])[] = [
  ["Enter", "send the message; Shift-Enter starts a new line"],
  ["Tab", "complete a name, room or command; in an empty field, go to the next control"],
  ["Up", "in an empty field: recall the line that you sent before"],
  ["PageUp, PageDown", "scroll the messages, also from the input field"],
  ["Home, End", "go to the oldest or newest message, also from an empty input field"],
  ["Alt-Up, Alt-Down", "go to the previous or next room"],
  ["Escape", "close a menu, list or dialog"],
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
      h(
        "p",
        {},
        "Text in `backticks` and blocks between ``` lines are shown as code. Type //text to send /text.",
      ),
      h("p", {}, "Browser search covers only the messages on screen. Use /search for older ones."),
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
