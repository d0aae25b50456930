// The element for a row of the log. It shows what it is given and keeps nothing; what is folded out is asked of `Rows`,
// because a row that leaves the page and comes back must be as it was.

import type { Conversation, Entry } from "../core/api.ts";
import { beginning, isLong, written } from "./body.ts";
import { clock, day, machine, whole } from "./dates.ts";
import { append, bdi, type Child, h } from "./dom.ts";
import { icon } from "./icons.ts";
import { disc, nameElement } from "./names.ts";
import { isolated, type Row, summary } from "./rows.ts";
import { sentence } from "./sentence.ts";

/** What a row needs to know of the conversation it is in, and can ask of it. */
export interface Around {
  conversation(): Conversation;
  unfolded: Set<string>; // keys of rows and entries that were folded out
  hold(key: string): void; // before something in that row grows
  retry(entry: Entry): void;
  unlock(): void; // ask for the passphrase
}

export function rowElement(row: Row, around: Around): HTMLElement {
  if (row.kind === "start") return start(around.conversation());
  if (row.kind === "day") return h("h2", { class: "row day" }, h("span", {}, day(row.at, new Date())));
  if (row.kind === "new") return h("h2", { class: "row new" }, h("span", {}, "New"));
  if (row.kind === "moves") return moves(row.key, row.entries, around);
  const { entry, head } = row;
  const shown =
    entry.kind === "said" || entry.kind === "whisper" ? message(entry, head, around) : line(entry, around);
  shown.dataset.kind = entry.kind;
  shown.dataset.key = entry.key;
  shown.dataset.state = entry.state;
  if (entry.sealed !== "no") shown.dataset.sealed = entry.sealed;
  shown.classList.toggle("mention", entry.mention && !entry.mine);
  return shown;
}

/** Pixels that a row probably has: only to know about how long everything is before it was in the page. */
export function guessHeight(row: Row, width: number): number {
  if (row.kind === "start") return 96;
  if (row.kind === "day") return 44;
  if (row.kind === "new") return 32;
  if (row.kind === "moves") return 28;
  const perLine = Math.max(20, (width - 80) / 7.4);
  const lines = Math.min(20, Math.ceil((row.entry.body.length || 1) / perLine)); // more is folded
  if (row.entry.kind !== "said" && row.entry.kind !== "whisper") return 8 + lines * 22;
  return (row.head ? 38 : 6) + lines * 22;
}

function start(conversation: Conversation): HTMLElement {
  const name = bdi(conversation.name);
  const text = conversation.kind === "room" ? "This is where " : "What you write here goes to ";
  const rest = conversation.kind === "room" ? " begins." : " alone.";
  return h("p", { class: "row start" }, text, name, rest);
}

/** `brief`: it stands where there is little room. */
function time(at: number, brief = false): HTMLElement {
  // It takes the focus by a tap, which has no hover; Tab would stop at each of them.
  return h(
    "time",
    { datetime: machine(at), "data-whole": whole(at), title: whole(at), tabindex: -1 },
    clock(at, brief),
  );
}

function message(entry: Entry, head: boolean, around: Around): HTMLElement {
  const what = h("div", { class: "what" });
  if (head)
    append(what, [
      h("div", { class: "by" }, nameElement(entry.from), " ", ...marks(entry, around), time(entry.at)),
    ]);
  append(what, [...body(entry, around), ...fate(entry, around)]);
  return h(
    "div",
    { class: head ? "row said head" : "row said" },
    head ? disc(entry.from) : time(entry.at, true),
    what,
  );
}

/** Words beside the author: what colour or place alone would not say to everyone. */
function marks(entry: Entry, around: Around): Child[] {
  const conversation = around.conversation();
  const found: Child[] = [];
  const mark = (text: string, className: string, first?: Node): void => {
    found.push(h("span", { class: `mark ${className}` }, first, text), " ");
  };
  if (entry.kind === "whisper" && conversation.kind === "room") {
    if (entry.mine) found.push(h("span", { class: "mark whispers" }, "to ", bdi(entry.to), " alone"), " ");
    else mark("to you alone", "whispers");
  }
  if (entry.mention && !entry.mine && entry.kind !== "whisper") mark("mentions you", "mentions");
  if (entry.sealed !== "no") mark("encrypted", "sealed", icon("locked"));
  else if (entry.cipher) {
    found.push(h("span", { class: "mark otherwise" }, "encrypted otherwise: ", bdi(entry.cipher)), " ");
  } else if (conversation.locked !== "no") mark("not encrypted", "clear", icon("unlocked"));
  return found;
}

function body(entry: Entry, around: Around): Child[] {
  if (entry.sealed === "opening") return [h("div", { class: "body dim" }, "Decrypting…")];
  if (entry.sealed === "unreadable") {
    return [
      h("div", { class: "body dim" }, sentence(entry.problem, "Encrypted, and cannot be read here")),
      h("button", { type: "button", class: "small", onclick: () => around.unlock() }, "Enter the passphrase"),
    ];
  }
  return foldable(entry, around, h("div", { class: "body", dir: "auto" }), written);
}

