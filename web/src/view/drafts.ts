// Unsent text of each conversation. It survives a reload in the same tab (sessionStorage), except in
// encrypted conversations: text that will be sent encrypted must not be stored unencrypted. The line of a
// /msg is not stored either, because it belongs to another conversation. Without storage, drafts last until
// the page closes.

const DRAFTS_KEY = "selchat.drafts"; // JSON: texts by conversation id

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class Drafts {
  readonly #texts: Map<string, string>;
  #stored: string;

  /** `store` returns the storage, or throws. `isSecret`: whether that conversation is encrypted. */
  constructor(
    private readonly store: () => Store,
    private readonly isSecret: (id: string) => boolean,
  ) {
    this.#stored = this.#read();
    this.#texts = new Map(parseDrafts(this.#stored));
  }

  get(id: string): string {
    return this.#texts.get(id) ?? "";
  }

  set(id: string, text: string): void {
    if (text) this.#texts.set(id, text);
    else this.#texts.delete(id);
    this.save();
  }

  /** Store the drafts that may be stored. */
  save(): void {
    const drafts = [...this.#texts].filter(([id, text]) => !this.isSecret(id) && !/^\s*\/msg\b/i.test(text));
    const stored = drafts.length ? JSON.stringify(Object.fromEntries(drafts)) : "";
    if (stored === this.#stored) return;
    this.#stored = stored;
    try {
      const store = this.store();
      store.removeItem(DRAFTS_KEY); // if the new value does not fit, the old one must not stay
      if (stored) store.setItem(DRAFTS_KEY, stored);
    } catch {
      // The drafts last until the page closes.
    }
  }

  #read(): string {
    try {
      return this.store().getItem(DRAFTS_KEY) ?? "";
    } catch {
      return "";
    }
  }
}

/** Return the texts in a stored value, which may be anything. */
function parseDrafts(stored: string): [string, string][] {
  try {
    const found: unknown = JSON.parse(stored || "{}");
    const all = typeof found === "object" && found !== null ? Object.entries(found) : [];
    return all.filter((one): one is [string, string] => typeof one[1] === "string");
  } catch {
    return [];
  }
}
