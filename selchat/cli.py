"""The command line: docopt texts to settings to a server or a client, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import docopt

from selchat import __version__
from selchat.config.sources import ConfigurationError
from selchat.errors import SelchatError, SettingError
from selchat.events import LOBBY
from selchat.net.stdio import ensure_standard_descriptors
from selchat.text import escape_controls

if TYPE_CHECKING:
    from selchat.client.asking import Given

MAIN = """selchat - the chat for the people on one network.

Usage:
  selchat serve [OPTION]...               run a server
  selchat chat [HOST] [OPTION]...         talk
  selchat send HOST [MESSAGE] [OPTION]... say something from a script
  selchat export [OPTION]...              print what was said
  selchat hash-password                   make a password for a server
  selchat token NAME                      make a token, for scripts that talk HTTP
  selchat COMMAND --help                  more about one of these
  selchat --version

The first two of these, on one machine or on two, make a chat.
"""

SERVE = """Run a server: everyone who connects is in one chat.

Usage:
  selchat serve [options]

Network options:
  --host=ADDR          The address to listen on; :: takes IPv6 and IPv4. 0.0.0.0 if not given.
  --port=PORT          The port; 33000 if not given. 0 takes a free one and shows it.
  --header-length=N    Bytes of a frame's header, the same at every end; 10 if not given.
  --key=KEY            Encrypt what the server itself says with the paper's Caesar cipher, KEY being
                       decimal digits. A toy to talk to the paper's clients: it protects NOTHING.

Trust options:
  --tls=MODE           auto takes encrypted and plain connections on one port, require takes plain ones from
                       this machine alone, off takes no encrypted ones. auto if not given.
  --cert=FILE          The certificate, PEM; the server makes one of its own if not given.
  --key-file=FILE      Its private key, PEM; in the file of the certificate if not given.
  --password=HASH      Let in only those who know the password; HASH is what selchat hash-password prints.
                       The paper's own clients cannot say one, and stay outside.
  --operators=NAMES    Names, separated by commas, whose owners may give the commands of /help, by whispering
                       them to Server.

Web options:
  --allowed-host=NAMES  Names, separated by commas, by which browsers may come besides the names and addresses
                       of this machine.
  --security-contact=URI  Whom to tell of a hole, such as mailto:security@example.org: what is given out at
                       /.well-known/security.txt, which there is not without it.

Limit options:
  --max-clients=N      How many connections to take; 10000 if not given.
  --message-rate=N     Messages a second that are read from one client; 5 if not given, 0: no limit.
  --byte-rate=SIZE     Bytes a second that are read from one client; 64KiB if not given, 0: no limit.
  --queued-limit=SIZE  Bytes that may wait for all readers together; 256MiB if not given.

History options:
  --history=PATH       The file that keeps what is said; history.sqlite in your data folder if not given, with
                       the port in its name if that is not 33000. Nothing is kept of a server on --port=0.
  --no-history         Keep what is said in memory only, and not for long.
  --retention=LIMIT    What the file keeps: days (30d) or a size (2GiB). Everything if not given.

Display options:
  --no-roster          Do not tell everyone who is online whenever that changes.
  --quiet              Show only the start and what goes wrong: no messages, no joins and leaves.
  --log-format=FORMAT  text, or json for one JSON object a line; text if not given.

Configuration options:
  --config=FILE        Read settings from this TOML file: port = 33000, max_clients = 500 and so on. Options
                       and the variables SELCHAT_PORT, SELCHAT_MAX_CLIENTS and so on are stronger. The file
                       that SELCHAT_CONFIG names, or none, if not given.
  --check-config       Say all that is wrong with the settings, or that nothing is, and start nothing.
  -h --help            Show this text.

Lines typed into the server are said to everyone; /help lists the commands that it takes there.
Ctrl-C or SIGTERM tells everyone, flushes for up to 5 s and ends; a second one ends at once. SIGHUP reads the
settings again.

