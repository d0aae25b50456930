"""TLS on sockets of our own making, that take and give as much as a test wants."""

from __future__ import annotations

import random
import socket
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selchat.net.certificate import fingerprint, own_certificate
from selchat.net.tls import (
    MAX_HANDSHAKE,
    MAX_UNSENT,
    PIECE,
    TlsError,
    TlsState,
    TlsStream,
    client_context,
    server_context,
)


class Wire:
    """One direction: bytes on their way. ``room``: how many fit; None: any number."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False
        self.room: int | None = None
        self.step: int | None = None  # the most that one call puts in or takes out; None: any number
        self.hiccup = False  # whether every other call is told to come again
        self._calls = 0

    def _stumbles(self) -> bool:
        self._calls += 1
        return self.hiccup and self._calls % 2 == 1

    def put(self, data: bytes | memoryview) -> int:
        assert data, "a call for nothing"
        size = len(data)
        if self.room is not None:
            size = min(size, self.room - len(self.data))
        if size <= 0 or self._stumbles():
            raise BlockingIOError
        if self.step is not None:
            size = min(size, self.step)
        self.data += data[:size]
        return size

    def take(self, size: int) -> bytes:
        if not self.data and self.closed:
            return b""
        if not self.data or self._stumbles():
            raise BlockingIOError
        if self.step is not None:
            size = min(size, self.step)
        data = bytes(self.data[:size])
        del self.data[:size]
        return data


class End:
    """One end of two wires, as a socket."""

    def __init__(self, incoming: Wire, outgoing: Wire) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.error: OSError | None = None

    def fileno(self) -> int:
        return -1

    def recv(self, size: int) -> bytes:
        return self.incoming.take(size)

    def send(self, data: bytes | memoryview) -> int:
        if self.error is not None:
            raise self.error
        return self.outgoing.put(data)

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.outgoing.closed = True

    def close(self) -> None:
        self.outgoing.closed = True


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return server_context(*own_certificate(tmp_path_factory.mktemp("certificate"))), client_context()


class Talk:
    """A server's and a client's stream, and what they were told."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        self.to_server, self.to_client = Wire(), Wire()
        self.server_end = End(self.to_server, self.to_client)
        self.client_end = End(self.to_client, self.to_server)
        self.told: list[str] = []
        self.server = TlsStream(
            self.server_end,
            contexts[0],
            server_side=True,
            on_blocked=lambda: self.told.append("stuck"),
            on_buffered=lambda: self.told.append("again"),
        )
        self.client = TlsStream(
            self.client_end, contexts[1], server_side=False, on_blocked=lambda: None, on_buffered=lambda: None
        )

    @property
    def wires(self) -> tuple[Wire, Wire]:
        return self.to_server, self.to_client

    def shake_hands(self) -> None:
        self.client.start_handshake()
        for _ in range(100_000):
            if self.server.state is self.client.state is TlsState.OPEN:
                return
            for stream in (self.server, self.client):
                self.flush(stream)
                try:
                    assert stream.recv(1 << 16) == b""
                except BlockingIOError:
                    pass
        raise AssertionError((self.server.state, self.client.state))

    def flush(self, stream: TlsStream) -> None:
        """What an outbox does that was nudged."""
        try:
            stream.send(b"")
        except BlockingIOError:
            pass


def read(stream: TlsStream) -> bytes:
    """Return what can be read now, to the end of that."""
    data = b""
    while True:
        try:
            part = stream.recv(1 << 16)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


