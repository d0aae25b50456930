"""A server with a configuration file: precedence, --check-config, reloads by SIGHUP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import processes
from tests.e2e.processes import SELCHAT
from tests.e2e.selchat_support import SelchatPeer, said, serving
from tests.e2e.support import DEADLINE, Client, Server, eventually, pair
from tests.server.support import certificate_for


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "selchat.toml"


def selchat(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.run(
        [*SELCHAT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, **environment},
    )


def send_sighup(server: Server) -> None:
    server.process.send_signal(signal.SIGHUP)


# -- precedence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environment", "options", "length"),
    [
        ("", {}, [], 10),
        ("header_length = 4", {}, [], 4),
        ("header_length = 4", {"SELCHAT_HEADER_LENGTH": "5"}, [], 5),
        ("header_length = 4", {"SELCHAT_HEADER_LENGTH": "5"}, ["--header-length=6"], 6),
    ],
)
def test_options_override_variables_and_variables_the_file(
    text: str, environment: dict[str, str], options: list[str], length: int, file: Path
) -> None:
    file.write_text(f"roster = false\n{text}\n")
    env = {**os.environ, "SELCHAT_CONFIG": str(file), **environment}
    with Server(*options, env=env) as server, Client(server.port) as one, Client(server.port) as other:
        one.send_raw(b"1".ljust(length) + b"a")
        other.send_raw(b"1".ljust(length) + b"b")
        server.expect("username: b")
        one.send_raw(b"2".ljust(length) + b"hi")
        assert other.read(2 * length + 3) == b"1".ljust(length) + b"a" + b"2".ljust(length) + b"hi"


def test_a_relative_history_is_in_the_folder_of_the_file(file: Path, tmp_path: Path) -> None:
    file.write_text("history = 'kept.sqlite'\nroster = false")
    with Server(f"--config={file}", cwd="/") as server, SelchatPeer(server.port, "Venkat") as venkat:
        assert venkat.say("one", "1")["type"] == "ack"
        assert (tmp_path / "kept.sqlite").exists()


# -- --check-config ------------------------------------------------------------------------------------------


def test_check_config_accepts_a_good_file_and_creates_nothing(file: Path, tmp_path: Path) -> None:
    file.write_text("port = 1\nhistory = 'history.sqlite'\nretention = '30d'\nkey = '1024'\n")
    done = selchat("serve", f"--config={file}", "--check-config", "--quiet", SELCHAT_TLS="off")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        rf"The configuration is good: 1 from options, 1 from the environment, 4 from {file}, "
        r"\d+ defaults\.\n",
        done.stdout,
    )
    assert list(tmp_path.iterdir()) == [file]
    assert not list(Path(os.environ["XDG_DATA_HOME"]).iterdir())


def test_certificate_that_has_expired_causes_a_warning_at_the_check_at_the_start_and_at_a_reload(
    tmp_path: Path,
) -> None:
    path = certificate_for("chat.example", tmp_path / "chat.pem", begins=-2, ends=-1)
    warning = f"the certificate {path} expired on "
    done = selchat("serve", f"--cert={path}", "--check-config")
    assert done.returncode == 0
    assert done.stdout.startswith("The configuration is good: ")
    assert done.stderr.startswith(f"selchat: warning: {warning}")
    with Server(f"--cert={path}") as server:
        server.expect(f"(?m)^Warning: {re.escape(warning)}")
        send_sighup(server)
        server.expect(f"(?m)^Settings reloaded: nothing has changed\nWarning: {re.escape(warning)}")
        certificate_for("chat.example", Path(path))
        send_sighup(server)
        server.expect("(?m)^Settings reloaded: new certificate with another key\n")
        assert server.stop() == 0
        assert "Warning" not in server.seen


@pytest.mark.parametrize("check", [["--check-config"], []])
def test_every_mistake_is_a_line_and_the_server_does_not_start(
    check: list[str], file: Path, tmp_path: Path
) -> None:
    file.write_text(
        '# a server\nprot = 1\nhistory = \'h\'\nretention = """\n30\n"""\nkey = \'x\'\nmax_clients = 0\n'
    )
    done = selchat(
        "serve", f"--config={file}", "--port=x", *check, SELCHAT_QUIET="perhaps", SELCHAT_HOTS="here"
    )
    assert (done.returncode, done.stdout) == (2, "")
    warning, *wrong = done.stderr.splitlines()
    assert warning == "selchat: warning: SELCHAT_HOTS has no effect; did you mean SELCHAT_HOST?"
    assert wrong == [
        "selchat: --port: 'x' is not a whole number",
        "selchat: SELCHAT_QUIET: 'perhaps' is not true or false",
        f"selchat: {file}:2: unknown key 'prot'; did you mean 'port'?",
        f"selchat: {file}:4: retention: '30\\n' is not a text without control characters",
        f"selchat: {file}:7: key: 'x' is not a number in digits 0 to 9",
        f"selchat: {file}:8: max_clients: 0 is not more than zero",
    ]
    assert list(tmp_path.iterdir()) == [file]


def test_a_mistake_in_the_retention_has_its_line(file: Path) -> None:
    file.write_text("port = 0\nretention = '30 minutes'")
    done = selchat("serve", f"--config={file}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"selchat: {file}:2: retention: '30 minutes' is not a time such as")


def test_a_missing_file_is_an_error(file: Path) -> None:
    done = selchat("serve", "--port=0", f"--config={file}")
    assert (done.returncode, done.stderr) == (2, f"selchat: {file}: no such file or directory\n")


# -- SIGHUP --------------------------------------------------------------------------------------------------


def test_sighup_reloads_the_file(file: Path) -> None:
    file.write_text("roster = false\nmax_clients = 2\n")
    with Server(f"--config={file}") as server, Client(server.port, "Venkat") as venkat:
        server.expect("username: Venkat")
        file.write_text("max_clients = 1\nlog_format = 'json'\noperators = ['Venkat']\nport = 5\nkey = '7'\n")
        send_sighup(server)
        reloaded, warning = [json.loads(server.expect(r"(?m)^\{.*$")[0]) for _ in range(2)]
        assert reloaded["changes"] == [
            "roster false -> true",
            "log_format text -> json",
            "operators none -> Venkat",
            "max_clients 2 -> 1",
        ]
        assert (
            warning["text"] == "restart the server to change key"
        )  # and not port, which the option overrides
        with Client(server.port, "Narayan") as narayan:
            assert b"server is full (1 connections)" in narayan.read_to_end()
        file.write_text("max_clients = 3\n")
        send_sighup(server)
        server.expect(
            r"(?m)^Settings reloaded: log_format json -> text, operators Venkat -> none, max.* 1 -> 3$"
        )
        with Client(server.port, "Michael"):
            assert venkat.read_until("Server", "Users online (2): Michael, Venkat") == []
        assert server.stop() == 0
        assert server.errors() == ""


def test_a_bad_file_changes_nothing_and_the_console_shows_the_reason(file: Path) -> None:
    file.write_text("roster = false\nquiet = true\n")
    with Server(f"--config={file}") as server, Client(server.port, "Venkat") as venkat:
        file.write_text("quiet = false\nmax_clients = 1\nprot = 1\nkey = 'x'\n")
        send_sighup(server)
        server.expect_line(
            f"Warning: settings not reloaded: {file}:3: unknown key 'prot'; did you mean 'port'?"
        )
        server.expect_line(
            f"Warning: settings not reloaded: {file}:4: key: 'x' is not a number in digits 0 to 9"
        )
        file.write_text("max_clients = \n")
        send_sighup(server)
        server.expect(rf"(?m)^Warning: settings not reloaded: {file}:1: ")
        file.unlink()
        send_sighup(server)
        server.expect_line(f"Warning: settings not reloaded: {file}: no such file or directory")
        with Client(server.port, "Narayan") as narayan:

            def is_relayed() -> bool:
                narayan.send("?")
                return venkat.read_pair() == ("Narayan", "?")

            eventually(is_relayed, "a message and no roster, with two clients")
        file.write_text("roster = false\nquiet = false\n")
        send_sighup(server)
        server.expect_line("Settings reloaded: quiet true -> false")
        venkat.close()
        server.expect("Closed connection from .*, username: Venkat")
        assert server.stop() == 0


def test_bad_certificate_is_one_mistake_at_a_reload(file: Path, tmp_path: Path) -> None:
    good = certificate_for("chat.example", tmp_path / "good.pem")
    file.write_text("")
    with Server(f"--config={file}", f"--key-file={good}", f"--cert={good}") as server:
        (tmp_path / "good.pem").write_text("nonsense")
        send_sighup(server)
        line = server.expect("(?m)^Warning: settings not reloaded: (.*)$")[1]
        assert line.startswith(f"--key-file: {good!r} is not usable (") or line.startswith(
            f"--cert: {good!r}"
        )
        file.write_text("max_clients = 7\n")
        certificate_for("chat.example", tmp_path / "good.pem")
        send_sighup(server)
        server.expect_line("Settings reloaded: max_clients 10000 -> 7, new certificate with another key")
        assert server.stop() == 0


class TestEarlySignal:
    """A signal that comes before the server can handle it: while Python imports its modules."""

    @pytest.fixture
    def starting(self) -> Iterator[subprocess.Popen[str]]:
        """Start a server, and stop it where it has blocked the signals."""
        process = subprocess.Popen(
            [*SELCHAT, "serve", "--port=0", "--host=127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            eventually(lambda: self.blocks(process.pid), "a process that blocks the signals")
            yield process
        finally:
            process.kill()
            process.communicate()

    @staticmethod
    def blocks(pid: int) -> bool:
        blocked = re.search(r"SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
        return blocked is not None and bool(int(blocked[1], 16) & 1 << signal.SIGHUP - 1)

    def test_sighup_reloads_once_the_server_runs(self, starting: subprocess.Popen[str]) -> None:
        starting.send_signal(signal.SIGHUP)
        assert starting.stdout is not None
        lines = iter(starting.stdout.readline, "")
        assert next(line for line in lines if "reloaded" in line) == (
            "Settings reloaded: nothing has changed\n"
        )
        starting.send_signal(signal.SIGTERM)
        _, errors = starting.communicate(timeout=DEADLINE)
        assert (starting.returncode, errors) == (0, "")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_sigterm_and_sigint_stop_the_server_in_order(
        self, starting: subprocess.Popen[str], number: signal.Signals
    ) -> None:
        starting.send_signal(number)
        output, errors = starting.communicate(timeout=DEADLINE)
        assert (starting.returncode, errors) == (0, "")
        assert output.startswith("Listening for connections on ")


def test_sighup_without_a_file_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "history.sqlite") as server:
        for _ in range(3):
            send_sighup(server)
            server.expect_line("Settings reloaded: nothing has changed")
        server.assert_serves()
        assert server.stop() == 0


def test_reloads_lose_no_message_and_no_connection(file: Path, tmp_path: Path) -> None:
    reloads, texts = (
        0,
        ["message_rate = 0\n", "message_rate = 0\nprot = 1\n", "message_rate = 0\nlogin_seconds = 5\n"],
    )
    file.write_text(texts[0])
    done = threading.Event()

    def reload_often(server: Server) -> None:
        nonlocal reloads
        while not done.is_set():
            reloads += 1
            new = file.with_suffix(".new")
            new.write_text(texts[reloads % len(texts)])
            new.rename(file)
            send_sighup(server)
            server.expect("Settings reloaded|settings not reloaded")

    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path / "history.sqlite", f"--config={file}"))
        venkat, narayan = (
            stack.enter_context(SelchatPeer(server.port, name)) for name in ("Venkat", "Narayan")
        )
        thread = threading.Thread(target=reload_often, args=(server,))
        thread.start()
        try:
            count = 0
            while count < 300 or reloads < 20:
                count += 1
                ack = venkat.say(str(count), f"v{count}")
                assert (ack["type"], ack["seq"]) == ("ack", count)
        finally:
            done.set()
            thread.join()
        assert [said(narayan.read()) for _ in range(count)] == [
            ("Venkat", number, str(number)) for number in range(1, count + 1)
        ]
        narayan.assert_nothing_more()
        assert server.stop() == 0


def test_operators_and_retention_change_at_once(file: Path, tmp_path: Path) -> None:
    file.write_text("operators = ['Venkat']\nforget_interval = 0.02\n")
    with serving(tmp_path / "history.sqlite", f"--config={file}") as server:
        with SelchatPeer(server.port, "Venkat") as venkat:
            assert venkat.say("one", "1")["seq"] == 1
            code = server.expect(r"claimed the operator name Venkat\..* /claim ([0-9A-Z-]{19}), ")[1]
            venkat.send({"type": "whisper", "to": "Server", "id": "2", "body": f"/claim {code}"})
            assert [venkat.read()["type"] for _ in range(2)] == ["ack", "whispered"]
            file.write_text("forget_interval = 0.02\nretention = '1s'\n")
            send_sighup(server)
            server.expect("Settings reloaded: ")
            assert venkat.whisper("Server", "/bans", "3")["code"] == "not-operator"
            eventually(
                lambda: not venkat.request("history", room="lobby", limit=9)["messages"],
                "the message expires",
            )
        assert server.stop() == 0


def test_new_limits_apply_to_new_connections(file: Path) -> None:
    file.write_text("roster = false\nmax_clients = 50\n")
    few = ("sh", "-c", 'ulimit -n 100; exec "$0" "$@"', sys.executable)
    with Server(f"--config={file}", wrapper=few) as server, Client(server.port) as before:
        file.write_text("roster = false\nlogin_seconds = 0.01\nmax_clients = 60\nreserved_descriptors = 50\n")
        send_sighup(server)
        server.expect("Settings reloaded: .*login_seconds 10 -> 0.01")
        server.expect_line(
            "Warning: the limit of open files (ulimit -n) allows 50 connections, "
            "fewer than max_clients (60); raise it"
        )
        with Client(server.port) as after:
            assert after.read_pair() == ("Server", "Closing this connection: no username within 0.01 s.")
        before.send("Venkat")
        server.expect_line(f"Accepted new connection from {before.address}, username: Venkat")
        assert server.stop() == 0


def test_sighup_during_the_shutdown_does_nothing() -> None:
    with Server("--no-roster") as server, Client(server.port, "stays") as stays:
        server.expect("username: stays")
        server.process.terminate()
        assert stays.read_to_end() == pair("Server", "The server is shutting down.")
        send_sighup(server)
        stays.close()
        assert server.wait() == 0
        assert "reloaded" not in server.remaining_output()


# -- a closed terminal ---------------------------------------------------------------------------------------

# Makes its process the leader of a session on the terminal of standard input, like a command in a window.
_WINDOW = (
    "import fcntl, os, signal, sys, termios\n"
    "os.setsid()\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "if sys.argv[1] == 'no input': os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n"
    # SIGHUP may be ignored already if nohup runs the tests.
    "signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == 'ignored' else signal.SIG_DFL)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
)


def in_a_window(kind: str, **more: Any) -> tuple[Server, int]:
    """Start a server in a window; return it and a descriptor whose close() closes the window."""
    master, slave = os.openpty()
    try:
        server = Server("--no-roster", stdin=slave, wrapper=(sys.executable, "-c", _WINDOW, kind), **more)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return server, master


def test_closing_the_window_stops_the_server_cleanly() -> None:
    server, master = in_a_window("plain")
    with server, Client(server.port, "Venkat") as venkat:
        server.expect("username: Venkat")
        send_sighup(server)
        server.expect_line("Settings reloaded: nothing has changed")
        os.close(master)
        assert venkat.read_to_end() == pair("Server", "The server is shutting down.")
        assert server.wait() == 0
        assert server.errors() == ""


@pytest.mark.parametrize("kind", ["no input", "ignored"])
def test_a_server_with_other_input_or_nohup_survives_the_window(kind: str) -> None:
    server, master = in_a_window(kind)
    with server, Client(server.port, "Venkat") as venkat:
        server.expect("username: Venkat")
        os.close(master)
        server.expect_line("Settings reloaded: nothing has changed")
        venkat.send("still here")
        server.expect_line("Received message from Venkat: still here")
        assert server.stop() == 0
