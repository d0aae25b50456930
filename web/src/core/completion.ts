// Completion of what is typed: commands, rooms where one is wanted, and people's names everywhere (as
// selchat/client/terminal/completion.py).

import { COMMANDS, OPERATOR_COMMANDS } from "./commands.ts";
import { nameKey } from "./text.ts";

const MOST_WORDS = 4; // of a name with spaces in it that are looked at
const OF_ROOMS = ["/join", "/part", "/users"];

export interface Completion {
  start: number;
  end: number;
  candidates: readonly string[];
}

/** Whether a room is being typed at the end of the text. */
export function wantsRooms(before: string): boolean {
  const match = /^(\S+) (\S*)$/.exec(before);
  return match !== null && OF_ROOMS.includes((match[1] ?? "").toLowerCase());
}

/** What the end of `before` may become. All texts are safe to be shown. */
export function complete(before: string, names: readonly string[], rooms: readonly string[]): Completion {
  const end = before.length;
  const of = (length: number, candidates: readonly string[]) => ({ start: end - length, end, candidates });
  const space = before.indexOf(" ");
  const command = (space < 0 ? before : before.slice(0, space)).toLowerCase();
  const rest = space < 0 ? "" : before.slice(space + 1);
  if (before.startsWith("/") && space < 0) {
    return of(
      end,
      COMMANDS.map(({ name }) => name).filter((name) => name.startsWith(command)),
    );
  }
  if (wantsRooms(before)) {
    const start = rest.replace(/^#/, "");
    return of(start.length, thatBegin(start, rooms));
  }
  if (command === "/msg" && (rest.startsWith('"') || !rest.includes(" "))) {
    if (rest.split('"').length < 3) {
      const found = thatBegin(rest.replace(/^"/, ""), names);
      return of(
        rest.length,
        found.map((name) => (name.includes(" ") ? `"${name}" ` : `${name} `)),
      );
    }
  } else if (OPERATOR_COMMANDS.includes(command)) return of(rest.length, thatBegin(rest, names));
  return namesAtTheEnd(before, names);
}

/** Look for a name in the last word, and in as many words before it as a name may have. */
function namesAtTheEnd(before: string, names: readonly string[]): Completion {
  const end = before.length;
  const words = before
    .slice(before.lastIndexOf("\n") + 1)
    .split(" ")
    .slice(-MOST_WORDS);
  for (let first = 0; first < words.length && words.at(-1); first += 1) {
    const start = words.slice(first).join(" ");
    const found = words[first] ? thatBegin(start.replace(/^@/, ""), names) : [];
    if (found.length) return { start: end - start.length, end, candidates: found };
  }
  return { start: end, end, candidates: [] };
}

function thatBegin(start: string, names: readonly string[]): string[] {
  const key = nameKey(start);
  return names.filter((name) => nameKey(name).startsWith(key));
}