@pytest.fixture
def talk(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Talk:
    talk = Talk(contexts)
    talk.shake_hands()
    return talk


def test_they_shake_hands_and_talk(talk: Talk) -> None:
    assert talk.client.send(b"hello") == 5
    assert talk.server.recv(4096) == b"hello"
    assert talk.server.sendmsg([memoryview(b"good "), memoryview(b"day")]) == 8
    assert talk.client.recv(4096) == b"good day"
    assert b"hello" not in talk.to_server.data
    with pytest.raises(BlockingIOError):
        talk.server.recv(4096)
    assert talk.told == []


def test_it_is_tls_1_3_and_the_client_sees_the_key(talk: Talk) -> None:
    assert talk.server._tls.version() == "TLSv1.3"
    assert len(fingerprint(talk.client.certificate)) == 64
    assert talk.server.certificate == b""


def test_the_handshake_may_begin_with_bytes_that_were_read_already(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    talk.server.start_handshake(talk.to_server.take(1 << 16))
    assert talk.told == []
    with pytest.raises(BlockingIOError):
        talk.client.recv(1 << 16)
    assert talk.client.state is TlsState.OPEN
    talk.client.send(b"hello")
    assert talk.server.recv(1 << 16) == b"hello"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_the_same_in_small_steps_with_interruptions(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], step: int
) -> None:
    talk = Talk(contexts)
    for wire in talk.wires:
        wire.step, wire.hiccup = step, True
    talk.shake_hands()
    said = random.Random(1).randbytes(5000)
    left, heard = said, b""
    for _ in range(100_000):
        if left:
            try:
                left = left[talk.client.send(left) :]
            except BlockingIOError:
                pass
        heard += read_some(talk.server)
        if heard == said:
            break
    assert (heard, left) == (said, b"") or (heard, talk.client.send(left)) == (said, len(left))


def read_some(stream: TlsStream) -> bytes:
    try:
        return stream.recv(1 << 16)
    except BlockingIOError:
        return b""


def test_a_full_socket_takes_no_more_than_a_piece_and_the_last_byte_comes_again(talk: Talk) -> None:
    said = random.Random(2).randbytes(10 * PIECE)
    talk.to_client.room = 1000
    taken = talk.server.send(said)
    assert taken == PIECE - 1
    assert 0 < talk.server.unsent <= PIECE + 1000
    with pytest.raises(BlockingIOError):
        talk.server.send(said[taken:])
    talk.to_client.room = None
    heard = read(talk.client)
    assert talk.server.send(said[taken:]) == len(said) - taken
    assert heard + read(talk.client) == said
    assert talk.server.unsent == 0


def test_the_last_byte_alone_is_enough_to_finish(talk: Talk) -> None:
    talk.to_client.room = 10
    assert talk.server.send(b"hello") == 4
    talk.to_client.room = None
    assert talk.server.send(b"o") == 1
    assert read(talk.client) == b"hello"
    assert talk.server.send(b"once") == 4
    assert read(talk.client) == b"once"


@settings(max_examples=60)
@given(
    pieces=st.lists(st.integers(2, 3 * PIECE), min_size=1, max_size=6),
    rooms=st.lists(st.integers(0, 2 * PIECE), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
)
def test_whatever_the_socket_takes_the_other_end_reads_the_same(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], pieces: list[int], rooms: list[int], seed: int
) -> None:
    talk = Talk(contexts)
    talk.shake_hands()
    said = random.Random(seed).randbytes(sum(pieces))
    heard = b""
    place = 0
    for size in pieces:
        end = place + size
        while place < end:
            talk.to_client.room = rooms[seed % len(rooms)]
            seed += 1
            if seed % (len(rooms) + 1) == 0:
                talk.to_client.room = None
            try:
                place += talk.server.send(said[place:end])
            except BlockingIOError:
                pass
            heard += read(talk.client)
    assert heard == said


def test_a_goodbye_ends_the_stream(talk: Talk) -> None:
    talk.client.shutdown(socket.SHUT_WR)
    assert talk.server.recv(4096) == b""
    assert talk.server.recv(4096) == b""
    assert talk.server.send(b"you may still hear this") == 23  # half closed
    assert read(talk.client) == b"you may still hear this"


def test_a_goodbye_that_answers_ours_ends_the_stream_too(talk: Talk) -> None:
    talk.server.shutdown(socket.SHUT_WR)
    assert talk.client.recv(4096) == b""
    talk.client.shutdown(socket.SHUT_WR)
    assert talk.server.recv(4096) == b""


def test_what_came_together_with_a_goodbye_comes_first(talk: Talk) -> None:
    talk.client.send(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        talk.client._tls.unwrap()
    talk.to_server.data += talk.client._outgoing.read()
    assert talk.server.recv(1 << 16) == b"last words"
    assert talk.told == ["again"]  # as the socket is not readable
    assert talk.server.recv(1 << 16) == b""


def test_a_stream_that_is_cut_has_ended(talk: Talk) -> None:
    talk.to_server.closed = True
    assert talk.server.recv(4096) == b""


def test_one_that_leaves_during_the_handshake_is_an_error(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    del talk.to_server.data[100:]
    talk.to_server.closed = True
    with pytest.raises(BlockingIOError):
        talk.server.recv(4096)
    with pytest.raises(TlsError, match="left during the handshake"):
        talk.server.recv(4096)


def test_nothing_can_be_said_before_the_handshake_is_over(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    with pytest.raises(TlsError, match="not finished"):
        talk.server.send(b"goodbye")
    talk.server.shutdown(socket.SHUT_WR)  # and to leave is no error
    assert talk.to_client.closed


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70_000]
)
def test_noise_is_an_error_in_words(contexts: tuple[ssl.SSLContext, ssl.SSLContext], noise: bytes) -> None:
    talk = Talk(contexts)
    with pytest.raises(TlsError) as caught:
        talk.server.start_handshake(noise)
    assert caught.value.strerror.startswith("TLS: ")
    assert caught.value.strerror == caught.value.strerror.replace("_", " ")
    assert talk.to_client.data[:1] in (b"", b"\x15"), "an alert, or nothing"


def test_a_record_that_was_changed_on_the_way_is_an_error(talk: Talk) -> None:
    talk.client.send(b"pay 10")
    talk.to_server.data[-1] ^= 1
    with pytest.raises(TlsError, match="bad record"):
        talk.server.recv(4096)


def test_a_record_that_comes_twice_is_an_error(talk: Talk) -> None:
    talk.client.send(b"pay 10")
    talk.to_server.data += bytes(talk.to_server.data)
    with pytest.raises(TlsError, match="bad record"):
        read(talk.server)


def test_a_peer_with_an_older_tls_is_refused(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    old = client_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    talk = Talk((contexts[0], old))
    talk.client.start_handshake()
    with pytest.raises(TlsError, match="unsupported protocol"):
        talk.server.recv(1 << 16)


def test_what_tls_has_to_say_and_cannot_is_sent_when_it_is_asked_to(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    talk.to_client.room = 0
    with pytest.raises(BlockingIOError):
        talk.server.recv(1 << 16)
    assert talk.told == ["stuck"]
    with pytest.raises(BlockingIOError):
        talk.server.send(b"")
    talk.to_client.room = None
    assert talk.server.send(b"") == 0
    assert talk.server.unsent == 0
    talk.shake_hands()


def test_a_peer_that_makes_tls_talk_and_reads_nothing_is_given_up(talk: Talk) -> None:
    talk.to_client.room = 0
    talk.server._unsent = b"x" * MAX_UNSENT
    talk.server._outgoing.write(b"x")
    with pytest.raises(TlsError, match="reads nothing"):
        talk.server._push()


def test_an_error_of_the_socket_comes_through(talk: Talk) -> None:
    talk.server_end.error = ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(ConnectionResetError):
        talk.server.send(b"hello")


def test_the_files_have_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        server_context(tmp_path / "none", tmp_path / "none")


def test_it_is_closed_as_the_socket_is(talk: Talk) -> None:
    assert talk.server.fileno() == -1
    talk.server.close()
    assert talk.to_client.closed


def test_a_handshake_of_no_end_is_given_up(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    talk = Talk(contexts)
    talk.to_server.data += b"\x16\x03\x01\x40\x00\x01\x01\xff\xfc" + b"x" * (1 << 18)
    with pytest.raises(TlsError):
        while True:
            try:
                talk.server.recv(4096)
            except BlockingIOError:
                pass
    assert len(talk.to_server.data) > (1 << 18) - 3 * MAX_HANDSHAKE


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    certificate, _ = own_certificate(tmp_path)
    key = tmp_path / "locked.pem"
    locked = BestAvailableEncryption(b"words")
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    )
    with pytest.raises(OSError):
        server_context(certificate, key)
