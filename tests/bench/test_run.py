"""Whole runs, in this process as far as it goes: the server, the floor and the generators are real."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from selchat.bench import scenarios
from selchat.bench.cli import main
from selchat.bench.errors import BenchError, PlanError
from selchat.bench.load.worker import Job, Measurement, Worker, _intended
from selchat.bench.load.workers import merge
from selchat.bench.metrics import metrics_of
from selchat.bench.report import progress
from selchat.bench.scenarios import Plan, check_descriptors
from selchat.bench.system.floor import chunk_sizes, serve
from selchat.bench.system.proc import Server, usage
from selchat.wire.frames import FrameDecoder, encode_frame
from tests.e2e.support import DEADLINE, eventually

FAST = ["--clients=6", "--duration=0.3", "--ramp=0.1"]


ON_BOTH = [
    ("fanout", ["--senders=2", "--window=8", "--processes=2"]),
    ("everyone", ["--window=2"]),
    ("paced", ["--rate=300", "--senders=2"]),
    ("soak", ["--rate=100", "--no-roster"]),
    ("slow", ["--stalled=2", "--rate=200"]),
    ("churn", ["--connect-rate=200"]),
    ("idle", []),
    ("connect", ["--processes=2"]),
    ("durable", ["--window=8"]),
]
RICH_ONLY = [
    ("rooms", ["--rooms=3", "--senders=2", "--window=4", "--processes=2"]),
    ("rooms", ["--rooms=1", "--history"]),
    ("everyone", ["--window=2", "--processes=2", "--history"]),
]


@pytest.mark.parametrize(
    ("wire", "scenario", "more"),
    [
        *(("classic", *one) for one in ON_BOTH),
        *(("selchat", *one) for one in (*ON_BOTH, *RICH_ONLY)),
        # What is other here than on the selchat protocol: to come, to leave, who stalls, and acks among messages.
        *(("websocket", *one) for one in ON_BOTH if one[0] in {"fanout", "everyone", "slow", "churn"}),
        ("websocket", "rooms", ["--rooms=3", "--senders=2", "--window=4", "--delivery=300"]),
    ],
)
def test_every_scenario(
    wire: str, scenario: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "_SETTLE_SECONDS", 0.1)
    cores = os.sched_getaffinity(0)
    path = tmp_path / "it.json"
    assert main([scenario, f"--wire={wire}", *FAST, *more, f"--json={path}"]) == 0
    words = json.loads(path.read_text())
    metrics = words["metrics"]
    assert set(metrics) == set(metrics_of(scenario, True, wire != "classic"))
    for name in ("lost", "duplicated", "reordered", "diverged", "refused", "misnumbered"):
        assert metrics.get(name, 0) == 0
    for name in ("acks_lost", "acks_duplicated", "acks_wrong"):
        assert metrics.get(name, 0) == 0
    if "acked_per_s" in metrics:
        assert metrics["acked_per_s"] == metrics["messages_per_s"] > 0
    assert os.sched_getaffinity(0) == cores


@contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server that does that to each connection, one thread for each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        over = threading.Event()
        threads: list[threading.Thread] = []

        def accept() -> None:
            while not over.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                sock.settimeout(DEADLINE)
                threads.append(threading.Thread(target=until_hung_up, args=(behave, sock)))
                threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            over.set()
            acceptor.join()
            for thread in threads:
                thread.join()


def until_hung_up(behave: Callable[[socket.socket], None], sock: socket.socket) -> None:
    """Let it behave; that whoever measures it leaves in the middle is no fault of a server."""
    with contextlib.suppress(ConnectionError):
        behave(sock)


class Relay:
    """A chat that does to each message what ``mangle`` says: returns the pairs that are sent for it."""

    def __init__(self, mangle: Callable[[int, bytes], list[bytes]]) -> None:
        self._mangle = mangle
        self._lock = threading.Lock()
        self._members: dict[socket.socket, bytes] = {}
        self._relayed = 0

    def __call__(self, sock: socket.socket) -> None:
        decoder = FrameDecoder()
        try:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    with self._lock:
                        self._take(sock, payload)
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _take(self, sock: socket.socket, payload: bytes) -> None:
        if sock not in self._members:
            self._members[sock] = encode_frame(payload)
            return
        pairs = [self._members[sock] + encode_frame(payload)]
        if b"-" not in payload:  # not a probe
            pairs = self._mangle(self._relayed, pairs[0])
            self._relayed += 1
        for member in self._members:
            if member is not sock:
                try:
                    member.sendall(b"".join(pairs))
                except OSError:
                    pass


@pytest.mark.parametrize(
    ("metric", "mangle"),
    [
        ("duplicated", lambda number, pair: [pair] * (1 + (number == 20))),
        ("lost", lambda number, pair: [pair] * (number != 20)),
    ],
)
def test_what_a_bad_server_does_is_found(
    metric: str, mangle: Callable[[int, bytes], list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    with peer(Relay(mangle)) as (host, port):
        words = [f"--connect={host}:{port}", "--rate=100", f"--fail-if={metric}>0", *FAST]
        assert main(["paced", *words]) == 3
    assert f"failed: {metric}>0 ({metric} is 6)" in capsys.readouterr().out


class RichRelay:
    """A chat on the selchat protocol, with one room, that does to each said or ack what ``mangle`` says.

    ``mangle(kind, number)`` returns how often that one is sent, and what is added to its seq.
    """

    def __init__(self, mangle: Callable[[str, int], tuple[int, int]]) -> None:
        self._mangle = mangle
        self._lock = threading.Lock()
        self._members: dict[socket.socket, str] = {}
        self._seq = 0
        self._relayed = 0

    def __call__(self, sock: socket.socket) -> None:
        decoder = FrameDecoder()
        try:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    with self._lock:
                        self._take(sock, json.loads(payload))
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _take(self, sock: socket.socket, words: dict[str, str]) -> None:
        if sock not in self._members:
            self._members[sock] = words["name"]
            self._send(sock, {"type": "welcome", "version": 1})
            return
        if words["type"] == "pong":
            return  # a sign of life
        self._seq += 1
        counted = "-start-" not in words["body"]
        author, common = self._members[sock], {"room": words["room"], "id": words["id"]}
        said, ack = ((self._mangle(kind, self._relayed) if counted else (1, 0)) for kind in ("said", "ack"))
        self._relayed += counted
        whole = {"type": "said", "from": author, "seq": self._seq + said[1], **common, "body": words["body"]}
        for member in self._members:
            if member is not sock:
                self._send(member, whole, said[0])
        self._send(sock, {"type": "ack", "seq": self._seq + ack[1], **common}, ack[0])

    def _send(self, sock: socket.socket, words: dict[str, object], times: int = 1) -> None:
        try:
            sock.sendall(encode_frame(json.dumps(words, separators=(",", ":")).encode()) * times)
        except OSError:
            pass


@pytest.mark.parametrize(
    ("metric", "found", "kind", "done"),
    [
        ("duplicated", 6, "said", (2, 0)),
        ("lost", 6, "said", (0, 0)),
        ("misnumbered", 12, "said", (1, 5)),  # that one is not the one after the last, nor is the next
        ("acks_lost", 1, "ack", (0, 0)),
        ("acks_duplicated", 1, "ack", (2, 0)),
        ("acks_wrong", 1, "ack", (1, 5)),
    ],
)
def test_what_a_bad_rich_server_does_is_found(
    metric: str, found: int, kind: str, done: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    def mangle(of: str, number: int) -> tuple[int, int]:
        return done if (of, number) == (kind, 20) else (1, 0)

    with peer(RichRelay(mangle)) as (host, port):
        words = ["--wire=selchat", f"--connect={host}:{port}", "--rate=100", f"--fail-if={metric}>0", *FAST]
        assert main(["paced", *words]) == 3
    assert f"failed: {metric}>0 ({metric} is {found})" in capsys.readouterr().out


class WebRelay(RichRelay):
    """The same as a WebSocket, on the ``websockets`` library.

    Everyone is pinged after every tenth message, whether or not they have talked. Only the first ``most``
    connections are let in.
    """

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__(lambda kind, number: (1, 0))
        self._library = pytest.importorskip("websockets.server")
        self._opcodes = pytest.importorskip("websockets.frames").Opcode
        self._protocols: dict[socket.socket, Any] = {}
        self._left = most
        self.pings = 0
        self.pongs: list[bytes] = []
        self.closed: list[int] = []

    def __call__(self, sock: socket.socket) -> None:
        protocol = self._library.ServerProtocol()
        try:
            while data := sock.recv(65536):
                with self._lock:
                    protocol.receive_data(data)
                    for event in protocol.events_received():
                        self._hear(sock, protocol, event)
                    self._write(sock, protocol)
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _hear(self, sock: socket.socket, protocol: Any, event: Any) -> None:
        if sock not in self._protocols:
            self._protocols[sock] = protocol
            self._left -= 1
            answer = protocol.accept(event) if self._left >= 0 else protocol.reject(503, "full")
            protocol.send_response(answer)
        elif event.opcode is self._opcodes.TEXT:
            self._take(sock, json.loads(event.data))
        elif event.opcode is self._opcodes.PONG:
            self.pongs.append(event.data)
        elif event.opcode is self._opcodes.CLOSE:
            self.closed.append(int.from_bytes(event.data[:2], "big"))

    def _take(self, sock: socket.socket, words: dict[str, str]) -> None:
        relayed = self._relayed
        super()._take(sock, words)
        if self._relayed > relayed and self._relayed % 10 == 0:
            self.pings += 1
            for member in self._members:
                self._protocols[member].send_ping(b"%d" % self.pings)
                self._write(member, self._protocols[member])

    def _send(self, sock: socket.socket, words: dict[str, object], times: int = 1) -> None:
        for _ in range(times):
            self._protocols[sock].send_text(json.dumps(words, separators=(",", ":")).encode())
        self._write(sock, self._protocols[sock])

    def _write(self, sock: socket.socket, protocol: Any) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(b"".join(protocol.data_to_send()))


def test_pings_are_answered_and_everyone_says_goodbye(capsys: pytest.CaptureFixture[str]) -> None:
    relay = WebRelay()
    with peer(relay) as (host, port):
        words = ["--wire=websocket", f"--connect={host}:{port}", "--rate=200", *FAST]
        words += [f"--fail-if={metric}>0" for metric in ("lost", "diverged", "acks_lost", "acks_wrong")]
        assert main(["paced", *words]) == 0
    assert relay.pings > 2
    assert relay.pongs.count(b"1") == relay.pongs.count(b"2") == 7  # six who listen, and one who talks
    assert relay.closed == [1000] * 8  # and the one who said where the checking begins


@pytest.mark.parametrize(
    ("scenario", "most"),
    [("fanout", 0), ("slow", 7), ("churn", 11)],  # as many as there are before those who are refused
)
def test_a_server_that_opens_no_websocket_is_one_line(
    scenario: str, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with peer(WebRelay(most)) as (host, port):
        assert main([scenario, "--wire=websocket", f"--connect={host}:{port}", *FAST]) == 1
    error = capsys.readouterr().err
    assert error == "selchat-bench: the server refuses connections: HTTP/1.1 503 Service Unavailable\n"


def refusing(kind: str) -> Callable[[socket.socket], None]:
    """A server of the selchat protocol that answers messages of that type with an error."""

    def behave(sock: socket.socket) -> None:
        decoder = FrameDecoder()
        with sock:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    words = {"type": "welcome"}
                    if b'"%b"' % kind.encode() in payload:
                        words = {"type": "error", "code": "muted"}
                    sock.sendall(encode_frame(json.dumps(words, separators=(",", ":")).encode()))

    return behave


def test_a_rich_server_that_lets_nobody_in_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with peer(refusing("hello")) as (host, port):
        assert main(["fanout", "--wire=selchat", f"--connect={host}:{port}", *FAST]) == 1
    assert capsys.readouterr().err == "selchat-bench: the server lets nobody in: muted\n"


def test_a_rich_server_that_refuses_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    relay = RichRelay(lambda kind, number: (1, 0))
    take = relay._take

    def refuse(sock: socket.socket, words: dict[str, str]) -> None:
        if words["type"] == "say" and "-start-" not in words["body"]:
            relay._send(sock, {"type": "error", "code": "muted", "id": words["id"]})
        else:
            take(sock, words)

    relay._take = refuse  # type: ignore[method-assign]
    with peer(relay) as (host, port):
        assert main(["fanout", "--wire=selchat", f"--connect={host}:{port}", *FAST]) == 1
    assert capsys.readouterr().err == "selchat-bench: the server has refused a message: muted\n"


def test_a_server_that_hangs_up_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with peer(socket.socket.close) as (host, port):
        assert main(["fanout", f"--connect={host}:{port}", *FAST]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("selchat-bench: the server refuses connections: ")


def test_a_server_that_speaks_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    def relay(sock: socket.socket) -> None:
        with sock:
            sock.sendall(encode_frame(b"Server") + encode_frame(b"Users online (1): you"))
            while data := sock.recv(65536):
                if b"-start-" in data:
                    break
            sock.sendall(b"no frame at all")

    with peer(relay) as (host, port):
        assert main(["fanout", f"--connect={host}:{port}", "--clients=1", "--duration=0.2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_server_of_ours_that_does_not_start() -> None:
    with pytest.raises(BenchError, match="did not start: selchat: unknown option --nonsense"):
        Server(["--nonsense"], frozenset())


def test_no_such_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BenchError, match="cannot be measured"):
        usage(2**22 + 1)


def test_descriptors_bound_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "raise_descriptor_limit", lambda: 1000)
    check_descriptors(Plan(scenario="idle", clients=900))
    with pytest.raises(PlanError, match="951 connections are more than the 936"):
        check_descriptors(Plan(scenario="idle", clients=950))
    check_descriptors(Plan(scenario="idle", clients=1800, processes=2, connect=("127.0.0.1", 1)))


def test_an_open_loop_rises_to_its_rate() -> None:
    times = [_intended(number, 100, 1.0) for number in range(200)]
    assert times == sorted(times)
    assert times[50] == pytest.approx(1.0)
    assert times[150] - times[50] == pytest.approx(1.0)
    assert [_intended(number, 100, 0.0) for number in (0, 100)] == [0, 1]


def test_slices_of_several_workers_are_one() -> None:
    one = Measurement(
        seconds=1.0, deliveries=5, timeline=[(0.0, 1.0, 5, 9.0)], latencies=scenarios.Histogram().to_json()
    )
    for name in ("last", "late", "acks"):
        setattr(one, name, one.latencies)
    two = Measurement(**(asdict(one) | {"failure": "gone"}))
    both = merge([one, two])
    assert (both.deliveries, both.timeline, both.failure) == (10, [(0.0, 1.0, 10, 9.0)], "gone")


def test_the_floor_relays_a_turn_in_so_many_chunks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        floor = threading.Thread(target=serve, args=(listener, 1, 10, Fraction(3)))
        floor.start()
        with (
            socket.create_connection(listener.getsockname()) as talker,
            socket.create_connection(listener.getsockname()) as reader,
        ):
            talker.sendall(b"0123456789abcdefghij")
            data = b""
            while len(data) < 20:
                data += reader.recv(100)
            assert data == b"0123456789abcdefghij"
            talker.shutdown(socket.SHUT_WR)
            assert reader.recv(1) == b""
        floor.join()


def test_chunks_are_as_many_as_asked_for_on_average() -> None:
    assert chunk_sizes(10, Fraction(3)) == [3, 3, 4]
    assert chunk_sizes(12, Fraction(5, 2)) == [6, 6, 4, 4, 4]
    assert chunk_sizes(10, Fraction(1)) == [10]


def test_a_worker_ends_at_the_end_of_its_input() -> None:
    read, write = os.pipe()
    job = Job(address=("127.0.0.1", 1), run="abc")
    worker = Worker(job, (read, write))
    os.close(write)
    worker.run()
    worker.close()
    os.close(read)
    assert worker.ended


def test_workers_and_server_end_when_the_bench_is_killed() -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "selchat.bench.cli", "paced", "--clients=3", "--duration=9"],
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: len(children(bench.pid)) == 4, "server, worker, floor and its worker")
        family = children(bench.pid)
    finally:
        bench.send_signal(signal.SIGKILL)
        bench.wait()
    eventually(lambda: not any(alive(pid) for pid in family), "all of them have ended")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class _Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("rich", [True, False])
def test_progress_on_a_terminal(rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.Progress() as shown:
        shown.say("fanout: [round] 1")
        shown.show({"done": 1000, "of": 2000})
        shown.say("fanout: [round] 2")
        shown.show({"deliveries": 5})
    assert "fanout: [round] 1" in terminal.text
    assert ("pip install 'selchat[bench]'" in terminal.text) is not rich
    assert select.select([], [], [], 0) == ([], [], [])
