"""Format events as lines of text, for every user interface.

Pure functions. Every line that they return is safe for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from selchat.client.events import (
    ClientEvent,
    Encryption,
    Gap,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    SeenAuthors,
    Trusted,
    Unencrypted,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.protocol.classic import parse_roster
from selchat.client.protocol.encryption import CAESAR
from selchat.errors import SelchatError
from selchat.events import SERVER, Joined, Left, Topic
from selchat.limits import MAX_CACHED_NAME, MAX_NAMES_SHOWN, MAX_REFUSED_BODY
from selchat.text import escape_character, escape_controls, escape_name, name_key
from selchat.wire.frames import FrameTooLongError

_NOTES = ("(encrypted", *(f"({encryption.value}" for encryption in Encryption if encryption.value))
_MORE = re.compile(r" and \d+ more$")  # the end of a list that is not complete


def action(name: str, text: str) -> str:
    """Return the message body for ``/me waves``: ``* Venkat waves``, which every client can show."""
    return f"* {name} {text}"


def safe(text: str) -> str:
    """Return ``text`` made safe for one line of a terminal: tabs become spaces, other controls visible."""
    return escape_controls(text.replace("\t", "    "))


# -- names -----------------------------------------------------------------------------------------------


def safe_name(name: str) -> str:
    """Return the name of a user or a room for a line: no other name has the same form.

    No line about one user looks like a line about another, or like a line of the client itself, whatever name
    a server sends. docs/users.rst has the forms of lines.
    """
    return _safe_name(name) if len(name) <= MAX_CACHED_NAME else _safe_name.__wrapped__(name)


@lru_cache(maxsize=4096)
def _safe_name(name: str) -> str:
    shown = escape_name(name)
    if not shown:
        return "(no name)"  # no name has brackets
    key = name_key(name)
    if key == "you" or key.startswith(("you to ", "you in ")) or shown.startswith("…"):
        shown = escape_character(shown[0]) + shown[1:]
    if key.endswith(" whispers"):  # not `Venkat whispers > text`
        start, space, end = shown.rpartition(" ")
        shown = f"{start}{escape_character(space)}{end}" if space else shown
    return shown


def word(name: str) -> str:
    """Return the name as one word, in double quotes if it has a space."""
    shown = safe_name(name)
    return f'"{shown}"' if " " in shown else shown


def listed_name(name: str) -> str:
    """Return the name for a list of names, in double quotes if its end looks like the end of the list."""
    shown = safe_name(name)  # without commas
    return f'"{shown}"' if _MORE.search(shown) else shown


# -- messages --------------------------------------------------------------------------------------------


def format_body(message: Message | Whispered) -> str:
    """Return the body with a note on its encryption, or the reason why the client cannot read it."""
    return "".join(_note_and_text(message))


def _note_and_text(message: Message | Whispered) -> tuple[str, str]:
    encryption, cipher = message.encryption, message.cipher
    if not encryption.is_readable:
        return f"({encryption.value})", ""
    if cipher is not None:  # anyone can write such a body, and call it encrypted
        hint = "; read it with --key" if cipher == CAESAR else ""
        return f"(encrypted with another cipher: {safe(cipher)}{hint})", ""
    text = safe(message.body)
    if text.startswith(_NOTES):  # no text looks like a note
        text = f"{escape_character('(')}{text[1:]}"
    return f"({encryption.value}) " if encryption is Encryption.UNENCRYPTED else "", text


def format_message(message: Message | Whispered, room: str = "") -> str:
    """Return the line for a message; it begins with the name of ``room`` unless that is empty."""
    return "".join(message_parts(message, room))


def message_parts(message: Message | Whispered, room: str = "") -> tuple[str, str]:
    """Return the two parts of `format_message`: the author with all notes, and the author's text."""
    where = f"[{safe_name(room)}] " if room else ""
    name, (note, text) = safe_name(message.author), _note_and_text(message)
    if isinstance(message, Whispered):
        # The server answers commands in direct messages; they are not private conversations.
        verb = "" if message.author == SERVER else " whispers"
        return f"{name}{verb} > {note}", text
    # A user can act only under their own name: the body has to name its author.
    start = action(message.author, "")
    if not note and message.body.startswith(start):
        return f"{where}* {word(message.author)} ", safe(message.body[len(start) :])
    return f"{where}{name} > {note}", text


def format_old_message(message: Message) -> str:
    """Return the line for a message from the history, with its time and room."""
    time = "" if message.at is None else f"{_local_time(message.at)} "
    return f"{time}{format_message(message, message.room)}"


def is_roster(message: Message) -> bool:
    """Whether this is the list of users that the server sends to classic clients."""
    return message.author == SERVER and parse_roster(message.body) is not None


def has_words(message: Message, words: str) -> bool:
    """Whether the message and its author's name contain all the words, in any case and Unicode form."""
    text = name_key(f"{message.author} {message.body}")
    return all(word in text for word in name_key(words).split())


# -- events and answers ----------------------------------------------------------------------------------


def format_event(event: ClientEvent, room: str = "") -> str | None:
    """Return the line for an event that is neither a message nor an answer; None: it has no line.

    The line begins with the name of ``room`` unless that is empty.
    """
    line = _format_event(event)
    if line is None or not room or isinstance(event, Users | Parted):
        return line
    return f"[{safe_name(room)}] {line}"


