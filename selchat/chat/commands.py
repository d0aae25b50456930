"""Operator commands: lines that begin with a slash. Any other line is an announcement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from selchat.addresses import host_of, is_loopback, looks_like_address, parse_network
from selchat.chat.hub import Hub
from selchat.chat.member import Member
from selchat.chat.moderation import Sanction
from selchat.chat.operators import NotOperatorError, WrongCodeError
from selchat.chat.peer import Farewell
from selchat.chat.people import hash_api_name
from selchat.config.units import parse_duration
from selchat.errors import RefusalError, SettingError, UsageError, brief
from selchat.events import LOBBY
from selchat.limits import MAX_COMMAND_LENGTH, MAX_ROOMS_LISTED
from selchat.quoting import quoted, split_name, unquoted
from selchat.text import clean_name

_KICKED = Farewell("kicked", "The operator has removed you from this chat.", "kicked by the operator")
_CLAIM = "/claim"
_HINT = "put a name with spaces into double quotes"


class NoNameError(UsageError):
    """A command needs a name and has none."""


class TooManyWordsError(UsageError):
    """``words`` follow the ``name``, and are no part of the command."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(name, words)
        self.name = name
        self.words = words

    def __str__(self) -> str:
        words = brief(self.words)
        expected = "for and a time such as 30s, 10m, 2h, 3d, 4w or 1h10m"
        return f"{words} after the name {self.name} is not {expected}; {_HINT}"


class NotAddressError(UsageError):
    """``target`` looks like an address, but it is none, and nobody has it as a name."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target

    def __str__(self) -> str:
        return f"{brief(self.target)} is not an address such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::7"


class AddressMutedError(UsageError):
    def __str__(self) -> str:
        return "only a name can be muted; /ban keeps an address out"


class _Command(NamedTuple):
    """``failure`` begins the answer to a mistake. ``is_local``: works only in the server's own terminal."""

    usage: str
    help: str
    run: Callable[[str], list[str]]
    failure: str = "Not run"
    is_local: bool = False


