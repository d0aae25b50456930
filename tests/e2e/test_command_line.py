"""Every command in every condition: the right exit status, at most one line, no traceback and no hang.

A row is a command, a condition and the expected end. A condition is a redirection of the shell, a variable,
or a program that runs the command, such as ``unshare``.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from selchat import cli
from selchat.auth.tokens import ANY_ROOM, TokenFile, new_token
from selchat.bench import cli as bench_cli
from selchat.config.sources import SETTINGS
from selchat.net.certificate import own_certificate
from tests.e2e.processes import SELCHAT
from tests.e2e.support import DEADLINE, Client, Server, eventually, trust_server
from tests.log.support import opened

BENCH = (sys.executable, "-m", "selchat.bench")
ROOT = str(Path(__file__).parents[2])
NOWHERE = "127.0.0.1:1"  # nobody listens there
PASSWORD = "printf 'tea at four\\n' | "
FULL = "no space left on device"
CLOSED = "standard output is closed"
REFUSED = f"selchat: cannot connect to {NOWHERE}: connection refused"


def slow(*row: Any) -> Any:
    """Leave this row of a table to the slow set."""
    return pytest.param(*row, marks=pytest.mark.slow)


def run(
    command: str, redirection: str = "", wrapper: str = "", **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command line of ``selchat`` or ``selchat-bench`` in a shell.

    Descriptor 9 is a broken pipe. A variable that is None is unset. Standard input is empty.
    """
    start, separator, rest = command.rpartition("| ")
    program, _, arguments = rest.partition(" ")
    words = [*shlex.split(wrapper), *(BENCH if program == "selchat-bench" else SELCHAT)]
    script = f"{start}{separator}{shlex.join(words)} {arguments} {redirection}"
    environment = {**os.environ, "PYTHONPATH": ROOT, **variables}
    reader, writer = os.pipe()
    os.close(reader)
    os.set_inheritable(writer, True)
    try:
        return subprocess.run(
            ["bash", "-c", f"exec 9>&{writer}; {script}"],
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.DEVNULL,
            cwd="/",
            capture_output=True,
            pass_fds=[writer],
            text=True,
            errors="surrogateescape",
            timeout=2 * DEADLINE,
            check=False,
        )
    finally:
        os.close(writer)


def check(
    done: subprocess.CompletedProcess[str], status: int, errors: str = "", output: str = "", lines: int = 1
) -> None:
    """``errors``: the beginning of the only line on standard error; ``output``: a pattern."""
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(errors), done.stderr
    assert done.stderr.count("\n") == (lines if errors else 0), done.stderr
    assert re.fullmatch(output, done.stdout, re.DOTALL), done.stdout


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a history of one message and a token, both of Zoë."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "selchat").mkdir()
    with opened(folder / "selchat/history.sqlite") as log:
        log.append("lobby", "Zoë", ["Grüße"], 1.0)
        log.commit()
    TokenFile(folder / "selchat/tokens").add(new_token("Zoë", ANY_ROOM)[1])
    return folder


# -- standard output -----------------------------------------------------------------------------------------

PRINTING = [
    "selchat --help",
    "selchat --version",
    *(f"selchat {command} --help" for command in cli.COMMANDS),
    "selchat serve --check-config",
    "selchat export",
    "selchat token --list",
    "selchat token ci",
    f"{PASSWORD}selchat hash-password",
    "selchat-bench --help",
    "selchat-bench --version",
]
UNWRITABLE = {
    ">&-": (1, f"cannot write the output: {CLOSED}"),
    ">/dev/full": (1, f"cannot write the output: {FULL}"),
    ">&9": (141, ""),  # the status that shells show after SIGPIPE
}


@pytest.mark.parametrize("redirection", UNWRITABLE)
@pytest.mark.parametrize("command", [*map(slow, PRINTING[2:-5]), *PRINTING[:2], *PRINTING[-5:]])
def test_output_that_cannot_be_written(command: str, redirection: str, stored: Path, data: Path) -> None:
    folder = data if command == "selchat token ci" else stored
    done = run(command, redirection, XDG_DATA_HOME=str(folder))
    status, error = UNWRITABLE[redirection]
    program = "selchat-bench" if "bench" in command else "selchat"
    check(done, status, f"{program}: {error}" if error else "")


def test_token_that_was_not_shown_is_not_kept(data: Path) -> None:
    for redirection in UNWRITABLE:
        run("selchat token ci", redirection)
    check(run("selchat token --list"), 0, "There are no tokens.")


