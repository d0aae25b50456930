"""The first bytes of a connection decide its protocol once, however they are cut."""

from __future__ import annotations

import random
import re
import ssl
from pathlib import Path

import pytest

from selchat.wire.detect import DetectedProtocol, detect_protocol
from tests.e2e.selchat_support import encoded, greeting
from tests.e2e.support import frame
from tests.faults.world import Faults, world

_PREFIX = 16  # bytes

_LOGINS = {
    "a classic client": frame("Venkat") + frame("hello"),
    "a padded header": b"         6Venkat" + frame("hello"),
    "an empty name": frame("") + frame("hello"),
    "a selchat client": encoded(greeting("Venkat"), {"type": "ping", "token": "?"}),
    "a hello with a mistake": encoded({"type": "hello", "version": "two"}),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "IRC": b"NICK venkat\r\nUSER venkat 0 * :Venkat\r\n",
    "SSL 2": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x00\x00\x39\x00\x00\x38\x00\x00\x35",
    "nothing but zeros": bytes(20),
    "a line feed": b"\r\n\r\n" + frame("Venkat"),
}
_HTTP = {
    "a request": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "one with a body": b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "one for another host": b"OPTIONS / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
    "an invalid one": b"DELETE the lobby\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an incomplete one": b"CONNECT selchat:1 HTTP/1.1\r\n",
}
_TLS = {
    "TLS and then garbage": b"\x16\x03\x01\x00\x05hello" + b"x" * 20,
    "TLS and then a frame": b"\x16" + frame("Venkat") + frame("hello"),
    "a record that is too long": b"\x16\x03\x01\xff\xff" + b"x" * 20,
}


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="selchat")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_later_bytes_do_not_change_the_detected_protocol() -> None:
    chance = random.Random(1)
    for first in range(256):
        expected = DetectedProtocol.TLS if first == 0x16 else DetectedProtocol.FRAMES
        for _ in range(20):
            data = bytes([first]) + chance.randbytes(_PREFIX - 1)
            assert _verdict(data) is expected
    for data in (*_LOGINS.values(), *_TLS.values(), client_hello()):
        assert _verdict(data) is not None


def test_only_a_complete_method_is_http() -> None:
    assert {_verdict(data) for data in _HTTP.values()} == {DetectedProtocol.HTTP}
    for other in (
        b"GETTING / HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET\t/",
        b"POS",
        b"P",
        b"HELLO",
        b" GET /",
        b"G\n",
    ):
        assert _verdict(other) is not DetectedProtocol.HTTP


def _verdict(data: bytes) -> DetectedProtocol | None:
    """Return the detected protocol. Every prefix must give the same one or None."""
    verdicts = [detect_protocol(data[:size]) for size in range(1, min(len(data), _PREFIX) + 1)]
    decided = [verdict for verdict in verdicts if verdict is not None]
    assert len(set(decided)) <= 1
    assert verdicts[len(verdicts) - len(decided) :] == decided
    return verdicts[-1]


@pytest.mark.parametrize("name", _LOGINS)
@pytest.mark.parametrize("tls", ["auto", "off", "require"])
def test_frames_get_the_same_response_wherever_they_are_cut(
    name: str, tls: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = _answers(_LOGINS[name], tls, monkeypatch, tmp_path)
    assert len(answers) == 1
    [answer] = answers
    assert answer[:1] not in {b"\x15", b"\x16"}, "frames were answered by TLS"


@pytest.mark.parametrize("name", [*_TLS, "a client"])
def test_tls_records_are_never_read_as_frames(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for answer in _answers(_TLS.get(name) or client_hello(), "auto", monkeypatch, tmp_path):
        assert answer[:1] in ({b"\x16"} if name == "a client" else {b"\x15", b""})
        assert b"Server" not in answer


@pytest.mark.parametrize("name", _HTTP)
@pytest.mark.parametrize("tls", ["auto", "off", "require"])
def test_http_gets_an_http_response_wherever_it_is_cut(
    name: str, tls: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = {_undated(answer) for answer in _answers(_HTTP[name], tls, monkeypatch, tmp_path)}
    assert len(answers) == 1
    [answer] = answers
    assert answer.startswith(b"HTTP/1.1 ")


def _undated(answer: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", answer)


def _answers(data: bytes, tls: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> set[bytes]:
    """Return all responses to the data, in one piece and with a pause after each of the first bytes."""
    found = set()
    with world(monkeypatch, folder, Faults(), tls=tls, roster=False) as this:
        at_rest = this.holdings()
        for cut in range(_PREFIX + 1):
            peer = this.connect()
            peer.send(data[:cut])
            this.pass_time(0.5)
            peer.send(data[cut:])
            this.pass_time(1)
            peer.finish()
            this.pass_time(15)
            peer.close()
            this.pass_time(5)
            found.add(peer.received)
        assert this.failures == []
        assert this.holdings() == at_rest
    return found
