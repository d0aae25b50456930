"""TLS streams over fake sockets that accept and return as many bytes as a test wants."""

from __future__ import annotations

import datetime
import random
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from selchat.limits import MAX_TLS_HANDSHAKE, MAX_TLS_UNSENT, TLS_PIECE
from selchat.net import tls
from selchat.net.certificate import fingerprint, own_certificate
from selchat.net.tls import TlsError, TlsState, TlsStream, client_context, server_context


class Wire:
    """One direction: bytes on their way. ``room``: how many fit; None: any number."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False
        self.room: int | None = None
        self.step: int | None = None  # maximum bytes of one call; None: no limit
        self.hiccup = False  # whether every other call raises BlockingIOError
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


def rsa_context(folder: Path) -> ssl.SSLContext:
    """Return a server's context whose handshake always has the same size, unlike with ECDSA signatures."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "selchat")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return server_context(*paths)


class Talk:
    """A server's and a client's stream, and the server stream's callbacks in ``calls``."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        self.to_server, self.to_client = Wire(), Wire()
        self.server_end = End(self.to_server, self.to_client)
        self.client_end = End(self.to_client, self.to_server)
        self.calls: list[str] = []
        self.server = TlsStream(
            self.server_end,
            contexts[0],
            server_side=True,
            on_blocked=lambda: self.calls.append("blocked"),
            on_buffered=lambda: self.calls.append("buffered"),
        )
        self.client = TlsStream(
            self.client_end, contexts[1], server_side=False, on_blocked=lambda: None, on_buffered=lambda: None
        )

    @property
    def wires(self) -> tuple[Wire, Wire]:
        return self.to_server, self.to_client

    def handshake(self) -> None:
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
        """Send the stream's own bytes, as `Outbox.wake` does."""
        try:
            stream.send(b"")
        except BlockingIOError:
            pass


def read(stream: TlsStream) -> bytes:
    """Return everything that can be read now."""
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
    talk.handshake()
    return talk


def test_data_is_encrypted_in_both_directions(talk: Talk) -> None:
    assert talk.client.send(b"hello") == 5
    assert talk.server.recv(4096) == b"hello"
    assert talk.server.sendmsg([memoryview(b"good "), memoryview(b"day")]) == 8
    assert talk.client.recv(4096) == b"good day"
    assert b"hello" not in talk.to_server.data
    with pytest.raises(BlockingIOError):
        talk.server.recv(4096)
    assert talk.calls == []