Exit status: 0 after a clean end, 1 when it cannot run, 2 for a wrong option or setting.
"""

CHAT = """Talk to the people on a server. What is not given here is asked for.

Usage:
  selchat chat [options] [HOST]

HOST is a name or an address, HOST:PORT, or [IPv6]:PORT.

Options:
  --port=PORT          The port; 33000 if not given.
  --name=NAME          Your name in the chat.
  --key=KEY            The paper's Caesar cipher, KEY being decimal digits, or empty for none. A toy to
                       talk to the paper's clients: it protects NOTHING.
  --header-length=N    Bytes of a frame's header, the same at every end. [default: 10]
  --passphrase-file=FILE  Encrypt everything you say end to end, with the passphrase in the one line of FILE,
                       which must be for you alone (chmod 600); what others have encrypted with it is shown.
  --ask-passphrase     The same with a passphrase that is asked for. Without either, the one in the
                       environment variable SELCHAT_PASSPHRASE is used, if there is one.
  --room=ROOM          The room to talk in; lobby if not given.
  --tls=MODE           auto encrypts with every server that can, and never again goes without with one that
                       could; require with no other; off never. auto if not given; off with --classic.
  --password-file=FILE  The server's password, if it has one, is the first line of that file, or in the
                       variable SELCHAT_PASSWORD; else it is asked for.
  --classic            Speak the paper's protocol only: no rooms, no receipts, no history. Without it, that is
                       for servers that know nothing else.
  --plain              Lines in are messages, lines out are "Venkat > text", nothing else: for pipes,
                       scripts and screen readers. The default where input or output is no terminal,
                       and on a dumb one.
  -h --help            Show this text.

In the chat, /help lists the commands. Tab completes names and commands. A pasted text of several lines
is one message.

In plain mode too, a line that begins with / is a command and //text says /text; selchat send takes every
line as it is. Empty lines are skipped. What is not a message (the connection, answers, errors) goes to
standard error. The end of the input sends what is pending, until nothing gets across for 30 s. Where input
is not a terminal nothing is asked: HOST is needed, your name is your login name, and there is no key.

Exit status: 0 after /quit or the end of the input, 1 when the server cannot be reached or something
could not be sent, 2 for a wrong option, 130 after Ctrl-C.
"""

SEND = """Say something from a script: MESSAGE, or each line of standard input.

Usage:
  selchat send [options] HOST [MESSAGE]
  selchat send [options] HOST -- MESSAGE
  selchat send [options] -- HOST [MESSAGE]

HOST is a name or an address, HOST:PORT, or [IPv6]:PORT.

Options:
  --port=PORT          The port; 33000 if not given.
  --name=NAME          The name under which to say it; your login name if not given.
  --key=KEY            The paper's Caesar cipher, KEY being decimal digits. A toy to talk to the paper's
                       clients: it protects NOTHING.
  --header-length=N    Bytes of a frame's header, the same at every end. [default: 10]
  --passphrase-file=FILE  Encrypt it end to end, with the passphrase in the one line of FILE, which must be
                       for you alone (chmod 600).
  --ask-passphrase     The same with a passphrase that is asked for. Without either, the one in the
                       environment variable SELCHAT_PASSPHRASE is used, if there is one.
  --room=ROOM          The room to say it in; lobby if not given.
  --tls=MODE           auto, require or off, as for selchat chat.
  --password-file=FILE  The server's password, if it has one, is the first line of that file, or in the
                       variable SELCHAT_PASSWORD; else it is asked for if there is a terminal.
  --classic            Speak the paper's protocol only.
  -h --help            Show this text.

A MESSAGE that begins with - goes after --. Empty lines of the input are skipped. If you are in the chat
yourself meanwhile, this says it under the next free name (Venkat_2).

