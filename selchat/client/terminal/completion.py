"""Completion of what is typed: commands, rooms where one is wanted, and people's names everywhere.

It knows no link: what there is to complete with is looked up when Tab is pressed, by a function that it is
given.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from selchat.client import lines
from selchat.text import name_key

_MAX_WORDS = 4  # of a name with spaces in it that are looked at
_OF_ROOMS = frozenset({"/join", "/part", "/users"})


class Known(NamedTuple):
    """What there is to complete with: the ``names`` of people, and of ``rooms``, one's own first."""

    names: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()


def wants_rooms(before: str) -> bool:
    """Whether a room is being typed at the end of the text."""
    word, space, rest = before.partition(" ")
    return bool(space) and word.lower() in _OF_ROOMS and " " not in rest


def complete(before: str, known: Known) -> list[tuple[str, int]]:
    """Return what the end of the text may become, and how many of its characters that takes the place of."""
    command, space, rest = before.partition(" ")
    if before.startswith("/") and not space:
        return [(word, len(before)) for word in lines.COMMANDS if word.startswith(before.lower())]
    if wants_rooms(before):
        start = rest.removeprefix("#")
        return [(room, len(start)) for room in _that_begin(start, known.rooms)]
    if command.lower() == "/msg" and (rest.startswith('"') or " " not in rest):
        if rest.count('"') < 2:
            start = rest.removeprefix('"')
            return [(_quoted(name), len(rest)) for name in _that_begin(start, known.names)]
    elif command.lower() in lines.OPERATOR_COMMANDS:
        return [(name, len(rest)) for name in _that_begin(rest, known.names)]
    return _names_at_the_end(before, known.names)


class Completions(Completer):
    """``look_up(rooms)`` returns what is known; ``rooms``: whether those are wanted too."""

    def __init__(self, look_up: Callable[[bool], Awaitable[Known]]) -> None:
        self._look_up = look_up

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return ()  # it takes a look at the other thread, which is not waited for

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        before = document.text_before_cursor
        is_command = before.startswith("/") and " " not in before
        known = Known() if is_command else await self._look_up(wants_rooms(before))
        for text, replaced in complete(before, known):
            yield Completion(text, -replaced)


def _names_at_the_end(before: str, names: Iterable[str]) -> list[tuple[str, int]]:
    """Look for a name in the last word, and in as many words before it as a name may have."""
    line = before.rpartition("\n")[2]
    words = line.split(" ")[-_MAX_WORDS:]
    for first in range(len(words)):
        start = " ".join(words[first:])
        if words[first] and words[-1]:
            found = _that_begin(start, names)
            if found:
                return [(name, len(start)) for name in found]
    return []


def _that_begin(start: str, names: Iterable[str]) -> list[str]:
    """Return the names, safe to be shown, that begin so; case and width do not matter."""
    key = name_key(start)
    return [lines.safe(name) for name in names if name_key(name).startswith(key)]


def _quoted(name: str) -> str:
    return f'"{name}" ' if " " in name else f"{name} "
