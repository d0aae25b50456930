"""The plain chat and ``send`` on the selchat protocol; the server's part runs in a thread."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.selchat_support import LIMITS, Fields, ack, encoded, error, said, users, welcome
from tests.client.support import RawConnection, RawServer, eventually, frame, pair, serving
from tests.client.test_plain import Outcome, chat, piped, send

__all__ = ["piped"]  # a fixture

CONNECTED = "Connected to the Server: 127.0.0.1\n"
GOODBYE: Fields = {"type": "bye", "reason": "goodbye", "retry_after": None}


class Peer:
    """The server's end: what has come, one after the other."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection
        self._taken = 0

    def take(self, kind: str) -> Fields:
        """The next of what the client sends; it must be this."""
        eventually(lambda: len(self.connection.frames()) > self._taken, kind)
        got: Fields = json.loads(self.connection.frames()[self._taken])
        assert got["type"] == kind
        self._taken += 1
        return got

    def send(self, *messages: Fields) -> None:
        self.connection.send(encoded(*messages))

    def end(self) -> None:
        """Take the bye, and close."""
        self.take("bye")
        self.send(GOODBYE)
        self.connection.close()


def greeted(server: RawServer, *messages: Fields) -> Peer:
    peer = Peer(server.accept())
    peer.take("hello")
    peer.send(*(messages or [welcome()]))
    return peer


def rich(script: Callable[[RawServer], object], run: Callable[[int], Outcome]) -> Outcome:
    with serving(script) as server:
        return run(server.port)


# -- plain ---------------------------------------------------------------------------------------------


