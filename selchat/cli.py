"""Command line: parse the arguments, make settings, run a command."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from selchat import __version__
from selchat.arguments import ArgumentsError, parse_arguments
from selchat.config.sources import ConfigurationError, given_variables
from selchat.errors import SelchatError, SettingError, brief
from selchat.events import LOBBY
from selchat.limits import PROGRESS_SECONDS
from selchat.streams import prepare_streams, run_command
from selchat.text import ROOM_RULE, clean_room, escape_controls

if TYPE_CHECKING:
    from selchat.client.setup import ClientOptions

MAIN_HELP = """selchat - a chat for the people on one network.

Usage:
  selchat serve [OPTION]...               run a server
  selchat chat [HOST] [OPTION]...         chat in this terminal
  selchat send HOST [MESSAGE] [OPTION]... send messages from a script
  selchat export [OPTION]...              print the stored messages
  selchat hash-password                   hash a password for a server
  selchat token NAME                      make a token for scripts that use HTTP
  selchat COMMAND --help                  show the options of a command
  selchat --version

To begin, run selchat serve on one machine and selchat chat on any machine of the network.
"""

SERVE_HELP = """Run a chat server.

Usage:
  selchat serve [options]

Network options:
  --host=ADDR          Listen on this address; :: accepts IPv6 and IPv4. Default: 0.0.0.0.
  --port=PORT          Listen on this port; 0 picks a free port and prints it. Default: 33000.
  --header-length=N    Bytes in the header of a frame, 1 to 4096; all clients need the same number.
                       Default: 10.
  --key=KEY            Encrypt the server's own messages with the Caesar cipher of classic clients. KEY is
                       a number in decimal digits. This is a toy: it protects NOTHING.

Security options:
  --tls=MODE           auto accepts encrypted and plain connections on the same port; require accepts plain
                       ones from this machine only; off accepts no encrypted ones. Default: auto.
  --cert=FILE          Use the TLS certificate in this PEM file. Without it, the server makes its own.
  --key-file=FILE      Read the certificate's private key from this PEM file. Without it, the server reads
                       the key from the file of --cert.
  --password=HASH      Admit only users who know the password. HASH is the output of selchat hash-password.
                       Classic clients cannot join a server with a password.
  --operators=NAMES    Names of the operators, separated by commas. The server prints a code for each name
                       that nobody has claimed. Whoever sends /claim CODE from a selchat client owns the name,
                       and can send the commands that /help lists, such as /kick and /ban.

Web options:
  --allowed-host=NAMES  Further host names that browsers may use for this server, separated by commas. The
                       names and addresses of this machine are always allowed.
  --security-contact=URI  Publish this contact for security problems in /.well-known/security.txt, for
                       example mailto:security@example.org. Without it, there is no such page.

Limit options:
  --max-clients=N      Accept at most this many connections. Default: 10000.
  --message-rate=N     Read at most this many messages per second from one client; 0 means no limit.
                       Default: 5.
  --byte-rate=SIZE     Read at most this many bytes per second from one client; 0 means no limit.
                       Default: 64KiB.
  --queued-limit=SIZE  Queue at most this many bytes for all slow readers together. Default: 256MiB.

History options:
  --history=PATH       Store the messages in this file. Without it, the file is history.sqlite in your data
                       folder, or with --port=PORT history-PORT.sqlite. With --port=0 the server stores
                       no history.
  --no-history         Keep recent messages in memory only, and lose them when the server stops.
  --retention=LIMIT    Delete the oldest messages, beyond a number of days (30d) or a total size (2GiB);
                       forever keeps all messages. Default: 10GiB.

Display options:
  --no-roster          Do not report joins and leaves: send classic clients no list of online users, and
                       selchat clients no changes of it.
  --quiet              Print only the startup lines and problems, and no messages, joins or leaves.
  --log-format=FORMAT  text, or json for one JSON object per line. Default: text.

Configuration options:
  --config=FILE        Read settings from this TOML file, for example port = 33000 or max_clients = 500.
                       Options and environment variables (SELCHAT_PORT, SELCHAT_MAX_CLIENTS, ...) override
                       the file. Without this option, SELCHAT_CONFIG can name the file.
  --check-config       Check all settings, report every mistake, and exit without starting the server.
  -h --help            Show this text.

The server sends each line that you type to all users. Type /help for the commands.
Ctrl-C or SIGTERM stops the server: it notifies all users and sends queued messages for up to 5 seconds.
A second Ctrl-C stops it at once. SIGHUP reloads the settings.

Exit status: 0 after a clean stop, 1 if the server cannot run, 2 for an invalid option or setting.
"""

CHAT_HELP = """Chat with the people on a server.

Usage:
  selchat chat [options] [HOST]

