"""Defects of a server are found and counted, and a server that fails gets one line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from selchat.bench.cli import main
from selchat.wire.frames import FrameDecoder, encode_frame
from tests.bench.support import QUICK, ClassicRelay, SelchatRelay, WebSocketRelay, send_json, serving


@pytest.mark.parametrize(
    ("metric", "deliver"),
    [
        ("duplicated", lambda number, pair: [pair] * (1 + (number == 4))),
        ("lost", lambda number, pair: [pair] * (number != 4)),
    ],
)
def test_defects_of_a_classic_server_are_counted(
    metric: str, deliver: Callable[[int, bytes], list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(ClassicRelay(deliver)) as (host, port):
        options = [f"--connect={host}:{port}", "--rate=100", f"--fail-if={metric}>0", *QUICK]
        assert main(["paced", *options]) == 3
    assert f"failed: {metric}>0 ({metric} is 6)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metric", "count", "kind", "change"),
    [
        ("duplicated", 6, "said", (2, 0)),
        ("lost", 6, "said", (0, 0)),
        ("misnumbered", 12, "said", (1, 5)),  # neither that seq nor the next one follows its predecessor
        ("acks_lost", 1, "ack", (0, 0)),
        ("acks_duplicated", 1, "ack", (2, 0)),
        ("acks_wrong", 1, "ack", (1, 5)),
    ],
)
def test_defects_of_a_selchat_server_are_counted(
    metric: str, count: int, kind: str, change: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    def alter(altered_kind: str, number: int) -> tuple[int, int]:
        return change if (altered_kind, number) == (kind, 4) else (1, 0)

    with serving(SelchatRelay(alter)) as (host, port):
        options = [
            "--wire=selchat",
            f"--connect={host}:{port}",
            "--rate=100",
            f"--fail-if={metric}>0",
            *QUICK,
        ]
        assert main(["paced", *options]) == 3
    assert f"failed: {metric}>0 ({metric} is {count})" in capsys.readouterr().out


def test_clients_answer_pings_and_send_close_frames() -> None:
    relay = WebSocketRelay()
    with serving(relay) as (host, port):
        options = ["--wire=websocket", f"--connect={host}:{port}", "--rate=200", *QUICK]
        options += [f"--fail-if={metric}>0" for metric in ("lost", "diverged", "acks_lost", "acks_wrong")]
        assert main(["paced", *options]) == 0
    assert relay.pings > 2
    assert relay.pongs.count(b"1") == relay.pongs.count(b"2") == 7  # six readers and one sender
    assert relay.close_codes == [1000] * 8  # with the sender of the start marker


@pytest.mark.parametrize(
    ("scenario", "max_accepted"),
    [("fanout", 0), ("slow", 7), ("churn", 11)],  # clients that connect before the rejected ones
)
def test_rejected_websocket_handshake_is_one_line(
    scenario: str, max_accepted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(WebSocketRelay(max_accepted)) as (host, port):
        assert main([scenario, "--wire=websocket", f"--connect={host}:{port}", *QUICK]) == 1
    error = capsys.readouterr().err
    assert error == "selchat-bench: the server refuses connections: HTTP/1.1 503 Service Unavailable\n"


def test_rejected_login_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def reject_hello(sock: socket.socket) -> None:
        decoder = FrameDecoder()
        with sock:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    is_hello = json.loads(payload)["type"] == "hello"
                    send_json(sock, {"type": "error", "code": "muted"} if is_hello else {"type": "welcome"})

    with serving(reject_hello) as (host, port):
        assert main(["fanout", "--wire=selchat", f"--connect={host}:{port}", *QUICK]) == 1
    assert capsys.readouterr().err == "selchat-bench: the server rejects logins: muted\n"


def test_rejected_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(SelchatRelay(reject=lambda fields: fields["type"] == "say")) as (host, port):
        assert main(["fanout", "--wire=selchat", f"--connect={host}:{port}", *QUICK]) == 1
    assert capsys.readouterr().err == "selchat-bench: the server rejected a message: muted\n"


def test_server_that_closes_connections_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(socket.socket.close) as (host, port):
        assert main(["fanout", f"--connect={host}:{port}", *QUICK]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("selchat-bench: the server refuses connections: ")


def test_server_with_another_protocol_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def send_no_frame(sock: socket.socket) -> None:
        with sock:
            sock.sendall(encode_frame(b"Server") + encode_frame(b"Users online (1): you"))
            while data := sock.recv(65536):
                if b"-start-" in data:
                    break
            sock.sendall(b"no frame at all")

    with serving(send_no_frame) as (host, port):
        assert main(["fanout", f"--connect={host}:{port}", "--clients=1", "--duration=0.2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