Exit status: 0 when the server has stored everything, 1 when not, 2 for a wrong option, 130 after Ctrl-C.
What is lost on the way is sent again, until nothing gets across for 30 s. With --classic, and to a server
that knows only the paper's protocol, there are no receipts: 0 says then that the server's machine has it and
that the server did not object.
"""

EXPORT = """Print what was said, oldest first, while a server runs or not.

Usage:
  selchat export [options]

Options:
  --room=ROOM          Only this room; all of them, in the order of time, if not given.
  --since=TIME         Only what was said since then: 2h, 7d, 2026-11-23 or 2026-11-23T14:03 (local time).
  --format=FORMAT      text, or jsonl for one JSON object a line. [default: text]
  --history=PATH       The file of the history; the one of a server on port 33000 if not given.
  -h --help            Show this text.

Whispers are not exported.

Exit status: 0 when all was printed, 1 when not, 2 for a wrong option, 130 after Ctrl-C.
"""

HASHING = """Ask for a password, and print its hash for selchat serve --password=HASH.

Usage:
  selchat hash-password [options]

Options:
  -h --help            Show this text.

On a terminal it is asked for twice and not shown; else it is the first line of standard input.

Exit status: 0 when the hash was printed, 1 when the two were different, 2 for what is no password, 130 after
Ctrl-C.
"""

ISSUING = """Make a token, with which a script can say something over HTTP, and print it.

Usage:
  selchat token [--room=ROOM] NAME
  selchat token --list
  selchat token --revoke=NAME
  selchat token --help

NAME is the name under which it is said. The token is shown once; what is kept of it is a hash, in the file
tokens of the data folder. A server that runs already knows a new token at once, and a revoked one no longer.

Options:
  --room=ROOM          Let it speak in this room alone; in any, if not given.
  --list               Show for which names there are tokens, since when, and for which rooms.
  --revoke=NAME        Make all tokens of that name worthless.
  -h --help            Show this text.

For example:
  TOKEN=$(selchat token ci)
  curl -H "Authorization: Bearer $TOKEN" -d "The build is green" http://127.0.0.1:33000/rooms/lobby/messages

Exit status: 0 when that was done, 1 when not, 2 for a wrong option or name.
"""

_TEXTS = {
    "serve": SERVE,
    "chat": CHAT,
    "send": SEND,
    "export": EXPORT,
    "hash-password": HASHING,
    "token": ISSUING,
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``selchat`` with these arguments (without the program's name) and return its exit status."""
    ensure_standard_descriptors()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(words)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            _complain(str(mistake))
        return 2
    except SettingError as error:
        return _fail(str(error), 2)
    except SelchatError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130  # as shells report a process that SIGINT has ended
    finally:
        if arguments is None:
            # The process is about to end: one more Ctrl-C now ends it silently, without a traceback of
            # whatever Python was tidying up.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(MAIN, end="")
        return 0 if words else 2
    if words[0] == "--version":
        print(f"selchat {__version__}")
        return 0
    command = words[0]
    if command not in _TEXTS:
        return _fail(f"there is no command {command!r}; selchat --help lists them", 2)
    if "-h" in words or "--help" in words:
        print(_TEXTS[command], end="")
        return 0
    try:
        options = docopt.docopt(_TEXTS[command], words, default_help=False)
    except docopt.DocoptExit as error:
        return _fail(f"{_complaint(error)}; selchat {command} --help lists the options", 2)
    return _RUN[command](options)


def _serve(options: dict[str, Any]) -> int:
    # Here, because they take longer to import than --help should take.
    from selchat.config.sources import read_sources
    from selchat.server.server import Server
    from selchat.server.startup import check_settings

    builder = read_sources(options, os.environ)
    for text in builder.warnings:
        _complain(f"warning: {text}")
    settings = builder.build(check_settings)
    if options["--check-config"]:
        print(f"The configuration is good: {escape_controls(builder.summary())}.")
        return 0
    return Server(settings, lambda: read_sources(options, os.environ).build(check_settings)).run()


