"""Lines, as they are typed and as they are shown: what both interfaces have in common.

Pure functions of text. Everything that comes out of here to be shown is safe for a terminal.
"""

from __future__ import annotations

from enum import Enum

from selchat.client.core import ClassicClient, Message, parse_roster
from selchat.errors import FrameTooLongError, SelchatError, UsageError
from selchat.events import SERVER
from selchat.text import escape_controls

HELP = (
    "/users  who is online",
    "/help   this list",
    "/quit   leave",
    "Everything else is said to everyone; //text says /text.",
)
COMMANDS = ("/users", "/help", "/quit")


class UnknownCommandError(UsageError):
    """``word``: what was typed for a command."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word

    def __str__(self) -> str:
        return f"unknown command {self.word}; /help lists the commands, //text says /text"


class Typed(Enum):
    """What a typed line asks for."""

    NOTHING = ""
    TEXT = "text"
    USERS = "/users"
    HELP = "/help"
    QUIT = "/quit"


def parse(line: str) -> tuple[Typed, str]:
    """Return what the line asks for, and the text to be said. Raises `UnknownCommandError`."""
    if not line.startswith("/"):
        return (Typed.TEXT if line else Typed.NOTHING), line
    if line.startswith("//"):
        return Typed.TEXT, line[1:]
    word = line.split(maxsplit=1)[0]
    if word.lower() not in COMMANDS:
        raise UnknownCommandError(word)
    return Typed(word.lower()), ""


def safe(text: str) -> str:
    """Return ``text`` fit to be shown on one line: tabs become spaces, and other controls visible."""
    return escape_controls(text.replace("\t", "    "))


def shown(message: Message) -> str:
    return f"{safe(message.user)} > {safe(message.body)}"


def is_roster(message: Message) -> bool:
    return message.user == SERVER and parse_roster(message.body) is not None


def users(client: ClassicClient) -> str:
    """Return the answer to ``/users``."""
    if client.online is not None:
        missing = client.online.total - len(client.online.names)
        more = f" and {missing} more" if missing > 0 else ""
        return f"Users online ({client.online.total}): {safe(', '.join(client.online.names))}{more}"
    if client.heard:
        return f"Heard so far, as this server sends no list: {safe(', '.join(client.heard))}"
    return "Nobody is known to be online: no list has come, and nobody has said anything."


def connected(address: str) -> str:
    return f"Connected to the Server: {address}"


def refusal(error: SelchatError) -> str:
    """Return why a line was not sent, in the words of someone who types."""
    if isinstance(error, FrameTooLongError):
        return f"not sent: {error.length} bytes, and the limit is {error.limit}"
    return f"not sent: {safe(str(error))}"


class Outage:
    """Says that the connection is lost, and later only what is new: not every try that fails alike."""

    def __init__(self) -> None:
        self._reason: str | None = None  # that was said last; None: there is a connection

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
