"""Client settings from options, prompts, files and the environment.

The prompts have the words and the order of the paper's client. Passwords and passphrases are never
command-line arguments: other users could read those in the list of processes, and the shell keeps them in its
history. This module does not know where its prompts appear: callers pass functions for that.
"""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TextIO

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.auth.password import checked_password, read_password
from selchat.client.events import Refused
from selchat.client.protocol.classic import ClassicClient
from selchat.client.strength import passphrase_warning
from selchat.client.typeahead import discard_typeahead, wait_hidden
from selchat.config.settings import ClientSettings
from selchat.config.units import parse_duration
from selchat.errors import NameTakenError, SettingError, UsageError, close_reason
from selchat.events import LOBBY
from selchat.limits import HEADER_LENGTH, MAX_LOCKOUT_WAIT, MAX_SECRET_FILE_SIZE
from selchat.text import clean_name, escape_controls
from selchat.wire.cipher import CaesarCipher
from selchat.wire.e2ee import passphrase_bytes

WELCOME = "Welcome To the Chat Room !"
DEFAULT_PORT = 33000
PASSWORD_VARIABLE = "SELCHAT_PASSWORD"  # noqa: S105
PASSPHRASE_VARIABLE = "SELCHAT_PASSPHRASE"  # noqa: S105
_PASSPHRASE_FILE = "--passphrase-file"  # noqa: S105
_ASK_PASSPHRASE = "--ask-passphrase"  # noqa: S105
_HOST_FORMS = "a host, HOST:PORT or [IPv6]:PORT"
_OTHER_USERS = stat.S_IRWXG | stat.S_IRWXO
_PASSWORD_CODES = frozenset({PasswordNeededError.code, WrongPasswordError.code, TooManyAttemptsError.code})
_NAME_CODES = frozenset({NameTakenError.code, "bad-name"})

Ask = Callable[[str], str]
"""Show a question and return the answer. Raises EOFError at the end of the input."""

Show = Callable[[str], object]
"""Show one line."""


class HostRequiredError(SettingError):
    def __init__(self) -> None:
        super().__init__("HOST", None, "given")

    def __str__(self) -> str:
        return "HOST is required when standard input is not a terminal"


class NameRequiredError(SettingError):
    """The user gave no name, and has no login name that can be one. ``form``: how to give a name."""

    def __init__(self, form: str) -> None:
        super().__init__("NAME", None, form)
        self.form = form

    def __str__(self) -> str:
        return f"your login name on this machine is unknown: give a name with {self.form}"


class PasswordFileError(UsageError):
    """The client cannot read the password file ``path``, for this ``reason``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read the password from {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The options on the command line; None: not given. An empty ``key`` means no cipher.

    All fields but ``host``, ``port``, ``name`` and ``key`` are those of `ClientSettings`; None means its
    default. With a passphrase the client does not ask for a key, and ``wire="auto"`` means the selchat
    protocol.
    """

    host: str | None = None
    port: int | None = None
    name: str | None = None
    key: str | None = None
    header_length: int = HEADER_LENGTH
    wire: str = "auto"
    tls: str = "auto"
    room: str = LOBBY
    password: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    tls_seconds: float | None = None
    hello_seconds: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the client has nothing left to ask."""
        return self.host is not None and self.name is not None and not self.needs_key

    @property
    def needs_key(self) -> bool:
        """Whether to ask for the Caesar key: only in the paper's dialogue, which also asks for the host.

        A user who gives the host as an argument does not need to hear of a toy cipher.
        """
        return self.key is None and self.host is None and not self.passphrase


# -- host, name and key ------------------------------------------------------------------------------------


def make_settings(options: ClientOptions) -> ClientSettings:
    """Return the settings, with the defaults for port, name and key.

    Raises `SettingError`, and `NameRequiredError` if the user has no login name.
    """
    if not options.host:
        raise HostRequiredError
    host, port = split_host(options.host)
    if port is not None and options.port is not None and port != options.port:
        raise SettingError("HOST", options.host, f"consistent with --port={options.port}")
    settings = ClientSettings(
        host=host,
        port=next((number for number in (port, options.port) if number is not None), DEFAULT_PORT),
        name=login_name() if options.name is None else options.name,
        key=options.key or None,
        header_length=options.header_length,
        wire="selchat" if options.passphrase and options.wire == "auto" else options.wire,
        tls=options.tls,
        room=options.room,
        password=options.password,
        passphrase=options.passphrase,
    )
    if options.tls_seconds is not None:
        settings = replace(settings, tls_seconds=options.tls_seconds)
    if options.hello_seconds is not None:
        settings = replace(settings, hello_seconds=options.hello_seconds)
    ClassicClient(settings)  # checks the key and the length of the name
    return settings


def ask_for_missing(options: ClientOptions, ask: Ask, show: Show) -> ClientSettings:
    """Ask for the name, the host and the key that the options lack, and return the settings.

    Repeat a question until its answer is valid. Raises EOFError at the end of the input, and `SettingError`
    for an invalid option.
    """
    if options.key:
        CaesarCipher(options.key)  # reports a bad key before the first question
    if not options.is_complete:
        show(WELCOME)
    name = ask("Username: ").strip() if options.name is None else options.name
    host = options.host
    if host is None:
        host = _ask_until_valid(_check_host, "Enter Server IP: ", ask, show)
    key = options.key
    if options.needs_key:
        key = _ask_until_valid(_check_key, "Encryption Key: ", ask, show)
    return make_settings(replace(options, host=host, name=name, key=key))


def split_host(text: str) -> tuple[str, int | None]:
    """Return host and port of ``host``, ``host:port``, ``[v6]:port``, ``[v6]`` or ``v6``."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not host or not bracket or (rest and not rest.startswith(":")):
            raise SettingError("HOST", text, _HOST_FORMS)
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if not host or (port is not None and not (port.isascii() and port.isdigit() and len(port) < 6)):
        raise SettingError("HOST", text, _HOST_FORMS)
    return host, None if port is None else int(port)


