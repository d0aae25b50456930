"""Styled lines for the terminal: format events, with some words dim or bold.

Pure functions that know no screen. A line is a sequence of pairs: a style, and a text that is safe for a
terminal. The screen maps the styles to attributes, or ignores them. There are no colours, because the
background colour is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from prompt_toolkit.utils import get_cwidth

from selchat.client import lines
from selchat.client.events import Message, Rooms, Users, Whispered
from selchat.events import LOBBY
from selchat.text import name_key, normalize

Line = tuple[tuple[str, str], ...]
"""Pairs of a style and a text."""

PLAIN = ""
DIM = "class:dim"
BOLD = "class:bold"

_GAP = 2  # columns between names


def plain(text: str) -> Line:
    return ((PLAIN, text),)


def dim(text: str) -> Line:
    return ((DIM, text),)


def prompt(room: str) -> str:
    """Return the prompt for typing in that room."""
    return "You >> " if room in {"", LOBBY} else f"You in #{lines.safe_name(room)} >> "


def time(at: float | None, now: float) -> str:
    """Return the local time and a space, with the date unless it is today's; empty for None.

    ``at`` and ``now`` are in seconds of Unix time.
    """
    if at is None:
        return ""
    try:
        then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now).date()
        return then.strftime("%H:%M " if then.date() == today else "%Y-%m-%d %H:%M ")
    except (OverflowError, OSError, ValueError):
        return "??:?? "  # outside the range of datetime


def message(event: Message | Whispered, me: str, *, room: str = "", time: str = "") -> Line:
    """Return the line for a message, with each mention of ``me`` in bold.

    The line begins with ``time`` and the name of ``room``, unless they are empty.
    """
    head, body = lines.message_parts(event, room)
    return ((PLAIN, time + head), *_with_mentions(body, me))


def own_message(event: Message, *, here: bool, time: str = "") -> Line:
    """Return the line for a message of the user. ``here``: the message is in the current room."""
    return plain(f"{time}{sent(event.room, '', lines.format_body(event), event.author, here=here)}")


def sent(room: str, to: str, body: str, me: str, *, here: bool) -> str:
    """Return the final text for a message that the user, named ``me``, sent to a room or to one user."""
    if to:
        return f"You to {lines.safe_name(to)} > {lines.safe(body)}"
    where = "" if here else f"[{lines.safe_name(room)}] "
    start = lines.action(me, "")
    if body.startswith(start):
        return f"{where}* {lines.word(me)} {lines.safe(body[len(start) :])}"
    return f"{where or prompt(room)}{'You >> ' if where else ''}{lines.safe(body)}"


def pending(room: str, to: str, body: str, *, here: bool) -> str:
    """Return the text for a message that the server has not acknowledged."""
    where = f"to {lines.safe_name(to)}: " if to else "" if here else f"[{lines.safe_name(room)}] "
    return f"… {where}{lines.safe(body)}"


def text(line: Line) -> str:
    return "".join(text for _, text in line)


def dimmed(line: Line) -> Line:
    """Return the line with every word dim."""
    return dim(text(line))


def entered(event: Users, width: int) -> list[Line]:
    """Return the lines for entering a room: its users, in two rows at most, and its topic."""
    start = f"You are in {lines.safe_name(event.room)} ({event.total} here): "
    shown = [dim(start + fold(event.names, event.total, 2 * width - get_cwidth(start)))]
    if event.topic:
        shown.append(dim(f"Topic: {lines.safe(event.topic)}"))
    return shown


def users(event: Users, width: int) -> list[Line]:
    """Return the lines that answer ``/users``."""
    place = "online" if event.room == LOBBY else f"in {lines.safe_name(event.room)}"
    listed = [f"Users {place} ({event.total}):", *columns(event.names, width)]
    missing = event.total - len(event.names)
    return [plain(line) for line in (*listed, *([f"  and {missing} more"] if missing > 0 else []))]


def rooms(event: Rooms, mine: Sequence[str], width: int) -> list[Line]:
    """Return the lines that answer ``/rooms``, with a ``*`` before the rooms in ``mine``."""
    keys = set(map(name_key, mine))
    names = [lines.safe_name(room.room) for room in event.rooms]
    members = [f"{room.members} here" for room in event.rooms]
    widths = [max(map(get_cwidth, column), default=0) for column in (names, members)]
    shown = [plain(f"Rooms ({event.total}); * marks the rooms that you are in:")]
    for room, name, count in zip(event.rooms, names, members, strict=True):
        mark = "*" if name_key(room.room) in keys else " "
        line = f"{mark} {_padded(name, widths[0])}  {count:>{widths[1]}}  {lines.safe(room.topic)}"
        shown.append(plain(fit(line.rstrip(), width)))
    missing = event.total - len(event.rooms)
    return [*shown, *([plain(f"  and {missing} more")] if missing > 0 else [])]


def columns(names: Sequence[str], width: int) -> list[str]:
    """Return the names as rows of at most ``width`` screen columns, in column-major order."""
    safe = list(map(lines.listed_name, names))
    widest = max(map(get_cwidth, safe), default=0)
    across = max(1, width // (widest + _GAP))
    rows = -(-len(safe) // across)
    return ["".join(f"  {_padded(name, widest)}" for name in safe[row::rows]).rstrip() for row in range(rows)]


def fold(names: Sequence[str], total: int, width: int) -> str:
    """Return as many names as fit into ``width``, at least one, and the number of the others in ``total``."""
    shown = ""
    for number, name in enumerate(map(lines.listed_name, names)):
        longer = f"{shown}, {name}" if shown else name
        left = total - number - 1
        if shown and get_cwidth(longer + (f" and {left} more" if left > 0 else "")) > width:
            return f"{shown} and {total - number} more"
        shown = longer
    missing = total - len(names)
    return f"{shown} and {missing} more" if shown and missing > 0 else shown


def fit(text: str, width: int) -> str:
    """Return the text, cut to ``width`` screen columns with an ellipsis."""
    start = text[: 8 * width]  # bounds the work; enough unless most characters have no width
    if start == text and get_cwidth(text) <= width:
        return text
    used = 0
    for number, character in enumerate(start):
        used += get_cwidth(character)
        if used >= width:
            return f"{start[:number]}…"
    return f"{start}…"


def sentence(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return f"{text[:1].upper()}{text[1:]}"


def _with_mentions(body: str, me: str) -> Line:
    if not me:
        return plain(body)
    name, body = re.escape(lines.safe(me)), normalize("NFC", body)  # as names are
    parts = re.split(rf"(?<!\w)({name})(?!\w)", body, flags=re.IGNORECASE)
    return tuple((BOLD if number % 2 else PLAIN, part) for number, part in enumerate(parts) if part)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - get_cwidth(text))
