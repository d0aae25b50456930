"""The link on the classic protocol: connecting, sending, reconnecting and finishing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from selchat.client.connection.link import Link, LinkState, QueueFullError
from selchat.errors import SettingError
from selchat.net.reactor import Reactor
from selchat.wire.frames import FrameTooLongError
from tests.client.support import RawServer, Recorder, fail, frame, pair, settings, spin

LOGIN = frame("Michael")


class Bench:
    """A reactor, and links that close with the test."""

    def __init__(self) -> None:
        self.reactor = Reactor(fail)
        self.links: list[Link] = []
        self.delay = 0.0  # seconds between two attempts
        self.max_delays: list[float] = []

    def jitter(self, minimum: float, maximum: float) -> float:
        assert minimum == 0
        self.max_delays.append(maximum)
        return self.delay

    def link(self, port: int, *, reconnect: bool = True, **more: object) -> tuple[Link, Recorder]:
        recorder = Recorder()
        link = Link(self.reactor, settings(port, **more), recorder, reconnect=reconnect, jitter=self.jitter)
        self.links.append(link)
        return link, recorder

    def spin(self, condition: object, what: str = "condition") -> None:
        spin(self.reactor, condition, what)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for link in bench.links:
        link.close()
    bench.reactor.close()


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def free_port() -> int:
    with RawServer() as server:
        return server.port


# -- talking -------------------------------------------------------------------------------------------


def test_link_logs_in_and_exchanges_messages(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    assert link.state is LinkState.NEW
    link.say("sent before")
    link.open()
    assert link.progress == "Connecting; 1 message to go..."
    peer = server.accept()
    bench.spin(lambda: ("drained",) in recorder.log)
    assert link.state is LinkState.ONLINE
    link.say("Hello World!")
    link.say("")
    assert link.progress == "Sending; 2 messages to go..."
    expected = LOGIN + frame("sent before") + frame("Hello World!") + frame("")
    bench.spin(lambda: peer.received == expected)
    assert recorder.log[:2] == [("connected", "127.0.0.1"), ("drained",)]
    assert (link.queued, link.progress) == (0, None)
    for byte in pair("Venkat", "Hey!"):
        peer.send(bytes([byte]))
    bench.spin(lambda: recorder.messages)
    assert recorder.messages == [("Venkat", "Hey!")]


def test_messages_over_the_limits_are_rejected(bench: Bench) -> None:
    link, _ = bench.link(1, queue_limit=100, frame_limit=50)
    with pytest.raises(FrameTooLongError):
        link.say("x" * 51)
    link.say("x" * 50)
    with pytest.raises(QueueFullError, match="more than 100 bytes are waiting"):
        link.say("x" * 50)
    assert link.queued == 60


def test_bad_settings_are_rejected_before_connecting(bench: Bench) -> None:
    with pytest.raises(SettingError):
        bench.link(1, key="x")
    with pytest.raises(FrameTooLongError):
        bench.link(1, name="x" * 100, frame_limit=50)


def test_many_messages_are_sent_whole_and_in_order(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    texts = [f"{number:05}" * 3000 for number in range(200)]
    for text in texts:
        link.say(text)
    link.open()
    peer = server.accept()
    bench.spin(lambda: len(peer.received) == len(LOGIN) + 200 * 15010)
    assert peer.frames() == ["Michael", *texts]
    assert recorder.log[-1] == ("drained",)


def test_a_server_gets_one_frame_at_a_time_until_it_shows_that_it_is_selchat(
    bench: Bench, server: RawServer
) -> None:
    link, recorder = bench.link(server.port, frame_gap_seconds=3600.0)
    link.say("one")
    link.say("two")
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received)
    for _ in range(5):
        bench.reactor.tick(0.01)
    assert peer.received == LOGIN
    peer.send(pair("Venkat", "Users online (2): Michael, Venkat"))
    bench.spin(lambda: recorder.messages)
    assert peer.received == LOGIN
    peer.send(pair("Server", "Users online (2): Michael, Venkat"))
    bench.spin(lambda: peer.received == LOGIN + frame("one") + frame("two"))
    bench.spin(lambda: recorder.log[-1] == ("drained",))


def test_frames_with_gaps_arrive_whole_and_in_order(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port, frame_gap_seconds=0.001)
    texts = [str(number) for number in range(20)]
    for text in texts:
        link.say(text)
    link.open()
    link.finish()
    peer = server.accept()
    bench.spin(lambda: peer.ended)
    assert peer.frames() == ["Michael", *texts]
    peer.close()
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


# -- the first connection ------------------------------------------------------------------------------


def test_refused_connection_closes_the_link(bench: Bench) -> None:
    port = free_port()
    link, recorder = bench.link(port)
    link.open()
    bench.spin(lambda: recorder.log)
    assert recorder.log == [
        (
            "finished",
            f"cannot connect to 127.0.0.1:{port}: connection refused; is the server running there?",
        )
    ]
    assert link.state is LinkState.CLOSED


def test_unknown_host_closes_the_link(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    link, recorder = bench.link(33000, host="lab.local")
    link.open()
    bench.spin(lambda: recorder.log)
    assert recorder.log == [
        ("finished", "cannot connect to lab.local:33000: no such host (Name or service not known)")
    ]


def test_invalid_host_name_closes_the_link(bench: Bench) -> None:
    link, recorder = bench.link(33000, host="x" * 300)
    link.open()
    bench.spin(lambda: recorder.log)
    assert "no such host" in str(recorder.log)


def test_host_is_resolved_without_blocking_the_reactor(
    bench: Bench, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def resolve(host: str, port: int, **more: int) -> object:
        if more["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        assert host == "lab.local"
        asked.set()
        answer.wait(20)
        return real("127.0.0.1", port, type=more["type"])

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    link, recorder = bench.link(server.port, host="lab.local")
    link.open()
    bench.spin(asked.is_set)
    assert link.state is LinkState.CONNECTING
    answer.set()
    bench.spin(lambda: recorder.log)
    assert recorder.log == [("connected", "127.0.0.1")]


def test_resolver_answer_after_close_is_ignored(
    bench: Bench, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def resolve(host: str, port: int, **more: int) -> object:
        if more["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        asked.set()
        answer.wait(20)
        return real("127.0.0.1", port, type=more["type"])

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    link, recorder = bench.link(server.port, host="lab.local")
    link.open()
    bench.spin(asked.is_set)
    link.close()
    [resolver] = [thread for thread in threading.enumerate() if thread.name == "resolver"]
    answer.set()
    resolver.join(20)
    bench.reactor.tick(0)
    assert recorder.log == []
    assert not server.waiting()


def test_each_address_is_tried_in_turn(
    bench: Bench, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [
        (12345, ("no such family", 1)),
        (socket.AF_INET, ("127.0.0.1", free_port())),
        (socket.AF_INET, ("127.0.0.1", server.port)),
    ]
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    link, recorder = bench.link(server.port)
    link.open()
    bench.spin(lambda: recorder.log)
    assert recorder.log == [("connected", "127.0.0.1")]


def test_connect_timeout_closes_the_link(bench: Bench) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        fill = [socket.socket() for _ in range(3)]  # the backlog is full: further SYNs are dropped
        try:
            for sock in fill:
                sock.setblocking(False)
                sock.connect_ex(address)
            link, recorder = bench.link(address[1], connect_seconds=0.2)
            link.open()
            bench.spin(lambda: recorder.log)
            assert "no answer within 0.2 s" in str(recorder.log[-1])
        finally:
            for sock in fill:
                sock.close()


def test_socket_connected_to_itself_counts_as_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Selfish(socket.socket):
        def connect(self, address: object) -> None:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)  # type: ignore[arg-type]
            super().connect(address)  # type: ignore[arg-type]

    port = free_port()
    monkeypatch.setattr(socket, "socket", Selfish)
    link, recorder = bench.link(port)
    link.open()
    bench.spin(lambda: recorder.log)
    assert "connection refused" in str(recorder.log)


# -- reconnecting -------------------------------------------------------------------------


def test_messages_of_a_disconnect_are_sent_after_it(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    server.listener.close()
    peer.close()
    bench.spin(lambda: ("lost", "connection refused") in recorder.log)
    assert recorder.log[:2] == [("connected", "127.0.0.1"), ("lost", "closed by the server")]
    for text in ("one", "two"):
        link.say(text)
    with RawServer(server.port) as again:
        bench.spin(again.waiting)
        peer = again.accept()
        bench.spin(lambda: len(peer.frames()) == 3)
        assert peer.received == LOGIN + frame("one") + frame("two")
        link.close()


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (lambda peer: peer.close(), "closed by the server"),
        (lambda peer: peer.reset(), "connection reset by peer"),
        (
            lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "not the classic protocol: frame header b'SSH-2.0-Op'",
        ),
        (lambda peer: (peer.send(b"5         V"), peer.close()), "closed by the server: stream ended inside"),
    ],
)
def test_lost_names_the_reason(bench: Bench, server: RawServer, ending: object, reason: str) -> None:
    link, recorder = bench.link(server.port)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    ending(peer)  # type: ignore[operator]
    bench.spin(lambda: len(recorder.log) > 1)
    assert str(recorder.log[1][1]).startswith(reason)
    bench.spin(server.waiting)  # it comes back


def test_maximum_delay_doubles_up_to_the_limit(bench: Bench, server: RawServer) -> None:
    link, _ = bench.link(server.port)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    server.listener.close()
    peer.close()
    bench.spin(lambda: len(bench.max_delays) >= 9)
    assert bench.max_delays[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("settled", "expected"), [(1000.0, [0.5, 1, 2, 4]), (0.0, [0.5, 0.5, 0.5, 0.5])])
def test_only_a_stable_connection_resets_the_delay(
    bench: Bench, server: RawServer, settled: float, expected: list[float]
) -> None:
    link, _ = bench.link(server.port, stable_seconds=settled)
    link.open()
    for count in range(1, 5):
        bench.spin(lambda: server.waiting() and link.state is LinkState.ONLINE)
        server.accept().close()
        bench.spin(lambda count=count: len(bench.max_delays) == count)
    assert bench.max_delays == expected


HUGE = 32 * 1024 * 1024  # bytes: more than the kernel buffers of both ends together


def test_message_sent_in_part_is_sent_again_whole(bench: Bench, server: RawServer) -> None:
    link, _ = bench.link(server.port, frame_limit=HUGE, queue_limit=2 * HUGE)
    link.open()
    peer = server.accept()
    texts = ["one", "0123456789abcdef" * (HUGE // 16), "three"]
    for text in texts:
        link.say(text)
    unfinished = len(LOGIN) + len(frame("one"))
    bench.spin(lambda: peer.frames() == ["Michael", "one"] and len(peer.received) > unfinished)
    assert link.progress == "Sending; 2 messages to go..."
    peer.reset()
    bench.spin(server.waiting)
    peer = server.accept()
    bench.spin(lambda: len(peer.received) == len(LOGIN) + HUGE + 10 + 15)
    assert peer.frames() == ["Michael", *texts[1:]]


# -- the end -------------------------------------------------------------------------------------------


def test_finish_sends_everything_and_waits_for_the_server(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    link.say("one")
    link.finish()
    link.finish()
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received and peer.ended)
    assert peer.received == LOGIN + frame("one")
    assert link.state is LinkState.DRAINING
    assert link.progress == "Waiting for the server to receive everything..."
    peer.send(pair("Venkat", "bye"))
    peer.close()
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert recorder.messages == [("Venkat", "bye")]
    assert recorder.log[-1] == ("finished", None)


def test_finish_with_an_empty_queue_closes(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    link.finish()
    bench.spin(lambda: peer.received and peer.ended)
    peer.close()
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


def test_finish_stops_waiting_for_the_server_at_its_deadline(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port, drain_seconds=0.2)
    link.say("one")
    link.finish()
    link.open()
    server.accept()
    bench.spin(lambda: recorder.log and recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", None)


def test_finish_reports_a_server_that_reads_nothing(bench: Bench) -> None:
    with RawServer(receive_buffer=4096) as server:
        link, recorder = bench.link(server.port, drain_seconds=0.1, finish_seconds=1.0)
        link.open()
        server.accept()
        bench.spin(lambda: link.state is LinkState.ONLINE)
        link.say("x" * 60000)
        link.finish()
        bench.spin(lambda: recorder.log[-1][0] == "finished")
        assert recorder.log[-1] == ("finished", "the server did not receive everything")


def test_deadline_of_finish_reports_unsent_messages(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port, finish_seconds=0.5, frame_limit=HUGE, queue_limit=2 * HUGE)
    link.open()
    server.accept()
    for text in ("one", "x" * HUGE, "three"):
        link.say(text)
    bench.spin(lambda: link.progress == "Sending; 2 messages to go...")
    link.finish()
    bench.spin(lambda: recorder.log and recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", "out of time; 2 messages were not sent")


def test_deadline_of_finish_holds_during_a_disconnect(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port, finish_seconds=0.3)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    server.listener.close()
    peer.close()
    bench.spin(lambda: ("lost", "closed by the server") in recorder.log)
    link.say("one")
    link.finish()
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", "out of time; 1 message was not sent")


@pytest.mark.parametrize("state", [LinkState.WAITING, LinkState.CONNECTING])
def test_after_finish_link_does_not_reconnect_with_an_empty_queue(
    bench: Bench, server: RawServer, state: LinkState, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, recorder = bench.link(server.port)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    server.listener.close()
    peer.close()
    if state is LinkState.WAITING:
        bench.delay = 1000.0
        bench.spin(lambda: link.state is LinkState.WAITING)
    else:
        bench.spin(lambda: link.state is LinkState.CONNECTING)
    link.finish()
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", None)


@pytest.mark.parametrize(
    ("ending", "problem"),
    [
        (lambda peer: peer.reset(), "connection lost: connection reset by peer"),
        (lambda peer: peer.send(b"HTTP/1.1 400"), "connection lost: not the classic protocol: frame header"),
        (
            lambda peer: (peer.send(b"5         V"), peer.close()),
            "connection lost: closed by the server: stream",
        ),
        (
            lambda peer: (peer.send(pair("Server", "Closing this connection: full.")), peer.close()),
            "the server said: Closing this connection: full.",
        ),
    ],
)
@pytest.mark.parametrize("reconnect", [False, True])
def test_finish_reports_an_error_after_all_messages_were_written(
    bench: Bench, server: RawServer, ending: object, problem: str, reconnect: bool
) -> None:
    link, recorder = bench.link(server.port, reconnect=reconnect)
    link.say("one")
    link.finish()
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received and peer.ended)
    ending(peer)  # type: ignore[operator]
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert str(recorder.log[-1][1]).startswith(problem)


def test_closing_notice_is_the_problem_even_if_the_connection_stays_open(
    bench: Bench, server: RawServer
) -> None:
    link, recorder = bench.link(server.port, drain_seconds=0.2)
    link.say("one")
    link.finish()
    link.open()
    server.accept().send(pair("Server", "The server is shutting down."))
    bench.spin(lambda: recorder.log and recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", "the server said: The server is shutting down.")


def test_lost_connection_without_reconnect_closes_the_link(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port, reconnect=False)
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    peer.close()
    bench.spin(lambda: len(recorder.log) == 2)
    assert recorder.log[1] == ("finished", "connection lost: closed by the server")


def test_interface_may_close_the_link_in_a_callback(bench: Bench, server: RawServer) -> None:
    link, recorder = bench.link(server.port)
    recorder.received = lambda messages: link.close()  # type: ignore[method-assign, assignment]
    link.open()
    peer = server.accept()
    bench.spin(lambda: peer.received == LOGIN)
    peer.send(pair("Venkat", "hey") + b"no frame at all")
    bench.spin(lambda: link.state is LinkState.CLOSED)
    link.finish()
    assert recorder.log == [("connected", "127.0.0.1")]


def test_ipv6(bench: Bench) -> None:
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.listen()
        link, recorder = bench.link(listener.getsockname()[1], host="::1")
        link.open()
        bench.spin(lambda: recorder.log)
        assert recorder.log == [("connected", "::1")]
    port = free_port()
    other, recorder = bench.link(port, host="::1")
    other.open()
    bench.spin(lambda: recorder.log)
    assert f"cannot connect to [::1]:{port}: " in str(recorder.log)
