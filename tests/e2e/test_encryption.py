"""End-to-end encryption with real servers and clients."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from selchat.client import CannotConnectError, Client, Encryption, Message, Whispered
from tests.client.support import PaperServer, eventually, paper_server
from tests.e2e.selchat_support import SelchatPeer, serving
from tests.e2e.support import DEADLINE, Server
from tests.e2e.support import Client as ClassicClient
from tests.e2e.terminal_support import CHAT, SEND, Terminal, run

WORDS = "correct horse battery staple"
OTHER = "another six words or so"
SECRET = "meet me at the lighthouse"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def words(tmp_path: Path) -> str:
    return passphrase_file(tmp_path / "words", WORDS)


def passphrase_file(path: Path, words: str) -> str:
    path.write_text(f"{words}\n")
    path.chmod(0o600)
    return str(path)


def client(port: int, name: str, **more: object) -> Client:
    given = {"name": name, "secret": f"the secret of {name} alone", "timeout": DEADLINE}
    return Client("127.0.0.1", port, **given | more)  # type: ignore[arg-type]


def receive(chat: Client, kind: type[Any] = Message) -> Any:
    while not isinstance(event := chat.receive(DEADLINE), kind):
        assert event is not None, f"no {kind.__name__}"
    return event


class Recorder(threading.Thread):
    """A proxy that records both directions."""

    def __init__(self, port: int) -> None:
        super().__init__(name="recorder")
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stopped, self._end = socket.socketpair()
        self.recorded = bytearray()

    def run(self) -> None:
        others: dict[socket.socket, socket.socket] = {}
        while True:
            ready, _, _ = select.select([self._listener, self._stopped, *others], [], [])
            for sock in ready:
                if sock is self._stopped:
                    for one in others:
                        one.close()
                    return
                if sock is self._listener:
                    one, _ = sock.accept()
                    other = socket.create_connection(("127.0.0.1", self._to))
                    others |= {one: other, other: one}
                elif sock in others:
                    self._pass_on(sock, others)

    def _pass_on(self, sock: socket.socket, others: dict[socket.socket, socket.socket]) -> None:
        other = others[sock]
        try:
            data = sock.recv(1 << 16)
            self.recorded += data
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (sock, other):
                del others[one]
                one.close()

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.send(b"x")
        self.join(DEADLINE)
        for sock in (self._listener, self._stopped, self._end):
            sock.close()


def plain_text_in(data: bytes) -> list[str]:
    """Return the secret words that the data contains, as UTF-8 or as UTF-16."""
    text = data.decode("utf-8", "replace") + data.decode("utf-16-le", "replace")
    return [word for word in (SECRET, "lighthouse", "psst", "waves", WORDS) if word in text]


@contextmanager
def recorded(history: Path) -> Iterator[tuple[Server, Recorder]]:
    # Without TLS: the recording shows the effect of end-to-end encryption alone.
    options = ("--no-roster", "--tls=off", f"--history={history}")
    with Server(*options) as server, Recorder(server.port) as recorder:
        yield server, recorder


def test_server_disk_and_network_have_only_ciphertext(history: Path) -> None:
    with recorded(history) as (server, recorder):
        with (
            client(recorder.port, "Venkat", passphrase=WORDS, rooms=["lobby", "deck"]) as venkat,
            client(recorder.port, "Michael", passphrase=WORDS, rooms=["lobby", "deck"]) as michael,
            client(recorder.port, "Eve", passphrase=OTHER) as eve,
            client(recorder.port, "Mallory") as mallory,
            SelchatPeer(server.port, "Raw") as raw,
            ClassicClient(server.port, "Paper") as paper,
        ):
            eventually(lambda: "Paper" in venkat.users(), "all are in")
            venkat.say(SECRET, wait=True)
            venkat.say("* Venkat waves", "deck", wait=True)
            venkat.whisper("Michael", "psst", wait=True)
            found = receive(michael)
            assert (found.body, found.encryption, found.cipher) == (SECRET, Encryption.DECRYPTED, None)
            assert receive(michael).body == "* Venkat waves"
            whisper = receive(michael, Whispered)
            assert (whisper.body, whisper.encryption) == ("psst", Encryption.DECRYPTED)
            assert receive(eve).encryption is Encryption.OTHER_PASSPHRASE
            assert receive(mallory).encryption is Encryption.NO_PASSPHRASE
            said = raw.read()
            while said["type"] != "said":
                said = raw.read()
            assert re.fullmatch(r"selchat1 \S{22} 1 \S{22}", said["cipher"])
            assert paper.read_pair() == (
                "Venkat",
                "(encrypted: readable only in selchat with the passphrase)",
            )
            mallory.say("in clear text", wait=True)
            assert receive(michael).encryption is Encryption.UNENCRYPTED
        server.expect_line("Received message from Venkat: (encrypted)")
        server.expect_line("Received message in deck from Venkat: (encrypted)")
        server.expect_line("Received message from Mallory: in clear text")
        assert server.stop() == 0
        shown = server.remaining_output() + server.errors()
        stored = b"".join(path.read_bytes() for path in history.parent.glob("history.sqlite*"))
    assert plain_text_in(shown.encode()) == []
    assert plain_text_in(bytes(recorder.recorded)) == []
    assert plain_text_in(stored) == []
    assert b"in clear text" in stored and b"in clear text" in recorder.recorded, "they were looked at"
    exported = run(SEND[0], "-m", "selchat", "export", f"--history={history}", "--room=lobby")
    lines = exported.stdout.decode().splitlines()
    assert [line[20:] for line in lines] == [
        "[lobby] Venkat > (encrypted)",
        "[lobby] Mallory > in clear text",
    ]


@pytest.mark.slow
def test_encryption_survives_restarts_of_both_sides(history: Path) -> None:
    with serving(history) as server:
        port = server.port
        with client(port, "Venkat", passphrase=WORDS) as venkat:
            venkat.say("first", wait=True)
            with client(port, "Michael", passphrase=WORDS):
                pass
            venkat.whisper("Michael", "kept", wait=True)
        with client(port, "Venkat", passphrase=WORDS) as venkat:
            venkat.say("second", wait=True)
            raw = SelchatPeer(port, "Raw")
            sessions = [
                message["cipher"].split()[1]
                for message in raw.request("history", room="lobby", limit=9)["messages"]
            ]
            raw.close()
            assert len(set(sessions)) == 2, "a new session at every start"
            with client(port, "Zoe", passphrase=WORDS, reconnect=True) as zoe:
                assert server.stop() == 0
                eventually(lambda: not (venkat.sleep(0.01) and venkat.connected), "Venkat has lost it")
                venkat.say("while it was down")
                with serving(history, port=port):
                    venkat.flush(DEADLINE)
                    while (found := receive(zoe)).body != "while it was down":
                        assert found.encryption is Encryption.DECRYPTED
                    assert found.missed
                    assert [(one.body, one.encryption) for one in zoe.history()] == [
                        (body, Encryption.DECRYPTED) for body in ("first", "second", "while it was down")
                    ]
                    with client(port, "Michael", passphrase=WORDS, history=10) as michael:
                        assert [receive(michael).body for _ in range(3)] == [
                            "first",
                            "second",
                            "while it was down",
                        ]
                        assert receive(michael, Whispered).body == "kept"
                    with client(port, "Eve", passphrase=OTHER, history=10) as eve:
                        assert {receive(eve).encryption for _ in range(3)} == {Encryption.OTHER_PASSPHRASE}


@pytest.mark.usefixtures("short_guesses")
@pytest.mark.slow
def test_nothing_is_sent_to_a_classic_server(words: str) -> None:
    server: PaperServer
    with paper_server() as server:
        with pytest.raises(CannotConnectError):
            client(server.port, "Venkat", passphrase=WORDS).connect()
        done = run(*SEND, f"127.0.0.1:{server.port}", SECRET, "--name=V", f"--passphrase-file={words}")
        assert done.returncode == 1
        assert b"cannot connect to" in done.stderr
        assert plain_text_in("\n".join(server.lines).encode()) == []


def test_encryption_in_send_and_plain_chat(history: Path, words: str, tmp_path: Path) -> None:
    other = passphrase_file(tmp_path / "other", OTHER)
    with serving(history) as server:
        where = f"127.0.0.1:{server.port}"

        def listen(name: str, *options: str, **more: Any) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [*CHAT, where, f"--name={name}", "--plain", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                **more,
            )
            assert process.stderr is not None
            assert process.stderr.readline().startswith("Connected")
            return process

        with SelchatPeer(server.port, "Raw") as raw:
            friends = [
                listen("Friend", f"--passphrase-file={words}"),
                listen("Stranger", f"--passphrase-file={other}"),
                listen("Nobody"),
            ]
            for name in ("Friend", "Stranger", "Nobody"):
                raw.wait_for_member(name)
            variable = f"SELCHAT_PASSPHRASE={WORDS}"
            assert run("/usr/bin/env", variable, *SEND, where, SECRET, "--name=V").returncode == 0
            assert run(*SEND, where, "hello", "--name=C").returncode == 0
            for process, *expected in zip(
                friends,
                (
                    f"V > {SECRET}",
                    "V > (cannot be read: encrypted with another passphrase)",
                    "V > (encrypted; read it with --passphrase-file)",
                ),
                ("C > (not encrypted) hello", "C > (not encrypted) hello", "C > hello"),
                strict=True,
            ):
                assert process.stdout is not None and process.stdin is not None
                assert [process.stdout.readline().rstrip("\n") for _ in expected] == expected
                process.stdin.write("/search lighthouse\n/history 2\n")
                process.stdin.flush()
                assert process.stderr is not None
                found = [process.stderr.readline() for _ in range(4 if process is friends[0] else 3)]
                assert any(expected[0] in line for line in found)
                out, err = process.communicate(timeout=DEADLINE)
                assert process.returncode == 0, err
                assert "selchat1" not in out + err + "".join(found)


def test_invalid_passphrase_options(words: str, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.write_text("x")
    loose.chmod(0o644)
    empty = passphrase_file(tmp_path / "empty", "")
    for options, text in (
        ([f"--passphrase-file={loose}"], "other users can access it (mode 0644); run chmod 600 on it"),
        ([f"--passphrase-file={empty}"], "'' is not a passphrase: it is empty"),
        ([f"--passphrase-file={words}", "--key=12"], "allowed together with a passphrase"),
        ([f"--passphrase-file={words}", "--classic"], "selchat, which a passphrase requires"),
        ([f"--passphrase-file={words}", "--ask-passphrase"], "possible together with --passphrase-file"),
    ):
        done = run(*SEND, "127.0.0.1:1", "hello", *options)
        assert (done.returncode, done.stdout) == (2, b""), options
        assert text in done.stderr.decode(), options


def test_the_terminal_asks_without_echo_and_marks_messages(history: Path) -> None:
    with serving(history) as server:
        command = (*CHAT, f"127.0.0.1:{server.port}", "--name=Michael", "--ask-passphrase")
        with Terminal(*command) as terminal:
            terminal.shows("Passphrase:")
            terminal.type(f"{WORDS}\r")
            terminal.shows("Connected to the Server: 127.0.0.1; your messages are encrypted end to end")
            assert "Encryption Key" not in terminal.text
            with client(server.port, "Venkat", passphrase=WORDS) as venkat:
                venkat.say("hello Michael", wait=True)
                terminal.shows("Venkat > hello Michael")
                with client(server.port, "Eve", passphrase=OTHER) as eve, client(server.port, "C") as clear:
                    eve.say("x", wait=True)
                    clear.say("hey", wait=True)
                terminal.shows("Eve > (cannot be read: encrypted with another passphrase)")
                terminal.shows("C > (not encrypted) hey")
                terminal.type("to you\r")
                while (found := receive(venkat)).author != "Michael":
                    pass
                assert (found.body, found.encryption) == ("to you", Encryption.DECRYPTED)
                terminal.shows("You >> to you")
                terminal.type("/quit\r")
                assert terminal.wait() == 0
            assert WORDS.encode() not in terminal.written


@pytest.mark.slow
def test_messages_in_many_encrypted_rooms_are_decrypted(history: Path) -> None:
    """Each room needs its own key, which takes at least a tenth of a second to derive."""
    rooms = ["lobby", *(f"room-{number}" for number in range(12))]
    with serving(history) as server:
        with client(server.port, "Venkat", passphrase=WORDS, rooms=rooms) as venkat:
            for room in rooms:
                venkat.say(f"in {room}", room=room)
            venkat.flush(2 * DEADLINE)
        with client(server.port, "Michael", passphrase=WORDS, rooms=rooms, history=1, timeout=40) as michael:
            found = [receive(michael) for _ in rooms]
            assert {(one.room, one.body) for one in found} == {(room, f"in {room}") for room in rooms}
            assert {one.encryption for one in found} == {Encryption.DECRYPTED}
