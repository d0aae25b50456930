// Encryption of a conversation: a button that shows its state, and a dialog to enter or forget the
// passphrase.

import type { Chat, Conversation } from "../core/api.ts";
import { passphraseWarning } from "../core/strength.ts";
import { byId, h, setText } from "./dom.ts";
import { icon } from "./icons.ts";

const LABELS = {
  no: "Encrypt",
  locked: "Passphrase needed",
  unlocked: "Encrypted",
} as const;

export class EncryptionDialog {
  readonly #button = byId("lock", HTMLButtonElement);
  readonly #dialog = byId("lock-dialog", HTMLDialogElement);
  readonly #form = byId("lock-form", HTMLFormElement);
  readonly #about = byId("lock-about", HTMLElement);
  readonly #field = byId("passphrase", HTMLInputElement);
  readonly #show = byId("passphrase-show", HTMLButtonElement);
  readonly #all = byId("lock-all", HTMLInputElement);
  readonly #problem = byId("lock-problem", HTMLElement);
  readonly #warning = byId("lock-warning", HTMLElement);
  readonly #progress = byId("lock-progress", HTMLElement);
  readonly #forget = byId("lock-forget", HTMLButtonElement);
  readonly #use = byId("lock-use", HTMLButtonElement);
  #id = ""; // of the conversation in the dialog
  #drawn = "";
  #openCount = 0; // number of openings: ignore an answer that arrives after the dialog was closed

  constructor(private readonly chat: Chat) {
    this.#button.addEventListener("click", () => this.open());
    this.#show.addEventListener("click", () => this.#showPassphrase(this.#field.type === "password"));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#apply(this.#field.value);
    });
    this.#forget.addEventListener("click", () => void this.#apply(""));
    byId("lock-cancel", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#field.addEventListener("input", () => {
      setText(this.#problem, "");
      setText(this.#warning, passphraseWarning(this.#field.value));
    });
    this.#dialog.addEventListener("close", () => {
      this.#openCount++;
      this.#field.value = ""; // do not keep it in the page
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
      h("span", { class: "text" }, LABELS[locked]),
    );
    this.#button.title = description(conversation);
  }

  open(): void {
    const conversation = this.chat.conversation(this.chat.current);
    if (!conversation || this.#dialog.open) return;
    this.#id = conversation.id;
    this.#about.textContent = description(conversation);
    this.#forget.hidden = conversation.locked === "no";
    this.#all.checked = false;
    this.#showPassphrase(false);
    this.#setBusy(false);
    setText(this.#problem, "");
    setText(this.#warning, "");
    this.#dialog.showModal();
    this.#field.focus();
  }

  #showPassphrase(shown: boolean): void {
    this.#field.type = shown ? "text" : "password";
    this.#show.setAttribute("aria-pressed", String(shown));
  }

  #setBusy(busy: boolean): void {
    this.#use.disabled = this.#forget.disabled = busy;
    setText(this.#progress, busy ? "Making the key. This takes a few seconds, on purpose…" : "");
  }

  async #apply(passphrase: string): Promise<void> {
    const forget = passphrase === "";
    if (forget && document.activeElement !== this.#forget) {
      setText(
        this.#problem,
        "Enter a passphrase: the one that the others use, or a new one that you agree on with them.",
      );
      this.#field.focus();
      return;
    }
    const openCount = this.#openCount;
    if (!forget) this.#setBusy(true);
    try {
      await this.chat.setPassphrase(this.#all.checked ? "" : this.#id, passphrase);
      if (openCount === this.#openCount) this.#dialog.close();
    } catch (problem) {
      if (openCount !== this.#openCount) return;
      setText(this.#problem, problem instanceof Error ? problem.message : String(problem));
      this.#field.focus();
    } finally {
      if (openCount === this.#openCount) this.#setBusy(false);
    }
  }
}

function description(conversation: Conversation): string {
  switch (conversation.locked) {
    case "no":
      return "This conversation is not encrypted. Set a passphrase, and only people who have it can read your messages: not the server, and not the network.";
    case "locked":
      return "This conversation has encrypted messages. Enter the passphrase that the others use to read them.";
    case "unlocked":
      return "Your messages here are encrypted: only people who have the passphrase can read them.";
  }
}
