// Parser for typed lines. The terminal has the same commands (selchat/client/commands.py).

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

export function parse(line: string): Command {
  if (!line.startsWith("/")) return line.trim() ? { type: "text", text: line } : { type: "empty" };
  if (line.startsWith("//")) return { type: "text", text: line.slice(1) };
  const [, word = "", rest = ""] = /^(\S*)\s*(.*?)\s*$/s.exec(line) ?? [];
  const command = word.toLowerCase();
  if (OPERATOR_COMMANDS.includes(command)) return { type: "operator", text: `${command} ${rest}`.trimEnd() };
  switch (command) {
    case "/rooms":
      return { type: "rooms" };
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
    case "/join":
      return rest && !/\s/.test(rest) ? { type: "join", room: rest } : usageError("/join ROOM");
    case "/part":
      return { type: "part", room: rest };
    case "/users":
      return { type: "users", room: rest };
    case "/msg": {
      const match = /^(?:"([^"]+)"\s*(.+)|([^\s"]\S*)\s+(.+))$/s.exec(rest);
      if (!match) return usageError('/msg NAME TEXT, or /msg "A NAME" TEXT');
      return { type: "msg", to: match[1] ?? match[3] ?? "", text: match[2] ?? match[4] ?? "" };
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