def login_name(form: str = "--name=NAME") -> str:
    """Return the user's login name on this machine. Raises `NameRequiredError` with this ``form``."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such variable, and no entry in the password database
        name = ""
    if not clean_name(name):
        raise NameRequiredError(form)
    return name


def stream_prompt(source: TextIO, output: TextIO) -> Ask:
    """Return a function that asks on plain streams, without line editing."""

    def ask(question: str) -> str:
        output.write(question)
        output.flush()
        try:
            answer = source.readline()
        except KeyboardInterrupt:
            output.write("\n")
            raise
        if not answer:
            output.write("\n")
            raise EOFError
        return answer.rstrip("\r\n")

    return ask


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is open on a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False  # closed


def _ask_until_valid(check: Callable[[str], object], question: str, ask: Ask, show: Show) -> str:
    while True:
        answer = ask(question).strip()
        try:
            check(answer)
        except SettingError as error:
            show(escape_controls(f"{error.value!r} is not {error.expected}."))
        else:
            return answer


def _check_host(answer: str) -> None:
    _, port = split_host(answer)
    if port is not None and not 1 <= port <= 65535:
        raise SettingError("HOST", answer, "a host with a port from 1 to 65535")


def _check_key(answer: str) -> None:
    if answer:
        CaesarCipher(answer)


# -- the server's password ---------------------------------------------------------------------------------


class Program(Protocol):
    """A program that connects once: the chat, or ``selchat send``.

    ``password_refusal``: the server's refusal, if the server ended the run because of the password.
    """

    @property
    def password_refusal(self) -> Refused | None: ...

    def run(self) -> int: ...


def find_seconds(variable: str, environment: Mapping[str, str]) -> float | None:
    """Return the seconds that a variable sets; None: it is not set, or empty. Raises `SettingError`."""
    text = environment.get(variable)
    if not text:
        return None
    seconds = 0.0
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text):
        seconds = float(text)
    else:
        with suppress(SettingError):
            seconds = parse_duration(text, variable)
    if not seconds:
        raise SettingError(variable, text, "a number of seconds such as 0.5, or a time such as 10s or 2m")
    return seconds


def find_password(file: str | None, environment: Mapping[str, str]) -> str:
    """Return the password from the file, or else from the environment; empty: neither has one.

    Raises `SettingError` and `PasswordFileError`.
    """
    if file is not None:
        try:
            with Path(file).open("rb") as opened:
                return read_password(opened.read(MAX_SECRET_FILE_SIZE))
        except OSError as error:
            raise PasswordFileError(file, close_reason(error)) from error
    password = environment.get(PASSWORD_VARIABLE)
    return checked_password(password) if password else ""


def is_about_password(refusal: Refused | None) -> bool:
    """Whether a different password can help, now or after a while."""
    return refusal is not None and refusal.code in _PASSWORD_CODES


def is_about_name(refusal: Refused | None) -> bool:
    """Whether another name can help."""
    return refusal is not None and refusal.code in _NAME_CODES


def explain_end(problem: str, refusal: Refused | None) -> str:
    """Return why a program without prompts ends, and the option that can help."""
    return f"{problem}; choose another name with --name=NAME" if is_about_name(refusal) else problem


def password_prompt() -> Ask | None:
    """Return a function that asks without echo; None: there is no terminal to ask on."""
    # Standard input may be a pipe although a person is present: getpass opens the terminal itself.
    return getpass.getpass if is_terminal(sys.stdin) or is_terminal(sys.stderr) else None


def run_with_password(
    make_program: Callable[[ClientSettings], Program],
    settings: ClientSettings,
    ask: Ask | None,
    show: Show,
    *,
    wait: Callable[[float], object] = wait_hidden,
    discard: Callable[[], object] = discard_typeahead,
) -> int:
    """Run the program, again for each new password that the server requires, and return the exit status.

    After too many wrong passwords, ``wait(seconds)`` before the next question. ``discard()`` what the user
    typed when no question was open: it may be a password. Raises the exceptions of ``make_program``.
    """
    has_asked = False
    try:
        while True:
            program = make_program(settings)
            status = program.run()
            refusal = program.password_refusal
            if refusal is None:
                has_asked = has_asked and status != 0  # after a chat, the input is for the shell
                return status
            text = escape_controls(refusal.text)
            is_lockout = refusal.code == TooManyAttemptsError.code
            if ask is None:
                advice = f"; give the password with --password-file=FILE or in {PASSWORD_VARIABLE}"
                show(f"selchat: the server said: {text}{'' if is_lockout else advice}")
                return 1
            if refusal.code != PasswordNeededError.code:
                show(f"The server said: {text}.")
            has_asked = True
            if is_lockout:
                seconds = min(max(1.0, refusal.retry_after), MAX_LOCKOUT_WAIT)
                show(f"Waiting {seconds:.0f} s before the next password. Press Ctrl-C to leave.")
                wait(seconds)
            try:
                settings = replace(settings, password=ask_password(ask, show))
            except EOFError:
                return 1
    finally:
        if has_asked:
            discard()


def ask_password(ask: Ask, show: Show) -> str:
    """Ask until the password is valid."""
    while True:
        try:
            return checked_password(ask("Password: "))
        except SettingError as error:
            show(f"That is not {error.expected}.")


# -- the passphrase for end-to-end encryption --------------------------------------------------------------


def print_warning(text: str) -> None:
    print(f"selchat: warning: {text}", file=sys.stderr)


def find_passphrase(
    file: str | None,
    ask: bool,
    environment: Mapping[str, str] = os.environ,
    prompt: Ask | None = None,
    warn: Show = print_warning,
) -> str:
    """Return the passphrase from the file, the prompt, or else the environment; empty: no source has one.

    Call ``warn`` with one line about a weak passphrase.

    An invalid passphrase is an error, never a reason to continue without encryption. Raises `SettingError`.
    """
    if file is not None and ask:
        raise SettingError(_ASK_PASSPHRASE, True, f"possible together with {_PASSPHRASE_FILE}")
    if file is not None:
        name, passphrase = _PASSPHRASE_FILE, read_passphrase(file)
    elif ask:
        name, passphrase = _ASK_PASSPHRASE, (prompt or _ask_passphrase)("Passphrase: ")
    elif PASSPHRASE_VARIABLE in environment:
        name, passphrase = PASSPHRASE_VARIABLE, environment[PASSPHRASE_VARIABLE]
    else:
        return ""
    _check_passphrase(name, passphrase)
    warning = passphrase_warning(passphrase)
    if warning is not None:
        warn(warning)
    return passphrase


def read_passphrase(path: str) -> str:
    """Return the single line of the file. Raises `SettingError`.

    Like ``ssh`` with its keys, refuse the user's own file if other users can access it.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_SECRET_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = close_reason(error) if isinstance(error, OSError) else "this is not a valid path"
        raise SettingError(_PASSPHRASE_FILE, path, f"readable: {reason}") from error
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & _OTHER_USERS:
        mode = stat.S_IMODE(status.st_mode)
        wanted = f"private: other users can access it (mode {mode:04o}); run chmod 600 on it"
        raise SettingError(_PASSPHRASE_FILE, path, wanted)
    if len(data) > MAX_SECRET_FILE_SIZE:
        raise SettingError(_PASSPHRASE_FILE, path, f"a file of at most {MAX_SECRET_FILE_SIZE} bytes")
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in line:
        raise SettingError(_PASSPHRASE_FILE, path, "a file of one line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise SettingError(_PASSPHRASE_FILE, path, "in UTF-8") from None


def _ask_passphrase(question: str) -> str:
    """Ask on the terminal without echo; standard input need not be that terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # getpass would only warn, and echo
            return getpass.getpass(question, sys.stderr)
    except EOFError:
        return ""
    except getpass.GetPassWarning:
        raise SettingError(_ASK_PASSPHRASE, True, "possible without a terminal") from None


def _check_passphrase(name: str, passphrase: str) -> None:
    try:
        passphrase_bytes(passphrase)
    except SettingError as error:
        raise SettingError(name, error.value, error.expected) from None
