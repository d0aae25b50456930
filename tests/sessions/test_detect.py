"""Protocol detection: the first bytes decide once, and refusals use the protocol of the peer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from selchat.errors import BannedError, SelchatError
from selchat.net.admission import AddressFullError, ServerFullError
from selchat.server.server import TlsRequiredError
from selchat.sessions.classic import ClassicSession
from selchat.sessions.context import Session
from selchat.sessions.detect import DetectSession, DetectState
from selchat.sessions.selchat import SelchatSession
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.schema import schema
from tests.sessions.test_selchat import FakeServer, hello

# How Python's own client begins, up to the random bytes.
CLIENT_HELLO = bytes.fromhex("16030102000100 01fc0303".replace(" ", "")) + bytes(range(100))
HELLO = encode_frame(json.dumps(hello("Venkat")).encode())
NAME = encode_frame(b"Venkat")


class Peer:
    """The transport of a `DetectSession`, with the calls that it received."""

    address = "192.168.43.169:54494"

    def __init__(self, server: FakeServer | None = None, **how: Any) -> None:
        self.server = server or FakeServer()
        self.secured: list[bytes] = []
        self.closed: list[str | None] = []
        self.final_data = b""
        self.session: Session = DetectSession(self.server.context, self, **{"tls": True, **how})  # type: ignore[arg-type]
        self.opening = self.session
        self.outbox = Nothing()

    def send(self, data: bytes) -> None:
        self.session.data_received(data)

    def set_handler(self, session: Session) -> None:
        self.session = session

    def start_tls(self, first: bytes) -> None:
        self.secured.append(first)

    def pause(self) -> None:
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        if not self.closed:
            self.closed.append(reason)
            self.final_data = final_data
            self.session.connection_lost(reason)

    @property
    def pair(self) -> list[str]:
        """The final data as classic frames: a user and a message."""
        decoder = FrameDecoder()
        found = [payload.decode() for payload in decoder.receive_data(self.final_data)]
        assert not decoder.unfinished
        return found

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.pair]


class Nothing:
    """The outbox of sessions after detection, which discards all data."""

    blocked = False

    def reply(self, data: bytes) -> None:
        pass

    def subscribe(self, feed: Any, on_lapped: Any = None) -> Any:
        return None


# -- detection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 17))
def test_every_prefix_of_a_client_hello_starts_tls_once(size: int) -> None:
    peer = Peer()
    peer.send(CLIENT_HELLO[:size])
    assert peer.secured == [CLIENT_HELLO[:size]]
    assert peer.opening.state is DetectState.SECURED  # type: ignore[attr-defined]
    # All later bytes are decrypted data, whatever they begin with.
    peer.send(NAME)
    assert len(peer.secured) == 1
    assert isinstance(peer.session, ClassicSession)
    assert peer.closed == []


@pytest.mark.parametrize("size", range(1, 17))
@pytest.mark.parametrize(("stream", "session"), [(HELLO, SelchatSession), (NAME, ClassicSession)])
def test_every_prefix_of_a_frame_is_detected_as_frames(stream: bytes, session: type, size: int) -> None:
    peer = Peer()
    peer.send(stream[:size])
    assert peer.secured == []
    if size < len(stream):
        assert peer.opening.state is DetectState.FRAMES  # type: ignore[attr-defined]
        peer.send(stream[size:])
    assert peer.secured == []
    assert isinstance(peer.session, session)


@pytest.mark.parametrize("size", range(1, 11))
def test_client_hello_after_a_frame_prefix_is_a_framing_error(size: int) -> None:
    peer = Peer()
    peer.send(NAME[:size])
    peer.send(CLIENT_HELLO)
    assert peer.secured == []
    [reason] = peer.closed
    assert "is not a number" in str(reason)


def test_client_hello_inside_tls_is_a_framing_error() -> None:
    peer = Peer()
    peer.send(CLIENT_HELLO)
    peer.send(CLIENT_HELLO)
    assert len(peer.secured) == 1
    assert "is not a number" in str(peer.closed[0])


@given(first=st.integers(0, 255), rest=st.binary(max_size=15), cuts=st.lists(st.integers(1, 4), max_size=8))
def test_first_byte_decides_between_tls_and_frames(first: int, rest: bytes, cuts: list[int]) -> None:
    peer = Peer()
    stream = bytes([first]) + rest
    place = 0
    for cut in [*cuts, len(stream)]:
        part = stream[place : place + cut]
        place += cut
        if part and not peer.closed and not (peer.secured and place > cut):
            peer.send(part)
    assert bool(peer.secured) == (first == 0x16)
    state = peer.opening.state  # type: ignore[attr-defined]
    assert (state is DetectState.SECURED) == (first == 0x16)
    if not bytes([first]).isupper():  # a capital letter may begin an HTTP method
        assert state is (DetectState.SECURED if first == 0x16 else DetectState.FRAMES)


def test_client_hello_without_tls_gets_a_classic_error_and_a_close() -> None:
    peer = Peer(tls=False)
    peer.send(CLIENT_HELLO)
    assert peer.secured == []
    user, text = peer.pair
    assert user == "Server"
    assert "is not a number" in text
    assert len(peer.closed) == 1


# -- refusals --------------------------------------------------------------------------------------------


def refusals() -> list[tuple[SelchatError, str]]:
    return [(ServerFullError(5), "full"), (AddressFullError(64), "full"), (BannedError(), "banned")]


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize(("refusal", "word"), refusals())
def test_refusal_is_sent_in_the_protocol_of_the_peer(refusal: SelchatError, word: str, secured: bool) -> None:
    for stream in (NAME, HELLO):
        peer = Peer(refusal=refusal)
        if secured:
            peer.send(CLIENT_HELLO)
            assert peer.closed == [], "the refusal waits until the peer can read it"
        peer.send(stream)
        assert peer.closed == [str(refusal)]
        if stream is NAME:
            assert peer.pair == ["Server", f"Closing this connection: {refusal}."]
        else:
            assert peer.objects[-1]["type"] == "bye"
            assert peer.objects[-1]["reason"] == word
            assert peer.objects[-1]["retry_after"] == (None if word == "banned" else 10.0)


def test_required_tls_refuses_plaintext_peers_only() -> None:
    unsecured = TlsRequiredError()
    classic, selchat_client = Peer(plaintext_refusal=unsecured), Peer(plaintext_refusal=unsecured)
    classic.send(NAME)
    assert classic.pair == ["Server", f"Closing this connection: {unsecured}."]
    selchat_client.send(HELLO)
    error, bye = selchat_client.objects
    for message in (error, bye):
        assert Draft202012Validator(schema()).is_valid(message)
    assert (error["type"], error["code"]) == ("error", "tls-required")
    assert bye == {"type": "bye", "reason": "tls-required", "retry_after": None}
    for stream, session in ((NAME, ClassicSession), (HELLO, SelchatSession)):
        peer = Peer(plaintext_refusal=unsecured)
        peer.send(CLIENT_HELLO)
        peer.send(stream)
        assert isinstance(peer.session, session)
        assert peer.closed == []


def test_refusal_takes_precedence_over_required_tls() -> None:
    peer = Peer(refusal=ServerFullError(5), plaintext_refusal=TlsRequiredError())
    peer.send(NAME)
    assert peer.closed == [str(ServerFullError(5))]


# -- the login deadline ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"5", CLIENT_HELLO[:20]])
def test_incomplete_login_is_closed_at_the_deadline(sent: bytes) -> None:
    server = FakeServer()
    peer = Peer(server)
    if sent:
        server.tick(5.0)
        peer.send(sent)
    server.tick(4.9)
    if not sent:
        server.tick(5.0)
    assert peer.closed == []
    server.tick(0.2)
    by_tls = bool(sent) and sent != b"5"  # a browser may open such connections in advance
    assert peer.closed == [None if by_tls else "no username within 10 s"]
    told = [] if by_tls else ["Server", "Closing this connection: no username within 10 s."]
    assert peer.pair == told
    assert server.clock.pending == 0


def send_bytewise(stream: bytes, server: FakeServer, peer: Peer, seconds: float) -> None:
    """Send single bytes at equal intervals, the last one after ``seconds``."""
    for byte in stream:
        server.tick(seconds / len(stream))
        peer.send(bytes([byte]))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"GE",  # the first bytes of an HTTP method
        b"GET / HTTP/1.1\r\n",
        HELLO[:-1],
        encode_frame(json.dumps(hello("")).encode()),  # refused: the name is empty
        NAME[:-1],
    ],
)
def test_single_bytes_and_tls_do_not_extend_the_login_deadline(stream: bytes, tls: bool) -> None:
    server = FakeServer()
    peer = Peer(server, tls=True)
    server.tick(4.0)
    if tls:
        peer.send(CLIENT_HELLO)
    send_bytewise(stream, server, peer, 5.0)
    server.tick(9.999 - (server.clock.now - 100.0))
    assert peer.closed == []
    server.tick(0.001)
    assert len(peer.closed) == 1
    assert server.clock.pending == 0


@pytest.mark.parametrize(
    ("stream", "session"),
    [(HELLO, SelchatSession), (NAME, ClassicSession)],
)
def test_login_ends_the_deadline(stream: bytes, session: type) -> None:
    server = FakeServer(ping_seconds=1000.0)
    peer = Peer(server)
    send_bytewise(stream, server, peer, 9.9)
    for _ in range(50):
        server.tick(1.0)
    assert peer.closed == []
    assert isinstance(peer.session, session)
    assert len(server.hub.members()) == 1


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", None),
        (b"5", "connection reset by peer"),
        (CLIENT_HELLO, "tls: no shared cipher"),
        (CLIENT_HELLO, "no username within 10 s"),
    ],
)
def test_connection_lost_before_login_is_reported_and_leaves_no_timer(
    sent: bytes, reason: str | None
) -> None:
    server = FakeServer()
    peer = Peer(server)
    if sent:
        peer.send(sent)
    peer.close(reason)
    assert server.observer.seen == [("stranger left", peer.address, reason)]
    assert server.clock.pending == 0


@pytest.mark.parametrize(
    "reason", [None, "connection reset by peer", "tls: the peer does not trust our certificate"]
)
def test_browser_preconnects_are_not_reported(reason: str | None) -> None:
    server = FakeServer()
    peer = Peer(server)
    peer.send(CLIENT_HELLO)
    peer.close(reason)
    assert server.observer.seen == []
    assert server.clock.pending == 0


# -- browsers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 17))
def test_browser_gets_the_install_command_if_the_web_extra_is_missing(size: int) -> None:
    server = FakeServer()
    server.context = replace(server.context, new_http_session=None)
    peer = Peer(server)
    request = b"GET / HTTP/1.1\r\nHost: 192.168.43.158:33000\r\n\r\n"
    peer.send(request[:size])
    if not peer.closed:
        peer.send(request[size:])
    assert peer.closed == [None]
    head, _, body = peer.final_data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"pip install 'selchat[web]'" in body


def test_script_gets_json_if_the_web_extra_is_missing() -> None:
    server = FakeServer()
    server.context = replace(server.context, new_http_session=None)
    peer = Peer(server)
    peer.send(b"POST /rooms/lobby/messages HTTP/1.1\r\n")
    head, _, body = peer.final_data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert b"Content-Length: %d\r\n" % len(body) in head
    document = json.loads(body)
    assert document["error"] == "not-supported"
    assert "pip install 'selchat[web]'" in document["message"]


def test_incomplete_method_at_the_end_of_the_stream_is_an_incomplete_frame() -> None:
    peer = Peer()
    peer.send(b"GE")
    peer.opening.eof_received()
    assert peer.closed == ["stream ended inside a frame, 8 bytes short"]
    peer = Peer()
    peer.send(b"G")
    peer.send(b"1234")
    peer.opening.eof_received()
    assert peer.closed == ["stream ended inside a frame, 5 bytes short"]


class PausedPeer(Peer):
    """A peer that the server may pause. Its address has used up its work, and ``debt`` milliseconds more."""

    def __init__(self, debt: float) -> None:
        server = FakeServer(address_work=0.001)  # a millisecond a second
        server.context.work.meter(self.address).charge(10_000 + 1000 * debt)
        server.tick(0.1)
        self.paused = False
        super().__init__(server)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


@pytest.mark.parametrize("first", [CLIENT_HELLO, HELLO, NAME])
def test_start_waits_while_the_address_is_over_its_work_limit(first: bytes) -> None:
    peer = PausedPeer(debt=5.0)
    peer.send(first)
    peer.server.tick(4.0)
    assert peer.paused
    assert peer.session is peer.opening and not peer.secured
    peer.server.tick(2.0)
    peer.server.tick()
    assert not peer.paused
    assert peer.secured == [first] if first is CLIENT_HELLO else peer.session is not peer.opening


@pytest.mark.parametrize("first", [CLIENT_HELLO, HELLO, NAME])
def test_start_that_waits_too_long_is_refused(first: bytes) -> None:
    peer = PausedPeer(debt=60.0)
    peer.send(first)
    for _ in range(100):
        peer.server.tick(1.0)
    assert len(peer.closed) == 1
    assert peer.session is peer.opening and not peer.secured
