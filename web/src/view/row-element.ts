// The element of a row. It has no state: a row that leaves the page and comes back must look as before, so
// the log remembers the expanded ones.

import type { Conversation, Entry, Phrase } from "../core/api.ts";
import { clockTime, dayName, fullTime, isoTime } from "../core/dates.ts";
import { pieceText, plainName, plainText, SERVER_NAME } from "../core/text.ts";
import { bodyElements, isLong, preview } from "./body.ts";
import { append, bdi, type Child, h } from "./dom.ts";
import { icon } from "./icons.ts";
import { avatar, nameElement } from "./names.ts";
import { membershipSummary, type Row } from "./rows.ts";
import { asSentence } from "./sentence.ts";

/** What a row needs from its conversation. */
export interface RowContext {
  conversation(): Conversation;
  expanded: Set<string>; // keys of rows and entries
  keepInPlace(key: string): void; // call it before the row grows
  retry(entry: Entry): void;
  askPassphrase(): void;
}

export function rowElement(row: Row, context: RowContext): HTMLElement {
  if (row.kind === "start") return startRow(context.conversation());
  if (row.kind === "day") return h("h2", { class: "row day" }, h("span", {}, dayName(row.at, new Date())));
  if (row.kind === "new") return h("h2", { class: "row new" }, h("span", {}, "New"));
  if (row.kind === "membership") return membershipRow(row.key, row.entries, context);
  const { entry, head } = row;
  const element =
    entry.kind === "said" || entry.kind === "whisper"
      ? messageRow(entry, head, context)
      : eventRow(entry, context);
  element.dataset.kind = entry.kind;
  element.dataset.key = entry.key;
  element.dataset.state = entry.state;
  if (entry.encryption !== "no") element.dataset.encryption = entry.encryption;
  element.classList.toggle("mention", entry.mention && !entry.isOwn);
  return element;
}

/** Return an estimate of the height in pixels, for rows that were never in the page. */
export function estimateHeight(row: Row, width: number): number {
  if (row.kind === "start") return 96;
  if (row.kind === "day") return 44;
  if (row.kind === "new") return 32;
  if (row.kind === "membership") return 28;
  const perLine = Math.max(20, (width - 80) / 7.4);
  const lines = Math.min(20, Math.ceil((row.entry.body.length || 1) / perLine)); // the rest is collapsed
  if (row.entry.kind !== "said" && row.entry.kind !== "whisper") return 8 + lines * 22;
  return (row.head ? 38 : 6) + lines * 22;
}

function startRow(conversation: Conversation): HTMLElement {
  const name = bdi(conversation.name);
  const text = conversation.kind === "room" ? "This is where " : "Your messages here go to ";
  const rest = conversation.kind === "room" ? " begins." : " alone.";
  return h("p", { class: "row start" }, text, name, rest);
}

function time(at: number): HTMLElement {
  // Touch devices show the full time on focus, for lack of hover. Tab skips it.
  return h(
    "time",
    { datetime: isoTime(at), "data-whole": fullTime(at), title: fullTime(at), tabindex: -1 },
    clockTime(at),
  );
}

function messageRow(entry: Entry, head: boolean, context: RowContext): HTMLElement {
  const content = h("div", { class: "content" });
  if (head)
    append(content, [
      h("div", { class: "byline" }, nameElement(entry.from), " ", ...badges(entry, context), time(entry.at)),
    ]);
  append(content, [...bodyOf(entry, context), ...deliveryStatus(entry, context)]);
  return h(
    "div",
    { class: head ? "row said head" : "row said" },
    head ? avatar(entry.from) : time(entry.at),
    content,
  );
}

/** Return the badges beside the author: they say in words what colour and position show. */
function badges(entry: Entry, context: RowContext): Child[] {
  const conversation = context.conversation();
  const found: Child[] = [];
  const add = (text: string, className: string, first?: Node): void => {
    found.push(h("span", { class: `badge ${className}` }, first, text), " ");
  };
  if (entry.from === SERVER_NAME && !entry.isOwn) add("from the server", "from-server");
  if (entry.kind === "whisper" && conversation.kind === "room") {
    if (entry.isOwn)
      found.push(h("span", { class: "badge direct" }, "direct message to ", bdi(entry.to)), " ");
    else add("direct message", "direct");
  }
  if (entry.mention && !entry.isOwn && entry.kind !== "whisper") add("mentions you", "mention-badge");
  if (entry.encryption !== "no") add("encrypted", "encrypted", icon("locked"));
  else if (entry.cipher) {
    found.push(
      h("span", { class: "badge other-cipher" }, "encrypted with another cipher: ", bdi(entry.cipher)),
      " ",
    );
  } else if (conversation.locked !== "no") add("not encrypted", "not-encrypted", icon("unlocked"));
  return found;
}

function bodyOf(entry: Entry, context: RowContext): Child[] {
  if (entry.encryption === "decrypting") return [h("div", { class: "body dim" }, "Decrypting…")];
  if (entry.encryption === "unreadable") {
    return [
      h("div", { class: "body dim" }, asSentence(entry.problem, "Encrypted, and not readable here")),
      h(
        "button",
        { type: "button", class: "small", onclick: () => context.askPassphrase() },
        "Enter the passphrase",
      ),
    ];
  }
  if (entry.cipher) return [h("div", { class: "body dim" }, "Not readable here.")];
  return collapsible(entry, context, h("div", { class: "body", dir: "auto" }), bodyElements);
}

