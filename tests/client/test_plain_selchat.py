"""The plain chat and ``send`` on the selchat protocol, with a fake server in a thread."""

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
    """The server's end of a connection."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection
        self._count = 0

    def receive(self, kind: str) -> Fields:
        """Return the next message of the client, which must have this type."""
        eventually(lambda: len(self.connection.frames()) > self._count, kind)
        got: Fields = json.loads(self.connection.frames()[self._count])
        assert got["type"] == kind
        self._count += 1
        return got

    def send(self, *messages: Fields) -> None:
        self.connection.send(encoded(*messages))

    def end(self) -> None:
        """Receive the bye, answer it and close."""
        self.receive("bye")
        self.send(GOODBYE)
        self.connection.close()


def welcome_client(server: RawServer, *messages: Fields) -> Peer:
    peer = Peer(server.accept())
    peer.receive("hello")
    peer.send(*(messages or [welcome()]))
    return peer


def run_selchat(script: Callable[[RawServer], object], run: Callable[[int], Outcome]) -> Outcome:
    with serving(script) as server:
        return run(server.port)


# -- plain ---------------------------------------------------------------------------------------------


def test_user_chats_in_rooms_and_direct_messages(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped

    def script(server: RawServer) -> None:
        peer = welcome_client(server, welcome(name="Michael 2"), said(1, body="Hey!\x1b[2J"))
        os.write(typed, b"one\n")
        say = peer.receive("say")
        peer.send(ack(say["id"], 2), said(3, "Server", "Good morning"))
        peer.send({"type": "joined", "room": "lobby", "names": ["Zoe", "Michael 2"], "total": 3})
        eventually(lambda: "Zoe joined" in (tmp_path / "err").read_text())
        os.write(typed, b"/join a\n/nope\ntwo\n")
        assert peer.receive("join")["room"] == "a"
        assert peer.receive("say")["room"] == "a"
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
        assert peer.receive("ack") == {"type": "ack", "whisper": 1}
        os.write(typed, b"/users\n/quit\nnever said\n")
        assert peer.receive("users")["room"] == "a"
        peer.send(users("a", 2, "Michael 2"))
        peer.end()

    got = run_selchat(script, lambda port: chat(tmp_path, port, source, wire="auto"))
    assert got.status == 1
    assert got.out == (
        "Venkat > Hey!\\x1b[2J\n"
        "Server > Good morning\n"
        "[a] Venkat > body 2\n"
        "Venkat > body 4\n"
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


def test_a_refused_message_makes_the_status_1(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.send(error("muted", id=peer.receive("say")["id"], room="lobby"))
        peer.end()

    got = run_selchat(script, lambda port: chat(tmp_path, port, b"hey\n", wire="auto"))
    assert (got.status, got.out, got.err) == (1, "", f"{CONNECTED}selchat: not sent (hey): about muted\n")


def test_a_chat_starts_in_the_given_room(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        assert peer.receive("join")["room"] == "a"
        say = peer.receive("say")
        assert (say["room"], say["body"]) == ("a", "* Michael waves")
        peer.send(users("a"), ack(say["id"], 1, "a"))
        peer.end()

    got = run_selchat(script, lambda port: chat(tmp_path, port, b"/me waves\n", wire="auto", room="a"))
    assert (got.status, got.out) == (0, "")


def test_an_outage_and_a_gap_are_reported(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped

    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        os.write(typed, b"one\n")
        id = peer.receive("say")["id"]
        peer.send(error("not-stored", id=id))
        peer.receive("say")
        peer.connection.close()
        peer = welcome_client(
            server,
            welcome(("lobby", 5), log="log 2"),
            {"type": "gap", "room": "lobby", "after": 0, "before": 5},
        )
        assert peer.receive("say")["id"] == id
        os.close(typed)
        peer.send(said(5), ack(id, 6))
        peer.end()

    got = run_selchat(script, lambda port: chat(tmp_path, port, source, wire="auto", store_seconds=0.01))
    assert (got.status, got.out) == (0, "Venkat > body 5\n")
    assert got.err == (
        f"{CONNECTED}"
        "Not stored yet: the server cannot store messages now (about not-stored). "
        "The client keeps yours and sends them again.\n"
        "Connection lost: closed by the server; retrying in 0.0 s\n"
        f"{CONNECTED}"
        "The server has started a new history\n"
        "4 messages are missing here: the server no longer has them\n"
    )


def page(first: int, last: int, **more: object) -> Fields:
    """Return a page of the lobby's history."""
    messages = [
        {"from": "Venkat", "seq": seq, "at": 1, "body": f"body {seq}" if seq > 1 else "needle"}
        for seq in range(first, last + 1)
    ]
    return {"type": "history", "room": "lobby", "messages": messages, "more": first > 1, **more}


