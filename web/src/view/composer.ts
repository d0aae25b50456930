// Input field: grows with its text, keeps a draft for each conversation, recalls sent lines, and completes
// words.

import type { Chat, Conversation } from "../core/api.ts";
import { plainName } from "../core/text.ts";
import { byId, h, setText } from "./dom.ts";
import { Drafts } from "./drafts.ts";
import { InputHistory } from "./input-history.ts";

interface Completions {
  line: string; // before any candidate was inserted
  caret: number;
  start: number; // the candidates replace the text from here
  end: number;
  candidates: readonly string[];
  chosen: number; // -1: none yet
}

const MAX_LINES = 8;

export class Composer {
  readonly #form = byId("composer", HTMLFormElement);
  readonly #field = byId("input", HTMLTextAreaElement);
  readonly #problem = byId("input-problem", HTMLElement);
  readonly #listbox = byId("candidates", HTMLElement);
  readonly #drafts: Drafts;
  readonly #inputHistory = new InputHistory();
  #current = "";
  #label = "";
  #completions: Completions | undefined;

  /** `onSent` is called after a line was accepted. `runPageCommand` runs a command of the page and returns whether it
   * was one. `scrollLog` handles the keys that scroll the log. */
  constructor(
    private readonly chat: Chat,
    private readonly onSent: () => void,
    private readonly runPageCommand: (line: string) => boolean,
    private readonly scrollLog: (event: KeyboardEvent) => boolean,
    private readonly announce: (text: string) => void,
  ) {
    this.#drafts = new Drafts(
      () => sessionStorage,
      (id) => (this.chat.conversation(id)?.locked ?? "no") !== "no",
    );
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
      this.focus();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#field.addEventListener("input", () => this.#onInput());
    this.#field.addEventListener("blur", () => this.#closeCompletions());
    // A tap on a candidate must not move the focus, which would close the keyboard of a phone.
    this.#listbox.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#listbox.addEventListener("click", (event) => {
      const option = (event.target as Element).closest<HTMLElement>("[role=option]");
      if (!option) return;
      this.#choose(Number(option.dataset.index));
      this.#closeCompletions();
    });
    new ResizeObserver(() => this.#grow()).observe(this.#form);
  }

  focus(): void {
    this.#field.focus();
  }

  /** Start a line. The present text is not lost: Up recalls it. */
  startLine(text: string): void {
    if (this.#field.value.trim() && !this.#field.value.startsWith("/"))
      this.#inputHistory.add(this.#field.value);
    this.#setText(text, text.length);
    this.focus();
  }

  update(): void {
    const { current } = this.chat;
    this.#drafts.save(); // the conversation may have become encrypted
    const label = labelOf(this.chat.conversation(current));
    if (label !== this.#label) {
      this.#label = label;
      this.#field.setAttribute("aria-label", label);
      this.#field.placeholder = label;
    }
    if (current === this.#current) return;
    this.#current = current;
    const draft = this.#drafts.get(current);
    this.#setText(draft, draft.length);
  }

  #send(): void {
    this.#closeCompletions();
    const line = this.#field.value;
    if (!line.trim()) return;
    // Clear the field first: the command may open another conversation, which has its own draft.
    this.#setText("", 0);
    const problem = this.runPageCommand(line) ? "" : this.chat.submit(line);
    if (problem) {
      this.#setText(line, line.length);
      setText(this.#problem, problem);
      this.#field.setAttribute("aria-invalid", "true");
      return;
    }
    this.#inputHistory.add(line);
    this.onSent();
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing || event.keyCode === 229) return; // the input method handles this key
    if (this.#handleKey(event)) event.preventDefault();
  }

  #handleKey(event: KeyboardEvent): boolean {
    const { key } = event;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!plain) return false;
    if (key === "Tab") return this.#tab(event.shiftKey);
    if (event.shiftKey) return false;
    if (this.#completions) {
      if (key === "ArrowDown") return this.#step(1);
      if (key === "ArrowUp") return this.#step(-1);
      if (key === "Escape") {
        const { line, caret, chosen } = this.#completions;
        if (chosen >= 0) this.#setText(line, caret);
        this.#closeCompletions();
        return true;
      }
      if (key === "Enter" && this.#completions.chosen >= 0) {
        this.#closeCompletions();
        return true;
      }
    }
    if (key === "Enter") {
      this.#send();
      return true;
    }
    if (key === "ArrowUp" && this.#inputHistory.canRecall(this.#field.value))
      return this.#recall(this.#inputHistory.previous());
    if (key === "ArrowDown" && this.#inputHistory.canRecall(this.#field.value))
      return this.#recall(this.#inputHistory.next());
    if (key === "PageUp" || key === "PageDown") return this.scrollLog(event);
    if ((key === "Home" || key === "End") && !this.#field.value) return this.scrollLog(event);
    return false;
  }

  #recall(line: string | undefined): boolean {
    if (line === undefined) return false;
    this.#setText(line, line.length);
    return true;
  }

  #onInput(): void {
    setText(this.#problem, "");
    this.#field.removeAttribute("aria-invalid");
    this.#inputHistory.reset();
    this.#saveDraft();
    this.#grow();
    this.#closeCompletions();
    // Offer commands while the user types: a phone has no Tab.
    if (/^\/\w*$/.test(this.#field.value)) this.#showCompletions();
  }

  /** Complete. Without candidates the browser handles Tab and leaves the field. */
  #tab(back: boolean): boolean {
    if (!this.#completions) {
      if (back || !this.#field.value.trim()) return false;
      this.#showCompletions();
      const completions = this.#completions as Completions | undefined; // #showCompletions may have set it
      if (!completions) return false;
      if (completions.candidates.length === 1) {
        this.#choose(0);
        this.#closeCompletions();
        return true;
      }
    }
    return this.#step(back ? -1 : 1);
  }

  #showCompletions(): void {
    const line = this.#field.value;
    const caret = this.#field.selectionStart;
    const { start, end, candidates } = this.chat.complete(line, caret);
    if (!candidates.length) return;
    this.#completions = { line, caret, start, end, candidates: candidates.slice(0, 50), chosen: -1 };
    this.#listbox.replaceChildren(
      ...this.#completions.candidates.map((candidate, index) =>
        h(
          "div",
          { role: "option", id: `candidate-${index}`, "data-index": index, "aria-selected": "false" },
          h("bdi", {}, candidate.trim()),
          this.#commandHelp(candidate),
        ),
      ),
    );
    this.#listbox.hidden = false;
    this.#listbox.scrollTop = 0;
  }

  #commandHelp(candidate: string): HTMLElement | null {
    const command = this.chat.commands.find(
      ({ name }) => candidate.startsWith("/") && name.replace(/^\//, "") === candidate.trim().slice(1),
    );
    const text = command?.operatorsOnly ? `for operators: ${command.help}` : command?.help;
    return text ? h("span", { class: "dim" }, text) : null;
  }

  #step(by: number): boolean {
    const offer = this.#completions;
    if (!offer) return false;
    const count = offer.candidates.length;
    const first = offer.chosen < 0;
    this.#choose(first ? (by > 0 ? 0 : count - 1) : (offer.chosen + by + count) % count);
    if (first) this.announce(`${count} completions`);
    return true;
  }

  #choose(index: number): void {
    const offer = this.#completions;
    const candidate = offer?.candidates[index];
    if (!offer || candidate === undefined) return;
    const rest = offer.line.slice(offer.end);
    const filled = candidate.endsWith(" ") || rest.startsWith(" ") ? candidate : `${candidate} `;
    this.#setText(offer.line.slice(0, offer.start) + filled + rest, offer.start + filled.length);
    this.#completions = { ...offer, chosen: index }; // #setText closed it
    this.#listbox.hidden = false;
    for (const [number, option] of [...this.#listbox.children].entries()) {
      option.setAttribute("aria-selected", String(number === index));
      if (number === index) option.scrollIntoView({ block: "nearest" });
    }
    this.#field.setAttribute("aria-activedescendant", `candidate-${index}`);
  }

  #closeCompletions(): void {
    this.#completions = undefined;
    this.#listbox.hidden = true;
    this.#field.removeAttribute("aria-activedescendant");
  }

  #setText(text: string, caret: number): void {
    this.#field.value = text;
    this.#field.setSelectionRange(caret, caret);
    this.#saveDraft();
    this.#field.removeAttribute("aria-invalid");
    setText(this.#problem, "");
    this.#closeCompletions();
    this.#grow();
  }

  #saveDraft(): void {
    if (this.#current) this.#drafts.set(this.#current, this.#field.value);
  }

  #grow(): void {
    const field = this.#field;
    const style = getComputedStyle(field);
    const padding = Number.parseFloat(style.paddingTop) + Number.parseFloat(style.paddingBottom);
    const maxHeight = Number.parseFloat(style.lineHeight) * MAX_LINES + padding;
    field.style.height = "auto";
    const height = field.scrollHeight;
    field.style.height = `${Math.min(height, maxHeight)}px`;
    field.style.overflowY = height > maxHeight ? "auto" : "hidden";
  }
}

/** Return the label of the field: where the message goes, and whether it is encrypted. */
function labelOf(here: Conversation | undefined): string {
  if (here?.locked === "locked" && here.requiresPassphrase) return "Passphrase needed to write here";
  const name = plainName(here?.name ?? "the room");
  const label = here?.kind === "person" ? `Direct message to ${name}` : `Write to ${name}`;
  return here?.locked === "locked" ? `${label}, not encrypted` : label;
}