HOST is a name or an address, HOST:PORT, or [IPv6]:PORT. The client asks for HOST and your name if you do not
give them.

Options:
  --port=PORT          Connect to this port. Default: 33000.
  --name=NAME          Use this name in the chat.
  --key=KEY            Use the Caesar cipher of classic clients. KEY is a number in decimal digits, or empty
                       for no cipher. This is a toy: it protects NOTHING.
  --header-length=N    Bytes in the header of a frame, 1 to 4096; the server needs the same number.
                       [default: 10]
  --passphrase-file=FILE  Encrypt your messages end to end with the passphrase in FILE, and decrypt those of
                       others with the same passphrase. FILE has one line; no other user of this machine may
                       have access to it (chmod 600).
  --ask-passphrase     Ask for that passphrase instead. Without these two options, the client uses the
                       environment variable SELCHAT_PASSPHRASE if it is set.
  --room=ROOM          Enter this room. Default: lobby.
  --tls=MODE           auto encrypts the connection if the server can, and afterwards never connects to that
                       server without encryption; require refuses a server without TLS; off never encrypts.
                       Default: auto, or off with --classic.
  --password-file=FILE  Read the server's password from the first line of FILE. Without it, the client uses
                       the environment variable SELCHAT_PASSWORD, or asks if the server requires a password.
  --classic            Use only the classic protocol, without rooms, receipts and history. Without this
                       option, the client uses that only on a server that supports nothing else.
  --plain              Plain lines for pipes, scripts and screen readers: each input line is a message, each
                       output line is "Venkat > text", or "[ROOM] Venkat > text" if it is from another room
                       than that of --room. The default if standard input or output is not a terminal, and
                       on a dumb terminal.
  -h --help            Show this text.

In the chat, type /help for the commands. Tab completes commands, names and rooms. If you paste several lines,
they become one message.

Plain mode has the same commands: a line that begins with / is a command, and //text sends /text. (With
selchat send, every line is a message.) Empty lines are skipped. Connection notices, answers and errors go to
standard error. At the end of the input, the client sends the queued messages; it gives up after 30 seconds
without progress. If standard input is not a terminal, the client asks nothing: HOST is required, your name is
your login name, and there is no key.

Exit status: 0 after /quit or the end of the input, 1 if the server is unreachable or a message was not sent,
2 for an invalid option, 130 after Ctrl-C.
"""

SEND_HELP = """Send MESSAGE, or each line of standard input, from a script.

Usage:
  selchat send [options] HOST [MESSAGE]

HOST is a name or an address, HOST:PORT, or [IPv6]:PORT.

Options:
  --port=PORT          Connect to this port. Default: 33000.
  --name=NAME          Send under this name. Default: your login name.
  --key=KEY            Use the Caesar cipher of classic clients. KEY is a number in decimal digits. This is
                       a toy: it protects NOTHING.
  --header-length=N    Bytes in the header of a frame, 1 to 4096; the server needs the same number.
                       [default: 10]
  --passphrase-file=FILE  Encrypt the messages end to end with the passphrase in FILE. FILE has one line; no
                       other user of this machine may have access to it (chmod 600).
  --ask-passphrase     Ask for that passphrase instead. Without these two options, the command uses the
                       environment variable SELCHAT_PASSPHRASE if it is set.
  --room=ROOM          Send to this room. Default: lobby.
  --tls=MODE           auto, require or off; see selchat chat --help.
  --password-file=FILE  Read the server's password from the first line of FILE. Without it, the command uses
                       the environment variable SELCHAT_PASSWORD, or asks on a terminal if the server
                       requires a password.
  --classic            Use only the classic protocol.
  -h --help            Show this text.

Write -- before a MESSAGE that begins with -. Empty input lines are skipped. If you are in the chat at the
same time, the messages appear under the next free name (Venkat_2).

Exit status: 0 if the server has stored every message, 1 if not, 2 for an invalid option, 130 after Ctrl-C.
The command sends lost messages again, and gives up after 30 seconds without progress. The classic protocol
has no receipts: with --classic, or on a server that supports nothing else, 0 means that the messages have
reached the server's machine and that the server has not objected.
"""

EXPORT_HELP = """Print the stored messages, oldest first. The server may be running.

Usage:
  selchat export [options]

Options:
  --room=ROOM          Print only this room. Without it, print all rooms in the order of time.
  --since=TIME         Print only messages since this time: 2h or 7d ago, or 2026-11-23 or 2026-11-23T14:03
                       in local time.
  --format=FORMAT      text, or jsonl for one JSON object per line. [default: text]
  --port=PORT          Print the history of the server on this port. Default: 33000.
  --history=PATH       Read this history file instead.
  -h --help            Show this text.

The output contains no direct messages.

