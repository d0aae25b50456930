// The rows of a conversation: days between its entries, messages grouped by author, joins and leaves folded
// into one line. Pure.

import type { Entry, Phrase } from "../core/api.ts";

export type Row =
  | { kind: "start"; key: string } // the start of the history
  | { kind: "day"; key: string; at: number }
  | { kind: "new"; key: string } // the entries below are unread
  | { kind: "entry"; key: string; entry: Entry; head: boolean } // head: it shows author and time
  | { kind: "membership"; key: string; entries: readonly Entry[] }; // consecutive joins and leaves

const GROUP_SECONDS = 5 * 60; // seconds between two messages of one group
const MAX_CHANGES = 200; // joins and leaves in one row, which are all in the page when it is expanded

/** Return the rows. `firstNew`: key of the entry below the line for new ones; "": no line. */
export function buildRows(entries: readonly Entry[], whole: boolean, firstNew: string): Row[] {
  const rows: Row[] = [];
  if (whole) rows.push({ kind: "start", key: "start" });
  let dayBegins = Infinity; // seconds; the day of the row above
  let dayEnds = -Infinity;
  let above: Entry | null = null; // the next entry may join its group
  let changes: Entry[] | null = null; // the next entry may be folded into these
  for (const entry of entries) {
    if (!(entry.at >= dayBegins && entry.at < dayEnds)) {
      [dayBegins, dayEnds] = dayOf(entry.at);
      rows.push({ kind: "day", key: `day:${entry.key}`, at: entry.at });
      above = changes = null;
    }
    if (entry.key === firstNew) {
      rows.push({ kind: "new", key: "new" });
      above = changes = null;
    }
    if (entry.kind === "joined" || entry.kind === "left") {
      above = null;
      if (changes && changes.length < MAX_CHANGES) changes.push(entry);
      else {
        changes = [entry];
        rows.push({ kind: "membership", key: `membership:${entry.key}`, entries: changes });
      }
      continue;
    }
    changes = null;
    rows.push({ kind: "entry", key: entry.key, entry, head: !above || !isSameGroup(entry, above) });
    above = entry.kind === "said" || entry.kind === "whisper" ? entry : null;
  }
  return rows;
}

function isSameGroup(entry: Entry, above: Entry): boolean {
  return (
    entry.kind === above.kind &&
    entry.from === above.from &&
    entry.to === above.to &&
    (entry.encryption === "no") === (above.encryption === "no") &&
    entry.cipher === above.cipher &&
    entry.at - above.at < GROUP_SECONDS &&
    entry.at >= above.at - GROUP_SECONDS
  );
}

/** Return the start and the end of the local day. It need not have 86,400 seconds: the clocks change. */
function dayOf(at: number): [number, number] {
  const day = new Date(at * 1000);
  const begins = new Date(day.getFullYear(), day.getMonth(), day.getDate());
  const ends = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1);
  if (Number.isNaN(begins.getTime())) return [-Infinity, Infinity]; // an invalid time: one endless day
  return [begins.getTime() / 1000, ends.getTime() / 1000];
}

/** Whether a row in the page already shows this one. */
export function isSameRow(one: Row, other: Row): boolean {
  if (one.kind === "entry")
    return other.kind === "entry" && one.entry === other.entry && one.head === other.head;
  if (one.kind === "membership") {
    return (
      other.kind === "membership" &&
      one.entries.length === other.entries.length &&
      one.entries.at(-1) === other.entries.at(-1)
    );
  }
  return one.kind === other.kind && one.key === other.key;
}

/** Summarize joins and leaves in one line; count a user once who came back. */
export function membershipSummary(entries: readonly Entry[], maxNames = 3): Phrase {
  const joined = new Set<string>();
  const left = new Set<string>();
  for (const entry of entries) {
    const [now, before] = entry.kind === "joined" ? [joined, left] : [left, joined];
    for (const name of entry.names) {
      if (!before.has(name)) now.add(name);
      else if (entry.kind === "left") {
        before.delete(name); // joined and left again
        left.add(name);
      } else {
        before.delete(name); // left and came back
        joined.add(name);
      }
    }
  }
  return [
    ...(joined.size ? [...nameList([...joined], maxNames), " joined"] : []),
    joined.size && left.size ? ", " : "",
    ...(left.size ? [...nameList([...left], maxNames), " left"] : []),
  ];
}

/** Return a list of names: "Michael, Venkat and 3 others". */
export function nameList(names: readonly string[], maxNames = 3): Phrase {
  const more = names.length - maxNames;
  const shown = more > 1 ? names.slice(0, maxNames) : names;
  const last = more > 1 ? -1 : names.length - 1;
  const list = shown.flatMap((name, index) => [index === 0 ? "" : index === last ? " and " : ", ", { name }]);
  return more > 1 ? [...list, ` and ${more} others`] : list;
}