def _format_event(event: ClientEvent) -> str | None:
    match event:
        case Joined(names=names, total=total):
            return f"{_join_names(names)} joined ({total} here)"
        case Left(names=names, total=total):
            return f"{_join_names(names)} left ({total} here)"
        case Topic(topic=topic, author=author):
            return (
                f"{safe_name(author)} set the topic: {safe(topic)}"
                if topic
                else f"{safe_name(author)} removed the topic"
            )
        case Users(joined=True, room=room, total=total, topic=topic):
            return f"You are in {safe_name(room)} ({total} here)" + (f": {safe(topic)}" if topic else "")
        case Parted(room=room):
            return f"You are no longer in {safe_name(room)}"
        case Gap(after=after, before=before):
            count = before - after - 1
            verb = "is" if count == 1 else "are"
            return f"{_count(count, 'message')} {verb} missing here: the server no longer has {_them(count)}"
        case NotStored(text=text):
            return (
                f"Not stored yet: the server cannot store messages now ({safe(text)}). "
                "The client keeps yours and sends them again."
            )
        case Unencrypted(why=reason):
            return (
                f"NOT ENCRYPTED: the server has no TLS ({safe(reason)}). "
                "Others on the network can read your messages."
            )
        case Welcomed(again=True, renumbered=True):
            return "The server has started a new history"
        case _:
            return None


def answer(event: ClientEvent) -> list[str]:
    """Return the lines that answer ``/users``, ``/rooms`` or ``/history``."""
    match event:
        case Users(room=room, names=names, total=total):
            place = "online" if room == "lobby" else f"in {safe_name(room)}"
            missing = total - len(names)
            more = f" and {missing} more" if missing > 0 else ""
            return [f"Users {place} ({total}): {', '.join(map(listed_name, names))}{more}"]
        case SeenAuthors(names=names):
            if names:
                return [
                    f"This server sends no list of users. Seen so far: {', '.join(map(listed_name, names))}"
                ]
            return ["No users are known yet: the server has sent no list and no messages."]
        case Rooms(rooms=rooms, total=total):
            listed = [
                f"{safe_name(room.room)} ({room.members})" + (f": {safe(room.topic)}" if room.topic else "")
                for room in rooms
            ]
            return listed + ([f"and {total - len(rooms)} more"] if total > len(rooms) else [])
        case History(messages=messages, room=room):
            return [format_old_message(message) for message in messages] or [no_messages(room)]
        case _:
            return []


def no_messages(room: str) -> str:
    """Return the line for an empty history."""
    return f"There are no messages in {safe_name(room)}"


def found(messages: Iterable[Message], words: str, searched: int, room: str) -> list[str]:
    """Return the lines that answer ``/search``: the matches, and how many messages it searched."""
    lines = [format_old_message(message) for message in messages]
    scope = f"the last {_count(searched, 'message')} of {safe_name(room)}"
    return [*lines, f"{_count(len(lines), 'message')} with {safe(words)} among {scope}"]


# -- the connection --------------------------------------------------------------------------------------


def connected(address: str, *, encrypted: bool = False) -> str:
    """Return the line for a new connection. ``encrypted``: the client encrypts messages end to end."""
    note = "; your messages are encrypted end to end" if encrypted else ""
    return f"Connected to the Server: {address}{note}"


def trusted(event: Trusted) -> tuple[str, ...]:
    """Return the lines about a new server. The fingerprint has its own line because people compare it."""
    return (
        f"First connection to {safe(event.address)}.",
        "Check that this fingerprint matches the one in the server's terminal:",
        safe(event.fingerprint),
    )


def new_name(name: str) -> str:
    """Return the line for a user whom the server has given another name."""
    return f"Your name here is {safe_name(name)}"


def not_sent(error: SelchatError) -> str:
    """Return why the client did not send a line."""
    if isinstance(error, FrameTooLongError):
        return f"not sent: it takes {error.length} bytes, and the limit is {error.limit}"
    return f"not sent: {safe(str(error))}"


def refused(event: Refused) -> str:
    """Return the line for a refusal: the message, if it is about one, and the reason."""
    text = safe(event.text or event.code)
    if not event.body:
        return text
    body = safe(event.body)
    return (
        f"not sent ({body if len(body) <= MAX_REFUSED_BODY else body[: MAX_REFUSED_BODY - 1] + '…'}): {text}"
    )


class Outage:
    """Lines about a lost connection: the first failure, and later only failures with another reason."""

    def __init__(self) -> None:
        self._reason: str | None = ""  # of the last line; None: connected

    def line(self, reason: str, delay: float) -> str | None:
        """Return the line for one failure, or None to show nothing."""
        if reason == self._reason:
            return None
        problem = "Connection lost" if self._reason is None else "No connection yet"
        self._reason = reason
        return f"{problem}: {safe(reason)}; retrying in {delay:.1f} s"

    def end(self) -> None:
        """Record that the connection is up again."""
        self._reason = None


def _join_names(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(listed_name, names[:MAX_NAMES_SHOWN]))
    missing = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {missing} more" if missing > 0 else shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


def _local_time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"