/** Fill `text` with the body of the entry. A long body is collapsed until the user expands it. */
function collapsible(
  entry: Entry,
  context: RowContext,
  text: HTMLElement,
  fill: (body: string) => readonly Child[],
): Child[] {
  if (!isLong(entry.body) || context.expanded.has(entry.key)) {
    append(text, fill(entry.body));
    return [text];
  }
  append(text, fill(preview(entry.body)));
  text.classList.add("collapsed");
  const more = h(
    "button",
    {
      type: "button",
      class: "small",
      "aria-expanded": "false",
      onclick: () => {
        context.keepInPlace(entry.key);
        context.expanded.add(entry.key);
        text.classList.remove("collapsed");
        text.replaceChildren();
        append(text, fill(entry.body));
        if (text.tabIndex < 0) text.tabIndex = -1; // focusable, but not by Tab
        text.focus({ preventScroll: true });
        more.remove();
      },
    },
    "Show the whole message",
  );
  return [text, more];
}

/** Return the delivery status of the user's own message. */
function deliveryStatus(entry: Entry, context: RowContext): Child[] {
  if (entry.state === "pending") return [h("div", { class: "delivery" }, "Sending…")];
  if (entry.state !== "failed") return [];
  const reason = entry.problem ? asSentence(`Not sent: ${entry.problem}`, "") : "Not sent.";
  return [
    h(
      "div",
      { class: "delivery failed" },
      h("span", { dir: "auto" }, reason),
      " ",
      h("button", { type: "button", class: "small", onclick: () => context.retry(entry) }, "Send again"),
    ),
  ];
}

/** Return a row without a speaker: actions, topics, notices. */
function eventRow(entry: Entry, context: RowContext): HTMLElement {
  const what = h("div", { class: "content" });
  const element = h("div", { class: `row event ${entry.kind}` }, time(entry.at), what);
  const text = h("div", { class: "body", dir: "auto" });
  if (entry.kind === "action") {
    const isReadable = entry.encryption === "no" || entry.encryption === "yes";
    const fill = (body: string): Child[] => [
      "* ",
      nameElement(entry.from),
      " ",
      ...(isReadable ? bodyElements(body) : [entry.problem || "…"]),
    ];
    append(what, collapsible(entry, context, text, fill));
    append(what, [...badges(entry, context), ...deliveryStatus(entry, context)]);
  } else if (entry.kind === "topic") {
    const by = entry.from ? [nameElement(entry.from), " "] : ["Somebody "];
    append(
      what,
      collapsible(entry, context, text, (body) =>
        body ? [...by, "set the topic: ", h("q", {}, ...bodyElements(body))] : [...by, "removed the topic"],
      ),
    );
  } else {
    if (entry.body.includes("\n") && !entry.phrase.length) {
      text.classList.add("lines"); // an answer in columns, which must be aligned
      text.tabIndex = 0;
    }
    append(
      what,
      collapsible(entry, context, text, (body) =>
        entry.phrase.length ? phraseElements(entry.phrase, body.length) : [body],
      ),
    );
  }
  return element;
}

function membershipRow(key: string, entries: readonly Entry[], context: RowContext): HTMLElement {
  const [first] = entries;
  const names = entries.reduce((sum, entry) => sum + entry.names.length, 0);
  if (entries.length === 1 && names <= 3 && first) {
    return h(
      "div",
      { class: "row event membership", "data-kind": "membership" },
      time(first.at),
      h("div", { class: "content" }, membershipChange(first)),
    );
  }
  const fold = h(
    "details",
    {
      class: "content",
      ontoggle: () => {
        if (fold.open) context.expanded.add(key);
        else context.expanded.delete(key);
      },
    },
    h("summary", { onclick: () => context.keepInPlace(key) }, ...phraseElements(membershipSummary(entries))),
    h("ul", {}, ...entries.map((entry) => h("li", {}, time(entry.at), " ", membershipChange(entry)))),
  );
  fold.open = context.expanded.has(key);
  return h("div", { class: "row event membership", "data-kind": "membership" }, time(first?.at ?? 0), fold);
}

function membershipChange(entry: Entry): HTMLElement {
  const all = membershipSummary([entry], Number.POSITIVE_INFINITY);
  return h(
    "span",
    { class: "change", "data-kind": entry.kind, "data-key": entry.key, "data-state": entry.state },
    ...phraseElements(all),
  );
}

/** Return a phrase, with texts of users as elements; `length`: characters of the text to show. */
function phraseElements(phrase: Phrase, length = Number.POSITIVE_INFINITY): Child[] {
  const found: Child[] = [];
  let left = length;
  for (const piece of phrase) {
    if (left <= 0) break;
    const text = pieceText(piece);
    if (typeof piece === "string") found.push(text.slice(0, left));
    else found.push(bdi("name" in piece ? text : text.slice(0, left), "name" in piece ? "who" : undefined));
    left -= text.length;
  }
  return found;
}

/** Return an entry as one sentence for screen readers. */
export function screenReaderLine(entry: Entry): string {
  const whole = entry.phrase.length ? plainText(entry.phrase) : entry.body;
  const text = whole.length > 400 ? `${whole.slice(0, 400)}…` : whole;
  const from = plainName(entry.from);
  const isUnreadable = entry.encryption === "unreadable" || entry.cipher !== "";
  switch (entry.kind) {
    case "said":
      return isUnreadable ? `${from} sent an encrypted message` : `${from}: ${text}`;
    case "whisper":
      return isUnreadable ? `Encrypted direct message from ${from}` : `Direct message from ${from}: ${text}`;
    case "action":
      // With a sign, because Bob can write the action "joined"; with quotes, because Bob Lee is not Bob.
      return `* ${from.includes(" ") ? `“${from}”` : from} ${text}`;
    case "topic":
      return text
        ? `${from || "Somebody"} set the topic: ${text}`
        : `${from || "Somebody"} removed the topic`;
    case "joined":
    case "left":
      return plainText(membershipSummary([entry]));
    default:
      return text;
  }
}
