"""What an operator can type: commands that begin with a slash, and everything else, which is said to all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from selchat.chat.hub import Hub
from selchat.chat.moderation import Sanction, parse_network, parse_sanction_duration
from selchat.chat.peer import Farewell
from selchat.errors import SettingError
from selchat.text import clean_name

_FOR = re.compile(r"\s+for\s+(.+)$", re.IGNORECASE)
_MAX_SHOWN = 1000  # rooms
_KICKED = Farewell("kicked", "The operator has removed you from this chat.", "kicked by the operator")


class Commands:
    """Runs an operator's lines; each gives lines of reply. ``quit`` is what ``/quit`` calls."""

    def __init__(self, hub: Hub, quit: Callable[[], object]) -> None:
        self._hub = hub
        self._quit = quit
        self._commands: dict[str, tuple[str, str, Callable[[str], list[str]]]] = {
            "/users": ("/users", "who is online, and from where", self._users),
            "/rooms": ("/rooms", "which rooms there are", self._rooms),
            "/kick": ("/kick NAME", "remove someone", self._kick),
            "/ban": ("/ban NAME|ADDRESS [for 1h10m]", "remove someone, and keep them out", self._ban),
            "/unban": ("/unban NAME|ADDRESS", "let them in again", self._unban),
            "/mute": ("/mute NAME [for 1h10m]", "let someone read only", self._mute),
            "/unmute": ("/unmute NAME", "let them speak again", self._unmute),
            "/bans": ("/bans", "who is banned and who is muted, and until when", self._bans),
            "/help": ("/help", "this list", self._help),
            "/quit": ("/quit", "tell everyone and stop the server", self._stop),
        }

    def run(self, line: str) -> list[str]:
        """Do what the line says and return what to show the operator."""
        line = line.strip()
        if not line.startswith("/") or line.startswith("//"):
            text = line.removeprefix("/")
            if text:
                self._hub.announce(text)
            return []
        return self._command(line)

    def run_remote(self, line: str) -> list[str]:
        """Do what an operator says from afar: the same but for ``/quit``, and nothing is said."""
        line = line.strip()
        if line.lower().split(" ")[0] == "/quit":
            return ["The server is stopped where it runs."]
        if not line.startswith("/"):
            return ["Commands begin with /; /help lists them."]
        return self._command(line)

    def _command(self, line: str) -> list[str]:
        word, _, argument = line.partition(" ")
        command = self._commands.get(word.lower())
        if command is None:
            return [f"Unknown command {word}; /help lists the commands, //text says /text to everyone."]
        return command[2](argument.strip())

    def _users(self, _argument: str) -> list[str]:
        members = sorted(self._hub.members(), key=lambda member: member.name.casefold())
        if not members:
            return ["Nobody is online."]
        return [
            f"Users online ({len(members)}):",
            *(f"  {member.name}  {member.address}" for member in members),
        ]

    def _rooms(self, _argument: str) -> list[str]:
        rooms, total = self._hub.rooms.list(_MAX_SHOWN)
        shown = [
            f"  {room.name}  {room.members} online, {room.seq} messages"
            + (f", topic: {room.topic}" if room.topic else "")
            for room in rooms
        ]
        more = [f"  and {total - len(rooms)} more"] if total > len(rooms) else []
        return [f"Rooms ({total}):", *shown, *more]

    def _kick(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /kick NAME"]
        member = self._hub.find_member(argument)
        if member is None:
            return [f"Nobody is called {argument}; /users lists who is online."]
        self._hub.disconnect([member], _KICKED)
        return []

    def _ban(self, argument: str) -> list[str]:
        try:
            word, until = self._measure(argument)
        except SettingError as error:
            return [f"Not banned: {error}"]
        if not word:
            return ["Usage: /ban NAME|ADDRESS [for 1h10m]"]
        client = None if parse_network(word) else self._hub.name_owner(word)
        self._hub.moderation.ban(word, until, client)
        banned = [one for one in self._hub.members() if self._hub.is_banned(one)]
        end = Sanction(word, until).end
        for member in banned:
            notice = "The operator has banned you" + (f" until {end}." if end else ".")
            self._hub.disconnect([member], Farewell("banned", notice, "banned by the operator"))
        gone = f"; removed: {', '.join(member.name for member in banned)}" if banned else ""
        return [f"Banned {word}{f' until {end}' if end else ''}{gone}."]

    def _unban(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /unban NAME|ADDRESS"]
        if self._hub.moderation.unban(self._word(argument)):
            return [f"{argument} may come in again."]
        return [f"{argument} is not banned; /bans lists who is."]

    def _mute(self, argument: str) -> list[str]:
        try:
            word, until = self._measure(argument)
        except SettingError as error:
            return [f"Not muted: {error}"]
        if not word:
            return ["Usage: /mute NAME [for 1h10m]"]
        self._hub.moderation.mute(word, until, self._hub.name_owner(word))
        end = Sanction(word, until).end
        return [f"Muted {word}{f' until {end}' if end else ''}."]

    def _unmute(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /unmute NAME"]
        if self._hub.moderation.unmute(self._word(argument)):
            return [f"{argument} may speak again."]
        return [f"{argument} is not muted; /bans lists who is."]

    def _bans(self, _argument: str) -> list[str]:
        moderation = self._hub.moderation
        lines = [
            *_listed("Banned", moderation.bans()),
            *_listed("Muted", moderation.mutes()),
        ]
        return lines or ["Nobody is banned or muted."]

    def _help(self, _argument: str) -> list[str]:
        width = max(len(usage) for usage, _, _ in self._commands.values())
        return [
            *(f"{usage:{width}}  {what}" for usage, what, _ in self._commands.values()),
            "Everything else is said to everyone in the lobby, from Server.",
        ]

    def _stop(self, _argument: str) -> list[str]:
        self._quit()
        return []

    def _measure(self, argument: str) -> tuple[str, float | None]:
        """Return whom a measure is about, and until when in Unix time. Raises `SettingError`."""
        match = _FOR.search(argument)
        if match is None:
            return self._word(argument), None
        return self._word(argument[: match.start()]), self._hub.time() + parse_sanction_duration(match[1])

    def _word(self, word: str) -> str:
        word = word.strip()
        return word if parse_network(word) else clean_name(word)


def _listed(what: str, measures: Sequence[Sanction]) -> list[str]:
    return [f"{what}: {one.word}{f' until {one.end}' if one.end else ''}" for one in measures]
