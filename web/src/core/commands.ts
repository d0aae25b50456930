// Lines as they are typed: what they ask for. The commands are those of the terminal (selchat/client/lines.py).

interface CommandHelp {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  readonly operatorsOnly: boolean; // the server does it for those alone
}

const USER_COMMANDS: readonly CommandHelp[] = (
  [
    ["/join", "ROOM", "go into a room, or back to one; what you type is said there"],
    ["/part", "[ROOM]", "leave a room"],
    ["/rooms", "", "which rooms there are"],
    ["/users", "[ROOM]", "who is there"],
    ["/msg", "NAME TEXT", "say it to one person alone; a name with spaces goes in double quotes"],
    ["/me", "TEXT", "say what you do"],
    ["/topic", "[TEXT]", "show or set the topic of the room; /topic - for none"],
    ["/history", "[N]", "what was said earlier in the room"],
    ["/search", "WORDS", "what was said there with these words in it"],
    ["/help", "", "this list"],
    ["/quit", "", "leave"],
  ] as const
).map((one) => commandHelp(one, false));

// As the operator's console has them (selchat/chat/commands.py).
const OPERATOR_HELP: readonly CommandHelp[] = (
  [
    ["/kick", "NAME", "remove someone from the chat"],
    ["/ban", "NAME|ADDRESS [for 1h10m]", "remove someone, and keep them out"],
    ["/unban", "NAME|ADDRESS", "let them in again"],
    ["/mute", "NAME [for 1h10m]", "let someone read only"],
    ["/unmute", "NAME", "let them speak again"],
    ["/bans", "", "who is banned and who is muted, and until when"],
  ] as const
).map((one) => commandHelp(one, true));

export const COMMANDS: readonly CommandHelp[] = [...USER_COMMANDS, ...OPERATOR_HELP];
export const OPERATOR_COMMANDS: readonly string[] = OPERATOR_HELP.map(({ name }) => name);
const DEFAULT_HISTORY = 100; // messages, if it is not said how many

export const HELP = [
  ...table(USER_COMMANDS),
  "Everything else is said to everyone in the room; //text says /text.",
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
        problem: `unknown command ${word}; /help lists the commands, //text says /text`,
      };
  }
}

function usageError(usage: string): Command {
  return { type: "invalid", problem: `it is typed so: ${usage}` };
}