/** `text` with what `fill` makes of the entry's body. Of a long one only the beginning is in the page, until one asks. */
function foldable(
  entry: Entry,
  around: Around,
  text: HTMLElement,
  fill: (body: string) => readonly Child[],
): Child[] {
  if (!isLong(entry.body) || around.unfolded.has(entry.key)) {
    append(text, fill(entry.body));
    return [text];
  }
  append(text, fill(beginning(entry.body)));
  text.classList.add("folded");
  const more = h(
    "button",
    {
      type: "button",
      class: "small",
      "aria-expanded": "false",
      onclick: () => {
        around.hold(entry.key);
        around.unfolded.add(entry.key);
        text.classList.remove("folded");
        text.replaceChildren();
        append(text, fill(entry.body));
        if (text.tabIndex < 0) text.tabIndex = -1; // it can have the focus, though Tab passes it
        text.focus({ preventScroll: true });
        more.remove();
      },
    },
    "Show all of it",
  );
  return [text, more];
}

/** What became of one's own message. */
function fate(entry: Entry, around: Around): Child[] {
  if (entry.state === "pending") return [h("div", { class: "fate" }, "Sending…")];
  if (entry.state !== "failed") return [];
  const reason = entry.problem ? `Not sent: ${entry.problem}` : "Not sent";
  return [
    h(
      "div",
      { class: "fate bad" },
      h("span", { dir: "auto" }, reason),
      " ",
      h("button", { type: "button", class: "small", onclick: () => around.retry(entry) }, "Send again"),
    ),
  ];
}

/** Everything that is not said in somebody's voice. */
function line(entry: Entry, around: Around): HTMLElement {
  const what = h("div", { class: "what" });
  const element = h("div", { class: `row event ${entry.kind}` }, time(entry.at, true), what);
  const text = h("div", { class: "body", dir: "auto" });
  if (entry.kind === "action") {
    const isReadable = entry.sealed === "no" || entry.sealed === "yes";
    const says = (body: string): Child[] => [
      "* ",
      nameElement(entry.from),
      " ",
      ...(isReadable ? written(body) : [entry.problem || "…"]),
    ];
    append(what, foldable(entry, around, text, says));
    append(what, [...marks(entry, around), ...fate(entry, around)]);
  } else if (entry.kind === "topic") {
    const by = entry.from ? [" (", nameElement(entry.from), ")"] : [];
    append(
      what,
      foldable(entry, around, text, (body) =>
        body
          ? ["The topic is now: ", h("q", {}, ...written(body)), ...by]
          : ["There is no topic any more", ...by],
      ),
    );
  } else {
    if (entry.body.includes("\n")) {
      text.classList.add("lines"); // an answer in columns: they stand under each other
      text.tabIndex = 0;
    }
    append(
      what,
      foldable(entry, around, text, (body) => [body]),
    );
  }
  return element;
}

function moves(key: string, entries: readonly Entry[], around: Around): HTMLElement {
  const [first] = entries;
  const names = entries.reduce((sum, entry) => sum + entry.names.length, 0);
  if (entries.length === 1 && names <= 3 && first) {
    return h(
      "div",
      { class: "row event moves", "data-kind": "moves" },
      time(first.at, true),
      h("div", { class: "what" }, move(first)),
    );
  }
  const fold = h(
    "details",
    {
      class: "what",
      ontoggle: () => {
        if (fold.open) around.unfolded.add(key);
        else around.unfolded.delete(key);
      },
    },
    h("summary", { onclick: () => around.hold(key) }, summary(entries)),
    h("ul", {}, ...entries.map((entry) => h("li", {}, time(entry.at), " ", move(entry)))),
  );
  fold.open = around.unfolded.has(key);
  return h("div", { class: "row event moves", "data-kind": "moves" }, time(first?.at ?? 0, true), fold);
}

function move(entry: Entry): HTMLElement {
  const all = summary([entry], Number.POSITIVE_INFINITY);
  return h(
    "span",
    { class: "move", "data-kind": entry.kind, "data-key": entry.key, "data-state": entry.state },
    all,
  );
}

/** One sentence for those who listen. */
export function spokenLine(entry: Entry): string {
  const text = entry.body.length > 400 ? `${entry.body.slice(0, 400)}…` : entry.body;
  const from = isolated(entry.from);
  const isClosed = entry.sealed === "unreadable" || entry.cipher !== "";
  switch (entry.kind) {
    case "said":
      return isClosed ? `${from} said something encrypted` : `${from}: ${text}`;
    case "whisper":
      return isClosed ? `${from} whispers something encrypted` : `${from} to you alone: ${text}`;
    case "action":
      return `${from} ${text}`;
    case "topic":
      return text ? `The topic is now: ${text}` : "There is no topic any more";
    case "joined":
    case "left":
      return summary([entry]);
    default:
      return text;
  }
}
