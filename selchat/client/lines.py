"""Lines, as they are typed and as they are shown: what the interfaces have in common.

Pure functions of text. Everything that comes out of here to be shown is safe for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from selchat.client.events import (
    ClientEvent,
    Gap,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    Seal,
    SeenAuthors,
    Trusted,
    Unencrypted,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.protocol.classic import parse_roster
from selchat.errors import SelchatError, UsageError
from selchat.events import SERVER, Joined, Left, Topic
from selchat.text import escape_controls
from selchat.wire.frames import FrameTooLongError

HELP = (
    "/join ROOM      go into a room, or back to one; what you type is said there",
    "/part [ROOM]    leave a room",
    "/rooms          which rooms there are",
    "/users [ROOM]   who is there",
    "/msg NAME TEXT  say it to one person alone; a name with spaces goes in double quotes",
    "/me TEXT        say what you do",
    "/topic [TEXT]   show or set the topic of the room; /topic - for none",
    "/history [N]    what was said last in the room",
    "/search WORDS   what was said there with these words in it",
    "/kick, /ban, /mute, /unban, /unmute NAME, /bans   for operators",
    "/help           this list",
    "/quit           leave",
    "Everything else is said to everyone in the room; //text says /text.",
)
OPERATOR_COMMANDS = ("/kick", "/ban", "/mute", "/unban", "/unmute", "/bans")
HISTORY = 20  # messages, if it is not said how many
_MAX_NAMES_SHOWN = 10  # of those who have come or gone together


class Typed(Enum):
    """What a typed line asks for."""

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


_WORDS = {asked.value: asked for asked in Typed if asked.value.startswith("/")}
_WORDS |= dict.fromkeys(OPERATOR_COMMANDS, Typed.OPERATOR)
COMMANDS = tuple(_WORDS)


class UnknownCommandError(UsageError):
    """``word``: what was typed for a command."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word

    def __str__(self) -> str:
        return f"unknown command {self.word}; /help lists the commands, //text says /text"


class CommandUsageError(UsageError):
    """``usage``: how that command is typed."""

    def __init__(self, usage: str) -> None:
        super().__init__(usage)
        self.usage = usage

    def __str__(self) -> str:
        return f"it is typed so: {self.usage}"


class Command(NamedTuple):
    """A line that was understood: the room or the name that it is about, a text, and a number; or not."""

    asked: Typed
    target: str = ""
    text: str = ""
    number: int = 0


def parse(line: str) -> Command:
    """Return what the line asks for. Raises `UnknownCommandError` and `CommandUsageError`."""
    if not line.startswith("/"):
        return Command(Typed.TEXT, text=line) if line else Command(Typed.NOTHING)
    if line.startswith("//"):
        return Command(Typed.TEXT, text=line[1:])
    word, _, rest = line.replace("\t", " ").partition(" ")
    asked = _WORDS.get(word.lower())
    if asked is None:
        raise UnknownCommandError(line.split(maxsplit=1)[0])
    rest = rest.strip()
    if asked is Typed.OPERATOR:
        return Command(asked, text=f"{word.lower()} {rest}".rstrip())
    if asked is Typed.MSG:
        return _whisper(rest)
    if asked is Typed.HISTORY:
        if rest and not (rest.isascii() and rest.isdigit() and len(rest) < 9 and int(rest)):
            raise CommandUsageError("/history NUMBER")
        return Command(asked, number=int(rest or HISTORY))
    if asked in {Typed.ME, Typed.SEARCH, Typed.TOPIC}:
        if not rest and asked is not Typed.TOPIC:
            raise CommandUsageError(f"{asked.value} {'TEXT' if asked is Typed.ME else 'WORDS'}")
        return Command(asked, text=rest)
    if asked is Typed.JOIN and (not rest or " " in rest):
        raise CommandUsageError("/join ROOM")
    return Command(asked, target=rest)


def _whisper(rest: str) -> Command:
    match = re.fullmatch(r'"([^"]+)"\s*(.+)|([^\s"]\S*)\s+(.+)', rest, re.DOTALL)
    if match is None:
        raise CommandUsageError('/msg NAME TEXT, or /msg "A NAME" TEXT')
    return Command(Typed.MSG, match[1] or match[3], match[2] or match[4])


def action(name: str, text: str) -> str:
    """Return the body by which ``/me waves`` is said: ``* Venkat waves``, which every client can show."""
    return f"* {name} {text}"


# -- what is shown ---------------------------------------------------------------------------------------


def safe(text: str) -> str:
    """Return ``text`` fit to be shown on one line: tabs become spaces, and other controls visible."""
    return escape_controls(text.replace("\t", "    "))


def body(message: Message | Whispered) -> str:
    """Return what was said, with what there is to know about it; or why it cannot be read."""
    if not message.seal.is_readable:
        return f"({message.seal.value})"
    text, cipher = safe(message.body), message.cipher
    if message.seal is Seal.CLEAR:
        mark = message.seal.value if cipher is None else f"encrypted otherwise: {safe(cipher)}"
        return f"({mark}) {text}"
    return text if cipher is None else f"(encrypted: {safe(cipher)}) {text}"


def shown(message: Message | Whispered, room: str = "") -> str:
    """Return the line for a message; ``room``: it begins with that one's name."""
    author, said = safe(message.author), body(message)
    if isinstance(message, Whispered):
        # What the server tells one person alone is no secret between the two.
        return f"{author} > {said}" if message.author == SERVER else f"{author} whispers > {said}"
    # Nobody can act in another's name: the one in the body has to be the author's.
    line = said if said.startswith(f"* {author} ") else f"{author} > {said}"
    return f"[{safe(room)}] {line}" if room else line


