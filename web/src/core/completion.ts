// Completion of typed text: commands, rooms after a command that takes one, and names everywhere (as in
// selchat/client/terminal/completion.py).

import { COMMANDS, OPERATOR_COMMANDS, quoteName } from "./commands.ts";
import { nameKey } from "./text.ts";

const MAX_NAME_WORDS = 16; // words of a name to look back for
const BEFORE_NAME = /^["'¿¡@\p{Ps}\p{Pi}]+/u; // @Anna, (Anna: stays in front of the completed name
const BEFORE_ROOM = /^(?:\/join|\/part|\/users|\/rooms drop) #?(\S*)$/i;

export interface Completion {
  start: number;
  end: number;
  candidates: readonly string[];
}

/** Whether the text ends with the start of a room's name. */
export function isRoomExpected(before: string): boolean {
  return BEFORE_ROOM.test(before);
}

/** Return the completions of the end of `before`. All texts must be safe to display. */
export function complete(before: string, names: readonly string[], rooms: readonly string[]): Completion {
  const end = before.length;
  const completion = (length: number, candidates: readonly string[]) => ({
    start: end - length,
    end,
    candidates,
  });
  const space = before.indexOf(" ");
  const command = (space < 0 ? before : before.slice(0, space)).toLowerCase();
  const rest = space < 0 ? "" : before.slice(space + 1);
  if (before.startsWith("/") && space < 0) {
    return completion(
      end,
      COMMANDS.map(({ name }) => name).filter((name) => name.startsWith(command)),
    );
  }
  const room = BEFORE_ROOM.exec(before)?.[1];
  if (room !== undefined) return completion(room.length, withPrefix(room, rooms));
  if (space >= 0 && (command === "/msg" || OPERATOR_COMMANDS.includes(command))) {
    const found = /^["“„]?[^"“”„]*$/.test(rest) ? withPrefix(rest.replace(/^["“„@]+/, ""), names) : [];
    if (found.length)
      return completion(
        rest.length,
        found.map((name) => `${quoteName(name)} `),
      );
  }
  return completeName(before, names);
}

/** Complete a name from the last word, or from as many words before it as a name may have. */
function completeName(before: string, names: readonly string[]): Completion {
  const end = before.length;
  const words = before
    .slice(before.lastIndexOf("\n") + 1)
    .split(" ")
    .slice(-MAX_NAME_WORDS);
  for (let first = 0; first < words.length && words.at(-1); first += 1) {
    const start = words.slice(first).join(" ");
    if (!words[first]) continue;
    for (const typed of [start, start.replace(BEFORE_NAME, "")]) {
      const found = typed ? withPrefix(typed, names) : [];
      if (found.length) return { start: end - typed.length, end, candidates: found };
    }
  }
  return { start: end, end, candidates: [] };
}

function withPrefix(start: string, names: readonly string[]): string[] {
  const key = nameKey(start);
  return names.filter((name) => nameKey(name).startsWith(key));
}