class Commands:
    """Runs an operator's lines and returns the answers, line by line. ``/quit`` calls ``quit``.

    ``warn``: shows a line to the operator at the server's own terminal.
    """

    def __init__(
        self, hub: Hub, quit: Callable[[], object], warn: Callable[[str], object] = lambda text: None
    ) -> None:
        self._hub = hub
        self._quit = quit
        self._warn = warn
        commands = (
            _Command("/users", "list who is online, with addresses", self._users),
            _Command("/rooms [drop ROOM]", "list the rooms, or delete one with its messages", self._rooms),
            _Command("/kick NAME", "disconnect someone", self._kick, "Not disconnected"),
            _Command(
                "/ban NAME|ADDRESS [for 1h10m]",
                "disconnect someone and keep them out",
                self._ban,
                "Not banned",
            ),
            _Command("/unban NAME|ADDRESS", "lift a ban", self._unban, "Not changed"),
            _Command("/mute NAME [for 1h10m]", "let someone read but not send", self._mute, "Not muted"),
            _Command("/unmute NAME", "lift a mute", self._unmute, "Not changed"),
            _Command("/bans", "list bans and mutes, and when they end", self._bans),
            _Command(
                "/op NAME", "let the owner of a name send these commands", self._op, "Not changed", True
            ),
            _Command("/deop NAME", "take that right away", self._deop, "Not changed", True),
            _Command("/ops", "list the operators", self._ops),
            _Command("/help", "show this list", self._help),
            _Command("/quit", "tell everyone and stop the server", self._stop, "Not stopped", True),
        )
        self._commands = {command.usage.partition(" ")[0]: command for command in commands}

    def run(self, line: str) -> list[str]:
        """Run a line from the server's own terminal; return the answer."""
        line = line.strip()
        if not line.startswith("/") or line.startswith("//"):
            text = line.removeprefix("/")
            if text:
                self._hub.announce(text)
            return []
        return self._run_command(line)

    def remote(self, line: str, member: Member) -> Callable[[], list[str]]:
        """Return the function that runs a line from a member, and returns the answer.

        There are no announcements, and some commands work only in the server's terminal. Everyone can use
        ``/claim``. Raises `NotOperatorError` for the other commands if the member is no operator.
        """
        words = line.split(maxsplit=1)
        if words and words[0].lower() == _CLAIM:
            return partial(self._claim, member, words[1] if len(words) > 1 else "")
        if not self._hub.is_operator(member):
            raise NotOperatorError
        return partial(self._run_remote, line.strip())

    def _run_remote(self, line: str) -> list[str]:
        if not line.startswith("/"):
            return ["Commands begin with a slash. Type /help to list them."]
        word = line.split(maxsplit=1)[0].lower()
        command = self._commands.get(word)
        if command is not None and command.is_local:
            return [f"{command.failure}: {word} works only in the server's own terminal."]
        return self._run_command(line)

    def _run_command(self, line: str) -> list[str]:
        if len(line) > MAX_COMMAND_LENGTH:
            limit = MAX_COMMAND_LENGTH
            return [f"Not run: a command has at most {limit} characters, and this one has {len(line)}."]
        name, *rest = line.split(maxsplit=1)
        command = self._commands.get(name.lower())
        if command is None:
            hint = "Type /help to list the commands, or //text to send /text to everyone."
            return [f"Unknown command {name}. {hint}"]
        try:
            return command.run(rest[0] if rest else "")
        except NoNameError:
            return [f"Usage: {command.usage}"]
        except UsageError as error:
            return [f"{command.failure}: {error}."]

    # -- lists -----------------------------------------------------------------------------------------

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
            return self._drop_room(unquoted(name.strip()))
        if action:
            return ["Usage: /rooms, or /rooms drop ROOM"]
        rooms, total = self._hub.rooms.list(0, MAX_ROOMS_LISTED)
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
        count = room.seq - room.dropped
        self._hub.rooms.drop(room)
        return [f"Deleted the room {room.name} and its {count} message{'' if count == 1 else 's'}."]

    def _bans(self, _argument: str) -> list[str]:
        moderation = self._hub.moderation
        lines = [
            *_format_sanctions("Banned", moderation.bans()),
            *_format_sanctions("Muted", moderation.mutes()),
        ]
        return lines or ["Nobody is banned or muted."]

    def _help(self, _argument: str) -> list[str]:
        width = max(len(command.usage) for command in self._commands.values())
        return [
            *(f"{command.usage:{width}}  {command.help}" for command in self._commands.values()),
            'Put a name with spaces in double quotes: /mute "Table for two" for 2h.',
            "Any other text goes to everyone in the lobby, from Server.",
        ]

    # -- people ----------------------------------------------------------------------------------------

    def _kick(self, argument: str) -> list[str]:
        name = _only_name(argument)
        member = self._hub.find_member(name)
        if member is None:
            return [f"There is no one named {name}. Type /users to see who is online."]
        self._hub.disconnect([member], _KICKED)
        return []

    def _ban(self, argument: str) -> list[str]:
        target, until = self._parse_sanction(argument)
        client_id = None if parse_network(target) else self._hub.name_owner(target)
        members = self._hub.members()
        self._hub.moderation.ban(target, until, client_id)
        banned = [member for member in members if self._hub.is_banned(member)]
        end = Sanction(target, until).end
        notice = "The operator has banned you" + (f" until {end}." if end else ".")
        self._hub.disconnect(banned, Farewell("banned", notice, "banned by the operator", until=until))
        disconnected = f" Disconnected: {', '.join(member.name for member in banned)}." if banned else ""
        answer = f"Banned {target}{f' until {end}' if end else ''}.{disconnected}"
        return [answer, *self._hints(target, banned)]

    def _hints(self, target: str, banned: Sequence[Member]) -> list[str]:
        """Return advice after a ban by name: the person can come back with another name."""
        if parse_network(target):
            return []
        hosts = dict.fromkeys(host_of(member.address) for member in banned)
        addresses = [host for host in hosts if not is_loopback(host)]
        if addresses:
            commands = ", ".join(f"/ban {address}" for address in addresses)
            return [f"They can come back with another name. To ban the address too: {commands}"]
        if not banned and not self._hub.knows_name(target):
            return [f"Nobody has used the name {target} yet."]
        return []

    def _unban(self, argument: str) -> list[str]:
        target = _clean_target(_only_name(argument))
        if self._hub.moderation.unban(target):
            return [f"{target} is no longer banned."]
        return [f"{target} is not banned. Type /bans to see who is."]

    def _mute(self, argument: str) -> list[str]:
        name, until = self._parse_sanction(argument)
        if parse_network(name):
            raise AddressMutedError
        self._hub.moderation.mute(name, until, self._hub.name_owner(name))
        end = Sanction(name, until).end
        answer = f"Muted {name}{f' until {end}' if end else ''}."
        return [answer] if self._hub.knows_name(name) else [answer, f"Nobody has used the name {name} yet."]

    def _unmute(self, argument: str) -> list[str]:
        name = _clean_target(_only_name(argument))
        if self._hub.moderation.unmute(name):
            return [f"{name} is no longer muted."]
        return [f"{name} is not muted. Type /bans to see who is."]

    # -- operators -------------------------------------------------------------------------------------

    def _op(self, argument: str) -> list[str]:
        name = clean_name(_only_name(argument))
        member = self._hub.find_member(name)
        owner = self._hub.name_owner(name)
        if owner is None:
            if member is None:
                return [f"Not changed: nobody owns the name {name}. They must sign in with it first."]
            return [f"Not changed: {member.name} uses a classic client, which cannot prove who they are."]
        if owner == hash_api_name(name):
            return [f"Not changed: {name} belongs to an API token, which cannot send commands."]
        self._hub.operators.confirm(name, owner)
        where = "They are not online now" if member is None else f"They are online from {member.address}"
        return [f"{name} is an operator now. {where}."]

    def _deop(self, argument: str) -> list[str]:
        name = clean_name(_only_name(argument))
        if self._hub.operators.remove(name):
            return [f"{name} is no longer an operator."]
        return [f"{name} is not an operator. Type /ops to see who is."]

    def _ops(self, _argument: str) -> list[str]:
        operators = self._hub.operators
        lines = [f"Operator: {one.name}" for one in operators.current()]
        lines += [f"Not claimed yet: {name}" for name, _ in operators.unclaimed()]
        return lines or ["There are no operators. Type /op NAME to make someone one."]

    def _claim(self, member: Member, code: str) -> list[str]:
        if not code:
            return [f"Usage: {_CLAIM} CODE. The server prints the code at its start."]
        try:
            name = self._hub.claim_operator(member, code)
        except RefusalError as error:
            if isinstance(error, WrongCodeError):
                self._warn(f"{member.name} at {member.address} has sent a wrong operator code")
            return [f"Not changed: {error}."]
        undo = f"if that is wrong, type /deop {quoted(name)}"
        self._warn(f"{member.name} at {member.address} has claimed the operator name {name}; {undo}")
        return [f"You are an operator now, and the name {name} is yours. Type /help to list the commands."]

    # --------------------------------------------------------------------------------------------------

    def _stop(self, _argument: str) -> list[str]:
        self._quit()
        return []

    def _parse_sanction(self, argument: str) -> tuple[str, float | None]:
        """Return the target of a ban or mute, and its end in Unix time. Raises `UsageError`."""
        written, rest = split_name(argument, self._is_target)
        target = _clean_target(written)
        if looks_like_address(written) and not parse_network(target) and not self._is_target(target):
            raise NotAddressError(written)
        if not target:
            raise NoNameError
        if not rest:
            return target, None
        word, *duration = rest.split(maxsplit=1)
        if word.lower() != "for":
            raise TooManyWordsError(written, rest)
        try:
            seconds = parse_duration(duration[0] if duration else "", "for")
        except SettingError as error:
            if parse_network(target) or self._is_target(target):
                raise
            raise UsageError(f"{error}; {_HINT}") from error
        if not seconds:
            raise SettingError("for", duration[0], "more than zero")
        return target, self._hub.time() + seconds

    def _is_target(self, name: str) -> bool:
        moderation = self._hub.moderation
        return self._hub.knows_name(name) or moderation.is_banned(name) or moderation.is_muted(name)


def _only_name(argument: str) -> str:
    """Return the name that is the whole argument. Raises `UsageError`."""
    name, rest = split_name(argument, lambda name: True)
    if not name:
        raise NoNameError
    if rest:
        raise UsageError(f"{rest[:64]!r} follows the name {name[:64]}")
    return name


def _clean_target(target: str) -> str:
    """Return a cleaned name, or the network that an address stands for."""
    network = parse_network(target.strip())
    return clean_name(target) if network is None else str(network)


def _format_sanctions(label: str, sanctions: Sequence[Sanction]) -> list[str]:
    return [f"{label}: {one.target}{f' until {one.end}' if one.end else ''}" for one in sanctions]