def past(message: Message) -> str:
    """Return the line for a message of the past."""
    when = "" if message.at is None else f"{_local_time(message.at)} "
    return f"{when}{shown(message, message.room)}"


def trusted(event: Trusted) -> tuple[str, str]:
    """Return the lines about a server that is new; the key has one of its own, as people compare it."""
    return (
        f"{safe(event.address)} is new to you. Its key is remembered, and no other will do from now on; "
        "it should be what the server shows at its start:",
        safe(event.fingerprint),
    )


def is_roster(message: Message) -> bool:
    return message.author == SERVER and parse_roster(message.body) is not None


def news(event: ClientEvent, room: str = "") -> str | None:
    """Return the line for what is no message and nothing that was asked for; None: there is nothing to show.

    ``room``: it begins with that one's name.
    """
    line = _news(event)
    if line is None or not room or isinstance(event, Users | Parted):
        return line
    return f"[{safe(room)}] {line}"


def _news(event: ClientEvent) -> str | None:
    match event:
        case Joined(names=names, total=total):
            return f"{_some(names)} joined ({total} here)"
        case Left(names=names, total=total):
            return f"{_some(names)} left ({total} here)"
        case Topic(topic=topic, author=author):
            return (
                f"{safe(author)} set the topic: {safe(topic)}"
                if topic
                else f"{safe(author)} removed the topic"
            )
        case Users(joined=True, room=room, total=total, topic=topic):
            return f"You are in {safe(room)} ({total} here)" + (f": {safe(topic)}" if topic else "")
        case Parted(room=room):
            return f"You are no longer in {safe(room)}"
        case Gap(after=after, before=before):
            missing = _count(before - after - 1, "message")
            return f"{missing} missing here, because the server does not have them any more"
        case NotStored(text=text):
            return (
                f"The server cannot take messages now ({safe(text)}). What you say is kept, and said again."
            )
        case Unencrypted(why=why):
            return f"NOT ENCRYPTED, because the server has no TLS ({safe(why)}): others can listen in."
        case Welcomed(again=True, renumbered=True):
            return "The server has begun a new history"
        case _:
            return None


def answer(event: ClientEvent) -> list[str]:
    """Return the lines of an answer to ``/users``, ``/rooms`` or ``/history``."""
    match event:
        case Users(room=room, names=names, total=total):
            where = "online" if room == "lobby" else f"in {safe(room)}"
            missing = total - len(names)
            more = f" and {missing} more" if missing > 0 else ""
            return [f"Users {where} ({total}): {safe(', '.join(names))}{more}"]
        case SeenAuthors(names=names):
            if names:
                return [f"SeenAuthors so far, as this server sends no list: {safe(', '.join(names))}"]
            return ["Nobody is known to be online: no list has come, and nobody has said anything."]
        case Rooms(rooms=rooms, total=total):
            found = [
                f"{safe(room.room)} ({room.members})" + (f": {safe(room.topic)}" if room.topic else "")
                for room in rooms
            ]
            return found + ([f"and {total - len(rooms)} more"] if total > len(rooms) else [])
        case History(messages=messages, room=room):
            return [past(message) for message in messages] or [f"Nothing has been said in {safe(room)}"]
        case _:
            return []


def found(messages: Iterable[Message], words: str, searched: int, room: str) -> list[str]:
    """Return the lines of the answer to ``/search``, which has looked at that many messages."""
    lines = [past(message) for message in messages]
    what = f"the last {_count(searched, 'message')} of {safe(room)}"
    return [*lines, f"{_count(len(lines), 'message')} with {safe(words)} among {what}"]


def has_words(message: Message, words: str) -> bool:
    """Whether all the words are in the message or its author's name, in any case."""
    text = f"{message.author} {message.body}".casefold()
    return all(word in text for word in words.casefold().split())


def connected(address: str, *, sealed: bool = False) -> str:
    """``sealed``: whether what one says is encrypted end to end."""
    return f"Connected to the Server: {address}{'; what you say is encrypted' if sealed else ''}"


def refusal(error: SelchatError) -> str:
    """Return why a line was not sent, in the words of someone who types."""
    if isinstance(error, FrameTooLongError):
        return f"not sent: {error.length} bytes, and the limit is {error.limit}"
    return f"not sent: {safe(str(error))}"


def refused(event: Refused) -> str:
    """Return what the server has refused, and why."""
    text = safe(event.text or event.code)
    if not event.body:
        return text
    body = safe(event.body)
    return f"not said: {body if len(body) <= 40 else body[:39] + '…'}: {text}"


class Outage:
    """Says that the connection is lost, and later only what is new: not every try that fails alike."""

    def __init__(self) -> None:
        self._reason: str | None = ""  # that was said last; None: there is a connection

    def line(self, reason: str, delay: float) -> str | None:
        """Return the line to show, or None."""
        if reason == self._reason:
            return None
        what = "Connection lost" if self._reason is None else "No connection yet"
        self._reason = reason
        return f"{what}: {safe(reason)}; trying again in {delay:.1f} s"

    def end(self) -> None:
        """There is a connection again."""
        self._reason = None


def _some(names: tuple[str, ...]) -> str:
    shown = safe(", ".join(names[:_MAX_NAMES_SHOWN]))
    missing = len(names) - _MAX_NAMES_SHOWN
    return f"{shown} and {missing} more" if missing > 0 else shown


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _local_time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"