@pytest.mark.parametrize("end", ["", "/quit\n"])
def test_the_end_of_the_input_waits_for_answers(tmp_path: Path, end: str) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        for last in (2501, 1501, 501):
            assert peer.receive("history").get("before", 2502) == last + 1
            if last == 2501:
                assert peer.receive("rooms")
            peer.send(page(max(1, last - 999), last))
            if last == 2501:
                peer.send({"type": "rooms", "rooms": [], "total": 0})
        peer.end()

    source = f"/search needle\n/rooms\n{end}".encode()
    got = run_selchat(script, lambda port: chat(tmp_path, port, source, wire="auto"))
    assert got.status == 0
    assert got.err.endswith("Venkat > needle\n1 message with needle among the last 2501 messages of lobby\n")


def test_unanswered_commands_at_the_end_of_the_input_are_an_error(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.receive("history")
        eventually(lambda: peer.connection.ended)

    got = run_selchat(
        script, lambda port: chat(tmp_path, port, b"/history\n", wire="auto", finish_seconds=0.2)
    )
    assert (got.status, got.err) == (
        1,
        f"{CONNECTED}selchat: out of time; the server did not answer every command\n",
    )


def test_a_search_continues_on_the_next_connection(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.receive("history")
        peer.send(page(1001, 2000))
        peer.receive("history")
        peer.connection.close()
        peer = welcome_client(server)
        assert peer.receive("history")["before"] == 1001
        peer.send(page(1, 1000))
        peer.end()

    got = run_selchat(script, lambda port: chat(tmp_path, port, b"/search 1234\n", wire="auto"))
    assert got.status == 0
    assert got.err.endswith(
        " Venkat > body 1234\n1 message with 1234 among the last 2000 messages of lobby\n"
    )


def test_a_refused_search_leaves_no_trace(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.receive("history")
        peer.receive("topic")
        peer.receive("history")
        peer.send(error("not-readable", room="lobby"), error("muted", room="lobby"), page(1, 2))
        peer.end()

    source = b"/search body\n/topic x\n/history 2\n"
    got = run_selchat(script, lambda port: chat(tmp_path, port, source, wire="auto"))
    assert got.status == 1
    assert got.err.count("\n") == 5
    assert [line[-18:] for line in got.err.splitlines()[1:3]] == ["about not-readable", "lchat: about muted"]
    assert got.err.endswith(" Venkat > body 2\n")


def test_a_kick_ends_the_chat(tmp_path: Path, piped: tuple[int, int]) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, welcome(), {"type": "bye", "reason": "kicked", "retry_after": None})

    got = run_selchat(script, lambda port: chat(tmp_path, port, piped[0], wire="auto"))
    assert (got.status, got.err) == (1, f"{CONNECTED}selchat: the operator has removed you\n")


def test_a_taken_name_ends_the_chat(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, error("name-taken"))

    got = run_selchat(script, lambda port: chat(tmp_path, port, b"hey\n", wire="auto"))
    assert (got.status, got.err) == (
        1,
        "selchat: the server said: about name-taken; choose another name with --name=NAME\n",
    )


def test_a_huge_input_keeps_the_window_of_unacknowledged_messages(tmp_path: Path) -> None:
    count = 20_000

    def script(server: RawServer) -> None:
        peer = welcome_client(server, welcome(limits={**LIMITS, "unacknowledged": 1000}))
        data, seq, max_unacknowledged = b"", 0, 0
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
            max_unacknowledged = max(max_unacknowledged, waiting)
            peer.send(*answers)
        assert max_unacknowledged <= 1000
        peer.connection.close()

    lines = "".join(f"{number:08}\n" for number in range(count)).encode()
    got = run_selchat(script, lambda port: chat(tmp_path, port, lines, wire="auto", queue_limit=400_000))
    assert (got.status, got.err) == (0, CONNECTED)


# -- send ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["/Hello\nWorld!", None])
def test_send_waits_for_the_ack(tmp_path: Path, message: str | None) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server, welcome(), said(1))
        say = peer.receive("say")
        assert (say["room"], say["body"]) == ("lobby", message or "/one")
        peer.send(ack(say["id"], 2))
        peer.end()

    got = run_selchat(script, lambda port: send(tmp_path, port, message, b"/one\n\n", wire="auto"))
    assert (got.status, got.err) == (0, "")


def test_send_joins_the_room(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        assert peer.receive("join")["room"] == "a"
        say = peer.receive("say")
        assert say["room"] == "a"
        peer.send(users("a"), ack(say["id"], 1, "a"))
        peer.end()

    got = run_selchat(script, lambda port: send(tmp_path, port, "hey", wire="auto", room="a"))
    assert (got.status, got.err) == (0, "")


def test_send_reports_refused_messages(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        first, second = peer.receive("say"), peer.receive("say")
        peer.send(error("muted", id=first["id"]), ack(second["id"], 1))
        peer.end()

    got = run_selchat(script, lambda port: send(tmp_path, port, None, b"one\ntwo\n", wire="auto"))
    assert (got.status, got.err) == (1, "selchat: not sent (one): about muted\n")


def test_send_repeats_lost_and_unstored_messages(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        id = peer.receive("say")["id"]
        peer.send(error("not-stored", id=id))
        assert peer.receive("say")["id"] == id
        peer.connection.close()
        peer = welcome_client(server)
        assert peer.receive("say")["id"] == id
        peer.send(ack(id, 1))
        peer.end()

    got = run_selchat(
        script,
        lambda port: send(tmp_path, port, "hey", wire="auto", store_seconds=0.01, retry_base_seconds=0.01),
    )
    assert got.status == 0
    assert got.err.startswith(
        "selchat: Not stored yet: the server cannot store messages now (about not-stored)."
    )
    assert "selchat: Connection lost: closed by the server; retrying in 0.0 s\n" in got.err


def test_send_reports_unacknowledged_messages(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.receive("say")
        eventually(lambda: peer.connection.received and peer.connection.ended)

    got = run_selchat(script, lambda port: send(tmp_path, port, "hey", wire="auto", finish_seconds=1.0))
    assert (got.status, got.err) == (1, "selchat: out of time; 1 message was not acknowledged\n")


def test_send_reports_a_full_server(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, {"type": "bye", "reason": "full", "retry_after": 10})

    got = run_selchat(script, lambda port: send(tmp_path, port, "hey", wire="auto"))
    assert (got.status, got.err) == (
        1,
        "selchat: the server is full; 1 message was not acknowledged\n",
    )


def test_send_to_a_room_fails_on_a_classic_server(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received)
        peer.send(pair("Server", "Users online (1): A"))
        peer = server.accept()
        eventually(lambda: peer.received and peer.ended)
        assert peer.received == frame("Michael")
        peer.close()

    got = run_selchat(script, lambda port: send(tmp_path, port, "hey", wire="auto", room="a"))
    assert (got.status, got.err) == (
        1,
        "selchat: not sent (hey): this server speaks only the classic protocol, which has no rooms\n",
    )


def test_send_exits_with_130_after_sigint(tmp_path: Path) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        peer.receive("say")
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: peer.connection.received and peer.connection.ended)

    assert run_selchat(script, lambda port: send(tmp_path, port, "hey", wire="auto")).status == 130
