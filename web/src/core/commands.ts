// Parser for typed lines. The terminal has the same commands (selchat/client/commands.py).

import { cleanName, nameKey } from "./text.ts";

interface CommandHelp {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  readonly operatorsOnly: boolean; // the server rejects it from anyone else
}

const USER_COMMANDS: readonly CommandHelp[] = (
  [
    ["/join", "ROOM", "enter a room, or go back to one; your messages then go there"],
    ["/part", "[ROOM]", "leave a room"],
    ["/rooms", "", "list the rooms"],
    ["/users", "[ROOM]", "list the users in a room"],
    ["/msg", "NAME TEXT", "send a direct message; put a name with spaces in double quotes"],
    ["/me", "TEXT", "send an action: /me waves appears as * Venkat waves"],
    ["/topic", "[TEXT]", "show or set the topic of the room; /topic - removes it"],
    ["/history", "[N]", "load the last N messages of the room"],
    ["/search", "WORDS", "show the messages of the room that contain all these words"],
    ["/claim", "CODE", "become an operator, with a code that the server prints"],
    ["/help", "", "show this list"],
    ["/quit", "", "sign out"],
  ] as const
).map((one) => commandHelp(one, false));

// The commands of the operator's console (selchat/chat/commands.py).
const OPERATOR_HELP: readonly CommandHelp[] = (
  [
    ["/kick", "NAME", "remove a user from the chat"],
    ["/ban", "NAME|ADDRESS [for 1h10m]", "remove a user, and keep them out"],
    ["/unban", "NAME|ADDRESS", "lift a ban"],
    ["/mute", "NAME [for 1h10m]", "let a user read, but not write"],
    ["/unmute", "NAME", "let a user write again"],
    ["/bans", "", "list the bans and mutes, and when they end"],
    ["/ops", "", "list the operators"],
    ["/rooms drop", "ROOM", "delete a room with its messages"],
  ] as const
).map((one) => commandHelp(one, true));

export const COMMANDS: readonly CommandHelp[] = [...USER_COMMANDS, ...OPERATOR_HELP];
export const OPERATOR_COMMANDS: readonly string[] = OPERATOR_HELP.map(({ name }) => name);
const DEFAULT_HISTORY = 100; // messages

export const HELP = [
  ...table(USER_COMMANDS),
  "Any other line goes to everyone in the room. Type //text to send /text.",
  "",
  "For operators:",
  ...table(OPERATOR_HELP),
].join("\n");

function commandHelp([name, more, help]: readonly [string, string, string], operators: boolean): CommandHelp {
  return { name, usage: more ? `${name} ${more}` : name, help, operatorsOnly: operators };
}

function table(commands: readonly CommandHelp[]): string[] {
  const width = Math.max(...commands.map(({ usage }) => usage.length)) + 2;
  return commands.map(({ usage, help }) => usage.padEnd(width) + help);
}

export type Command =
  | { type: "empty" | "rooms" | "help" | "quit" }
  | { type: "text" | "me" | "topic" | "search" | "operator"; text: string }
  | { type: "join" | "part" | "users"; room: string } // "": the current one
  | { type: "msg"; to: string; text: string }
  | { type: "history"; number: number }
  | { type: "invalid"; problem: string };

/** Parse a line. `names`: the people whom this page knows, to find where a name with spaces ends. */
export function parse(line: string, names: readonly string[] = []): Command {
  if (!line.startsWith("/")) return line.trim() ? { type: "text", text: line } : { type: "empty" };
  if (line.startsWith("//")) return { type: "text", text: line.slice(1) };
  const word = /^\S*/.exec(line)?.[0] ?? "";
  const rest = line.slice(word.length).trim();
  const command = word.toLowerCase();
  if (OPERATOR_COMMANDS.includes(command)) return { type: "operator", text: `${command} ${rest}`.trimEnd() };
  switch (command) {
    case "/rooms":
      return rest ? { type: "operator", text: `${command} ${rest}` } : { type: "rooms" };
    case "/claim":
      return rest ? { type: "operator", text: `${command} ${rest}` } : usageError("/claim CODE");
    case "/help":
      return { type: "help" };
    case "/quit":
      return { type: "quit" };
    case "/topic":
      return { type: "topic", text: rest };
    case "/me":
      return rest ? { type: "me", text: rest } : usageError("/me TEXT");
    case "/search":
      return rest ? { type: "search", text: rest } : usageError("/search WORDS");
    case "/join": {
      const room = unquoted(rest);
      return room && !/\s/.test(room) ? { type: "join", room } : usageError("/join ROOM");
    }
    case "/part":
      return { type: "part", room: unquoted(rest) };
    case "/users":
      return { type: "users", room: unquoted(rest) };
    case "/msg": {
      const found = splitName(rest, names);
      if (!found?.rest) return usageError('/msg NAME TEXT, or /msg "A NAME" TEXT');
      return { type: "msg", to: found.name, text: found.rest };
    }
    case "/history":
      if (rest && !/^0*[1-9][0-9]{0,7}$/.test(rest)) return usageError("/history NUMBER");
      return { type: "history", number: Number(rest || DEFAULT_HISTORY) };
    default:
      return {
        type: "invalid",
        problem: `Unknown command ${word}. Type /help for a list, or /${word} to send it as a message.`,
      };
  }
}

function usageError(usage: string): Command {
  return { type: "invalid", problem: `Usage: ${usage}` };
}

const QUOTED = /^["“”„＂]([^"“”„＂]+)["“”＂]\s*(.*)$/s; // phones turn typed quotes into “these”
const MAX_NAME_WORDS = 32; // words of a name: it has 32 characters

/**
 * Split a name from the words after it: a name in double quotes, or else the longest known name, or else the
 * first word. undefined: no name, or no end of the quotes.
 */
export function splitName(
  text: string,
  names: readonly string[],
): { name: string; rest: string } | undefined {
  const quoted = QUOTED.exec(text);
  if (quoted) return named(quoted[1] ?? "", quoted[2] ?? "", names);
  if (/^["“”„＂]/.test(text)) return undefined;
  const known = new Map(names.map((name) => [nameKey(name), name]));
  let longest: { name: string; rest: string } | undefined;
  let key = "";
  let words = 0;
  for (const word of text.matchAll(/\S+/g)) {
    if (++words > MAX_NAME_WORDS) break;
    key = key ? `${key} ${nameKey(word[0])}` : nameKey(word[0].replace(/^@(?=.)/, ""));
    const name = known.get(key) ?? (words === 1 ? known.get(nameKey(word[0])) : undefined);
    if (name !== undefined) longest = { name, rest: text.slice(word.index + word[0].length).trim() };
  }
  if (longest) return longest;
  const first = /^\S*/.exec(text)?.[0] ?? "";
  return first ? named(first.replace(/^@(?=.)/, ""), text.slice(first.length).trim(), names) : undefined;
}

/** Spell the name as the server does, if it is known. */
function named(
  name: string,
  rest: string,
  names: readonly string[],
): { name: string; rest: string } | undefined {
  const key = nameKey(cleanName(name.slice(0, 1024)));
  return name.trim() ? { name: names.find((one) => nameKey(one) === key) ?? name.trim(), rest } : undefined;
}

/** Return a name as a command takes it: in double quotes if it has spaces. */
export function quoteName(name: string): string {
  return name.includes(" ") ? `"${name}"` : name;
}

function unquoted(text: string): string {
  const [, inner, rest] = QUOTED.exec(text) ?? [];
  return inner !== undefined && !rest ? inner.trim() : text;
}
