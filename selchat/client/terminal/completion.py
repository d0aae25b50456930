"""Tab completion of commands, rooms and user names.

`complete` is a pure function. `ChatCompleter` runs in the thread of the screen and `RoomNames` in the thread
of the link, which alone knows the names.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from selchat.client import lines
from selchat.client.commands import COMMANDS, SANCTIONS
from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Rooms
from selchat.errors import SelchatError
from selchat.limits import MAX_COMPLETED_WORDS
from selchat.quoting import quoted
from selchat.text import name_key

_ROOM_COMMANDS = frozenset({"/join", "/part", "/users"})


class Candidates(NamedTuple):
    """The ``names`` of users and of ``rooms`` that can complete a word, the user's own rooms first."""

    names: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()


def expects_room(before: str) -> bool:
    """Whether the text before the cursor ends in the argument of a room command."""
    word, space, rest = before.partition(" ")
    return bool(space) and word.lower() in _ROOM_COMMANDS and " " not in rest


def complete(before: str, candidates: Candidates) -> list[tuple[str, int]]:
    """Return each completion and the number of characters before the cursor that it replaces."""
    command, space, rest = before.partition(" ")
    if before.startswith("/") and not space:
        return [(word, len(before)) for word in COMMANDS if word.startswith(before.lower())]
    if expects_room(before):
        start = rest.removeprefix("#")
        return [(room, len(start)) for room in _with_prefix(start, candidates.rooms)]
    if command.lower() in {"/msg", *SANCTIONS} and rest.count('"') < 2:
        found = _with_prefix(rest.removeprefix('"').removeprefix("@"), candidates.names)
        if found:
            return [(f"{quoted(name)} ", len(rest)) for name in found]
    return _complete_name(before, candidates.names)


class ChatCompleter(Completer):
    """Complete with the result of ``look_up(rooms)``; ``rooms``: whether the text expects a room."""

    def __init__(self, look_up: Callable[[bool], Awaitable[Candidates]]) -> None:
        self._look_up = look_up

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return ()  # the names come from another thread, and this call must not wait

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        before = document.text_before_cursor
        is_command = before.startswith("/") and " " not in before
        candidates = Candidates() if is_command else await self._look_up(expects_room(before))
        for text, replaced in complete(before, candidates):
            yield Completion(text, -replaced)


class RoomNames:
    """The names of rooms for completion, from the server.

    Used in the thread of the link; the answers are futures for another thread, and the tags of the requests.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open: list[Future[Candidates]] = []
        self._rooms: tuple[str, ...] = ()  # in the last list from the server

    def look_up(self, rooms: bool, answer: Future[Candidates]) -> None:
        """Set the result of ``answer``: at once, or for ``rooms`` when the server has answered."""
        if rooms and self._link.state is LinkState.ONLINE:
            try:
                self._link.get_rooms(tag=answer)
            except SelchatError:
                pass  # the classic protocol has no rooms
            else:
                self._open.append(answer)
                return
        self._resolve(answer)

    def receive(self, rooms: Rooms) -> bool:
        """Store the server's list; return whether it answers the user."""
        self._rooms = tuple(room.room for room in rooms.rooms)
        if not isinstance(rooms.tag, Future):
            return True
        if rooms.tag in self._open:
            self._open.remove(rooms.tag)
            self._resolve(rooms.tag)
        return False

    def connection_lost(self) -> None:
        """Answer the open requests with the known names."""
        answers, self._open = self._open, []
        for answer in answers:
            self._resolve(answer)

    def _resolve(self, answer: Future[Candidates]) -> None:
        if answer.set_running_or_notify_cancel():  # False: nobody waits for it any more
            rooms = dict.fromkeys((*self._link.rooms, *self._rooms))
            answer.set_result(Candidates(tuple(self._link.names), tuple(rooms)))


def _complete_name(before: str, names: Iterable[str]) -> list[tuple[str, int]]:
    """Complete a name that starts in the last word, or in one of the words before it."""
    line = before.rpartition("\n")[2]
    words = line.split(" ")[-MAX_COMPLETED_WORDS:]
    for first in range(len(words)):
        start = " ".join(words[first:])
        if words[first] and words[-1]:
            matches = _with_prefix(start, names)
            if matches:
                return [(name, len(start)) for name in matches]
    return []


def _with_prefix(start: str, names: Iterable[str]) -> list[str]:
    """Return the names with this prefix, safe for a terminal; ignore case and width."""
    key = name_key(start)
    return [lines.safe(name) for name in names if name_key(name).startswith(key)]
