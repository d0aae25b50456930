// The rows of a conversation: its entries with days between them, messages grouped by author, people who came and went
// folded into one line. Pure.

import type { Entry } from "../core/api";

export type Row =
  | { kind: "start"; key: string } // there is nothing before
  | { kind: "day"; key: string; at: number }
  | { kind: "new"; key: string } // from here on it had not been read
  | { kind: "entry"; key: string; entry: Entry; head: boolean } // head: it shows who said it, and when
  | { kind: "membership"; key: string; entries: readonly Entry[] }; // joined and left, without anything between

const GROUP_SECONDS = 5 * 60; // seconds between two messages of one group
const MAX_CHANGES = 200; // in one row: unfolded, it is all in the page

/** `firstNew`: key of the entry before which the line for new ones stands; "": nowhere. */
export function buildRows(entries: readonly Entry[], whole: boolean, firstNew: string): Row[] {
  const rows: Row[] = [];
  if (whole) rows.push({ kind: "start", key: "start" });
  let dayBegins = Infinity; // of the day that the row above is in, in seconds
  let dayEnds = -Infinity;
  let above: Entry | null = null; // what the next one may be grouped with
  let changes: Entry[] | null = null; // that the next one may be folded into
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

/** Where the local day begins and ends that this second is in. Not 86,400 seconds: the clocks change. */
function dayOf(at: number): [number, number] {
  const day = new Date(at * 1000);
  const begins = new Date(day.getFullYear(), day.getMonth(), day.getDate());
  const ends = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1);
  if (Number.isNaN(begins.getTime())) return [-Infinity, Infinity]; // a clock that is no clock has one day
  return [begins.getTime() / 1000, ends.getTime() / 1000];
}

/** Whether a row that is in the page already shows this. */
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

/** Who came and who went, in one line: those who came back are not told of twice. */
export function membershipSummary(entries: readonly Entry[], maxNames = 3): string {
  const joined = new Set<string>();
  const left = new Set<string>();
  for (const entry of entries) {
    const [now, before] = entry.kind === "joined" ? [joined, left] : [left, joined];
    for (const name of entry.names) {
      if (!before.has(name)) now.add(name);
      else if (entry.kind === "left") {
        before.delete(name); // was here only for a while
        left.add(name);
      } else {
        before.delete(name); // was away only for a while
        joined.add(name);
      }
    }
  }
  const parts = [
    joined.size ? `${nameList([...joined], maxNames)} came` : "",
    left.size ? `${nameList([...left], maxNames)} left` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** "Michael, Venkat and 3 others" */
export function nameList(names: readonly string[], maxNames = 3): string {
  const more = names.length - maxNames;
  if (more > 1) return `${names.slice(0, maxNames).map(isolate).join(", ")} and ${more} others`;
  const last = names.at(-1) ?? "";
  return names.length < 2
    ? isolate(last)
    : `${names.slice(0, -1).map(isolate).join(", ")} and ${isolate(last)}`;
}

/** A name inside a sentence that is text only: the direction it is written in must not turn what follows. */
export function isolate(name: string): string {
  return /^[\u0000-\u024f]*$/.test(name) ? name : `\u2068${name}\u2069`;
}
