"""TLS on the same port: real servers, and Python's own TLS client as the peer."""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.selchat_support import Frames, SelchatPeer, encoded, greeting
from tests.e2e.support import DEADLINE, Client, Server


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate, as one does that looks at the key alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsClient(Client):
    """The paper's wire over TLS."""

    def __init__(self, port: int, name: str | None = None, host: str = "127.0.0.1") -> None:
        super().__init__(port, None, host)
        self.sock = encrypted(self.sock)
        if name is not None:
            self.send(name)


class TlsSelchatPeer(SelchatPeer):
    """The selchat protocol over TLS."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self.sock = encrypted(self.sock)
        self.send(greeting(name))
        self.welcome = self.read()
        assert self.welcome["type"] == "welcome", self.welcome


def encrypted(sock: socket.socket) -> ssl.SSLSocket:
    """Shake hands; the socket is closed if that fails. Its end has to come with a goodbye."""
    try:
        return trusting().wrap_socket(sock, suppress_ragged_eofs=False)
    except BaseException:
        sock.close()
        raise


def key_of(port: int) -> str:
    """The SHA-256 of the key that a server shows, as read from its certificate."""
    with TlsClient(port) as client:
        certificate = client.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


# -- one room --------------------------------------------------------------------------------------------


def test_tls_and_plaintext_clients_share_a_room() -> None:
    with Server("--no-roster") as server, ExitStack() as stack:
        classic = stack.enter_context(Client(server.port, "Michael"))
        server.expect("Michael")
        tls_classic = stack.enter_context(TlsClient(server.port, "Narayan"))
        server.expect("Narayan")
        selchat_peer = stack.enter_context(SelchatPeer(server.port, "Venkat"))
        tls_selchat = stack.enter_context(TlsSelchatPeer(server.port, "Zoe"))
        said = {"Michael": classic, "Narayan": tls_classic}
        for name, client in said.items():
            client.send(f"I am {name}")
            for other in said.values():
                if other is not client:
                    assert other.read_pair() == (name, f"I am {name}")
            for peer in (selchat_peer, tls_selchat):
                [*_, message] = peer.read_until(lambda one: one["type"] == "said")
                assert (message["from"], message["body"]) == (name, f"I am {name}")
        assert tls_selchat.say("hi", "1")["type"] == "ack"
        for client in said.values():
            assert client.read_pair() == ("Zoe", "hi")
        assert selchat_peer.read()["body"] == "hi"
        assert tls_selchat.request("bye") == {"type": "bye", "reason": "goodbye", "retry_after": None}
        assert tls_selchat.read_to_end() == [], "and a goodbye of TLS"


def test_shutdown_is_announced_over_tls_too() -> None:
    with Server("--no-roster") as server:
        with TlsClient(server.port, "Michael") as classic, TlsSelchatPeer(server.port, "Zoe") as selchat_peer:
            server.expect("Michael")
            server.process.send_signal(signal.SIGTERM)
            assert classic.read_pair() == ("Server", "The server is shutting down.")
            assert classic.read_to_end() == b""
            assert selchat_peer.read_to_end()[-1]["reason"] == "shutdown"
        assert server.wait() == 0
        assert server.errors() == ""


def test_long_message_over_tls_arrives_complete_both_ways() -> None:
    body = "x" * 65_000
    with Server("--no-roster") as server:
        with TlsClient(server.port, "Michael") as one, TlsClient(server.port, "Narayan") as other:
            for _ in range(2):
                server.expect("Michael|Narayan")
            for _ in range(20):
                one.send(body)
            for _ in range(20):
                assert other.read_pair() == ("Michael", body)


# -- certificates ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_tls_is_refused_and_disturbs_nobody() -> None:
    with Server("--no-roster") as server:
        old = trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
            with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
                old.wrap_socket(sock)
        server.expect("unsupported protocol")
        with TlsClient(server.port, "Michael") as client:
            assert client.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
        server.assert_serves()
        server.stop()
        assert server.errors() == ""


def test_handshake_without_tls_gets_a_plaintext_answer() -> None:
    with Server("--no-roster", "--tls=off") as server:
        with pytest.raises(ssl.SSLError):
            TlsClient(server.port)
        with Client(server.port) as client:
            client.send_raw(bytes.fromhex("16030100c8010000c40303") + b"x" * 20)
            assert client.read_frame() == "Server"
            assert "is not a number" in client.read_frame()
            assert client.read_to_end() == b""
        server.assert_serves()
        server.stop()
        assert "key of this server" not in server.remaining_output()
        assert server.errors() == ""


def test_unfinished_handshake_is_closed_at_the_login_timeout() -> None:
    env = {**os.environ, "SELCHAT_LOGIN_SECONDS": "0.5"}
    hello = bytes.fromhex("16030100c8010000c40303") + b"x" * 20
    with Server("--no-roster", env=env) as server, ExitStack() as stack:
        peers = [stack.enter_context(Client(server.port)) for _ in range(3)]
        peers[0].send_raw(hello[:1])
        peers[1].send_raw(hello)
        tls = stack.enter_context(TlsClient(server.port))  # shook hands, and says nothing
        for peer in (*peers[:2], tls):
            assert peer.read_to_end() == b""
        assert peers[2].read_frame() == "Server"
        server.expect(r"no username within 0\.5 s")
        server.assert_serves()
        server.stop()
        assert "no username" not in server.remaining_output(), "a peer with TLS may be a browser"
        assert server.errors() == ""


# -- the key ---------------------------------------------------------------------------------------------


def test_fingerprint_is_printed_and_stays_the_same_after_a_restart() -> None:
    keys = set()
    for _ in range(2):
        with Server() as server:
            keys |= {server.fingerprint, key_of(server.port)}
    assert len(keys) == 1


def test_operator_s_certificate_is_used(tmp_path: Path) -> None:
    with Server() as server:
        own = server.fingerprint
    folder = Path(os.environ["XDG_DATA_HOME"]) / "selchat"
    other = tmp_path / "data"
    with Server(env={**os.environ, "XDG_DATA_HOME": str(other)}) as server:
        foreign = server.fingerprint
    assert foreign != own
    files = [f"--cert={folder / 'server-certificate.pem'}", f"--key-file={folder / 'server-key.pem'}"]
    with Server(*files, env={**os.environ, "XDG_DATA_HOME": str(other)}) as server:
        assert server.fingerprint == key_of(server.port) == own
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(option.partition("=")[2]).read_bytes() for option in files))
    with Server(f"--cert={both}") as server:
        assert key_of(server.port) == own


def test_sighup_loads_a_new_certificate_and_keeps_connections(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        data = tmp_path / name
        with Server(env={**os.environ, "XDG_DATA_HOME": str(data)}):
            pass
        folder = data / "selchat"
        both = tmp_path / f"{name}.pem"
        both.write_bytes(
            (folder / "server-certificate.pem").read_bytes() + (folder / "server-key.pem").read_bytes()
        )
        paths.append(both)
    file = tmp_path / "served.pem"
    file.write_bytes(paths[0].read_bytes())
    with Server("--no-roster", f"--cert={file}") as server, TlsClient(server.port, "Michael") as michael:
        first = server.fingerprint
        file.write_bytes(paths[1].read_bytes())
        server.process.send_signal(signal.SIGHUP)
        found = server.expect(r"Key fingerprint \(for selchat chat\):\n([0-9a-f ]{79})\n")
        second = found.group(1).replace(" ", "")
        assert second == key_of(server.port) != first
        with TlsClient(server.port, "Narayan") as narayan:
            narayan.send("still there?")
            assert michael.read_pair() == ("Narayan", "still there?")


# -- TLS is required -------------------------------------------------------------------------------------

# In a separate network namespace, where it can have an address that is not loopback's.
_ELSEWHERE = "192.0.2.1"
_IN_A_NETWORK = f"ip link set lo up && ip addr add {_ELSEWHERE}/32 dev lo && "


def in_a_network() -> None:
    """Skip the test where no such network can be made."""
    try:
        made = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f"{_IN_A_NETWORK}true"],
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if made.returncode:
        pytest.skip(f"no network of our own: {made.stderr.decode()}")


def required() -> None:
    """The test itself, in that network."""
    with Server("--no-roster", "--tls=require", host="0.0.0.0") as server:
        for client in (Client(server.port, "Michael"), TlsClient(server.port, "Narayan")):
            with client:  # from loopback, all is well
                server.expect("Michael|Narayan")
        with TlsClient(server.port, "Zoe", _ELSEWHERE) as client:
            client.sock.getpeercert()  # type: ignore[attr-defined]
            server.expect("Zoe")
        with Client(server.port, "Venkat", _ELSEWHERE) as client:
            assert client.read_frame() == "Server"
            assert "takes only encrypted connections" in client.read_frame()
            assert client.read_to_end() == b""
        with socket.create_connection((_ELSEWHERE, server.port), DEADLINE) as sock:
            sock.sendall(encoded(greeting("Venkat")))
            data = b""
            while part := sock.recv(1 << 16):
                data += part
        assert b'"code":"tls-required"' in data
        assert b'"type":"bye"' in data
        server.stop()
        assert server.errors() == ""


def test_required_tls_allows_plaintext_only_from_loopback() -> None:
    in_a_network()
    program = "from tests.e2e.test_tls import required; required()"
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f'{_IN_A_NETWORK}exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", program], capture_output=True, text=True, timeout=3 * DEADLINE
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_required_tls_allows_plaintext_for_every_client_on_loopback() -> None:
    with Server("--no-roster", "--tls=require") as server:
        with Client(server.port, "Michael") as one, TlsClient(server.port, "Narayan") as other:
            for _ in range(2):
                server.expect("Michael|Narayan")
            one.send("hello")
            assert other.read_pair() == ("Michael", "hello")


# -- many ------------------------------------------------------------------------------------------------


class Reader:
    """One of many selchat clients over TLS; ``bodies`` are the bodies received so far."""

    def __init__(self, port: int, name: str) -> None:
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.sock = encrypted(sock)
        self.sock.sendall(encoded(greeting(name)))
        self._frames = Frames()
        self.welcomed = False
        self.seqs: list[int] = []
        self.sock.setblocking(False)

    def read(self) -> None:
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except ssl.SSLWantReadError:
                return
            assert data, "closed"
            for payload in self._frames.feed(data):
                self.welcomed |= payload.startswith(b'{"type":"welcome"')
                if payload.startswith(b'{"type":"said"'):
                    found = re.search(rb'"seq":(\d+),.*"body":"(\d+) ', payload)
                    assert found is not None
                    assert int(found[1]) == int(found[2])
                    self.seqs.append(int(found[1]))


@pytest.fixture
def readers() -> Iterator[list[Reader]]:
    readers: list[Reader] = []
    yield readers
    for reader in readers:
        reader.sock.close()


def test_200_tls_readers_get_1000_messages_in_order_despite_a_slow_one(
    readers: list[Reader],
) -> None:
    count, messages = 200, 1000
    with Server("--no-roster", "--quiet") as server:
        readers.extend(Reader(server.port, f"reader {number}") for number in range(count))
        *quick, slow = readers
        with selectors.DefaultSelector() as selector, TlsSelchatPeer(server.port, "Venkat") as talker:
            for reader in readers:
                selector.register(reader.sock, selectors.EVENT_READ, reader)

            def turn() -> None:
                for key, _ in selector.select(0.05):
                    key.data.read()

            def until(done: object, what: str) -> None:
                deadline = time.monotonic() + 3 * DEADLINE
                while not done():  # type: ignore[operator]
                    assert time.monotonic() < deadline, what
                    turn()

            until(lambda: all(reader.welcomed for reader in readers), "all are in")
            selector.unregister(slow.sock)
            padding = "x" * 1000
            for first in range(0, messages, 50):
                talker.send(
                    *(
                        {"type": "say", "room": "lobby", "id": f"{n}", "body": f"{n + 1} {padding}"}
                        for n in range(first, first + 50)
                    )
                )
                turn()
            until(lambda: all(len(reader.seqs) >= messages for reader in quick), "the quick have all")
            assert slow.seqs == []
            selector.register(slow.sock, selectors.EVENT_READ, slow)
            slow.read()  # there may be something decrypted already, which no selector tells
            until(lambda: len(slow.seqs) >= messages, "the slow one has all")
        for reader in readers:
            assert reader.seqs == list(range(1, messages + 1))
        server.stop()
        assert server.errors() == ""


def test_untrusted_certificate_shows_no_line_on_the_console() -> None:
    with Server() as server:
        strict = ssl.create_default_context()
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as sock, pytest.raises(ssl.SSLError):
                strict.wrap_socket(sock, server_hostname="localhost")
        with Client(server.port, "Venkat"):
            shown = server.expect("(?s).*Accepted new connection from .*, username: Venkat\n")[0]
        assert "Closed connection" not in shown