# -- standard error and standard input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirection", [*map(slow, ["2>&-", "2>&9", "<&- >&- 2>&-"]), "2>/dev/full", ">&- 2>&-"]
)
@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("selchat", 2, ""),
        ("selchat serve --port=x", 2, ""),
        (f"selchat chat {NOWHERE} --name=x", 1, ""),
        (f"selchat send {NOWHERE} hi --name=x", 1, ""),
        ("selchat export", 1, ""),
        ("selchat token", 2, ""),
        ("selchat token ci", 0, "selchat_[0-9a-f]+\n"),
        ("selchat-bench", 2, ""),
        ("selchat-bench idle --connect=127.0.0.1:1 --duration=0.1 --clients=1", 1, ""),
    ],
)
@pytest.mark.slow
def test_errors_that_cannot_be_written_change_nothing(
    command: str, status: int, output: str, redirection: str
) -> None:
    done = run(command, redirection)
    is_closed = ">&- 2" in redirection and output  # then the output is lost, too
    check(done, 1 if is_closed else status, "", "" if is_closed else output)


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("selchat hash-password", 2, "selchat: password: '...' is not"),
        ("selchat chat", 2, "selchat: HOST is required"),
        (f"selchat chat {NOWHERE} --name=x", 1, REFUSED),
        (f"selchat send {NOWHERE} --name=x", 1, REFUSED),
        (f"selchat send {NOWHERE} hi --name=x --ask-passphrase", 2, "selchat: --ask-passphrase: "),
        ("selchat token ci", 0, "Anyone who has"),
        ("selchat serve --check-config", 0, ""),
    ],
)
@pytest.mark.parametrize("redirection", ["<&-", "</dev/null"])
def test_input_that_is_closed_or_empty(command: str, status: int, error: str, redirection: str) -> None:
    done = run(command, redirection, wrapper="setsid -w")  # without a terminal to ask on
    check(done, status, error, ".*", lines=2 if "token" in command else 1)


# -- no home folder, no login name, no network ---------------------------------------------------------------

NO_HOME = "selchat: there is no home folder to store files in; set XDG_DATA_HOME"


def namespace(option: str) -> str:
    """Return the wrapper for a namespace of its own; skip the test where the kernel refuses it."""
    wrapper = f"unshare {option}"
    try:
        subprocess.run([*wrapper.split(), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare is not possible here")
    return wrapper


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("selchat serve --check-config", 2, NO_HOME),
        ("selchat serve --port=0", 2, NO_HOME),
        (f"selchat chat {NOWHERE} --name=x", 2, NO_HOME),
        (f"selchat send {NOWHERE} hi --name=x", 2, NO_HOME),
        ("selchat export", 2, NO_HOME),
        ("selchat token ci", 2, NO_HOME),
        ("selchat token --list", 2, NO_HOME),
        ("selchat token --revoke=ci", 2, NO_HOME),
        (f"{PASSWORD}selchat hash-password", 0, ""),
        ("selchat --version", 0, ""),
        ("selchat-bench --version", 0, ""),
    ],
)
def test_without_a_home_folder(command: str, status: int, error: str) -> None:
    user = namespace("--user --map-user=54321")  # a user who is not in the list of users
    check(run(command, wrapper=user, HOME=None, XDG_DATA_HOME=None), status, error, ".*")


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/dev/null/x", "XDG_DATA_HOME": None},
        slow({"HOME": "/proc/x", "XDG_DATA_HOME": None}),
        {"XDG_DATA_HOME": "/dev/null"},
    ],
)
@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("selchat serve --port=0", 1, "selchat: /"),
        (f"selchat chat {NOWHERE} --name=x", 1, "selchat: "),
        (f"selchat send {NOWHERE} hi --name=x", 1, "selchat: "),
        ("selchat export", 1, "selchat: there is no history file /"),
        ("selchat token ci", 1, "selchat: /"),
        ("selchat token --revoke=ci", 1, "selchat: /"),
    ],
)
def test_home_folder_that_cannot_be_written(
    command: str, status: int, error: str, variables: dict[str, str | None]
) -> None:
    done = run(command, **variables)
    check(done, status, error)
    assert re.search("no such file or directory|not a directory|no history file", done.stderr)


