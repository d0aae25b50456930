// What is half typed, for each conversation. It outlives the page in this tab (sessionStorage), unless something is
// encrypted where it would be said: what goes out encrypted must not lie in the browser in the clear. Nor does the line
// of a /msg, which is for another conversation than the one it is typed in. Storage may be missing, forbidden or full;
// then drafts last as long as the page.

const DRAFTS_KEY = "selchat.drafts"; // JSON: texts by id of the conversation

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class Drafts {
  readonly #texts: Map<string, string>;
  #stored: string;

  /** `store`: gives the storage, or throws; `isSecret`: whether something is encrypted in that conversation. */
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

  /** Have in the storage what may be there now. */
  save(): void {
    const drafts = [...this.#texts].filter(([id, text]) => !this.isSecret(id) && !/^\s*\/msg\b/i.test(text));
    const stored = drafts.length ? JSON.stringify(Object.fromEntries(drafts)) : "";
    if (stored === this.#stored) return;
    this.#stored = stored;
    try {
      const store = this.store();
      store.removeItem(DRAFTS_KEY); // should the new one not fit, the old one must not stay
      if (stored) store.setItem(DRAFTS_KEY, stored);
    } catch {
      // then not
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

/** The texts in what was stored, which may be anything. */
function parseDrafts(stored: string): [string, string][] {
  try {
    const found: unknown = JSON.parse(stored || "{}");
    const all = typeof found === "object" && found !== null ? Object.entries(found) : [];
    return all.filter((one): one is [string, string] => typeof one[1] === "string");
  } catch {
    return [];
  }
}
