"""The web page and the WebSocket chat of a real server, with the client of the ``websockets`` library."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from tests.e2e import processes
from tests.e2e.namespaces import SERVER, Network
from tests.e2e.namespaces import network as network  # a fixture
from tests.e2e.processes import SELCHAT
from tests.e2e.selchat_support import Fields, SelchatPeer, greeting, serving
from tests.e2e.support import DEADLINE, Client, Server, eventually

SCHEMES = ["http", "https"]


def unverified_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate, like a user who ignores the browser's warning."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def get(
    server: Server,
    path: str,
    scheme: str = "http",
    method: str = "GET",
    host: str = "127.0.0.1",
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request, and return status, headers and body."""
    connection: http.client.HTTPConnection
    if scheme == "https":
        connection = http.client.HTTPSConnection(
            host, server.port, timeout=DEADLINE, context=unverified_context()
        )
    else:
        connection = http.client.HTTPConnection(host, server.port, timeout=DEADLINE)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Browser:
    """A WebSocket client. With a ``name``, it sends the hello and reads the welcome."""

    def __init__(
        self,
        server: Server,
        name: str | None = None,
        scheme: str = "http",
        host: str = "127.0.0.1",
        **hello: Any,
    ) -> None:
        secure = scheme == "https"
        self._connecting: Any = connect(
            f"{'wss' if secure else 'ws'}://{host}:{server.port}/ws",
            ssl=unverified_context() if secure else None,
            origin=f"{scheme}://{host}:{server.port}",  # type: ignore[arg-type]
            proxy=None,
            open_timeout=DEADLINE,
            close_timeout=DEADLINE,
        )
        self.socket: ClientConnection = self._connecting.__enter__()
        self.welcome: Fields = {}
        try:
            if name is not None:
                self.send(greeting(name, **hello))
                self.welcome = self.read()
                assert self.welcome["type"] == "welcome", self.welcome
        except BaseException:
            self.close()
            raise

    def send(self, *messages: Fields) -> None:
        for message in messages:
            self.socket.send(json.dumps(message, ensure_ascii=False))

    def read(self) -> Fields:
        text = self.socket.recv(DEADLINE)
        assert isinstance(text, str)
        fields = json.loads(text)
        assert isinstance(fields, dict)
        return fields

    def say(self, body: str, id: str) -> Fields:
        self.send({"type": "say", "room": "lobby", "id": id, "body": body})
        return self.read()

    def end(self) -> tuple[list[Fields], int, str]:
        """Return all messages until the server closes, and the close code and reason."""
        found = []
        while True:
            try:
                found.append(self.read())
            except ConnectionClosed as error:
                assert error.rcvd is not None, "no close frame arrived"
                return found, error.rcvd.code, error.rcvd.reason

    def close(self) -> None:
        self._connecting.__exit__(None, None, None)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_page_and_its_files_are_served_with_security_headers(scheme: str) -> None:
    with Server("--quiet") as server:
        status, headers, page = get(server, "/", scheme)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert headers["Cache-Control"] == "no-cache"
        assert "'unsafe" not in headers["Content-Security-Policy"]
        assert b"://" not in re.sub(rb"http://www\.w3\.org/\S+", b"", page), (
            "the page loads nothing from other hosts"
        )
        needed = re.findall(r'(?:src|href)="/?([^"#]+)"', page.decode())
        assert len(needed) >= 3
        for path in needed:
            status, headers, body = get(server, f"/{path}", scheme, Accept_Encoding="gzip")
            assert status == 200, path
            assert body
            assert "immutable" in headers["Cache-Control"], path
            assert headers["X-Content-Type-Options"] == "nosniff"
        assert get(server, "/", scheme, If_None_Match=get(server, "/", scheme)[1]["ETag"])[0] == 304
        assert get(server, "/healthz", scheme)[2] == b"ok\n"
        assert get(server, "/nothing", scheme)[0] == 404
        assert get(server, "/", scheme, Host="evil.example")[0] == 421
        assert server.stop() == 0
        assert "Traceback" not in server.errors()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_browsers_share_a_room_with_other_clients(scheme: str) -> None:
    with (
        Server("--no-roster", "--no-history") as server,
        Browser(server, "Venkat", scheme) as venkat,
        Browser(server, "Ida", "http") as ida,
        SelchatPeer(server.port, "Narayan") as narayan,
        Client(server.port, "Michael") as michael,
    ):
        server.expect("username: Michael")
        assert venkat.say("hello from a browser: é\0\u0081~", "1")["type"] == "ack"
        for one in (ida, narayan):
            said = one.read()
            assert (said["from"], said["body"]) == ("Venkat", "hello from a browser: é\0\u0081~")
        assert michael.read_pair()[0] == "Venkat"
        michael.send("hello from the paper")
        long = "x" * 60_000
        for one in (venkat, ida, narayan):
            assert one.read()["body"] == "hello from the paper"
        assert narayan.say(long, "1")["type"] == "ack"
        for one in (venkat, ida):
            assert one.read()["body"] == long
        assert venkat.socket.ping().wait(DEADLINE), "a ping is answered"
        venkat.send({"type": "bye"})
        assert venkat.end() == ([{"type": "bye", "reason": "goodbye", "retry_after": None}], 1000, "goodbye")
        ida.socket.close(4001, "my own")
        server.expect("username: Ida")
        assert server.stop() == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_browser_needs_the_password(scheme: str) -> None:
    done = processes.run(
        [*SELCHAT, "hash-password"],
        input="tea at four\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    with (
        Server(f"--password={done.stdout.strip()}", "--no-history") as server,
        Browser(server, None, scheme) as one,
    ):
        one.send(greeting("Venkat"))
        assert one.read()["code"] == "password-needed"
        one.send(greeting("Venkat", password="tea at five"))
        assert one.read()["code"] == "wrong-password"
        one.send(greeting("Venkat", password="tea at four"))
        assert one.read()["name"] == "Venkat"