If the history is damaged, the command prints all messages that can be read, and lists the others on
standard error.

Exit status: 0 if everything was printed, 1 if not, 2 for an invalid option, 130 after Ctrl-C.
"""

HASH_PASSWORD_HELP = """Hash a password for selchat serve --password=HASH.

Usage:
  selchat hash-password [options]

Options:
  -h --help            Show this text.

On a terminal, the command asks twice; what you type is not shown. Otherwise it reads the password from the
first line of standard input.

Exit status: 0 if the hash was printed, 1 if the two passwords differ, 2 for an invalid password, 130 after
Ctrl-C.
"""  # noqa: S105

TOKEN_HELP = """Make and print a token that lets a script send messages over HTTP.

Usage:
  selchat token [--room=ROOM] NAME
  selchat token --list
  selchat token --revoke=NAME
  selchat token --help

The messages of the script appear under NAME. The command shows the token only once: the file tokens in the
data folder has just its hash. A running server accepts a new token, and rejects a revoked one, at once.

Options:
  --room=ROOM          Allow the token in this room only. Without it, the token is valid in all rooms.
  --list               List the tokens: names, dates and rooms.
  --revoke=NAME        Revoke all tokens of that name.
  -h --help            Show this text.

For example:
  TOKEN=$(selchat token webhook)
  curl -H "Authorization: Bearer $TOKEN" -d "The build is green" http://127.0.0.1:33000/rooms/lobby/messages

Exit status: 0 after success, 1 after a failure, 2 for an invalid option or name.
"""  # noqa: S105

COMMANDS = {
    "serve": SERVE_HELP,
    "chat": CHAT_HELP,
    "send": SEND_HELP,
    "export": EXPORT_HELP,
    "hash-password": HASH_PASSWORD_HELP,
    "token": TOKEN_HELP,
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``selchat`` with these arguments (without the program's name) and return its exit status."""
    if arguments is None:
        prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return run_command(lambda: _run(words))
    except ConfigurationError as error:
        for mistake in error.mistakes:
            _print_error(str(mistake))
        return 2
    except (ArgumentsError, SettingError) as error:
        return _fail(str(error), 2)
    except SelchatError as error:
        return _fail(str(error), 1)
    finally:
        if arguments is None:
            # The process is about to end: another Ctrl-C now ends it silently, without a traceback from
            # Python's cleanup.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(words: list[str]) -> int:
    command = words[0] if words else ""
    if command != "serve" and hasattr(signal, "pthread_sigmask"):  # a server unblocks what it can handle
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    if not words:
        print(MAIN_HELP, end="", file=sys.stderr)
        return 2
    if command == "--version":
        print(f"selchat {__version__}")
        return 0
    if command == "help" and len(words) > 1:  # the same as COMMAND --help
        command, words = words[1], [words[1], "--help"]
    if command in {"-h", "--help", "help"}:
        print(MAIN_HELP, end="")
        return 0
    if command not in COMMANDS:
        raise ArgumentsError(_unknown_command(command))
    try:
        options = parse_arguments(COMMANDS[command], words[1:], command)
    except ArgumentsError as error:
        raise ArgumentsError(f"{error}; selchat {command} --help lists the options") from None
    if options["--help"]:
        print(COMMANDS[command], end="")
        return 0
    return _RUN[command](options)


