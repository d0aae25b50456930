"""The HTTP API, metrics and health checks of a real server."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import SELCHAT
from tests.e2e.support import DEADLINE, Client, Server, eventually
from tests.server.test_metrics import samples

DOCUMENT = (Path(__file__).parents[2] / "docs/http.rst").read_text()

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def run_token(*words: str) -> str:
    command = [*SELCHAT, "token", *words]
    return subprocess.check_output(command, text=True, timeout=DEADLINE, stderr=subprocess.DEVNULL).strip()


class Script:
    """An HTTP client with one connection."""

    def __init__(self, server: Server, token: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> tuple[int, bytes]:
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        return response.status, response.read()

    def post(self, body: str, id: str = "", room: str = "lobby") -> tuple[int, dict[str, Any]]:
        headers = {**self.headers, **({"Idempotency-Key": id} if id else {})}
        self.connection.request("POST", f"/rooms/{room}/messages", body.encode(), headers)
        response = self.connection.getresponse()
        assert response.headers["content-type"] == "application/json"
        return response.status, json.loads(response.read())

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--no-roster", "--security-contact=mailto:a@b.example") as server:
        yield server


def test_metrics_count_messages_members_and_connections(tmp_path: Path) -> None:
    with (
        Server("--no-roster", f"--history={tmp_path / 'history.sqlite'}") as server,
        Client(server.port, "Venkat") as venkat,
        Client(server.port, "Michael") as michael,
    ):
        server.expect("username: Venkat(.|\n)*username: Michael|username: Michael(.|\n)*username: Venkat")
        with Script(server, run_token("ci")) as script:
            for number in range(3):
                venkat.send(f"message {number}")
                michael.read_until("Venkat", f"message {number}")
            assert script.post("The build is green")[0] == 201
            for reader in (venkat, michael):
                reader.read_until("ci", "The build is green")
            with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as browser:
                browser.sendall(_UPGRADE % server.port)
                assert browser.recv(4096).startswith(b"HTTP/1.1 101 ")
                assert samples(script.get("/metrics")[1])["selchat_connections{wire=web}"] == 1
            eventually(lambda: b'{wire="web"} 0' in script.get("/metrics")[1])
            status, text = script.get("/metrics")
            assert status == 200
            found = samples(text)
            assert found["selchat_messages_total"] == 4
            assert found["selchat_deliveries_total"] == 3 * 1 + 2
            assert found["selchat_members"] == found["selchat_connections{wire=classic}"] == 2
            assert found["selchat_connections{wire=http}"] == 1
            assert found["selchat_connections_accepted_total"] == 4
            assert found["selchat_commit_seconds_count"] >= 4
            assert 0 < found["selchat_commit_seconds_sum"] < DEADLINE
            assert found["selchat_log_bytes"] > 0
            assert found["process_open_fds"] > 3
            assert not re.search("Venkat|Michael|lobby", text.decode())


def test_document_lists_every_metric(server: Server) -> None:
    with Script(server) as script:
        text = script.get("/metrics")[1].decode()
    there = dict(re.findall(r"(?m)^# TYPE (selchat_\S+) (\S+)$", text))
    listed = dict(re.findall(r"(?m)^(selchat_\S+) +(gauge|counter|histogram) ", DOCUMENT))
    assert listed == there


def test_health_readiness_and_security_contact(server: Server) -> None:
    with Script(server) as script:
        assert script.get("/healthz") == (200, b"ok\n")
        assert script.get("/readyz") == (200, b"ready\n")
        status, text = script.get("/.well-known/security.txt")
        assert (status, text.splitlines()[0]) == (200, b"Contact: mailto:a@b.example")


def test_token_works_until_it_is_revoked_and_only_in_its_room(server: Server) -> None:
    with Script(server, "selchat_" + "0" * 64) as script:
        assert script.post("a")[0] == 401
        script.headers = {"Authorization": f"Bearer {run_token('--room=builds', 'ci')}"}
        assert script.post("a", room="%62uilds")[0] == 201
        assert script.post("a")[1]["error"] == "other-room"
        server.expect_line("Received message in builds from ci: a")
        run_token("--revoke=ci")
        assert script.post("a", room="builds")[0] == 401


@pytest.mark.parametrize("framing", [("Transfer-Encoding", "chunked"), ("Content-Length", "60000")])
def test_post_without_a_token_is_refused_before_its_body_is_sent(
    framing: tuple[str, str], server: Server
) -> None:
    with Script(server) as script:
        script.connection.putrequest("POST", "/rooms/lobby/messages")
        script.connection.putheader(*framing)
        script.connection.endheaders()
        response = script.connection.getresponse()
        assert (response.status, response.headers["connection"]) == (401, "close")
        assert json.loads(response.read())["error"] == "bad-token"


def test_chunked_post_is_stored(server: Server) -> None:
    with Script(server, run_token("ci")) as script:
        lines = [b"line %d\n" % number for number in range(200)]
        script.connection.request("POST", "/rooms/lobby/messages", iter(lines), script.headers)
        assert script.connection.getresponse().status == 201
        server.expect(r"Received message from ci: line 0\\nline 1\\nline 2\\n")


def test_repeated_post_after_kill_9_is_stored_once(tmp_path: Path) -> None:
    history, token = f"--history={tmp_path / 'history.sqlite'}", run_token("ci")
    answers = []
    for status in (201, 200):
        with Server(history) as server, Script(server, token) as script:
            answers.append(script.post("The build is green", "build 4711"))
            assert answers[-1][0] == status
            server.stop(signal.SIGKILL)
    assert answers[0][1] == answers[1][1]
    exported = subprocess.check_output([sys.executable, "-m", "selchat", "export", history], text=True)
    assert exported.count("The build is green") == 1


def test_unreadable_token_file_rejects_posts_and_warns_the_operator(server: Server) -> None:
    token = run_token("ci")
    path = Path(os.environ["XDG_DATA_HOME"]) / "selchat" / "tokens"
    with path.open("a") as file:
        file.write("nonsense\n")
    with Script(server, token) as script:
        assert script.post("a")[0] == 503
        server.expect(
            "Warning: all API tokens are rejected because the token file cannot be read: "
            f"{re.escape(str(path))}:4: not a token"
        )


def test_scripts_can_verify_the_server_by_its_certificate() -> None:
    with Server("--no-roster") as server:
        certificate = Path(os.environ["XDG_DATA_HOME"]) / "selchat" / "server-certificate.pem"
        for host in ("127.0.0.1", "localhost"):
            trusting = ssl.create_default_context(cafile=str(certificate))
            connection = http.client.HTTPSConnection(host, server.port, timeout=DEADLINE, context=trusting)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            connection.close()


COMMANDS = re.findall(r"(?m)^ +((?:\w+ \| )?curl (?:[^\\\n]|\\\n)*)$", DOCUMENT)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", [one for one in COMMANDS if "selchat-key" not in one])
def test_curl_command_of_the_document_works(command: str, server: Server) -> None:
    command = command.replace("localhost:33000", f"localhost:{server.port}")
    command = command.replace("~/.local/share", os.environ["XDG_DATA_HOME"])
    done = subprocess.run(
        ["sh", "-c", f"{command.removesuffix(';')}"],
        env={**os.environ, "TOKEN": run_token("ci")},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    if "messages" in command:
        assert json.loads(done.stdout)["from"] == "ci"
    else:
        assert done.stdout == "ok\n"


def test_document_has_curl_commands() -> None:
    assert len(COMMANDS) >= 5


def test_server_is_not_ready_while_it_cannot_store_messages(tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    with Server(f"--history={history}") as server, Script(server, run_token("ci")) as script:
        hidden = history.rename(tmp_path / "hidden")
        status, answer = script.post("a", "7")
        assert (status, answer["error"]) == (503, "not-stored")
        status, text = script.get("/readyz")
        assert (status, text.count(b"\n")) == (503, 1)
        assert b"cannot store messages at the moment" in text
        hidden.rename(history)
        eventually(lambda: script.get("/readyz")[0] == 200, "ready again without a new message")
        assert script.post("a", "7")[0] == 201