def test_browser_loses_and_doubles_no_message_over_a_restart(tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history) as server:
        port = server.port
        with Browser(server, "Venkat") as venkat, SelchatPeer(port, "Narayan") as narayan:
            for number in range(10):
                assert narayan.say(str(number), str(number))["type"] == "ack"
            received = [venkat.read()["seq"] for _ in range(5)]
            log = venkat.welcome["log"]
            server.process.send_signal(signal.SIGTERM)
            rest, code, _ = venkat.end()
            assert code == 1001
            assert rest[-1]["reason"] == "shutdown"
            assert rest[-1]["retry_after"] == 1.0
            received += [one["seq"] for one in rest if one["type"] == "said"]
        assert server.wait() == 0
    assert received == list(range(1, 11))
    with serving(history, port=port) as server, SelchatPeer(port, "Narayan") as narayan:
        assert narayan.say("meanwhile", "10")["type"] == "ack"
        resume = {"log": log, "rooms": {"lobby": 10}}
        with Browser(server, "Venkat", "https", resume=resume) as venkat:
            assert venkat.welcome["log"] == log
            assert (venkat.read()["seq"], narayan.say("live", "11")["type"]) == (11, "ack")
            assert venkat.read()["body"] == "live"
            server.type("/quit")
            rest, code, reason = venkat.end()
            assert (rest[-1]["reason"], code, reason) == ("shutdown", 1001, "shutdown")
        assert server.wait() == 0


def test_kicked_browser_gets_bye_and_close_code_1008() -> None:
    with Server("--no-roster", "--no-history") as server, Browser(server, "Venkat") as venkat:
        server.expect("username: Venkat")
        server.type("/kick Venkat")
        rest, code, _ = venkat.end()
        assert (rest[-1]["reason"], code) == ("kicked", 1008)


