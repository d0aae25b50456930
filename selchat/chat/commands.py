"""Operator commands: lines that begin with a slash. Any other line is an announcement."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice

from selchat.addresses import parse_network
from selchat.chat.hub import Hub
from selchat.chat.moderation import Sanction, parse_sanction_duration
from selchat.chat.peer import Farewell
from selchat.errors import SettingError
from selchat.events import LOBBY
from selchat.text import clean_name

_FOR = re.compile(r"\s+for\s+(.+)$", re.IGNORECASE)
_MAX_ROOMS = 1000  # in one answer to /rooms
_KICKED = Farewell("kicked", "The operator has removed you from this chat.", "kicked by the operator")


class Commands:
    """Runs an operator's lines and returns the answers, line by line. ``/quit`` calls ``quit``."""

    def __init__(self, hub: Hub, quit: Callable[[], object]) -> None:
        self._hub = hub
        self._quit = quit
        self._commands: dict[str, tuple[str, str, Callable[[str], list[str]]]] = {
            "/users": ("/users", "list who is online, with addresses", self._users),
            "/rooms": ("/rooms [drop ROOM]", "list the rooms, or delete one with its messages", self._rooms),
            "/kick": ("/kick NAME", "disconnect someone", self._kick),
            "/ban": ("/ban NAME|ADDRESS [for 1h10m]", "disconnect someone and keep them out", self._ban),
            "/unban": ("/unban NAME|ADDRESS", "lift a ban", self._unban),
            "/mute": ("/mute NAME [for 1h10m]", "let someone read but not send", self._mute),
            "/unmute": ("/unmute NAME", "lift a mute", self._unmute),
            "/bans": ("/bans", "list bans and mutes, and when they end", self._bans),
            "/help": ("/help", "show this list", self._help),
            "/quit": ("/quit", "tell everyone and stop the server", self._stop),
        }

    def run(self, line: str) -> list[str]:
        """Run a line from the server's own terminal; return the answer."""
        line = line.strip()
        if not line.startswith("/") or line.startswith("//"):
            text = line.removeprefix("/")
            if text:
                self._hub.announce(text)
            return []
        return self._run_command(line)

    def run_remote(self, line: str) -> list[str]:
        """Run a line from an operator who is a member, without ``/quit`` and announcements."""
        line = line.strip()
        if line.lower().split(" ")[0] == "/quit":
            return ["Not stopped: /quit works only in the server's own terminal."]
        if not line.startswith("/"):
            return ["Commands begin with a slash. Type /help to list them."]
        return self._run_command(line)

    def _run_command(self, line: str) -> list[str]:
        name, _, argument = line.partition(" ")
        command = self._commands.get(name.lower())
        if command is None:
            hint = "Type /help to list the commands, or //text to send /text to everyone."
            return [f"Unknown command {name}. {hint}"]
        return command[2](argument.strip())

    def _users(self, _argument: str) -> list[str]:
        members = sorted(self._hub.members(), key=lambda member: member.name.casefold())
        if not members:
            return ["Nobody is online."]
        return [
            f"Users online ({len(members)}):",
            *(f"  {member.name}  {member.address}" for member in members),
        ]

    def _rooms(self, argument: str) -> list[str]:
        action, _, name = argument.partition(" ")
        if action.lower() == "drop" and name:
            return self._drop_room(name.strip())
        if action:
            return ["Usage: /rooms, or /rooms drop ROOM"]
        rooms, total = self._hub.rooms.list(0, _MAX_ROOMS)
        lines = [
            f"  {room.name}  {room.members} online, {room.seq} messages"
            + (f", topic: {room.topic}" if room.topic else "")
            for room in rooms
        ]
        more = [f"  and {total - len(rooms)} more"] if total > len(rooms) else []
        return [f"Rooms ({total}):", *lines, *more]

    def _drop_room(self, name: str) -> list[str]:
        room = self._hub.rooms.restore(name)
        if room is None:
            return [f"There is no room {name}. Type /rooms to list the rooms."]
        if room is self._hub.lobby:
            return [f"Not deleted: everyone joins the {LOBBY} first."]
        if room.members:
            names = ", ".join(member.name for member in islice(room.members.values(), 3))
            more = f" and {len(room.members) - 3} more" if len(room.members) > 3 else ""
            return [f"Not deleted: {names}{more} joined {room.name}. They have to leave it first; see /kick."]
        if room.staged:
            return [f"Not deleted: someone is sending a message to {room.name} now. Try again."]
        self._hub.rooms.drop(room)
        return [f"Deleted the room {room.name} and its {room.seq} messages."]

    def _kick(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /kick NAME"]
        member = self._hub.find_member(argument)
        if member is None:
            return [f"There is no one named {argument}. Type /users to see who is online."]
        self._hub.disconnect([member], _KICKED)
        return []

    def _ban(self, argument: str) -> list[str]:
        try:
            target, until = self._parse_sanction(argument)
        except SettingError as error:
            return [f"Not banned: {error}"]
        if not target:
            return ["Usage: /ban NAME|ADDRESS [for 1h10m]"]
        client_id = None if parse_network(target) else self._hub.name_owner(target)
        self._hub.moderation.ban(target, until, client_id)
        banned = [member for member in self._hub.members() if self._hub.is_banned(member)]
        end = Sanction(target, until).end
        for member in banned:
            notice = "The operator has banned you" + (f" until {end}." if end else ".")
            self._hub.disconnect([member], Farewell("banned", notice, "banned by the operator"))
        disconnected = f" Disconnected: {', '.join(member.name for member in banned)}." if banned else ""
        return [f"Banned {target}{f' until {end}' if end else ''}.{disconnected}"]

    def _unban(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /unban NAME|ADDRESS"]
        if self._hub.moderation.unban(_clean_target(argument)):
            return [f"{argument} is no longer banned."]
        return [f"{argument} is not banned. Type /bans to see who is."]

    def _mute(self, argument: str) -> list[str]:
        try:
            name, until = self._parse_sanction(argument)
        except SettingError as error:
            return [f"Not muted: {error}"]
        if not name:
            return ["Usage: /mute NAME [for 1h10m]"]
        self._hub.moderation.mute(name, until, self._hub.name_owner(name))
        end = Sanction(name, until).end
        return [f"Muted {name}{f' until {end}' if end else ''}."]

    def _unmute(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /unmute NAME"]
        if self._hub.moderation.unmute(_clean_target(argument)):
            return [f"{argument} is no longer muted."]
        return [f"{argument} is not muted. Type /bans to see who is."]

    def _bans(self, _argument: str) -> list[str]:
        moderation = self._hub.moderation
        lines = [
            *_format_sanctions("Banned", moderation.bans()),
            *_format_sanctions("Muted", moderation.mutes()),
        ]
        return lines or ["Nobody is banned or muted."]

    def _help(self, _argument: str) -> list[str]:
        width = max(len(usage) for usage, _, _ in self._commands.values())
        return [
            *(f"{usage:{width}}  {text}" for usage, text, _ in self._commands.values()),
            "Any other text goes to everyone in the lobby, from Server.",
        ]

    def _stop(self, _argument: str) -> list[str]:
        self._quit()
        return []

    def _parse_sanction(self, argument: str) -> tuple[str, float | None]:
        """Return the target of a ban or mute, and its end in Unix time. Raises `SettingError`."""
        match = _FOR.search(argument)
        if match is None:
            return _clean_target(argument), None
        return _clean_target(argument[: match.start()]), self._hub.time() + parse_sanction_duration(match[1])


def _clean_target(target: str) -> str:
    """Return a cleaned name, or the network that an address stands for."""
    network = parse_network(target.strip())
    return clean_name(target) if network is None else str(network)


def _format_sanctions(label: str, sanctions: Sequence[Sanction]) -> list[str]:
    return [f"{label}: {one.target}{f' until {one.end}' if one.end else ''}" for one in sanctions]