def test_server_chooses_tls_1_3(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    with pytest.raises(BlockingIOError):
        talk.server.recv(1 << 16)
    supported_versions = b"\x00\x2b\x00\x02\x03\x04"  # RFC 8446, 4.2.1, in the ServerHello
    assert supported_versions in talk.to_client.data


def test_client_sees_the_server_s_certificate(talk: Talk) -> None:
    assert len(fingerprint(talk.client.certificate)) == 64
    assert talk.server.certificate == b""


def test_handshake_may_start_with_bytes_read_before(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    talk.server.start_handshake(talk.to_server.take(1 << 16))
    assert talk.calls == []
    with pytest.raises(BlockingIOError):
        talk.client.recv(1 << 16)
    assert talk.client.state is TlsState.OPEN
    talk.client.send(b"hello")
    assert talk.server.recv(1 << 16) == b"hello"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_stream_works_in_small_steps_with_interruptions(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], step: int
) -> None:
    talk = Talk(contexts)
    for wire in talk.wires:
        wire.step, wire.hiccup = step, True
    talk.handshake()
    sent = random.Random(1).randbytes(5000)
    left, received = sent, b""
    for _ in range(100_000):
        if left:
            try:
                left = left[talk.client.send(left) :]
            except BlockingIOError:
                pass
        received += read_some(talk.server)
        if received == sent:
            break
    assert (received, left) == (sent, b"") or (received, talk.client.send(left)) == (sent, len(left))


def read_some(stream: TlsStream) -> bytes:
    try:
        return stream.recv(1 << 16)
    except BlockingIOError:
        return b""


def test_full_socket_leaves_at_most_a_piece_and_the_last_byte_is_offered_again(talk: Talk) -> None:
    sent = random.Random(2).randbytes(10 * TLS_PIECE)
    talk.to_client.room = 1000
    taken = talk.server.send(sent)
    assert taken == TLS_PIECE - 1
    assert 0 < talk.server.unsent <= TLS_PIECE + 1000
    with pytest.raises(BlockingIOError):
        talk.server.send(sent[taken:])
    talk.to_client.room = None
    received = read(talk.client)
    assert talk.server.send(sent[taken:]) == len(sent) - taken
    assert received + read(talk.client) == sent
    assert talk.server.unsent == 0


def test_last_byte_alone_completes_a_send(talk: Talk) -> None:
    talk.to_client.room = 10
    assert talk.server.send(b"hello") == 4
    talk.to_client.room = None
    assert talk.server.send(b"o") == 1
    assert read(talk.client) == b"hello"
    assert talk.server.send(b"once") == 4
    assert read(talk.client) == b"once"


@settings(max_examples=60)
@given(
    pieces=st.lists(st.integers(2, 3 * TLS_PIECE), min_size=1, max_size=6),
    rooms=st.lists(st.integers(0, 2 * TLS_PIECE), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
)
def test_peer_reads_the_same_bytes_with_any_socket_space(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], pieces: list[int], rooms: list[int], seed: int
) -> None:
    talk = Talk(contexts)
    talk.handshake()
    sent = random.Random(seed).randbytes(sum(pieces))
    received = b""
    place = 0
    for size in pieces:
        end = place + size
        while place < end:
            talk.to_client.room = rooms[seed % len(rooms)]
            seed += 1
            if seed % (len(rooms) + 1) == 0:
                talk.to_client.room = None
            try:
                place += talk.server.send(sent[place:end])
            except BlockingIOError:
                pass
            received += read(talk.client)
    assert received == sent


def test_close_notify_ends_the_stream(talk: Talk) -> None:
    talk.client.shutdown(socket.SHUT_WR)
    assert talk.server.recv(4096) == b""
    assert talk.server.recv(4096) == b""
    assert talk.server.send(b"you may still hear this") == 23  # half closed
    assert read(talk.client) == b"you may still hear this"


def test_close_notify_that_answers_ours_ends_the_stream(talk: Talk) -> None:
    talk.server.shutdown(socket.SHUT_WR)
    assert talk.client.recv(4096) == b""
    talk.client.shutdown(socket.SHUT_WR)
    assert talk.server.recv(4096) == b""


def test_data_before_a_close_notify_is_returned_first(talk: Talk) -> None:
    talk.client.send(b"last words")
    talk.client.shutdown(socket.SHUT_WR)
    talk.to_server.closed = False  # the close_notify has arrived, and the socket is still open
    assert talk.server.recv(1 << 16) == b"last words"
    assert talk.calls == ["buffered"]  # as the socket is not readable
    assert talk.server.recv(1 << 16) == b""


def test_truncated_stream_has_ended(talk: Talk) -> None:
    talk.to_server.closed = True
    assert talk.server.recv(4096) == b""


def test_end_during_the_handshake_is_an_error(
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


def test_send_before_the_end_of_the_handshake_is_an_error(
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
def test_garbage_in_the_handshake_is_a_tls_error_in_plain_words(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], noise: bytes
) -> None:
    talk = Talk(contexts)
    with pytest.raises(TlsError) as caught:
        talk.server.start_handshake(noise)
    assert caught.value.strerror.startswith("TLS: ")
    assert caught.value.strerror == caught.value.strerror.replace("_", " ")
    assert talk.to_client.data[:1] in (b"", b"\x15"), "an alert, or nothing"


def test_changed_record_is_an_error(talk: Talk) -> None:
    talk.client.send(b"pay 10")
    talk.to_server.data[-1] ^= 1
    with pytest.raises(TlsError, match="bad record"):
        talk.server.recv(4096)


def test_repeated_record_is_an_error(talk: Talk) -> None:
    talk.client.send(b"pay 10")
    talk.to_server.data += bytes(talk.to_server.data)
    with pytest.raises(TlsError, match="bad record"):
        read(talk.server)


def test_peer_with_an_older_tls_is_refused(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    old = client_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    talk = Talk((contexts[0], old))
    talk.client.start_handshake()
    with pytest.raises(TlsError, match="unsupported protocol"):
        talk.server.recv(1 << 16)


def test_blocked_handshake_message_is_sent_by_the_next_send(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    talk.client.start_handshake()
    talk.to_client.room = 0
    with pytest.raises(BlockingIOError):
        talk.server.recv(1 << 16)
    assert talk.calls == ["blocked"]
    with pytest.raises(BlockingIOError):
        talk.server.send(b"")
    talk.to_client.room = None
    assert talk.server.send(b"") == 0
    assert talk.server.unsent == 0
    talk.handshake()


def test_peer_that_reads_nothing_of_the_handshake_is_dropped_above_max_unsent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = rsa_context(tmp_path), client_context()

    def unsent() -> int:
        """Return the size of the server's handshake for a client that never reads."""
        talk = Talk(contexts)
        talk.to_client.room = 0
        talk.client.start_handshake()
        with pytest.raises(BlockingIOError):
            talk.server.recv(1 << 16)
        assert not talk.to_client.data
        return talk.server.unsent

    size = unsent()
    assert 1000 < size < MAX_TLS_UNSENT
    monkeypatch.setattr(tls, "MAX_TLS_UNSENT", size)
    assert unsent() == size
    monkeypatch.setattr(tls, "MAX_TLS_UNSENT", size - 1)
    with pytest.raises(TlsError, match="the peer reads nothing"):
        unsent()


def test_socket_errors_are_raised(talk: Talk) -> None:
    talk.server_end.error = ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(ConnectionResetError):
        talk.server.send(b"hello")


def test_missing_certificate_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        server_context(tmp_path / "none", tmp_path / "none")


def test_close_closes_the_socket(talk: Talk) -> None:
    assert talk.server.fileno() == -1
    talk.server.close()
    assert talk.to_client.closed


def test_handshake_over_max_handshake_bytes_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    talk = Talk(contexts)
    # The start of a ClientHello of 131,068 bytes, which OpenSSL would accept.
    talk.to_server.data += b"\x16\x03\x01\x40\x00\x01\x01\xff\xfc" + b"x" * (1 << 18)
    for _ in range(MAX_TLS_HANDSHAKE // 4096):
        with pytest.raises(BlockingIOError):
            talk.server.recv(4096)
    with pytest.raises(TlsError, match=f"a handshake of more than {MAX_TLS_HANDSHAKE} bytes"):
        talk.server.recv(1)


def test_key_with_a_password_is_refused_without_a_prompt(tmp_path: Path) -> None:
    certificate, _ = own_certificate(tmp_path)
    key = tmp_path / "locked.pem"
    locked = BestAvailableEncryption(b"words")
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    )
    with pytest.raises(OSError):
        server_context(certificate, key)