def test_allowed_hosts_follow_the_settings_and_their_reload(tmp_path: Path) -> None:
    file = tmp_path / "selchat.toml"
    file.write_text("allowed_host = ['chat.example']\n")

    def status(server: Server, host: str, path: str = "/healthz") -> int:
        return get(server, path, Host=f"{host}:{server.port}")[0]

    with Server(f"--config={file}", "--no-history") as server:
        assert status(server, "chat.example") == 200
        assert status(server, "other.example") == 421
        assert status(server, "localhost") == 200
        assert status(server, "evil.chat.example") == 421
        file.write_text("allowed_host = ['other.example']\n")
        server.process.send_signal(signal.SIGHUP)
        server.expect("other.example")
        assert status(server, "other.example") == 200
        assert status(server, "chat.example") == 421
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(f"ws://127.0.0.1:{server.port}/ws", origin="https://other.example", proxy=None),  # type: ignore[arg-type]
        ):
            pass
        assert caught.value.response.status_code == 403
        assert server.stop() == 0
    with Server("--allowed-host=chat.example,Second.Example", "--no-history") as server:
        assert (status(server, "chat.example"), status(server, "second.example")) == (200, 200)
        assert status(server, "third.example") == 421


def test_server_without_tls_serves_the_page_and_websockets() -> None:
    with Server("--tls=off", "--no-history", "--no-roster") as server:
        assert get(server, "/")[0] == 200
        with Browser(server, "Venkat") as venkat:
            assert venkat.say("hi", "1")["type"] == "ack"


def test_full_server_answers_503() -> None:
    with Server("--max-clients=1", "--no-history") as server, SelchatPeer(server.port, "Venkat"):
        status, headers, body = get(server, "/")
        assert (status, headers["Retry-After"]) == (503, "10")
        assert b"full" in body
        with pytest.raises(InvalidStatus) as caught:
            Browser(server)
        assert caught.value.response.status_code == 503


def test_invalid_websocket_messages_get_their_close_codes(tmp_path: Path) -> None:
    with Server("--no-history") as server:
        for data, text, code in [
            (b"binary", False, 1003),
            (b"\xff", True, 1007),
            (b"x" * 65_537, True, 1009),
        ]:
            with Browser(server, "Venkat") as venkat:
                venkat.socket.send(data, text=text)
                assert venkat.end()[1] == code
        assert server.stop() == 0
        assert "Traceback" not in server.errors()


def test_short_connections_leak_no_descriptor() -> None:
    with (
        Server("--quiet", "--no-roster", "--no-history") as server,
        SelchatPeer(server.port, "Narayan") as narayan,
    ):
        before = server.descriptors()
        for number in range(30):
            with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"[: number * 3])
            get(server, "/", "https" if number % 2 else "http")
            with Browser(server, f"visitor {number}"):
                pass
        eventually(lambda: server.descriptors() == before, "all descriptors are closed")
        narayan.assert_nothing_more()


def test_other_machines_are_redirected_to_https(network: Network) -> None:
    with (
        Server("--no-roster", host=SERVER, wrapper=network.server_wrapper) as server,
        network.on_client_machine(),
    ):
        status, headers, body = get(server, "/ws?x", host=SERVER)
        assert (status, headers["Location"]) == (308, f"https://{SERVER}:{server.port}/ws?x")
        assert "'none'" in headers["Content-Security-Policy"]
        groups = " ".join(re.findall("....", server.fingerprint))
        assert groups in body.decode()
        status, _, body = get(server, "/", host=SERVER, Accept="text/html")
        assert status == 200
        assert f'<a href="https://{SERVER}:{server.port}/">' in body.decode()
        with pytest.raises(InvalidURI, match="https://"):  # a redirect, which this client does not follow
            Browser(server, host=SERVER)
        assert get(server, "/", "https", host=SERVER)[0] == 200
        assert get(server, "/", "https", host=SERVER, Host="10.97.53.2")[0] == 421
        with Browser(server, "Venkat", "https", host=SERVER) as venkat:
            assert venkat.say("hi", "1")["type"] == "ack"