def _chat(options: dict[str, Any]) -> int:
    from selchat.client import asking
    from selchat.client.password import asker, run_with_password

    given = _given(options)
    has_input, has_output = asking.standard_terminals()
    try:
        if has_input and has_output and not options["--plain"] and _is_capable():
            from selchat.client.terminal import app as terminal

            settings = asking.ask_for_rest(given, terminal.ask, print)
            return run_with_password(terminal.TerminalChat, settings, asker(), print)

        from selchat.client.plain import PlainChat

        if has_input:
            screen = sys.stdout if has_output else sys.stderr
            settings = asking.ask_for_rest(
                given, asking.ask_on(sys.stdin, screen), lambda line: print(line, file=screen)
            )
        else:
            settings = asking.settings_of(given)
        return run_with_password(PlainChat, settings, asker(), _tell)
    except EOFError:
        return 1


def _is_capable() -> bool:
    """Whether the terminal can do more than lines."""
    from selchat.client.terminal.screen import is_capable

    return is_capable()


def _send(options: dict[str, Any]) -> int:
    from selchat.client.asking import is_terminal, settings_of
    from selchat.client.password import asker, run_with_password
    from selchat.client.send import Sender

    message = options["MESSAGE"]
    if message == "":
        raise SettingError("MESSAGE", message, "a message")
    progress = is_terminal(sys.stderr)
    return run_with_password(
        lambda settings: Sender(settings, message, progress=progress),
        settings_of(_given(options)),
        asker(),
        _tell,
    )


def _export(options: dict[str, Any]) -> int:
    from selchat.commands import export

    return export.main(options)


def _hash_password(options: dict[str, Any]) -> int:
    from selchat.client.asking import is_terminal
    from selchat.commands import hash_password as hashing

    return hashing.main(is_terminal(sys.stdin))


def _token(options: dict[str, Any]) -> int:
    from selchat.commands import token as issuing

    return issuing.main(options)


_RUN = {
    "serve": _serve,
    "chat": _chat,
    "send": _send,
    "export": _export,
    "hash-password": _hash_password,
    "token": _token,
}


def _given(options: dict[str, Any]) -> Given:
    from selchat.client.asking import Given
    from selchat.client.passphrase import find_passphrase
    from selchat.client.password import given_password

    port = options["--port"]
    return Given(
        host=options["HOST"],
        port=None if port is None else _number("--port", port),
        name=options["--name"],
        key=options["--key"],
        header_length=_number("--header-length", options["--header-length"]),
        wire="classic" if options["--classic"] else "auto",
        tls=options["--tls"] or os.environ.get("SELCHAT_TLS", "auto"),
        room=options["--room"] or LOBBY,
        passphrase=find_passphrase(options["--passphrase-file"], options["--ask-passphrase"]),
        password=given_password(options["--password-file"], os.environ),
    )


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise SettingError(name, text, "a whole number")
    return int(text)


def _complaint(error: docopt.DocoptExit) -> str:
    """Return what is wrong with the arguments, without the usage text that docopt puts below it."""
    first = str(error).partition("\n")[0]
    # docopt keeps what it could not match in its message alone, as the repr of its patterns.
    if match := re.search(r"Option\((?:None|'(-\w)'), (?:None|'(--[^']*)')", first):
        return f"unknown option {match[2] or match[1]}"
    if match := re.search(r"Argument\(None, (.*?)\)[],]", first):
        if match[1].strip("'") not in _TEXTS:  # else nothing was matched, because something is missing
            return f"unexpected argument {match[1]}"
        return "an argument is missing"
    return "an argument is missing" if first.startswith("Usage:") else first


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _fail(message: str, status: int) -> int:
    _complain(message)
    return status


def _complain(message: str) -> None:
    print(f"selchat: {escape_controls(message)}", file=sys.stderr)
