"""Commands that a user types: parse a line, and run it on a link.

Every user interface has one `CommandRunner`. It does not know where lines appear: callers pass a function
that shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum, auto
from typing import Any, NamedTuple

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.client.events import ClientEvent, History, Message, Parted, Refused, Rooms, SeenAuthors, Users
from selchat.errors import UsageError
from selchat.events import LOBBY, SERVER
from selchat.limits import DEFAULT_HISTORY, HISTORY_LIMIT, MAX_COMMAND_WORD, MAX_FOUND, MAX_SEARCHED
from selchat.quoting import UnclosedQuoteError, split_name, unquoted
from selchat.text import cut, name_key

HELP = (
    "/join ROOM      enter a room, or go back to one; your messages then go there",
    "/part [ROOM]    leave a room",
    "/rooms          list the rooms",
    "/users [ROOM]   list the users in a room",
    "/msg NAME TEXT  send a direct message; put a name with spaces in double quotes",
    "/me TEXT        send an action: /me waves appears as * Venkat waves",
    "/topic [TEXT]   show or set the topic of the room; /topic - removes it",
    "/history [N]    show the last N messages of the room",
    "/search WORDS   show the messages of the room that contain all these words",
    "/kick, /ban, /mute, /unban, /unmute NAME, /bans, /ops, /rooms drop ROOM   for operators",
    "/claim CODE     become an operator, with a code that the server prints",
    "/help           show this list",
    "/quit           leave the chat",
    "Any other line goes to everyone in the room. Type //text to send /text.",
)
SANCTIONS = ("/kick", "/ban", "/mute", "/unban", "/unmute")  # commands that begin with a name
_SERVER_COMMANDS = (*SANCTIONS, "/bans", "/ops", "/claim")  # the server runs these


class CommandKind(Enum):
    """The kind of a typed line."""

    NOTHING = ""
    TEXT = "text"
    JOIN = "/join"
    PART = "/part"
    ROOMS = "/rooms"
    USERS = "/users"
    MSG = "/msg"
    ME = "/me"
    TOPIC = "/topic"
    HISTORY = "/history"
    SEARCH = "/search"
    HELP = "/help"
    QUIT = "/quit"
    OPERATOR = "operator"


_KINDS = {kind.value: kind for kind in CommandKind if kind.value.startswith("/")}
_KINDS |= dict.fromkeys(_SERVER_COMMANDS, CommandKind.OPERATOR)
COMMANDS = tuple(_KINDS)


class UnknownCommandError(UsageError):
    """``word``: the typed word that is not a command."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word

    def __str__(self) -> str:
        word = cut(self.word, MAX_COMMAND_WORD)
        return f"unknown command {word}; /help lists the commands, //text sends /text"


class CommandUsageError(UsageError):
    """``usage``: the correct form of the command."""

    def __init__(self, usage: str) -> None:
        super().__init__(usage)
        self.usage = usage

    def __str__(self) -> str:
        return f"Usage: {self.usage}"


class NotInRoomsError(UsageError):
    def __str__(self) -> str:
        return "you are in no room; type /join ROOM to enter one"


# -- parsing -----------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """A parsed line. ``target`` is the room or the name that it addresses."""

    kind: CommandKind
    target: str = ""
    text: str = ""
    number: int = 0


