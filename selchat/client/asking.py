"""Asking for what the command line does not say, in the words and the order of the paper's client.

It must not know where the questions appear: it is given a function for that.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TextIO

from selchat.client.protocol.classic import ClassicClient
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError
from selchat.events import LOBBY
from selchat.text import escape_controls
from selchat.wire.cipher import CaesarCipher

WELCOME = "Welcome To the Chat Room !"
DEFAULT_PORT = 33000

Ask = Callable[[str], str]
"""Shows a question and returns the answer. EOFError: there is none."""


class HostNeededError(SettingError):
    def __init__(self) -> None:
        super().__init__("HOST", None, "given")

    def __str__(self) -> str:
        return "HOST is needed when input is not a terminal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says; None: it does not. ``key``: an empty one is none.

    ``wire``, ``tls``, ``room``, ``password`` and ``passphrase`` are those of `ClientSettings`. With a
    passphrase there is no key to be asked for, and a wire that is to be found out is the selchat one.
    """

    host: str | None = None
    port: int | None = None
    name: str | None = None
    key: str | None = None
    header_length: int = 10
    wire: str = "auto"
    tls: str = "auto"
    room: str = LOBBY
    password: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be asked."""
        return self.host is not None and self.name is not None and not self.wants_key

    @property
    def wants_key(self) -> bool:
        """Whether the paper's key is still to be asked for: in the paper's dialogue, which asks for the host.

        Whoever gives that does not need to hear of a toy cipher.
        """
        return self.key is None and self.host is None and not self.passphrase


def settings_of(given: Given) -> ClientSettings:
    """Return the settings, with defaults for the name and the key. Raises `SettingError`."""
    if not given.host:
        raise HostNeededError
    host, port = split_host(given.host)
    if port is not None and given.port is not None and port != given.port:
        raise SettingError("HOST", given.host, f"at the port of --port={given.port}")
    settings = ClientSettings(
        host=host,
        port=next((number for number in (port, given.port) if number is not None), DEFAULT_PORT),
        name=login_name() if given.name is None else given.name,
        key=given.key or None,
        header_length=given.header_length,
        wire="selchat" if given.passphrase and given.wire == "auto" else given.wire,
        tls=given.tls,
        room=given.room,
        password=given.password,
        passphrase=given.passphrase,
    )
    ClassicClient(settings)  # the key and the length of the name are checked there
    return settings


def ask_for_rest(given: Given, ask: Ask, tell: Callable[[str], object]) -> ClientSettings:
    """Ask for the name, the host and the key, as far as they are not given, and return the settings.

    ``tell`` shows a line; what is typed wrong is asked again. Raises EOFError at the end of the input, and
    `SettingError` for what is given wrong.
    """
    if given.key:
        CaesarCipher(given.key)  # what is wrong with it is said before anything is asked
    if not given.is_complete:
        tell(WELCOME)
    name = ask("Username: ").strip() if given.name is None else given.name
    host = _ask_until(_checked_host, "Enter Server IP: ", ask, tell) if given.host is None else given.host
    key = _ask_until(_checked_key, "Encryption Key: ", ask, tell) if given.wants_key else given.key
    return settings_of(replace(given, host=host, name=name, key=key))


def split_host(text: str) -> tuple[str, int | None]:
    """Return host and port of ``host``, ``host:port``, ``[v6]:port``, ``[v6]`` or ``v6``."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not host or not bracket or (rest and not rest.startswith(":")):
            raise SettingError("HOST", text, "a host, HOST:PORT or [IPv6]:PORT")
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if not host or (port is not None and not (port.isascii() and port.isdigit() and len(port) < 6)):
        raise SettingError("HOST", text, "a host, HOST:PORT or [IPv6]:PORT")
    return host, None if port is None else int(port)


def login_name() -> str:
    """Return the name that the user has on this machine; empty where there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def ask_on(source: TextIO, screen: TextIO) -> Ask:
    """Return an `Ask` for plain streams."""

    def ask(question: str) -> str:
        screen.write(question)
        screen.flush()
        try:
            answer = source.readline()
        except KeyboardInterrupt:
            screen.write("\n")
            raise
        if not answer:
            screen.write("\n")
            raise EOFError
        return answer.rstrip("\r\n")

    return ask


def is_terminal(stream: TextIO | None) -> bool:
    """Whether there is a terminal behind the stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False  # closed


def standard_terminals() -> tuple[bool, bool]:
    """Return whether standard input and standard output are terminals."""
    return is_terminal(sys.stdin), is_terminal(sys.stdout)


def _ask_until(check: Callable[[str], object], question: str, ask: Ask, tell: Callable[[str], object]) -> str:
    while True:
        answer = ask(question).strip()
        try:
            check(answer)
        except SettingError as error:
            tell(escape_controls(f"{error.value!r} is not {error.expected}."))
        else:
            return answer


def _checked_host(answer: str) -> None:
    if not answer:
        raise SettingError("HOST", answer, "a host, HOST:PORT or [IPv6]:PORT")
    _, port = split_host(answer)
    if port is not None and not 1 <= port <= 65535:
        raise SettingError("HOST", answer, "at a port from 1 to 65535")


def _checked_key(answer: str) -> None:
    if answer:
        CaesarCipher(answer)