NO_LOGIN = "selchat: your login name on this machine is unknown: give a name with --name=NAME"
LOGIN = dict.fromkeys(["LOGNAME", "USER", "LNAME", "USERNAME"])


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        (f"selchat chat {NOWHERE}", 2, NO_LOGIN),
        (f"selchat send {NOWHERE} hi", 2, NO_LOGIN),
        (f"selchat chat {NOWHERE} --name=x", 1, REFUSED),
        (f"selchat send {NOWHERE} hi --name=x", 1, REFUSED),
        ("selchat token ci", 0, "Anyone"),
    ],
)
def test_without_a_login_name(command: str, status: int, error: str) -> None:
    user = namespace("--user --map-user=54321")
    check(run(command, wrapper=user, **LOGIN), status, error, ".*", lines=2 if "token" in command else 1)


@pytest.mark.parametrize(
    ("command", "status", "error"),
    [
        ("selchat send 10.0.0.1 hi --name=x", 1, "selchat: cannot connect to 10.0.0.1:33000: network is"),
        ("selchat send fe80::1 hi --name=x", 1, "selchat: cannot connect to [fe80::1]:33000: "),
        ("selchat send 10.0.0.1 hi --name=x --classic", 1, "selchat: cannot connect to 10.0.0.1:33000: "),
        ("selchat send 10.0.0.1 hi --name=x --tls=off", 1, "selchat: cannot connect to 10.0.0.1:33000: "),
        ("selchat send no-such-host.invalid hi --name=x", 1, "selchat: cannot connect to no-such-host"),
        ("echo hi | selchat send 10.0.0.1 --name=x", 1, "selchat: cannot connect to 10.0.0.1:33000: "),
        ("selchat chat 10.0.0.1 --name=x", 1, "selchat: cannot connect to 10.0.0.1:33000: network is"),
        ("echo hi | selchat chat 10.0.0.1 --name=x", 1, "selchat: cannot connect to 10.0.0.1:33000: "),
        ("selchat-bench idle --connect=10.0.0.1:1 --clients=1", 1, "selchat-bench: cannot reach the server"),
        ("selchat-bench idle --connect=no-such-host.invalid:1", 1, "selchat-bench: no-such-host.invalid: "),
        *(
            slow(f"selchat-bench {scenario} --connect={NOWHERE}", 1, "selchat-bench: ")
            for scenario in ("fanout", "idle", "connect", "slow", "churn", "rooms")
        ),
        ("selchat-bench idle --clients=1 --duration=0.1", 1, "selchat-bench: cannot reach the server"),
        ("selchat serve --host=no-such-host.invalid", 1, "selchat: cannot listen on no-such-host.invalid"),
        ("selchat export", 1, "selchat: there is no history file"),
    ],
)
@pytest.mark.slow
def test_without_a_network(command: str, status: int, error: str) -> None:
    check(run(command, wrapper=namespace("--net --map-root-user")), status, error)


# -- languages and encodings ---------------------------------------------------------------------------------

ENCODINGS = [
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "ascii:strict"},
]
RARE_ENCODINGS = [
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "utf-16"},
    {"PYTHONWARNINGS": "error"},
]


@pytest.mark.parametrize(
    "variables",
    [*ENCODINGS, *map(slow, RARE_ENCODINGS)],
    ids=str,
)
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("selchat token --list", 0),
        ("selchat export", 0),
        ("selchat export --room=é", 1),
        ("selchat serve é", 2),
        ("selchat sérve", 2),
        ("selchat token --revoke=é", 1),
        ("selchat token $'\\xff'", 2),
        (f"selchat send {NOWHERE} é$'\\xff' --name=é$'\\xff'", 1),
        ("selchat send é hi --name=x", 1),
        ("selchat send $'\\xff' hi --name=x", 1),
        ("selchat-bench é", 2),
        (f"{PASSWORD}selchat hash-password", 0),
    ],
)
def test_any_encoding(command: str, status: int, variables: dict[str, str], stored: Path) -> None:
    done = run(command, XDG_DATA_HOME=str(stored), **variables)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr.replace("\0", "")
    assert done.stderr.count("\n") == (1 if status else 0), done.stderr
    assert bool(done.stdout) == (not status)


# -- operands and options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ("HOST -- --help", "--help"),
        ("HOST -- -h", "-h"),
        ("HOST -- --version", "--version"),
        ("HOST -- --", "--"),
        ("-- HOST --name=b", "--name=b"),
        ("HOST -", "-"),
        ("HOST -5", "-5"),
        ("-- HOST send", "send"),
        ("HOST 0", "0"),
        ("--name Venkat HOST hello", "hello"),
        ("--nam=Venkat HOST --room lobby hello", "hello"),
    ],
)
def test_operands_that_look_like_options_are_sent(server: Server, arguments: str, body: str) -> None:
    name = "" if "Venkat" in arguments else "--name=Venkat "
    done = run(f"selchat send {name}{arguments.replace('HOST', f'127.0.0.1:{server.port}')}")
    check(done, 0)
    server.expect_line(f"Received message from Venkat: {body}")