def parse(line: str, names: Collection[str] = ()) -> Command:
    """Return the command on this line. Raises `UnknownCommandError` and `CommandUsageError`.

    ``names``: users whom this client knows, to find the end of a name with spaces; see `split_name`.
    """
    if not line.startswith("/"):
        return Command(CommandKind.TEXT, text=line) if line else Command(CommandKind.NOTHING)
    if line.startswith("//"):
        return Command(CommandKind.TEXT, text=line[1:])
    word, *rests = line.split(maxsplit=1)  # white space inside the rest is the user's
    kind = _KINDS.get(word.lower())
    if kind is None:
        raise UnknownCommandError(word)
    rest = rests[0].strip() if rests else ""
    if kind is CommandKind.OPERATOR or (kind is CommandKind.ROOMS and rest):
        return Command(CommandKind.OPERATOR, text=f"{word.lower()} {rest}".rstrip())
    if kind is CommandKind.MSG:
        return _parse_msg(rest, names)
    if kind is CommandKind.HISTORY:
        if rest and not (rest.isascii() and rest.isdigit() and len(rest) < 9 and int(rest)):
            raise CommandUsageError("/history NUMBER")
        return Command(kind, number=int(rest or DEFAULT_HISTORY))
    if kind in {CommandKind.ME, CommandKind.SEARCH, CommandKind.TOPIC}:
        if not rest and kind is not CommandKind.TOPIC:
            raise CommandUsageError(f"{kind.value} {'TEXT' if kind is CommandKind.ME else 'WORDS'}")
        return Command(kind, text=rest)
    room = unquoted(rest)
    if kind is CommandKind.JOIN and len(room.split()) != 1:
        raise CommandUsageError("/join ROOM")
    return Command(kind, target=room)


def _parse_msg(rest: str, names: Collection[str]) -> Command:
    keys = set(map(name_key, names))
    try:
        name, text = split_name(rest, lambda name: name_key(name) in keys)
    except UnclosedQuoteError:
        name = text = ""
    if not name or not text:
        raise CommandUsageError('/msg NAME TEXT, or /msg "A NAME" TEXT')
    return Command(CommandKind.MSG, name, text)


# -- requests ----------------------------------------------------------------------------------------------

# The values here are tags of requests: the link returns them with the answer.


class Trigger(Enum):
    """The reason for a request that is no search."""

    JOIN = auto()  # the user has joined the room
    COMMAND = auto()  # the user has typed a command


class Search(NamedTuple):
    """A search for ``words``, page by page from the newest message down."""

    words: str
    found: tuple[Message, ...] = ()  # newest first
    searched: int = 0  # messages

    def add(self, page: History) -> Search:
        """Return this search with the matches of one more page."""
        matches = [message for message in reversed(page.messages) if lines.has_words(message, self.words)]
        return Search(self.words, (*self.found, *matches), self.searched + len(page.messages))

    def next_before(self, page: History) -> int | None:
        """Return the ``before`` of the request that follows this page; None: the search is over."""
        if self.searched >= MAX_SEARCHED or len(self.found) >= MAX_FOUND:
            return None
        return page.messages[0].seq if page.more and page.messages else None

    def results(self) -> tuple[Message, ...]:
        """Return the newest matches, oldest first."""
        return self.found[MAX_FOUND - 1 :: -1]

    def lines(self, room: str) -> list[str]:
        """Return the lines that answer ``/search`` with the matches so far."""
        return lines.found(self.results(), self.words, self.searched, room)


# -- running -----------------------------------------------------------------------------------------------


