// The field that one writes in: it grows, has a draft for each conversation and the last lines, and completes.

import type { Chat, Conversation } from "../core/api.ts";
import { h, part, say } from "./dom.ts";
import { Drafts } from "./drafts.ts";
import { Past } from "./past.ts";

interface Offer {
  line: string; // as it was before any candidate stood in it
  caret: number;
  start: number; // what the candidates stand instead of
  end: number;
  candidates: readonly string[];
  chosen: number; // -1: none yet
}

const MOST_LINES = 8;

export class Composer {
  readonly #form = part("writing", HTMLFormElement);
  readonly #field = part("input", HTMLTextAreaElement);
  readonly #problem = part("input-problem", HTMLElement);
  readonly #list = part("candidates", HTMLElement);
  readonly #drafts: Drafts;
  readonly #past = new Past();
  #current = "";
  #label = "";
  #offer: Offer | undefined;

  /** `taken`: called when a line was taken; `command`: takes those that are of the page and not of the chat, and
   * returns whether it was one; `scroll`: takes the keys that scroll the log. */
  constructor(
    private readonly chat: Chat,
    private readonly taken: () => void,
    private readonly command: (line: string) => boolean,
    private readonly scroll: (event: KeyboardEvent) => boolean,
    private readonly speak: (text: string) => void,
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
    this.#field.addEventListener("input", () => this.#typed());
    this.#field.addEventListener("blur", () => this.#close());
    // A tap on a candidate must not take the focus (and on a phone the keyboard) away.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const option = (event.target as Element).closest<HTMLElement>("[role=option]");
      if (!option) return;
      this.#choose(Number(option.dataset.index));
      this.#close();
    });
    new ResizeObserver(() => this.#grow()).observe(this.#form);
  }

  focus(): void {
    this.#field.focus();
  }

  /** Begin a line. What stands there already is not lost: it can be had back with Up. */
  begin(text: string): void {
    if (this.#field.value.trim() && !this.#field.value.startsWith("/")) this.#past.add(this.#field.value);
    this.#put(text, text.length);
    this.focus();
  }

  update(): void {
    const { current } = this.chat;
    this.#drafts.keep(); // something may be encrypted there now
    const label = labelOf(this.chat.conversation(current));
    if (label !== this.#label) {
      this.#label = label;
      this.#field.setAttribute("aria-label", label);
      this.#field.placeholder = label;
    }
    if (current === this.#current) return;
    this.#current = current;
    const draft = this.#drafts.get(current);
    this.#put(draft, draft.length);
  }

  #send(): void {
    this.#close();
    const line = this.#field.value;
    if (!line.trim()) return;
    // Empty before it is done: it may lead to another conversation, where another draft waits, and is none here.
    this.#put("", 0);
    const problem = this.command(line) ? "" : this.chat.type(line);
    if (problem) {
      this.#put(line, line.length);
      say(this.#problem, problem);
      this.#field.setAttribute("aria-invalid", "true");
      return;
    }
    this.#past.add(line);
    this.taken();
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing || event.keyCode === 229) return; // the keys belong to what composes the text
    if (this.#done(event)) event.preventDefault();
  }

  #done(event: KeyboardEvent): boolean {
    const { key } = event;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!plain) return false;
    if (key === "Tab") return this.#tab(event.shiftKey);
    if (event.shiftKey) return false;
    if (this.#offer) {
      if (key === "ArrowDown") return this.#step(1);
      if (key === "ArrowUp") return this.#step(-1);
      if (key === "Escape") {
        const { line, caret, chosen } = this.#offer;
        if (chosen >= 0) this.#put(line, caret);
        this.#close();
        return true;
      }
      if (key === "Enter" && this.#offer.chosen >= 0) {
        this.#close();
        return true;
      }
    }
    if (key === "Enter") {
      this.#send();
      return true;
    }
    if (key === "ArrowUp" && this.#past.going(this.#field.value)) return this.#recall(this.#past.before());
    if (key === "ArrowDown" && this.#past.going(this.#field.value)) return this.#recall(this.#past.after());
    if (key === "PageUp" || key === "PageDown") return this.scroll(event);
    if ((key === "Home" || key === "End") && !this.#field.value) return this.scroll(event);
    return false;
  }

  #recall(line: string | undefined): boolean {
    if (line === undefined) return false;
    this.#put(line, line.length);
    return true;
  }

  #typed(): void {
    say(this.#problem, "");
    this.#field.removeAttribute("aria-invalid");
    this.#past.rest();
    this.#keep();
    this.#grow();
    this.#close();
    // Commands are offered while they are typed: a phone has no Tab.
    if (/^\/\w*$/.test(this.#field.value)) this.#look();
  }

  /** Nothing to complete: the key is the browser's, and leads out of the field. */
  #tab(back: boolean): boolean {
    if (!this.#offer) {
      if (back || !this.#field.value.trim()) return false;
      this.#look();
      const offer = this.#offer as Offer | undefined; // #look may have made one
      if (!offer) return false;
      if (offer.candidates.length === 1) {
        this.#choose(0);
        this.#close();
        return true;
      }
    }
    return this.#step(back ? -1 : 1);
  }

  #look(): void {
    const line = this.#field.value;
    const caret = this.#field.selectionStart;
    const { start, end, candidates } = this.chat.complete(line, caret);
    if (!candidates.length) return;
    this.#offer = { line, caret, start, end, candidates: candidates.slice(0, 50), chosen: -1 };
    this.#list.replaceChildren(
      ...this.#offer.candidates.map((candidate, index) =>
        h(
          "div",
          { role: "option", id: `candidate-${index}`, "data-index": index, "aria-selected": "false" },
          h("bdi", {}, candidate.trim()),
          this.#meaning(candidate),
        ),
      ),
    );
    this.#list.hidden = false;
    this.#list.scrollTop = 0;
  }

  #meaning(candidate: string): HTMLElement | null {
    const command = this.chat.commands.find(
      ({ name }) => candidate.startsWith("/") && name.replace(/^\//, "") === candidate.trim().slice(1),
    );
    const text = command?.operators ? `for operators: ${command.help}` : command?.help;
    return text ? h("span", { class: "dim" }, text) : null;
  }

  #step(by: number): boolean {
    const offer = this.#offer;
    if (!offer) return false;
    const count = offer.candidates.length;
    const first = offer.chosen < 0;
    this.#choose(first ? (by > 0 ? 0 : count - 1) : (offer.chosen + by + count) % count);
    if (first) this.speak(`${count} completions`);
    return true;
  }

  #choose(index: number): void {
    const offer = this.#offer;
    const candidate = offer?.candidates[index];
    if (!offer || candidate === undefined) return;
    const rest = offer.line.slice(offer.end);
    const filled = candidate.endsWith(" ") || rest.startsWith(" ") ? candidate : `${candidate} `;
    this.#put(offer.line.slice(0, offer.start) + filled + rest, offer.start + filled.length);
    this.#offer = { ...offer, chosen: index }; // #put closed it
    this.#list.hidden = false;
    for (const [number, option] of [...this.#list.children].entries()) {
      option.setAttribute("aria-selected", String(number === index));
      if (number === index) option.scrollIntoView({ block: "nearest" });
    }
    this.#field.setAttribute("aria-activedescendant", `candidate-${index}`);
  }

  #close(): void {
    this.#offer = undefined;
    this.#list.hidden = true;
    this.#field.removeAttribute("aria-activedescendant");
  }

  #put(text: string, caret: number): void {
    this.#field.value = text;
    this.#field.setSelectionRange(caret, caret);
    this.#keep();
    this.#field.removeAttribute("aria-invalid");
    say(this.#problem, "");
    this.#close();
    this.#grow();
  }

  #keep(): void {
    if (this.#current) this.#drafts.set(this.#current, this.#field.value);
  }

  #grow(): void {
    const field = this.#field;
    const style = getComputedStyle(field);
    const padding = Number.parseFloat(style.paddingTop) + Number.parseFloat(style.paddingBottom);
    const most = Number.parseFloat(style.lineHeight) * MOST_LINES + padding;
    field.style.height = "auto";
    const wanted = field.scrollHeight;
    field.style.height = `${Math.min(wanted, most)}px`;
    field.style.overflowY = wanted > most ? "auto" : "hidden";
  }
}

/** What it is to write there, and who can read it. */
function labelOf(here: Conversation | undefined): string {
  if (here?.locked === "locked" && here.isPromised) return "Passphrase needed to write here";
  const label = here?.kind === "person" ? `Whisper to ${here.name}` : `Write to ${here?.name ?? "the room"}`;
  return here?.locked === "locked" ? `${label}, not encrypted` : label;
}