def test_a_chat(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped

    def script(server: RawServer) -> None:
        peer = greeted(server, welcome(name="Michael 2"), said(1, body="Hey!\x1b[2J"))
        os.write(typed, b"one\n")
        say = peer.take("say")
        peer.send(ack(say["id"], 2), said(3, "Server", "Good morning"))
        peer.send({"type": "joined", "room": "lobby", "names": ["Zoe", "Michael 2"], "total": 3})
        eventually(lambda: "Zoe joined" in (tmp_path / "err").read_text())
        os.write(typed, b"/join a\n/nope\ntwo\n")
        assert peer.take("join")["room"] == "a"
        assert peer.take("say")["room"] == "a"
        say = json.loads(peer.connection.frames()[-1])
        peer.send(users("a", 0, "Michael 2"), ack(say["id"], 1, "a"), said(2, room="a"), said(4))
        peer.send({"type": "topic", "room": "a", "topic": "tea", "from": "Zoe", "at": 1})
        whisper: Fields = {
            "type": "whispered",
            "seq": 1,
            "from": "Zoe",
            "to": "Michael 2",
            "at": 1,
            "body": "psst",
        }
        peer.send(whisper)
        assert peer.take("ack") == {"type": "ack", "whisper": 1}
        os.write(typed, b"/users\n/quit\nnever said\n")
        assert peer.take("users")["room"] == "a"
        peer.send(users("a", 2, "Michael 2"))
        peer.end()

    got = rich(script, lambda port: chat(tmp_path, port, source, wire="auto"))
    assert got.status == 1
    assert got.out == (
        "Venkat > Hey!\\x1b[2J\n"
        "Server > Good morning\n"
        "[a] Venkat > body 2\n"
        "[lobby] Venkat > body 4\n"
        "Zoe whispers > psst\n"
    )
    assert got.err == (
        f"{CONNECTED}"
        "Your name here is Michael 2\n"
        "Zoe joined (3 here)\n"
        "selchat: line 3: not sent: unknown command /nope; /help lists the commands, //text sends /text\n"
        "You are in a (1 here): about a\n"
        "[a] Zoe set the topic: tea\n"
        "Users in a (1): Michael 2\n"
    )


def test_a_chat_that_could_not_say_something(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        peer.send(error("muted", id=peer.take("say")["id"], room="lobby"))
        peer.end()

    got = rich(script, lambda port: chat(tmp_path, port, b"hey\n", wire="auto"))
    assert (got.status, got.out, got.err) == (1, "", f"{CONNECTED}selchat: not sent (hey): about muted\n")


def test_a_chat_in_a_room(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        assert peer.take("join")["room"] == "a"
        say = peer.take("say")
        assert (say["room"], say["body"]) == ("a", "* Michael waves")
        peer.send(users("a"), ack(say["id"], 1, "a"))
        peer.end()

    got = rich(script, lambda port: chat(tmp_path, port, b"/me waves\n", wire="auto", room="a"))
    assert (got.status, got.out) == (0, "")


def test_a_chat_is_told_of_an_outage_and_of_what_was_missed(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped

    def script(server: RawServer) -> None:
        peer = greeted(server)
        os.write(typed, b"one\n")
        id = peer.take("say")["id"]
        peer.send(error("not-stored", id=id))
        peer.take("say")
        peer.connection.close()
        peer = greeted(
            server,
            welcome(("lobby", 5), log="log 2"),
            {"type": "gap", "room": "lobby", "after": 0, "before": 5},
        )
        assert peer.take("say")["id"] == id
        os.close(typed)
        peer.send(said(5), ack(id, 6))
        peer.end()

    got = rich(script, lambda port: chat(tmp_path, port, source, wire="auto", store_seconds=0.01))
    assert (got.status, got.out) == (0, "Venkat > body 5\n")
    assert got.err == (
        f"{CONNECTED}"
        "The server cannot store messages now (about not-stored). The client keeps yours and sends them again.\n"
        "Connection lost: closed by the server; retrying in 0.0 s\n"
        f"{CONNECTED}"
        "The server has started a new history\n"
        "4 messages are missing here: the server no longer has them\n"
    )


def test_a_chat_that_was_ended(tmp_path: Path, piped: tuple[int, int]) -> None:
    def script(server: RawServer) -> None:
        greeted(server, welcome(), {"type": "bye", "reason": "kicked", "retry_after": None})

    got = rich(script, lambda port: chat(tmp_path, port, piped[0], wire="auto"))
    assert (got.status, got.err) == (1, f"{CONNECTED}selchat: the operator has removed you\n")


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        greeted(server, error("name-taken"))

    got = rich(script, lambda port: chat(tmp_path, port, b"hey\n", wire="auto"))
    assert (got.status, got.err) == (1, "selchat: the server said: about name-taken\n")


def test_a_huge_input_is_no_faster_than_the_acks(tmp_path: Path) -> None:
    count = 20_000

    def script(server: RawServer) -> None:
        peer = greeted(server, welcome(limits={**LIMITS, "unacknowledged": 1000}))
        data, seq, most = b"", 0, 0
        start = len(peer.connection.received)
        while seq < count:
            eventually(lambda start=start: len(peer.connection.received) > start)
            data += peer.connection.received[start:]
            start = len(peer.connection.received)
            answers, waiting = [], 0
            while len(data) >= 10 and len(data) >= 10 + int(data[:10]):
                size = int(data[:10])
                message = json.loads(data[10 : 10 + size])
                data = data[10 + size :]
                assert message["body"] == f"{seq:08}"
                seq += 1
                waiting += 1
                answers.append(ack(message["id"], seq))
            most = max(most, waiting)
            peer.send(*answers)
        assert most <= 1000
        peer.connection.close()

    lines = "".join(f"{number:08}\n" for number in range(count)).encode()
    got = rich(script, lambda port: chat(tmp_path, port, lines, wire="auto", queue_limit=400_000))
    assert (got.status, got.err) == (0, CONNECTED)


# -- send ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["/Hello\nWorld!", None])
def test_send(tmp_path: Path, message: str | None) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server, welcome(), said(1))
        say = peer.take("say")
        assert (say["room"], say["body"]) == ("lobby", message or "/one")
        peer.send(ack(say["id"], 2))
        peer.end()

    got = rich(script, lambda port: send(tmp_path, port, message, b"/one\n\n", wire="auto"))
    assert (got.status, got.err) == (0, "")


def test_send_to_a_room(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        assert peer.take("join")["room"] == "a"
        say = peer.take("say")
        assert say["room"] == "a"
        peer.send(users("a"), ack(say["id"], 1, "a"))
        peer.end()

    got = rich(script, lambda port: send(tmp_path, port, "hey", wire="auto", room="a"))
    assert (got.status, got.err) == (0, "")


def test_send_what_is_refused(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        first, second = peer.take("say"), peer.take("say")
        peer.send(error("muted", id=first["id"]), ack(second["id"], 1))
        peer.end()

    got = rich(script, lambda port: send(tmp_path, port, None, b"one\ntwo\n", wire="auto"))
    assert (got.status, got.err) == (1, "selchat: not sent (one): about muted\n")


def test_send_says_again_what_is_lost_or_not_stored(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        id = peer.take("say")["id"]
        peer.send(error("not-stored", id=id))
        assert peer.take("say")["id"] == id
        peer.connection.close()
        peer = greeted(server)
        assert peer.take("say")["id"] == id
        peer.send(ack(id, 1))
        peer.end()

    got = rich(
        script,
        lambda port: send(
            tmp_path, port, "hey", wire="auto", store_seconds=0.01, retry_base_seconds=0.01
        ),
    )
    assert got.status == 0
    assert got.err.startswith("selchat: The server cannot store messages now (about not-stored).")
    assert "selchat: Connection lost: closed by the server; retrying in 0.0 s\n" in got.err


def test_send_what_nobody_acknowledges(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        peer.take("say")
        eventually(lambda: peer.connection.received and peer.connection.ended)

    got = rich(script, lambda port: send(tmp_path, port, "hey", wire="auto", finish_seconds=0.3))
    assert (got.status, got.err) == (1, "selchat: out of time; 1 message was not acknowledged\n")


def test_send_to_a_full_server(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        greeted(server, {"type": "bye", "reason": "full", "retry_after": 10})

    got = rich(script, lambda port: send(tmp_path, port, "hey", wire="auto"))
    assert (got.status, got.err) == (
        1,
        "selchat: the server is full; 1 message was not acknowledged\n",
    )


def test_send_to_a_room_of_a_classic_server(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received)
        peer.send(pair("Server", "Users online (1): A"))
        peer = server.accept()
        eventually(lambda: peer.received and peer.ended)
        assert peer.received == frame("Michael")
        peer.close()

    got = rich(script, lambda port: send(tmp_path, port, "hey", wire="auto", room="a"))
    assert (got.status, got.err) == (
        1,
        "selchat: not sent (hey): this server speaks only the classic protocol, which has no rooms\n",
    )


def test_send_interrupted(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = greeted(server)
        peer.take("say")
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: peer.connection.received and peer.connection.ended)

    assert rich(script, lambda port: send(tmp_path, port, "hey", wire="auto")).status == 130