class CommandRunner:
    """Run typed lines on a link. ``show`` shows one line.

    ``room`` is the room that receives the next text; empty: none.
    """

    def __init__(self, link: Link, room: str, show: Callable[[str], object]) -> None:
        self.room = room
        self._link = link
        self._show = show

    def run(self, line: str) -> CommandKind:
        """Run the line and return its kind; the caller carries out `CommandKind.QUIT`.

        Raises `SelchatError` for a command that cannot run.
        """
        command = parse(line, self._link.names)
        method = _METHODS.get(command.kind)
        if method is not None:
            method(self, command)
        return command.kind

    def handle(self, event: ClientEvent) -> bool:
        """Show the event if it answers a command; return whether it does."""
        if isinstance(event, History):
            self._on_history(event)
        elif isinstance(event, (SeenAuthors, Rooms)) or (isinstance(event, Users) and not event.joined):
            self._show_all(lines.answer(event))
        else:
            self._update_room(event)
            return False
        return True

    # ------------------------------------------------------------------------------------------------------

    def _update_room(self, event: ClientEvent) -> None:
        if isinstance(event, Users):
            self.room = event.room if name_key(event.room) == name_key(self.room) else self.room
        elif isinstance(event, Refused):
            if event.code in {"bad-room", "too-many-rooms", "not-in-room"} and not event.id:
                self._switch_from(event.room)
            if isinstance(event.tag, Search) and event.tag.searched:
                self._show_all(event.tag.lines(event.room))
        elif isinstance(event, Parted):
            self._switch_from(event.room)

    def _switch_from(self, room: str) -> None:
        """Switch to another room if the user is no longer in the current one."""
        rooms = self._link.rooms
        if name_key(room) == name_key(self.room) and name_key(room) not in map(name_key, rooms):
            self.room = rooms[-1] if rooms else ""
            if self.room:
                self._show(f"Your messages now go to {lines.safe_name(self.room)}")

    def _show_all(self, shown: list[str]) -> None:
        for line in shown:
            self._show(line)

    def _current_room(self) -> str:
        if not self.room:
            raise NotInRoomsError
        return self.room

    def _say(self, command: Command) -> None:
        self._link.say(command.text, self._current_room())

    def _me(self, command: Command) -> None:
        self._link.say(lines.action(self._link.name, command.text), self._current_room())

    def _join(self, command: Command) -> None:
        self._link.join(command.target)
        self.room = command.target

    def _part(self, command: Command) -> None:
        room = command.target or self._current_room()
        self._link.part(room)
        self._switch_from(room)

    def _rooms(self, _command: Command) -> None:
        self._link.get_rooms(tag=Trigger.COMMAND)

    def _users(self, command: Command) -> None:
        self._link.get_users(command.target or self.room or LOBBY, tag=Trigger.COMMAND)

    def _msg(self, command: Command) -> None:
        self._link.whisper(command.target, command.text)

    def _operator(self, command: Command) -> None:
        self._link.whisper(SERVER, command.text)

    def _topic(self, command: Command) -> None:
        room = self._current_room()
        if command.text:
            self._link.set_topic(room, "" if command.text == "-" else command.text)
            return
        topic, name = self._link.topic(room), lines.safe_name(room)
        self._show(f"The topic of {name}: {lines.safe(topic)}" if topic else "There is no topic")

    def _history(self, command: Command) -> None:
        self._link.get_history(self._current_room(), min(command.number, HISTORY_LIMIT), tag=Trigger.COMMAND)

    def _search(self, command: Command) -> None:
        self._link.get_history(self._current_room(), HISTORY_LIMIT, tag=Search(command.text))

    def _on_history(self, history: History) -> None:
        if not isinstance(history.tag, Search):
            self._show_all(lines.answer(history))
            return
        search = history.tag.add(history)
        before = search.next_before(history)
        if before is not None:
            self._link.get_history(history.room, HISTORY_LIMIT, before=before, tag=search)
        else:
            self._show_all(search.lines(history.room))

    def _help(self, _command: Command) -> None:
        self._show_all(list(HELP))


_METHODS: dict[CommandKind, Callable[[CommandRunner, Command], Any]] = {
    CommandKind.TEXT: CommandRunner._say,
    CommandKind.ME: CommandRunner._me,
    CommandKind.JOIN: CommandRunner._join,
    CommandKind.PART: CommandRunner._part,
    CommandKind.ROOMS: CommandRunner._rooms,
    CommandKind.USERS: CommandRunner._users,
    CommandKind.MSG: CommandRunner._msg,
    CommandKind.TOPIC: CommandRunner._topic,
    CommandKind.HISTORY: CommandRunner._history,
    CommandKind.SEARCH: CommandRunner._search,
    CommandKind.OPERATOR: CommandRunner._operator,
    CommandKind.HELP: CommandRunner._help,
}
