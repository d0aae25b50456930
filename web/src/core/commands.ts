// Lines as they are typed: what they ask for. The commands are those of the terminal (selchat/client/lines.py).

interface Known {
  readonly name: string;
  readonly usage: string;
  readonly help: string;
  readonly operators: boolean; // the server does it for those alone
}

const USUAL: readonly Known[] = (
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
).map((one) => known(one, false));

// As the operator's console has them (selchat/chat/commands.py).
const OPERATORS: readonly Known[] = (
  [
    ["/kick", "NAME", "remove someone from the chat"],
    ["/ban", "NAME|ADDRESS [for 1h10m]", "remove someone, and keep them out"],
    ["/unban", "NAME|ADDRESS", "let them in again"],
    ["/mute", "NAME [for 1h10m]", "let someone read only"],
    ["/unmute", "NAME", "let them speak again"],
    ["/bans", "", "who is banned and who is muted, and until when"],
  ] as const
).map((one) => known(one, true));

export const COMMANDS: readonly Known[] = [...USUAL, ...OPERATORS];
export const OPERATOR_COMMANDS: readonly string[] = OPERATORS.map(({ name }) => name);
const HISTORY = 100; // messages, if it is not said how many

export const HELP = [
  ...table(USUAL),
  "Everything else is said to everyone in the room; //text says /text.",
  "",
  "For operators:",
  ...table(OPERATORS),
].join("\n");

function known([name, more, help]: readonly [string, string, string], operators: boolean): Known {
  return { name, usage: more ? `${name} ${more}` : name, help, operators };
}

function table(commands: readonly Known[]): string[] {
  const width = Math.max(...commands.map(({ usage }) => usage.length)) + 2;
  return commands.map(({ usage, help }) => usage.padEnd(width) + help);
}

export type Command =
  | { asked: "nothing" | "rooms" | "help" | "quit" }
  | { asked: "text" | "me" | "topic" | "search" | "operator"; text: string }
  | { asked: "join" | "part" | "users"; room: string } // "": the current one
  | { asked: "msg"; to: string; text: string }
  | { asked: "history"; number: number }
  | { asked: "wrong"; problem: string };

export function parse(line: string): Command {
  if (!line.startsWith("/")) return line.trim() ? { asked: "text", text: line } : { asked: "nothing" };
  if (line.startsWith("//")) return { asked: "text", text: line.slice(1) };
  const [, word = "", rest = ""] = /^(\S*)\s*(.*?)\s*$/s.exec(line) ?? [];
  const command = word.toLowerCase();
  if (OPERATOR_COMMANDS.includes(command)) return { asked: "operator", text: `${command} ${rest}`.trimEnd() };
  switch (command) {
    case "/rooms":
      return { asked: "rooms" };
    case "/help":
      return { asked: "help" };
    case "/quit":
      return { asked: "quit" };
    case "/topic":
      return { asked: "topic", text: rest };
    case "/me":
      return rest ? { asked: "me", text: rest } : typedSo("/me TEXT");
    case "/search":
      return rest ? { asked: "search", text: rest } : typedSo("/search WORDS");
    case "/join":
      return rest && !/\s/.test(rest) ? { asked: "join", room: rest } : typedSo("/join ROOM");
    case "/part":
      return { asked: "part", room: rest };
    case "/users":
      return { asked: "users", room: rest };
    case "/msg": {
      const match = /^(?:"([^"]+)"\s*(.+)|([^\s"]\S*)\s+(.+))$/s.exec(rest);
      if (!match) return typedSo('/msg NAME TEXT, or /msg "A NAME" TEXT');
      return { asked: "msg", to: match[1] ?? match[3] ?? "", text: match[2] ?? match[4] ?? "" };
    }
    case "/history":
      if (rest && !/^0*[1-9][0-9]{0,7}$/.test(rest)) return typedSo("/history NUMBER");
      return { asked: "history", number: Number(rest || HISTORY) };
    default:
      return {
        asked: "wrong",
        problem: `unknown command ${word}; /help lists the commands, //text says /text`,
      };
  }
}

function typedSo(usage: string): Command {
  return { asked: "wrong", problem: `it is typed so: ${usage}` };
}
