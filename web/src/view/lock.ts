// The lock of a conversation: its button says how things are, and its dialog takes the passphrase and forgets it.

import type { Chat, Conversation } from "../core/api.ts";
import { h, part, say } from "./dom.ts";
import { icon } from "./icons.ts";

const WORDS = {
  no: "Encrypt",
  locked: "Passphrase needed",
  open: "Encrypted",
} as const;

export class Lock {
  readonly #button = part("lock", HTMLButtonElement);
  readonly #dialog = part("lock-dialog", HTMLDialogElement);
  readonly #form = part("lock-form", HTMLFormElement);
  readonly #about = part("lock-about", HTMLElement);
  readonly #field = part("passphrase", HTMLInputElement);
  readonly #show = part("passphrase-show", HTMLButtonElement);
  readonly #all = part("lock-all", HTMLInputElement);
  readonly #problem = part("lock-problem", HTMLElement);
  readonly #progress = part("lock-progress", HTMLElement);
  readonly #forget = part("lock-forget", HTMLButtonElement);
  readonly #use = part("lock-use", HTMLButtonElement);
  #id = ""; // of the conversation that the dialog is about
  #drawn = "";
  #turn = 0; // counts openings: an answer that comes after the dialog was closed is not of the next one

  constructor(private readonly chat: Chat) {
    this.#button.addEventListener("click", () => this.open());
    this.#show.addEventListener("click", () => this.#reveal(this.#field.type === "password"));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#apply(this.#field.value);
    });
    this.#forget.addEventListener("click", () => void this.#apply(""));
    part("lock-cancel", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#field.addEventListener("input", () => say(this.#problem, ""));
    this.#dialog.addEventListener("close", () => {
      this.#turn++;
      this.#field.value = ""; // it need not stand in the page any longer
    });
  }

  update(): void {
    const conversation = this.chat.conversation(this.chat.current);
    this.#button.hidden = !conversation;
    if (!conversation) return;
    const { locked } = conversation;
    if (locked === this.#drawn) return;
    this.#drawn = locked;
    this.#button.dataset.locked = locked;
    this.#button.replaceChildren(
      icon(locked === "no" ? "unlocked" : "locked"),
      h("span", { class: "word" }, WORDS[locked]),
    );
    this.#button.title = about(conversation);
  }

  open(): void {
    const conversation = this.chat.conversation(this.chat.current);
    if (!conversation || this.#dialog.open) return;
    this.#id = conversation.id;
    this.#about.textContent = about(conversation);
    this.#forget.hidden = conversation.locked === "no";
    this.#all.checked = false;
    this.#reveal(false);
    this.#busy(false);
    say(this.#problem, "");
    this.#dialog.showModal();
    this.#field.focus();
  }

  #reveal(shown: boolean): void {
    this.#field.type = shown ? "text" : "password";
    this.#show.setAttribute("aria-pressed", String(shown));
  }

  #busy(busy: boolean): void {
    this.#use.disabled = this.#forget.disabled = busy;
    say(this.#progress, busy ? "Making the key from it: this takes a few seconds, on purpose…" : "");
  }

  async #apply(words: string): Promise<void> {
    const forget = words === "";
    if (forget && document.activeElement !== this.#forget) {
      say(this.#problem, "Write the passphrase that the others use, or agree on a new one with them.");
      this.#field.focus();
      return;
    }
    const turn = this.#turn;
    if (!forget) this.#busy(true);
    try {
      await this.chat.passphrase(this.#all.checked ? "" : this.#id, words);
      if (turn === this.#turn) this.#dialog.close();
    } catch (problem) {
      if (turn !== this.#turn) return;
      say(this.#problem, problem instanceof Error ? problem.message : String(problem));
      this.#field.focus();
    } finally {
      if (turn === this.#turn) this.#busy(false);
    }
  }
}

function about(conversation: Conversation): string {
  switch (conversation.locked) {
    case "no":
      return "Nothing is encrypted here now. With a passphrase, what you write here can be read only by those who have it: not by the server, and not by the network.";
    case "locked":
      return "Something here is encrypted. It can be read with the passphrase that the others use.";
    case "open":
      return "What you write here is encrypted: only those who have the passphrase can read it.";
  }
}