def _unknown_command(word: str) -> str:
    if word.startswith("-"):
        return f"unknown option {word}; write options after the command, which selchat --help lists"
    nearest = get_close_matches(word[:64], COMMANDS, 1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"there is no command {brief(word)}{hint}; selchat --help lists them"


def _serve(options: dict[str, Any]) -> int:
    # Imported here and below, so that --help stays fast.
    from selchat.config.sources import read_sources
    from selchat.server.server import Server
    from selchat.server.startup import certificate_warning, check_settings

    builder = read_sources(options, os.environ)
    for text in builder.warnings:
        _print_error(f"warning: {text}")
    settings = builder.build(check_settings)
    if options["--check-config"]:
        warning = certificate_warning(settings)
        if warning:
            _print_error(f"warning: {warning}")
        print(f"The configuration is good: {escape_controls(builder.summary())}.")
        return 0
    server = Server(settings, lambda: read_sources(options, os.environ).build(check_settings))
    gc.collect()
    gc.freeze()  # a full collection would visit all modules too, and stall everyone for 20 ms
    return server.run()


def _chat(options: dict[str, Any]) -> int:
    from selchat.client.setup import (
        ask_for_missing,
        is_terminal,
        make_settings,
        password_prompt,
        run_with_password,
        stream_prompt,
    )

    has_input, has_output = is_terminal(sys.stdin), is_terminal(sys.stdout)
    try:
        given = client_options(options, os.environ)
        if has_input and has_output and not options["--plain"] and _is_capable():
            from selchat.client.terminal.app import TerminalChat, ask

            settings = ask_for_missing(given, ask, print)
            return run_with_password(TerminalChat, settings, password_prompt(), print)

        from selchat.client.plain import PlainChat

        if has_input:
            screen = sys.stdout if has_output else sys.stderr
            settings = ask_for_missing(
                given, stream_prompt(sys.stdin, screen), lambda line: print(line, file=screen)
            )
        else:
            settings = make_settings(given)
        prompt = password_prompt()
        return run_with_password(
            lambda settings: PlainChat(settings, ask=prompt), settings, prompt, _print_status
        )
    except EOFError:
        return 1
    except SettingError as error:
        raise as_typed(error, options) from None


_CLIENT_OPTIONS = {"wire": "--classic", "password": "--password-file"}  # not called like their setting
_OTHER_SOURCES = {"--port": "HOST", "--tls": "SELCHAT_TLS", "--password-file": "SELCHAT_PASSWORD"}


def as_typed(error: SettingError, options: dict[str, Any]) -> SettingError:
    """Return the error with the option or variable that the user typed instead of the setting's name."""
    option = _CLIENT_OPTIONS.get(error.name, "--" + error.name.replace("_", "-"))
    if option not in options:
        return error
    if options[option] is None:
        option = _OTHER_SOURCES.get(option, option)
    return SettingError(option, error.value, error.expected)


def _is_capable() -> bool:
    """Whether the terminal supports more than plain lines."""
    from selchat.client.terminal.screen import is_capable

    return is_capable()


def _send(options: dict[str, Any]) -> int:
    from selchat.client.send import Sender
    from selchat.client.setup import is_terminal, make_settings, password_prompt, run_with_password

    message = options["MESSAGE"]
    if message == "":
        raise SettingError("MESSAGE", message, "a message")
    progress_seconds = PROGRESS_SECONDS if is_terminal(sys.stderr) else None
    try:
        return run_with_password(
            lambda settings: Sender(settings, message, progress_seconds=progress_seconds),
            make_settings(client_options(options, os.environ)),
            password_prompt(),
            _print_status,
        )
    except SettingError as error:
        raise as_typed(error, options) from None


def _export(options: dict[str, Any]) -> int:
    from selchat.commands import export

    return export.main(options)


def _hash_password(options: dict[str, Any]) -> int:
    from selchat.client.setup import is_terminal
    from selchat.commands import hash_password

    return hash_password.main(is_terminal(sys.stdin))


def _token(options: dict[str, Any]) -> int:
    from selchat.commands import token

    return token.main(options)


_RUN = {
    "serve": _serve,
    "chat": _chat,
    "send": _send,
    "export": _export,
    "hash-password": _hash_password,
    "token": _token,
}


def client_options(options: dict[str, Any], variables: Mapping[str, str]) -> ClientOptions:
    """Return the options of ``selchat chat`` or ``selchat send``. Raises `SettingError`."""
    from selchat.client.setup import (
        PASSPHRASE_VARIABLE,
        ClientOptions,
        find_passphrase,
        find_password,
        find_seconds,
    )

    port = options["--port"]
    room = LOBBY if options["--room"] is None else options["--room"]
    if not clean_room(room):
        raise SettingError("--room", room, f"a room's name: {ROOM_RULE}")
    environment = given_variables(variables)
    file, ask = options["--passphrase-file"], options["--ask-passphrase"]
    if PASSPHRASE_VARIABLE in variables.keys() - environment.keys() and file is None and not ask:
        _print_error(f"warning: {PASSPHRASE_VARIABLE} is empty, so there is no end-to-end encryption")
    return ClientOptions(
        host=options["HOST"],
        port=None if port is None else _parse_number("--port", port),
        name=options["--name"],
        key=options["--key"],
        header_length=_parse_number("--header-length", options["--header-length"]),
        wire="classic" if options["--classic"] else "auto",
        tls=environment.get("SELCHAT_TLS", "auto") if options["--tls"] is None else options["--tls"],
        room=room,
        passphrase=find_passphrase(file, ask, environment),
        password=find_password(options["--password-file"], environment),
        tls_seconds=find_seconds("SELCHAT_TLS_SECONDS", environment),
        hello_seconds=find_seconds("SELCHAT_HELLO_SECONDS", environment),
    )


def _parse_number(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text):
        raise SettingError(name, text, "a whole number")
    return int(text)


def _print_status(line: str) -> None:
    print(line, file=sys.stderr)


def _fail(message: str, status: int) -> int:
    _print_error(message)
    return status


def _print_error(message: str) -> None:
    print(f"selchat: {escape_controls(message)}", file=sys.stderr)