@pytest.mark.parametrize("body", ["é", "$'\\xff'", "$'\\xed\\xa0\\x80'", "$'a\\x1b[2Jb'", "'  '", "$'a\\nb'"])
@pytest.mark.parametrize("options", ["", slow("--classic --tls=off")])
@pytest.mark.slow
def test_any_bytes_are_sent(server: Server, body: str, options: str) -> None:
    check(run(f"selchat send 127.0.0.1:{server.port} --name=Venkat {options} {body}", LC_ALL="C"), 0)
    server.expect("Received message from Venkat: ")


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    with Server("--message-rate=0") as server:
        yield server


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("selchat hash-password", 130),
        ("selchat send HOST --name=x", 130),
        ("selchat-bench idle --clients=3 --duration=60", 130),
        ("selchat-bench fanout --clients=3 --duration=60 --processes=2", 130),
        ("selchat serve --port=0", 0),
    ],
)
@pytest.mark.parametrize("delay", [slow(0.02), 0.3, slow(1.0)])
def test_ctrl_c_is_silent_at_any_time(command: str, status: int, delay: float, server: Server) -> None:
    """A terminal sends SIGINT to all processes of the command."""
    program, *words = command.replace("HOST", f"127.0.0.1:{server.port}").split()
    trust_server(server.port, server.fingerprint)
    start = (*BENCH[:1], "-c", START, *(BENCH if program == "selchat-bench" else SELCHAT)[2:], *words)
    with subprocess.Popen(
        start,
        env={**os.environ, "PYTHONPATH": ROOT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=2 * DEADLINE)
    assert b"Traceback" not in errors
    assert process.returncode == status, errors


# Call the entry point of a package, and say so just before.
START = """\
import importlib, sys
package, *sys.argv[1:] = sys.argv[1:]
main = importlib.import_module(f"{package}.__main__").main
print("started", flush=True)
sys.exit(main())
"""

USAGE = [
    ("selchat ''", "there is no command ''"),
    ("selchat sreve", "there is no command 'sreve'; did you mean serve?"),
    ("selchat --bogus", "unknown option --bogus"),
    ("selchat --", "unknown option --"),
    ("selchat --port=1 serve", "unknown option --port=1; write options after the command"),
    ("selchat serve -- --port=1", "unexpected argument '--port=1'"),
    ("selchat serve ''", "unexpected argument ''"),
    ("selchat serve -", "unexpected argument '-'"),
    ("selchat serve --port=1 --port=2", "--port is given twice"),
    ("selchat serve --port 1 --por 2", "--port is given twice"),
    ("selchat serve --quiet --quiet", "--quiet is given twice"),
    ("selchat serve -x -x", "unknown option -x"),
    ("selchat serve --port", "--port needs a value: --port=PORT"),
    ("selchat serve --quiet=yes", "--quiet takes no value"),
    ("selchat serve --header_length=10", "unknown option --header_length; did you mean --header-length?"),
    ("selchat serve --header-length=0", "--header-length: 0 is not "),
    ("selchat serve --port=''", "--port: '' is not "),
    ("selchat chat h -- --help", "unexpected argument '--help'"),
    ("selchat chat ''", "HOST is required"),
    ("selchat chat h --name=a --name=b", "--name is given twice"),
    ("selchat send", "HOST is missing"),
    ("selchat send --", "HOST is missing"),
    ("selchat send '' hi", "HOST is required"),
    ("selchat send h ''", "MESSAGE: '' is not a message"),
    ("selchat send h hi more", "unexpected argument 'more'"),
    ("selchat send h hi --name=a --name=b", "--name is given twice"),
    ("selchat send h hi --name --classic", "--name needs a value: --name=NAME"),
    ("selchat send h hi --name=a --header-length=0", "--header-length: 0 is not "),
    ("selchat send h hi --name=a --room=", "--room: '' is not a room's name"),
    ("selchat send h hi --name=a --room='a b'", "--room: 'a b' is not a room's name"),
    ("selchat send h hi --name=a --key=x", "--key: 'x' is not "),
    ("selchat send h hi --name=a --tls=x", "--tls: 'x' is not "),
    ("selchat send h hi --name=a --port=0", "--port: 0 is not "),
    ("selchat send h:0 hi --name=a", "HOST: 0 is not "),
    ("selchat export -- --help", "unexpected argument '--help'"),
    ("selchat export --format=x", "--format: 'x' is not "),
    ("selchat export --history=", "--history: '' is not a path"),
    ("selchat chat h --name=a --header-length=0", "--header-length: 0 is not "),
    ("selchat chat h:0 --name=a", "HOST: 0 is not "),
    ("selchat serve --config=", "--config: the name of the file is empty"),
    ("selchat serve --history=", "--history: '' is not a path"),
    ("selchat token", "NAME is missing"),
    ("selchat token -- --list", "NAME: '--list' is not a name: "),
    ("selchat token ''", "NAME: '' is not a name: "),
    ("selchat token --list --list", "--list is given twice"),
    ("selchat token --list x", "--list is not possible with the other arguments"),
    ("selchat token x --room=", "--room: '' is not a room's name"),
    ("selchat hash-password x", "unexpected argument 'x'"),
    ("selchat hash-password -- --help", "unexpected argument '--help'"),
    ("selchat-bench", "SCENARIO is missing"),
    ("selchat-bench ''", "unknown scenario ''"),
    ("selchat-bench -- --help", "unknown scenario '--help'"),
    ("selchat-bench idle idle", "unexpected argument 'idle'"),
    ("selchat-bench idle --wire=x --wire=y", "--wire is given twice"),
    ("selchat-bench idle --duration", "--duration needs a value: --duration=S"),
]


@pytest.mark.parametrize(("command", "error"), USAGE)
def test_wrong_usage_is_one_line_and_status_2(
    command: str, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(command)
    main = bench_cli.main if program == "selchat-bench" else cli.main
    assert main(words) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{program}: {error}")
    assert captured.err.count("\n") == 1


VARIABLES = {setting.variable for setting in SETTINGS.values()} | {
    *("SELCHAT_CONFIG", "SELCHAT_PASSWORD", "SELCHAT_TLS_SECONDS", "SELCHAT_HELLO_SECONDS"),
}


@pytest.mark.parametrize("value", ["", " ", "\t\n"])
@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["serve", "--check-config"], 0, ""),
        (["send", NOWHERE, "hi", "--name=x"], 1, REFUSED),
        (["chat", NOWHERE, "--name=x", "--plain"], 1, REFUSED),
        (["export"], 1, "selchat: there is no history file"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_empty_variables_count_as_unset(
    words: list[str],
    status: int,
    error: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(words) == status
    assert capfd.readouterr().err.startswith(error)


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_passphrase_is_a_warning(value: str) -> None:
    done = run(f"selchat send {NOWHERE} hi --name=x", SELCHAT_PASSPHRASE=value)
    warning = "selchat: warning: SELCHAT_PASSPHRASE is empty, so there is no end-to-end encryption\n"
    check(done, 1, warning + REFUSED, lines=2)


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&9", ">&9", ">&9 2>&9"],
)
def test_a_server_runs_without_its_streams(redirection: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader, writer = os.pipe()
    os.close(reader)
    command = (
        f"exec 9>&{writer}; exec {shlex.join(SELCHAT)} serve --port={port} --host=127.0.0.1 {redirection}"
    )
    with subprocess.Popen(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[writer],
    ) as process:
        os.close(writer)

        def is_listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        try:
            eventually(is_listening, "the server listens")
            with Client(port, "Venkat") as venkat, Client(port, "Michael") as michael:
                michael.read_until("Server", "Users online (2): Michael, Venkat")
                venkat.send("hi")
                michael.read_until("Venkat", "hi")
            process.terminate()
            _, errors = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert (process.returncode, b"Traceback" in errors) == (0, False), errors


@pytest.mark.parametrize(
    "file", ["/", "/tmp", "/dev/null", "/dev/full", "/proc/x/y", "/dev/null/x", "x" * 300]
)
@pytest.mark.parametrize("option", ["history", "cert", "config", "password-file", "passphrase-file"])
def test_file_that_cannot_be_used_is_one_line(
    option: str, file: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    command = ["send", NOWHERE, "hi", "--name=x"] if "pass" in option else ["serve", "--port=0"]
    assert cli.main([*command, f"--{option}={file}"]) in {1, 2}
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("selchat: ")
    assert captured.err.count("\n") == 1
    assert file[:100] in captured.err or f"--{option}: " in captured.err


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/full", "/dev/null", "/"])
def test_key_file_that_is_no_file_ends_the_start(
    file: str, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, _ = own_certificate(data)
    assert cli.main(["serve", "--port=0", f"--cert={certificate}", f"--key-file={file}"]) == 2
    assert capfd.readouterr().err.startswith(f"selchat: --key-file: '{file}' is not ")
