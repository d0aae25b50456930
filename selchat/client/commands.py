"""What is typed, done: the room in which one talks, and the commands.

It must not know where lines appear: it is given a function for that. Every interface for people has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.client.events import ClientEvent, History, Message, Parted, Refused, Rooms, SeenAuthors, Users
from selchat.client.lines import Command, Typed
from selchat.errors import UsageError
from selchat.events import LOBBY, SERVER
from selchat.text import name_key

_SEARCHED = 5000  # messages that ``/search`` looks at
_PAGE = 1000  # messages asked for at a time; docs/protocol.rst allows no more
_MAX_FOUND = 200  # messages that are shown


class NotInRoomsError(UsageError):
    def __str__(self) -> str:
        return "you are in no room; /join ROOM"


class _Search(NamedTuple):
    """A search that is under way: what was found, newest first, among how many."""

    words: str
    found: list[Message]
    searched: int


class CommandRunner:
    """Does what is typed on a link. ``tell`` shows a line.

    ``room`` is where the next text goes; empty: nowhere.
    """

    def __init__(self, link: Link, room: str, tell: Callable[[str], object]) -> None:
        self.room = room
        self._link = link
        self._tell = tell
        self._histories: deque[_Search | None] = deque()  # what their answers, in order, are for

    def take(self, line: str) -> Typed:
        """Do what the line asks for, and return what that is; `Typed.QUIT` is left to the caller.

        Raises `SelchatError` for what cannot be done.
        """
        command = lines.parse(line)
        do = _DOERS.get(command.asked)
        if do is not None:
            do(self, command)
        return command.asked

    def answer(self, event: ClientEvent) -> bool:
        """Show what is an answer to a command; return whether it was one."""
        if isinstance(event, History):
            self._take_history(event)
        elif isinstance(event, (SeenAuthors, Rooms)) or (isinstance(event, Users) and not event.joined):
            self._show(lines.answer(event))
        else:
            self._note(event)
            return False
        return True

    def lost(self) -> None:
        """Forget what was asked on a connection that is gone."""
        self._histories.clear()

    # ----------------------------------------------------------------------------------------------------

    def _note(self, event: ClientEvent) -> None:
        """Follow where one is."""
        if isinstance(event, Users):
            self.room = event.room if name_key(event.room) == name_key(self.room) else self.room
        elif isinstance(event, Refused):
            if event.code in {"bad-room", "too-many-rooms", "not-in-room"} and not event.id:
                self._leave_for_another(event.room)
        elif isinstance(event, Parted):
            self._leave_for_another(event.room)

    def _leave_for_another(self, room: str) -> None:
        rooms = self._link.rooms
        if name_key(room) == name_key(self.room) and name_key(room) not in map(name_key, rooms):
            self.room = rooms[-1] if rooms else ""
            if self.room:
                self._tell(f"What you type is said in {lines.safe(self.room)} now")

    def _show(self, shown: list[str]) -> None:
        for line in shown:
            self._tell(line)

    def _here(self) -> str:
        if not self.room:
            raise NotInRoomsError
        return self.room

    def _say(self, command: Command) -> None:
        self._link.say(command.text, self._here())

    def _act(self, command: Command) -> None:
        self._link.say(lines.action(self._link.name, command.text), self._here())

    def _join(self, command: Command) -> None:
        self._link.join(command.target)
        self.room = command.target

    def _part(self, command: Command) -> None:
        room = command.target or self._here()
        self._link.part(room)
        self._leave_for_another(room)

    def _rooms(self, _command: Command) -> None:
        self._link.get_rooms()

    def _users(self, command: Command) -> None:
        self._link.get_users(command.target or self.room or LOBBY)

    def _whisper(self, command: Command) -> None:
        self._link.whisper(command.target, command.text)

    def _operate(self, command: Command) -> None:
        self._link.whisper(SERVER, command.text)

    def _topic(self, command: Command) -> None:
        room = self._here()
        if command.text:
            self._link.set_topic(room, "" if command.text == "-" else command.text)
            return
        topic = self._link.topic(room)
        self._tell(f"The topic of {lines.safe(room)}: {lines.safe(topic)}" if topic else "There is no topic")

    def _history(self, command: Command) -> None:
        self._link.get_history(self._here(), min(command.number, _PAGE))
        self._histories.append(None)

    def _search(self, command: Command) -> None:
        self._link.get_history(self._here(), _PAGE)
        self._histories.append(_Search(command.text, [], 0))

    def _take_history(self, history: History) -> None:
        search = self._histories.popleft() if self._histories else None
        if search is None:
            self._show(lines.answer(history))
            return
        found = [message for message in reversed(history.messages) if lines.has_words(message, search.words)]
        search = _Search(search.words, search.found + found, search.searched + len(history.messages))
        if (
            history.more
            and history.messages
            and search.searched < _SEARCHED
            and len(search.found) < _MAX_FOUND
        ):
            self._link.get_history(history.room, _PAGE, before=history.messages[0].seq)
            self._histories.append(search)
        else:
            shown = search.found[_MAX_FOUND - 1 :: -1]
            self._show(lines.found(shown, search.words, search.searched, history.room))

    def _help(self, _command: Command) -> None:
        self._show(list(lines.HELP))


_DOERS: dict[Typed, Callable[[CommandRunner, Command], Any]] = {
    Typed.TEXT: CommandRunner._say,
    Typed.ME: CommandRunner._act,
    Typed.JOIN: CommandRunner._join,
    Typed.PART: CommandRunner._part,
    Typed.ROOMS: CommandRunner._rooms,
    Typed.USERS: CommandRunner._users,
    Typed.MSG: CommandRunner._whisper,
    Typed.TOPIC: CommandRunner._topic,
    Typed.HISTORY: CommandRunner._history,
    Typed.SEARCH: CommandRunner._search,
    Typed.OPERATOR: CommandRunner._operate,
    Typed.HELP: CommandRunner._help,
}
