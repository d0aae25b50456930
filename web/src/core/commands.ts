// Lines as they are typed: what they ask for. The commands are those of the terminal (selchat/client/lines.py).

export const COMMANDS = [
  { name: "/join", usage: "/join ROOM", help: "go into a room, or back to one; what you type is said there" },
  { name: "/part", usage: "/part [ROOM]", help: "leave a room" },
  { name: "/rooms", usage: "/rooms", help: "which rooms there are" },
  { name: "/users", usage: "/users [ROOM]", help: "who is there" },
  {
    name: "/msg",
    usage: "/msg NAME TEXT",
    help: "say it to one person alone; a name with spaces goes in double quotes",
  },
  { name: "/me", usage: "/me TEXT", help: "say what you do" },
  { name: "/topic", usage: "/topic [TEXT]", help: "show or set the topic of the room; /topic - for none" },
  { name: "/history", usage: "/history [N]", help: "what was said earlier in the room" },
  { name: "/search", usage: "/search WORDS", help: "what was said there with these words in it" },
  { name: "/kick", usage: "/kick NAME", help: "for operators" },
  { name: "/ban", usage: "/ban NAME", help: "for operators" },
  { name: "/mute", usage: "/mute NAME", help: "for operators" },
  { name: "/unban", usage: "/unban NAME", help: "for operators" },
  { name: "/unmute", usage: "/unmute NAME", help: "for operators" },
  { name: "/bans", usage: "/bans", help: "for operators" },
  { name: "/help", usage: "/help", help: "this list" },
  { name: "/quit", usage: "/quit", help: "leave" },
] as const;

export const OPERATOR_COMMANDS: readonly string[] = ["/kick", "/ban", "/mute", "/unban", "/unmute", "/bans"];
const HISTORY = 100; // messages, if it is not said how many

export const HELP = [
  ...COMMANDS.filter(({ help }) => help !== "for operators").map(
    ({ usage, help }) => `${usage.padEnd(16)}${help}`,
  ),
  `${OPERATOR_COMMANDS.slice(0, 5).join(", ")} NAME, /bans   for operators`,
  "Everything else is said to everyone in the room; //text says /text.",
].join("\n");

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
