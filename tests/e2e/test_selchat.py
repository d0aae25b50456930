"""The selchat protocol on real sockets, as transcripts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.selchat_support import Fields, SelchatPeer, encoded, greeting, said, secret, serving, without
from tests.e2e.support import Client, Server, eventually, frame, pair

_LIMITS = {
    "frame": 65536,
    "name": 32,
    "room": 32,
    "topic": 256,
    "id": 64,
    "cipher": 256,
    "rooms": 100,
    "history": 1000,
    "unacknowledged": 1024,
}


def quiet(*options: str) -> Server:
    """Start a server without a history file that prints only warnings and sends no roster."""
    return Server("--quiet", "--no-roster", *options)


def kinds(messages: list[Fields]) -> list[str]:
    return [message["type"] for message in messages]


# -- one client --------------------------------------------------------------------------------------------


def test_conversation_works_byte_by_byte() -> None:
    hello = b'{"type":"hello","version":1,"name":" Venkat ","client":"9yAq3eTzqv0l1cZr6mW8nA"}'
    say = '{"type":"say","room":"lobby","id":"5f2c-1","body":"hello, everyone – \\u00e6"}'.encode()
    with (
        quiet() as server,
        SelchatPeer(server.port) as venkat,
        SelchatPeer(server.port, "Narayan") as narayan,
    ):
        venkat.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"80        " + hello:
            venkat.sock.send(bytes([byte]))
        welcome = venkat.read()
        [lobby] = welcome["rooms"]
        assert len(welcome["salt"]) == len(lobby["salt"]) == 22
        assert without(welcome, "log", "server", "salt") == {
            "type": "welcome",
            "version": 1,
            "name": "Venkat",
            "rooms": [{"room": "lobby", "seq": 0, "topic": "", "members": 2, "salt": lobby["salt"]}],
            "whispers": 0,
            "limits": _LIMITS,
            "rates": {"messages": 0, "burst": 20, "bytes": 0},
        }
        assert len(say) == 79
        for byte in b"        79" + say:  # left-padded, which the server accepts too
            venkat.sock.send(bytes([byte]))
        ack = venkat.read()
        assert without(ack, "at") == {"type": "ack", "room": "lobby", "id": "5f2c-1", "seq": 1}
        assert narayan.read() == {
            "type": "said",
            "room": "lobby",
            "from": "Venkat",
            "seq": 1,
            "at": ack["at"],
            "id": "5f2c-1",
            "body": "hello, everyone – æ",
        }
        assert venkat.request("bye") == {"type": "bye", "reason": "goodbye", "retry_after": None}
        assert venkat.read_to_end() == []
        venkat.close()
        narayan.assert_nothing_more()


def test_requests_before_a_half_close_are_all_answered() -> None:
    """Like ``nc`` with a file on its input: the answers arrive after the half-close."""
    with quiet() as server, SelchatPeer(server.port) as peer:
        peer.send(
            greeting("Venkat"),
            {"type": "join", "room": "engine-room"},
            *({"type": "say", "room": "lobby", "id": f"{number}", "body": "x"} for number in range(500)),
            {"type": "say", "room": "engine-room", "id": "500", "body": "x"},
            {"type": "ping"},
        )
        peer.sock.shutdown(socket.SHUT_WR)
        answers = peer.read_to_end()
    assert kinds(answers)[:2] == ["welcome", "users"]
    acks = [(one["room"], one["id"], one["seq"]) for one in answers if one["type"] == "ack"]
    assert acks == [("lobby", f"{number}", number + 1) for number in range(500)] + [("engine-room", "500", 1)]
    assert kinds(answers).count("pong") == 1
    assert len(answers) == 504


def test_each_mistake_gets_an_error_and_the_connection_stays_open() -> None:
    with quiet() as server, SelchatPeer(server.port) as peer:
        for payload, code in [
            (b'{"type":"hello","version":1}', "bad-message"),
            (b'{"type":"say"}', "bad-message"),
            (b'{"type":"rooms"}', "not-hello"),
            (encoded(greeting("Venkat", version=2))[10:], "version"),
            (encoded(greeting("\u200b "))[10:], "bad-name"),
            (encoded(greeting("server"))[10:], "name-taken"),
            (b"", "bad-json"),
            (b"\xff", "bad-json"),
            (b"[" * 4_000, "bad-json"),
            (b'{"type":"hello","type":"hello"}', "bad-json"),
        ]:
            peer.sock.sendall(frame(payload))
            answer = peer.read()
            assert (answer["type"], answer["code"]) == ("error", code), payload
        assert peer.request(**greeting("Venkat"))["type"] == "welcome"
        for message, code in [
            (greeting("Venkat"), "already-welcome"),
            ({"type": "dance"}, "unknown-type"),
            ({"type": "say", "room": "nowhere", "id": "1", "body": ""}, "not-in-room"),
            ({"type": "say", "room": "lobby", "id": "x" * 65, "body": ""}, "bad-message"),
            ({"type": "history", "room": "lobby", "limit": 1001}, "bad-message"),
            ({"type": "history", "room": "lobby", "limit": 10**40}, "bad-message"),
            ({"type": "users", "room": "nowhere"}, "no-such-room"),
            ({"type": "join", "room": "two words"}, "bad-room"),
            ({"type": "whisper", "to": "nobody", "id": "2", "body": ""}, "no-such-name"),
            ({"type": "whisper", "to": "Server", "id": "3", "body": "/users"}, "not-operator"),
            ({"type": "topic", "room": "lobby", "topic": "x" * 257}, "bad-message"),
        ]:
            answer = peer.request(**message)
            assert (answer["type"], answer["code"]) == ("error", code), message
        assert peer.say("still here", "4")["seq"] == 1


@pytest.mark.parametrize(
    "data", [b"not a frame", b"65537     ", b"-1        ", b"9999999999", b"\0" * 100, b"5         \n\n"]
)
def test_broken_stream_is_closed_with_a_reason(data: bytes) -> None:
    with quiet() as server, SelchatPeer(server.port, "Eve") as eve, SelchatPeer(server.port, "Asa") as asa:
        eve.send({"type": "say", "room": "lobby", "id": "1", "body": "before"})
        eve.sock.sendall(data)
        if data.startswith(b"5 "):  # an unfinished frame, which is no error yet
            eve.sock.shutdown(socket.SHUT_WR)
            assert kinds(eve.read_to_end()) == ["ack"]
        else:
            answers = eve.read_to_end()
            assert kinds(answers) == ["ack", "bye"]
            assert answers[-1] == {"type": "bye", "reason": "protocol", "retry_after": None}
        assert said(asa.read()) == ("Eve", 1, "before")
        asa.assert_nothing_more()


def test_second_sign_in_replaces_the_first() -> None:
    with quiet() as server, SelchatPeer(server.port, "Venkat") as old:
        assert old.say("one", "1")["seq"] == 1
        with SelchatPeer(server.port, "venkat", client=secret("Venkat")) as new:
            assert old.read_to_end() == [{"type": "bye", "reason": "replaced", "retry_after": None}]
            assert new.say("one", "1")["seq"] == 1, "a repeated id on another connection is not stored again"
            assert new.say("two", "2")["seq"] == 2


# -- one room ----------------------------------------------------------------------------------------------


def test_classic_and_selchat_clients_share_a_room() -> None:
    with (
        quiet() as server,
        SelchatPeer(server.port, "Selma") as selma,
        Client(server.port, "Classic") as classic,
    ):
        selma.wait_for_member("Classic")
        classic.send("hello from long ago")
        message = selma.read()
        assert without(message, "at") == {
            "type": "said",
            "room": "lobby",
            "from": "Classic",
            "seq": 1,
            "body": "hello from long ago",
        }
        assert selma.say("hello\nfrom today", "1")["seq"] == 2
        assert classic.read(len(pair("Selma", "hello\nfrom today"))) == pair("Selma", "hello\nfrom today")
        # After the name, a hello of the selchat protocol is an ordinary message.
        classic.send(json.dumps(greeting("Classic")))
        assert json.loads(selma.read()["body"])["type"] == "hello"
        assert selma.whisper("classic", "psst", "2")["seq"] == 0
        assert classic.read_pair() == ("Selma (whispers)", "psst")
        # Classic clients get only the lobby.
        selma.request("join", room="engine-room")
        assert selma.say("not for you", "3", "engine-room")["seq"] == 1
        assert selma.say("for you", "4")["seq"] == 4
        assert classic.read_pair() == ("Selma", "for you")
        server.type("the operator says so")
        assert classic.read_pair() == ("Server", "the operator says so")
        assert said(selma.read()) == ("Server", 5, "the operator says so")
        selma.assert_nothing_more()


def test_members_get_joined_and_left_notices() -> None:
    quick = {**os.environ, "SELCHAT_ROSTER_INTERVAL": "0.1"}
    with Server("--quiet", env=quick) as server, SelchatPeer(server.port, "Asa") as asa:
        first = asa.read()
        assert first == {"type": "joined", "room": "lobby", "names": ["Asa"], "total": 1}
        with Client(server.port, "Old") as old:
            assert asa.read() == {"type": "joined", "room": "lobby", "names": ["Old"], "total": 2}
            assert old.read_pair() == ("Server", "Users online (2): Asa, Old")
        assert asa.read() == {"type": "left", "room": "lobby", "names": ["Old"], "total": 1}


def test_message_that_grows_sixfold_in_json_can_be_replayed() -> None:
    body = "\1" * 65536  # JSON escapes each of these characters with six
    with quiet() as server:
        with SelchatPeer(server.port, "Asa") as asa, Client(server.port, "Old") as old:
            log = asa.welcome["log"]
            asa.wait_for_member("Old")
            for seq in range(1, 6):
                old.send(body)
                assert said(asa.read()) == ("Old", seq, body)
        resume = {"log": log, "rooms": {"lobby": 0}}
        with SelchatPeer(server.port, "Asa", resume=resume) as asa:
            for seq in range(1, 6):
                assert said(asa.read()) == ("Old", seq, body)
            answer = asa.request("history", room="lobby", limit=2)
            assert ([said(one) for one in answer["messages"]], answer["more"]) == ([("Old", 5, body)], True)


# -- rooms -------------------------------------------------------------------------------------------------


def test_join_part_topic_rooms_and_users() -> None:
    with quiet() as server, SelchatPeer(server.port, "Asa") as asa, SelchatPeer(server.port, "Bo") as bo:
        joined = asa.request("join", room="#Engine-Room")
        assert len(joined["salt"]) == 22
        assert without(joined, "salt") == {
            "type": "users",
            "room": "Engine-Room",
            "names": ["Asa"],
            "total": 1,
            "topic": "",
            "seq": 0,
        }
        topic = asa.request("topic", room="engine-room", topic="oil")
        assert without(topic, "at") == {"type": "topic", "room": "Engine-Room", "topic": "oil", "from": "Asa"}
        users = bo.request("join", room="engine-room")
        assert (users["room"], users["names"], users["topic"]) == ("Engine-Room", ["Asa", "Bo"], "oil")
        assert bo.request("join", room="engine-room") == users, "a repeated join is no error"
        ack = asa.say("pressure?", "1", "ENGINE-ROOM")
        assert (ack["room"], ack["seq"]) == ("Engine-Room", 1)
        assert said(bo.read()) == ("Asa", 1, "pressure?")
        assert bo.request("rooms") == {
            "type": "rooms",
            "start": 0,
            "total": 2,
            "rooms": [
                {"room": "Engine-Room", "members": 2, "topic": "oil", "seq": 1},
                {"room": "lobby", "members": 2, "topic": "", "seq": 0},
            ],
        }
        left = bo.request("part", room="engine-room")
        assert left == {"type": "left", "room": "Engine-Room", "names": ["Bo"], "total": 1}
        assert asa.say("fine", "2", "engine-room")["seq"] == 2
        assert bo.request("history", room="engine-room", limit=1)["code"] == "not-in-room"
        bo.assert_nothing_more()
        assert bo.request("join", room="engine-room")["seq"] == 2


def test_history_comes_in_pages() -> None:
    with quiet() as server, SelchatPeer(server.port, "Asa") as asa:
        asa.send(*({"type": "say", "room": "lobby", "id": f"{n}", "body": f"b{n}"} for n in range(1, 251)))
        asa.read_until(lambda one: one["type"] == "ack" and one["seq"] == 250)

        def page(limit: int, **where: int) -> tuple[list[int], bool]:
            answer = asa.request("history", room="lobby", limit=limit, **where)
            assert answer["type"] == "history"
            assert all(one["body"] == f"b{one['seq']}" for one in answer["messages"])
            return [one["seq"] for one in answer["messages"]], answer["more"]

        assert page(100) == (list(range(151, 251)), True)
        assert page(100, before=151) == (list(range(51, 151)), True)
        assert page(100, before=51) == (list(range(1, 51)), False)
        assert page(100, before=1) == ([], False)
        assert page(100, before=0) == ([], False)
        assert page(100, before=2**53 - 1) == (list(range(151, 251)), True)
        assert page(100, after=0) == (list(range(1, 101)), True)
        assert page(100, after=200) == (list(range(201, 251)), False)
        assert page(100, after=250) == ([], False)
        assert page(1, after=2**53 - 1) == ([], False)
        both = asa.request("history", room="lobby", limit=1, before=5, after=1)
        assert both["code"] == "bad-message"


def test_ten_pipelined_history_requests_are_all_answered() -> None:
    with quiet() as server, SelchatPeer(server.port, "Asa") as asa:
        for seq in (1, 2):
            assert asa.say("x" * 60_000, f"{seq}")["seq"] == seq
        asa.send(*[{"type": "history", "room": "lobby", "limit": 2}] * 10)
        for _ in range(10):
            answer = asa.read()
            assert ([one["seq"] for one in answer["messages"]], answer["more"]) == ([2], True)
        asa.assert_nothing_more()


# -- operators ---------------------------------------------------------------------------------------------


def run_command(operator: SelchatPeer, line: str, id: str) -> list[str]:
    """Send an operator command, and return the lines of the answer."""
    operator.send({"type": "whisper", "to": "Server", "id": id, "body": line}, {"type": "ping", "token": id})
    answers = operator.read_until(lambda one: one["type"] == "pong")
    assert (answers[0]["type"], answers[0]["id"], answers[0]["seq"]) == ("ack", id, 0)
    assert all((one["type"], one["from"], one["seq"]) == ("whispered", "Server", 0) for one in answers[1:-1])
    return [one["body"] for one in answers[1:-1]]


def operator_code(server: Server, name: str) -> str:
    """Return the one-time code that the server prints for a name of ``--operators``."""
    return server.expect(
        rf"Warning: nobody has claimed the operator name {name}\..* /claim ([0-9A-Z-]{{19}}), "
    )[1]


def test_remote_operator_mutes_bans_and_unbans(tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history, "--operators=Asa, Ops") as server, SelchatPeer(server.port, "Asa") as asa:
        code = operator_code(server, "Asa")
        assert operator_code(server, "Ops") != code
        assert asa.whisper("Server", "/users", "0")["code"] == "not-operator"
        assert run_command(asa, f"/claim {code}", "00")[0].startswith("You are an operator now")
        server.expect("Warning: Asa at 127.0.0.1:.* has claimed the operator name Asa")
        with SelchatPeer(server.port, "Eve") as eve:
            assert eve.whisper("Server", "/ban Asa", "1")["code"] == "not-operator"
            assert "no operator code" in run_command(eve, f"/claim {code}", "11")[0]
            assert run_command(asa, "/mute eve", "1") == ["Muted eve."]
            assert eve.say("!", "2")["code"] == "muted"
            assert run_command(asa, "/unmute eve", "2") == ["eve is no longer muted."]
            assert eve.say("!", "2")["type"] == "ack"
            assert said(asa.read()) == ("Eve", 1, "!")
            assert run_command(asa, "/ban Eve", "3") == ["Banned Eve. Disconnected: Eve."]
            assert eve.read_to_end() == [{"type": "bye", "reason": "banned", "retry_after": None}]
        assert run_command(asa, "/quit", "4") == [
            "Not stopped: /quit works only in the server's own terminal."
        ]
        assert run_command(asa, "hello?", "5") == ["Commands begin with a slash. Type /help to list them."]
        server.process.kill()
        server.wait()
    with serving(history, "--operators=asa") as server:
        assert "claim" not in server.seen
        with SelchatPeer(server.port) as eve:
            assert eve.request(**greeting("Eve"))["code"] == "banned"
            assert eve.read()["reason"] == "banned"
        with SelchatPeer(server.port) as thief:
            assert thief.request(**greeting("Asa", client="t" * 22))["code"] == "name-taken"
        with SelchatPeer(server.port, "Asa") as asa:
            assert run_command(asa, "/bans", "6") == ["Banned: Eve"]
            assert run_command(asa, "/unban Eve", "7") == ["Eve is no longer banned."]
        with SelchatPeer(server.port, "Eve") as eve:
            assert eve.say("!", "3")["type"] == "ack"


def test_operator_who_bans_themselves_gets_the_answer_first() -> None:
    with quiet() as server, SelchatPeer(server.port, "Asa") as asa:
        server.type("/op Asa")
        server.expect("Asa is an operator now. They are online from 127.0.0.1:")
        asa.send({"type": "whisper", "to": "Server", "id": "1", "body": "/ban Asa"})
        answers = asa.read_to_end()
        assert kinds(answers) == ["ack", "whispered", "bye"]
        assert answers[1]["body"] == "Banned Asa. Disconnected: Asa."
        assert answers[2]["reason"] == "banned"
        asa.close()
        assert server.stop() == 0
        assert "Error" not in server.remaining_output()


def test_kicked_user_can_sign_in_again() -> None:
    with quiet() as server, SelchatPeer(server.port, "Eve") as eve:
        server.type("/kick eve")
        assert eve.read_to_end() == [{"type": "bye", "reason": "kicked", "retry_after": None}]
        with SelchatPeer(server.port, "Eve") as again:
            assert again.say("back", "1")["seq"] == 1


# -- slow readers, full servers, shutdown ------------------------------------------------------------------


def test_lapped_reader_is_refilled_from_the_history(tmp_path: Path) -> None:
    count, body = 400, "x" * 60_000  # 24 MB: more than any socket buffer and the feed
    with serving(tmp_path / "history.sqlite") as server:
        with (
            SelchatPeer(server.port, "Stalled", buffer=4096) as stalled,
            SelchatPeer(server.port, "Reader") as reader,
            SelchatPeer(server.port, "Writer") as writer,
        ):
            memory = server.resident_bytes()
            for seq in range(1, count + 1):
                assert writer.say(body, f"{seq}")["seq"] == seq
                assert reader.read()["seq"] == seq
            # The database cache accounts for 8 MiB of these.
            assert server.resident_bytes() - memory < 16 << 20
            received = stalled.read_until(lambda one: one.get("seq") == count)
            assert [one["seq"] for one in received if one["type"] == "said"] == list(range(1, count + 1))
            gaps = [one for one in received if one["type"] != "said"]
            assert gaps, "the reader was never behind"
            for gap in gaps:
                assert (gap["type"], gap["room"], gap["before"]) == ("gap", "lobby", gap["after"] + 1)
            # Now it is live like the other readers.
            assert writer.say("the last", "last")["seq"] == count + 1
            for one in (stalled, reader):
                assert said(one.read()) == ("Writer", count + 1, "the last")
                one.assert_nothing_more()
        assert server.stop() == 0


def test_lapped_reader_without_a_history_file_gets_gaps() -> None:
    count, body = 250, "x" * 60_000
    with quiet() as server, SelchatPeer(server.port, "Stalled", buffer=4096) as stalled:
        with SelchatPeer(server.port, "Writer") as writer:
            for seq in range(1, count + 1):
                assert writer.say(body, f"{seq}")["seq"] == seq
            received = stalled.read_until(lambda one: one.get("seq") == count)
        expected = 1
        missed = 0
        for one in received:
            if one["type"] == "gap":
                assert one["after"] == expected - 1
                missed += one["before"] - expected
                expected = one["before"]
            else:
                assert one["seq"] == expected
                expected += 1
        assert expected == count + 1
        assert missed > 0
        stalled.assert_nothing_more()


def test_full_server_sends_bye_until_a_place_is_free() -> None:
    with quiet("--max-clients=1") as server, SelchatPeer(server.port, "Asa") as asa:
        with SelchatPeer(server.port) as bo:
            bo.send(greeting("Bo"))
            assert bo.read_to_end() == [{"type": "bye", "reason": "full", "retry_after": 10.0}]
        assert asa.say("all mine", "1")["seq"] == 1
        asa.close()

        def is_free() -> bool:
            with SelchatPeer(server.port) as bo:
                return "welcome" in bo.request(**greeting("Bo")).values()

        eventually(is_free, "a free place")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_sends_bye_after_all_acks(tmp_path: Path, number: int) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history) as server:
        with SelchatPeer(server.port, "Asa") as asa, Client(server.port, "Old") as old:
            asa.wait_for_member("Old")
            asa.send(*({"type": "say", "room": "lobby", "id": f"{n}", "body": "x"} for n in range(1000)))
            assert old.read_pair() == ("Asa", "x")
            server.process.send_signal(number)
            answers = asa.read_to_end()
            assert answers[-1] == {"type": "bye", "reason": "shutdown", "retry_after": 1.0}
            assert kinds(answers[:-1]) == ["ack"] * (len(answers) - 1)
            received = old.read_to_end()
            assert received.endswith(pair("Server", "The server is shutting down."))
            assert received.count(pair("Asa", "x")) == len(answers) - 2, (
                "the room got exactly the acknowledged messages"
            )
        assert server.wait() == 0
        assert server.errors() == ""
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.welcome["rooms"][0]["seq"] == len(answers) - 1


# -- heartbeat ---------------------------------------------------------------------------------------------


def test_client_without_pong_is_closed_and_one_with_pong_stays() -> None:
    times = {"SELCHAT_PING_SECONDS": "0.4", "SELCHAT_PONG_SECONDS": "0.4"}
    with Server("--no-roster", env={**os.environ, **times}) as server:
        with SelchatPeer(server.port, "Venkat") as venkat, SelchatPeer(server.port, "Narayan") as narayan:
            for _ in range(4):
                assert venkat.read() == {"type": "ping"}
                venkat.send({"type": "pong"})
            *pings, bye = narayan.read_to_end()
            assert pings == [{"type": "ping"}]
            assert bye == {"type": "bye", "reason": "timeout", "retry_after": 0}
        server.expect(r"Narayan.*ping timeout: no data for 0\.8 s")


def test_suspended_client_reconnects_when_it_resumes() -> None:
    """SIGSTOP suspends the client for longer than the ping timeout; SIGCONT resumes it."""
    times = {"SELCHAT_PING_SECONDS": "0.5", "SELCHAT_PONG_SECONDS": "0.5"}
    command = [sys.executable, "-m", "selchat", "chat", "--name=Narayan"]
    with (
        Server("--no-roster", env={**os.environ, **times}) as server,
        subprocess.Popen(
            [*command, f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as client,
    ):
        try:
            server.expect("Accepted .*: Narayan")
            client.send_signal(signal.SIGSTOP)
            server.expect(r"Narayan.*ping timeout: no data for 1 s")
            client.send_signal(signal.SIGCONT)
            server.expect("Accepted .*: Narayan")
        finally:
            client.kill()
