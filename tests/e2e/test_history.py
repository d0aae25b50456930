"""The server's history: restarts, full disks, retention, export and unusable files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from selchat.log.sqlite import Retention, SqliteLog
from tests.e2e import processes
from tests.e2e.durability import reading
from tests.e2e.processes import SELCHAT
from tests.e2e.selchat_support import SelchatPeer, cannot_serve, greeting, said, secret, serving, without
from tests.e2e.support import DEADLINE, Client, Server, eventually

_DAY = 86_400.0


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def stored(path: Path) -> list[tuple[str, int, str]]:
    """Return the messages in the file; the server may be running."""
    with reading(path) as db:
        return db.execute(
            "SELECT room.name, seq, body FROM message JOIN room ON room.id = message.room ORDER BY n"
        ).fetchall()


# -- restarts ----------------------------------------------------------------------------------------


def test_restart_keeps_rooms_topics_salts_and_ids(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Venkat") as venkat:
            log = venkat.welcome["log"]
            first = venkat.say("one", "v1")
            salts = [venkat.welcome["salt"], venkat.welcome["rooms"][0]["salt"]]
            salts.append(venkat.request("join", room="Engine-Room")["salt"])
            venkat.request("topic", room="engine-room", topic="oil")
            assert venkat.say("two", "v2", "engine-room")["seq"] == 1
            salts.append(venkat.request("join", room="Galley")["salt"])
            venkat.request("topic", room="galley", topic="soup")
        assert server.stop() == 0
    with serving(history) as server, SelchatPeer(server.port, "Venkat") as venkat:
        assert venkat.welcome["log"] == log
        [lobby] = venkat.welcome["rooms"]
        assert without(lobby, "salt") == {"room": "lobby", "seq": 1, "topic": "", "members": 1}
        assert venkat.say("one", "v1") == first, "a repeated id gets the same ack"
        assert venkat.say("three", "v3")["seq"] == 2
        assert without(venkat.request("rooms"), "type") == {
            "rooms": [
                {"room": "lobby", "members": 1, "topic": "", "seq": 2},
                {"room": "Engine-Room", "members": 0, "topic": "oil", "seq": 1},
                {"room": "Galley", "members": 0, "topic": "soup", "seq": 0},
            ],
            "total": 3,
            "start": 0,
        }
        users = venkat.request("join", room="ENGINE-ROOM")
        assert (users["room"], users["topic"], users["seq"]) == ("Engine-Room", "oil", 1)
        galley = venkat.request("join", room="GALLEY")
        assert (galley["room"], galley["topic"], galley["seq"]) == ("Galley", "soup", 0)
        assert [venkat.welcome["salt"], lobby["salt"], users["salt"], galley["salt"]] == salts
        assert len(set(salts)) == 4
        [message] = venkat.request("history", room="engine-room", limit=9)["messages"]
        assert said(message) == ("Venkat", 1, "two")


@pytest.mark.parametrize(
    "text",
    ["", "\0", "a\0b", "\r\n\t", "\x7f\x80\x85", "\u2028\ufeff\uffff", "🚢" * 1000, "'; DROP TABLE message"],
)
def test_any_text_survives_a_restart_unchanged(history: Path, text: str) -> None:
    id, cipher = (text or "empty")[:64], text[:256]
    with serving(history) as server:
        with (
            SelchatPeer(server.port, "Asa") as asa,
            SelchatPeer(server.port, "Bo") as bo,
            Client(server.port) as old,
        ):
            old.send("Old")
            asa.wait_for_member("Old")
            log = bo.welcome["log"]
            ack = asa.say(text, id, cipher=cipher)
            live = bo.read()
            assert (live["id"], live["body"], live["cipher"]) == (id, text, cipher)
            assert old.read_pair() == ("Asa", text)
            old.send(text)
            asa.read()
            live_too = bo.read()
            topic = asa.request("topic", room="lobby", topic=f"tea {cipher[:200]}")["topic"]  # cleaned
        server.process.kill()
        server.wait()
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.welcome["rooms"][0]["topic"] == topic
        assert asa.say(text, id, cipher=cipher) == ack
        with SelchatPeer(server.port, "Bo", resume={"log": log, "rooms": {"lobby": 0}}) as bo:
            assert [bo.read(), bo.read()] == [live, live_too]


def test_direct_messages_wait_across_restarts_until_confirmed(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Narayan"):
            pass  # now he owns the name
        with SelchatPeer(server.port, "Venkat") as venkat:
            for number in (1, 2, 3):
                ack = venkat.whisper("narayan", f"whisper {number}", f"v{number}")
                assert without(ack, "at") == {
                    "type": "ack",
                    "to": "Narayan",
                    "id": f"v{number}",
                    "seq": number,
                }
        assert server.stop() == 0
    with serving(history) as server:
        with SelchatPeer(server.port, "Narayan") as narayan:
            assert narayan.welcome["whispers"] == 3
            got = [narayan.read() for _ in range(3)]
            assert [(one["type"], one["to"], *said(one)) for one in got] == [
                ("whispered", "Narayan", "Venkat", number, f"whisper {number}") for number in (1, 2, 3)
            ]
            narayan.send({"type": "ack", "whisper": 2})
            narayan.assert_nothing_more()
        assert server.stop() == 0
    with serving(history) as server:
        with SelchatPeer(server.port, "Narayan") as narayan:
            assert narayan.welcome["whispers"] == 1
            assert said(narayan.read()) == ("Venkat", 3, "whisper 3")
            narayan.send({"type": "ack", "whisper": 3})
            narayan.assert_nothing_more()
        with SelchatPeer(server.port, "Narayan") as narayan:
            assert narayan.welcome["whispers"] == 0
            narayan.assert_nothing_more()


def test_restart_keeps_owners_of_names(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Venkat"):
            pass
        server.stop()
    with serving(history) as server, SelchatPeer(server.port) as eve:
        refused = eve.request(**greeting("VENKAT", client=secret("Eve")))
        assert (refused["type"], refused["code"]) == ("error", "name-taken")
        welcome = eve.request(**greeting("Eve"))
        assert welcome["name"] == "Eve"
        with Client(server.port, "venkat"):
            eve.wait_for_member("venkat_2")  # a classic client cannot prove that it owns the name
        with SelchatPeer(server.port, "venkat", client=secret("Venkat")) as venkat:
            assert venkat.welcome["name"] == "venkat"


def test_restart_keeps_bans_and_mutes(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Eve") as eve, SelchatPeer(server.port, "Mallory") as mallory:
            server.type("/ban Eve")
            server.expect_line("Banned Eve. Disconnected: Eve.")
            assert eve.read_to_end() == [{"type": "bye", "reason": "banned", "retry_after": None}]
            server.type("/mute Mallory for 1h")
            server.expect(r"(?m)^Muted Mallory until .*\.$")
            assert mallory.say("!", "m1")["code"] == "muted"
        server.type("/ban 127.0.0.9")
        server.expect_line("Banned 127.0.0.9.")
        assert server.stop() == 0
    with serving(history) as server:
        server.type("/bans")
        server.expect(r"(?m)^Muted: Mallory until ")
        with SelchatPeer(server.port) as eve:
            [error, bye] = [
                eve.request("hello", version=1, name="Another", client="the secret of Eve......."),
                eve.read(),
            ]
            assert error["code"] == "banned", "another name does not evade the ban"
            assert bye == {"type": "bye", "reason": "banned", "retry_after": None}
        with Client(server.port, "eve") as eve_too:
            assert eve_too.read_pair() == ("Server", "Closing this connection: the operator has banned you.")
        with SelchatPeer(server.port, source="127.0.0.9") as far:
            error = far.request(**greeting("Far"))
            assert (error["code"], far.read()["reason"]) == ("banned", "banned")
        with SelchatPeer(server.port, "Mallory") as mallory:
            assert mallory.say("!", "m1")["code"] == "muted"
            for line in ("/unmute mallory", "/unban EVE", "/unban 127.0.0.9"):
                server.type(line)
            server.expect_line("127.0.0.9 is no longer banned.")
            assert mallory.say("!", "m1")["type"] == "ack", "the same message is stored now"
        assert server.stop() == 0
    with (
        serving(history) as server,
        SelchatPeer(server.port, "Eve"),
        SelchatPeer(server.port, "Far", source="127.0.0.9"),
    ):
        server.type("/bans")
        server.expect_line("Nobody is banned or muted.")


# -- full disks ---------------------------------------------------------------------------------


class Sitting:
    """A server that cannot write, with two selchat members and a classic one."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server = server
        self.path = path
        self.last_seq = 0
        self.outages = 0
        with ExitStack() as stack:
            self.asa = stack.enter_context(SelchatPeer(server.port, "Asa"))
            self.bo = stack.enter_context(SelchatPeer(server.port, "Bo"))
            self.old = stack.enter_context(Client(server.port, "Old"))
            self.bo.wait_for_member("Old")
            self._stack = stack.pop_all()

    def say(self, body: str) -> None:
        """Send a message and check that it arrives."""
        self.last_seq += 1
        ack = self.asa.say(body, f"a-{body}")
        assert (ack["type"], ack.get("seq")) == ("ack", self.last_seq), ack
        assert said(self.bo.read()) == ("Asa", self.last_seq, body)
        assert self.old.read_pair() == ("Asa", body)

    def cannot_say(self, why: str) -> None:
        """Check that no message is stored or shown because of ``why``, and everything else works."""
        asa, bo, old, server = self.asa, self.bo, self.old, self.server
        self.outages += 1
        before = stored(self.path)
        for number in range(20):
            refused = asa.say("lost", f"a-lost-{self.outages}-{number}")
            assert (refused["type"], refused["code"]) == ("error", "not-stored"), refused
            assert refused["id"] == f"a-lost-{self.outages}-{number}"
        server.expect(f"(?m)^Warning: MESSAGES CANNOT BE STORED, so the server accepts none: {why}.*$")
        old.send("lost too")
        user, notice = old.read_pair()
        assert user == "Server"
        assert notice.startswith(f"Not sent: the server cannot store messages at the moment ({why}")
        assert asa.whisper("Bo", "lost", f"a-whisper-{self.outages}")["code"] == "not-stored"

        # Unaffected: sign-in and sign-out, requests, and direct messages that the log does not keep.
        with SelchatPeer(server.port, "Cleo") as cleo, Client(server.port, "Guest") as guest:
            assert cleo.welcome["rooms"][0]["seq"] == self.last_seq
            messages = cleo.request("history", room="lobby", limit=1000)["messages"]
            assert [one["seq"] for one in messages] == list(range(1, self.last_seq + 1))
            assert cleo.request("join", room="engine-room")["total"] == 1
            cleo.wait_for_member("Guest")
            assert cleo.whisper("Guest", "psst", f"c-{self.outages}")["seq"] == 0
            assert guest.read_pair() == ("Cleo (whispers)", "psst")
            assert cleo.request("part", room="engine-room")["type"] == "left"
        bo.assert_nothing_more()
        assert stored(self.path) == before
        assert "CANNOT BE STORED" not in server.seen, "one warning for each outage"

    def says_again(self) -> None:
        """Check that the server accepts the rejected messages now."""
        server, outage = self.server, self.outages
        self.last_seq += 1
        assert self.asa.say("lost", f"a-lost-{outage}-0")["seq"] == self.last_seq
        assert said(self.bo.read()) == ("Asa", self.last_seq, "lost"), "no rejected message was shown"
        assert self.old.read_pair() == ("Asa", "lost")
        assert self.asa.whisper("Bo", "kept", f"a-whisper-{outage}")["seq"] == outage
        assert said(self.bo.read()) == ("Asa", outage, "kept")
        self.asa.assert_nothing_more()
        server.expect_line("Warning: messages can be stored again")
        assert "Warning" not in server.seen, "no second warning"

    def __enter__(self) -> Sitting:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_file_that_cannot_grow_stops_messages_and_recovers(history: Path) -> None:
    with serving(history) as server, Sitting(server, history) as sitting:
        for outage in (1, 2):
            sitting.say(f"before outage {outage}")
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            sitting.cannot_say("the disk fails")
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            sitting.says_again()
        expected = stored(history)
        assert server.stop() == 0
        assert server.errors() == ""
    assert "traceback" not in server.seen
    with serving(history) as server, SelchatPeer(server.port, "Cleo") as cleo:
        messages = cleo.request("history", room="lobby", limit=1000)["messages"]
        assert [("lobby", one["seq"], one["body"]) for one in messages] == [
            row for row in expected if row[0] == "lobby"
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_bans_topics_and_names_are_stored_after_an_outage(history: Path) -> None:
    quick = {**os.environ, "SELCHAT_ROSTER_INTERVAL": "0.1"}
    with (
        Server("--quiet", f"--history={history}", env=quick) as server,
        SelchatPeer(server.port, "Asa") as asa,
    ):
        assert asa.read()["type"] == "joined"
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        assert asa.say("lost", "a-1")["code"] == "not-stored"
        with SelchatPeer(server.port, "Bo"):
            assert asa.read() == {"type": "joined", "room": "lobby", "names": ["Bo"], "total": 2}
        assert asa.read() == {"type": "left", "room": "lobby", "names": ["Bo"], "total": 1}
        assert asa.request("topic", room="lobby", topic="the disk")["type"] == "topic"
        server.type("/ban Eve")
        server.expect_line("Banned Eve.")
        with SelchatPeer(server.port) as eve:
            assert eve.request(**greeting("Eve"))["code"] == "banned"
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        asa.assert_nothing_more()  # any next event retries the commit
        server.expect_line("Warning: messages can be stored again")
        server.process.kill()
        server.wait()
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.welcome["rooms"][0]["topic"] == "the disk"
        with SelchatPeer(server.port) as thief:
            assert thief.request(**greeting("Bo", client=secret("Eve")))["code"] == "name-taken"
        server.type("/bans")
        server.expect_line("Banned: Eve")


def run_on_private_disk(folder: Path, function: str) -> None:
    """Run a function of this module in a mount namespace, with a disk of 2 MiB in the folder."""
    # The disk disappears with the last process that sees it.
    mount = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"')
    try:
        probe = subprocess.run([*mount, str(folder), "true"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if probe.returncode:
        pytest.skip(f"nothing can be mounted here: {probe.stderr.decode().strip()}")
    script = (
        "import sys; from tests.e2e import test_history;"
        f"test_history.{function}(test_history.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [*mount, str(folder), sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_full_disk_stops_messages_and_recovers(tmp_path: Path) -> None:
    run_on_private_disk(tmp_path, "fill")


def fill(disk: Path) -> None:
    """Fill the disk of a server twice."""
    history, ballast = disk / "history.sqlite", disk / "ballast"
    with serving(history) as server, Sitting(server, history) as sitting:
        for outage in (1, 2):
            sitting.say(f"before outage {outage}")
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(4096))
            sitting.cannot_say("the disk is full")
            ballast.unlink()
            sitting.says_again()
        assert server.stop() == 0
        assert server.errors() == ""
    print("done")


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_operator_is_warned_before_the_disk_is_full(tmp_path: Path) -> None:
    run_on_private_disk(tmp_path, "nearly_fill")


def nearly_fill(disk: Path) -> None:
    ballast = disk / "ballast"
    quick = {**os.environ, "SELCHAT_FORGET_INTERVAL": "0.05"}
    with Server("--quiet", "--no-roster", f"--history={disk / 'history.sqlite'}", env=quick) as server:
        free = shutil.disk_usage(disk).free
        with ballast.open("wb", buffering=0) as file:
            file.write(bytes(free - 90_000))
        server.expect(r"(?m)^Warning: only [0-9]+ KiB are free on the disk of the history .*$")
        with SelchatPeer(server.port, "Asa") as asa:
            assert asa.say("still stored", "a-1")["seq"] == 1
        ballast.unlink()
        server.expect(r"(?m)^Warning: the disk of the history has enough space again")
        assert server.stop() == 0
    print("done")


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_history_on_a_read_only_disk_is_refused_and_exported(tmp_path: Path) -> None:
    run_on_private_disk(tmp_path, "protect")


def protect(disk: Path) -> None:
    history = disk / "history.sqlite"
    filled(history, 1.0, 2.0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for path in (history, disk / "new" / "history.sqlite"):
        error = cannot_serve("--tls=off", f"--history={path}")
        assert error == f"selchat: cannot use the history {path}: read-only file system\n"
    assert len(export(history).splitlines()) == 2
    print("done")


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_full_disk_under_load_and_kill_9_keep_acknowledged_messages(history: Path) -> None:
    """Some messages fit and some do not: the file has exactly the acknowledged ones."""
    with serving(history) as server:
        with SelchatPeer(server.port, "Asa") as asa, SelchatPeer(server.port, "Bo") as bo:
            bo.wait_for_member("Asa")
            size = history.with_name(history.name + "-wal").stat().st_size
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 200_000, resource.RLIM_INFINITY))
            acked = {}
            for number in range(200):
                answer = asa.say("x" * 2000, f"a-{number}")
                if answer["type"] == "ack":
                    acked[answer["id"]] = answer["seq"]
                else:
                    assert answer["code"] == "not-stored"
            assert 0 < len(acked) < 200
            shown = bo.read_until(lambda message: message["seq"] == len(acked))
            bo.assert_nothing_more()
            assert {one["id"]: one["seq"] for one in shown} == acked
        server.process.kill()
        server.wait()
    assert [seq for _, seq, _ in stored(history)] == list(acked.values()) == list(range(1, len(acked) + 1))


@pytest.mark.skipif(sys.platform != "linux", reason="SIGXFSZ is ignored and the limit obeyed as on Linux")
def test_server_does_not_start_on_a_full_disk(history: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    # The coverage measurement writes a file too, which could not grow either.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    error = cannot_serve("--tls=off", f"--history={history}", preexec_fn=limit, env=environment)
    assert error.startswith(f"selchat: cannot use the history {history}: the disk ")
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.say("there is room now", "a-1")["seq"] == 1


def test_removed_file_stops_messages_until_it_is_back(history: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    with serving(history) as server, Sitting(server, history) as sitting:
        sitting.say("before")
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"history.sqlite{suffix}").rename(away / f"history.sqlite{suffix}")
        sitting.path = away / "history.sqlite"
        sitting.cannot_say("the file was removed or replaced")
        for suffix in ("-shm", "-wal", ""):
            (away / f"history.sqlite{suffix}").rename(tmp_path / f"history.sqlite{suffix}")
        sitting.says_again()
        assert server.stop() == 0


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_operator_is_told_of_a_removed_file_although_nobody_writes(history: Path, suffix: str) -> None:
    quick = {**os.environ, "SELCHAT_FORGET_INTERVAL": "0.05"}
    with Server("--quiet", "--no-roster", f"--history={history}", env=quick) as server:
        with SelchatPeer(server.port, "Asa") as asa:
            assert asa.say("stored", "a-1")["seq"] == 1
        file = Path(f"{history}{suffix}")
        away = file.with_name("away")
        file.rename(away)
        server.expect("(?m)^Warning: MESSAGES CANNOT BE STORED, .* was removed or replaced$")
        away.rename(file)
        server.expect_line("Warning: messages can be stored again")


def test_locked_file_stops_messages_until_it_is_unlocked(history: Path) -> None:
    with serving(history) as server, Sitting(server, history) as sitting:
        sitting.say("before")
        with closing(sqlite3.connect(history, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            sitting.cannot_say("another program has locked the file")
            other.execute("ROLLBACK")
            sitting.says_again()
        assert server.stop() == 0


# -- retention ------------------------------------------------------------------------------------------


def filled(path: Path, *moments: float, size: int = 10) -> None:
    """Make a history with one message in the lobby for each time."""
    log = SqliteLog(path, Retention())
    for number, at in enumerate(moments, 1):
        log.append("lobby", "Venkat", [f"{number} ".ljust(size, "x")], at)
    log.commit()
    log.close()


def test_resuming_client_gets_a_gap_for_expired_messages(history: Path) -> None:
    now = time.time()
    filled(history, *[now - 40 * _DAY] * 1200, now - 20 * _DAY, now)
    with serving(history, "--retention=30d") as server, SelchatPeer(server.port, "Asa") as asa:
        log = asa.welcome["log"]
        assert asa.welcome["rooms"][0]["seq"] == 1202
        # Messages expire in steps, and the server serves clients between them.
        eventually(lambda: len(stored(history)) == 2, "the old messages expire")
        with SelchatPeer(server.port, "Bo", resume={"log": log, "rooms": {"lobby": 600}}) as bo:
            assert bo.read() == {"type": "gap", "room": "lobby", "after": 600, "before": 1201}
            assert [bo.read()["seq"] for _ in range(2)] == [1201, 1202]
            bo.assert_nothing_more()
        with SelchatPeer(server.port, "Bo", resume={"log": log, "rooms": {"lobby": 1200}}) as bo:
            assert bo.read()["seq"] == 1201, "it has seen every expired message"
        with SelchatPeer(server.port, "Bo", resume={"log": "another", "rooms": {"lobby": 1202}}) as bo:
            assert bo.read() == {"type": "gap", "room": "lobby", "after": 0, "before": 1201}
        page = asa.request("history", room="lobby", limit=1000)
        assert ([one["seq"] for one in page["messages"]], page["more"]) == ([1201, 1202], False)
        assert asa.say("next", "a-1")["seq"] == 1203


def test_repeated_id_of_an_expired_message_gets_its_ack(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Asa") as asa:
            first = asa.say("once", "a-1")
            assert first["seq"] == 1
        assert server.stop() == 0
    with closing(sqlite3.connect(history)) as db:
        db.execute("UPDATE message SET at = at - ?", (40 * _DAY,))
        db.commit()
    with serving(history, "--retention=30d") as server, SelchatPeer(server.port, "Asa") as asa:
        eventually(lambda: stored(history) == [], "the message expires")
        again = asa.say("once", "a-1")
        assert (again["type"], again["seq"]) == ("ack", 1)
        assert stored(history) == []
        assert asa.say("twice", "a-2")["seq"] == 2


def test_room_continues_its_numbers_after_everything_expired(history: Path) -> None:
    filled(history, *[time.time() - 40 * _DAY] * 7)
    with serving(history, "--retention=30d") as server:
        with SelchatPeer(server.port, "Asa") as asa:
            eventually(lambda: stored(history) == [], "everything expires")
            log = asa.welcome["log"]
        with SelchatPeer(server.port, "Asa", resume={"log": log, "rooms": {"lobby": 3}}) as asa:
            assert asa.read() == {"type": "gap", "room": "lobby", "after": 3, "before": 8}
            assert asa.say("next", "a-1")["seq"] == 8


def test_room_keeps_its_numbers_under_every_spelling(history: Path) -> None:
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        asa.request("join", room="Engine-Room")
        assert asa.say("one", "a-1", "Engine-Room")["seq"] == 1
        server.process.kill()
        server.wait()
    with closing(sqlite3.connect(history)) as db:
        db.execute("UPDATE message SET at = at - ?", (40 * _DAY,))
        db.commit()
    with serving(history, "--retention=30d") as server:
        eventually(lambda: stored(history) == [], "everything expires")
        assert server.stop() == 0
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        users = asa.request("join", room="ENGINE-ROOM")
        assert (users["room"], users["seq"]) == ("Engine-Room", 1)
        assert asa.say("two", "a-2", "ENGINE-ROOM")["seq"] == 2


def test_expired_direct_messages_are_not_announced(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Narayan"), SelchatPeer(server.port, "Venkat") as venkat:
            pass
        with SelchatPeer(server.port, "Venkat") as venkat:
            for number in (1, 2, 3):
                assert venkat.whisper("Narayan", f"{number}", f"v{number}")["seq"] == number
        assert server.stop() == 0
    with closing(sqlite3.connect(history)) as db:
        db.execute("UPDATE message SET at = at - ? WHERE seq < 3", (40 * _DAY,))
        db.commit()
    with serving(history, "--retention=30d") as server, SelchatPeer(server.port, "Narayan") as narayan:
        assert narayan.welcome["whispers"] == 1
        assert said(narayan.read()) == ("Venkat", 3, "3")
        narayan.send({"type": "ack", "whisper": 3})
        narayan.assert_nothing_more()


def test_size_limit_expires_the_oldest_messages(history: Path) -> None:
    filled(history, *[time.time()] * 3000, size=1000)
    with serving(history, "--retention=1MiB") as server, SelchatPeer(server.port, "Asa") as asa:
        log = asa.welcome["log"]
        eventually(lambda: size_in_use(history) <= 1 << 20, "the file is small enough")
        oldest = stored(history)[0][1]
        assert 1000 < oldest < 3000, "not more than necessary expires"
        with SelchatPeer(server.port, "Bo", resume={"log": log, "rooms": {"lobby": 5}}) as bo:
            assert bo.read() == {"type": "gap", "room": "lobby", "after": 5, "before": oldest}
            rest = bo.read_until(lambda message: message["seq"] == 3000)
            assert [one["seq"] for one in rest] == list(range(oldest, 3001))


def size_in_use(path: Path) -> int:
    with reading(path) as db:
        [(pages,)] = db.execute("PRAGMA page_count")
        [(free,)] = db.execute("PRAGMA freelist_count")
        [(size,)] = db.execute("PRAGMA page_size")
    return int(size * (pages - free))


# -- export -----------------------------------------------------------------------------------------------


def export(history: Path, *options: str) -> str:
    done = processes.run(
        [*SELCHAT, "export", f"--history={history}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_export_works_while_the_server_runs_and_after_kill_9(history: Path) -> None:
    with serving(history) as server:
        with SelchatPeer(server.port, "Asa") as asa, SelchatPeer(server.port, "Bo"):
            asa.request("join", room="engine-room")
            for number in range(1, 51):
                assert asa.say(f"æ {number}\n", f"a-{number}", ("lobby", "engine-room")[number % 2])["seq"]
            assert asa.whisper("Bo", "for you alone", "a-0")["type"] == "ack"
            while_it_runs = export(history, "--format=jsonl")
        server.process.kill()
        server.wait()
    assert export(history, "--format=jsonl") == while_it_runs
    lines = [json.loads(line) for line in while_it_runs.splitlines()]
    assert [(line["room"], line["seq"], line["body"]) for line in lines] == [
        (("lobby", "engine-room")[number % 2], (number + 1) // 2, f"æ {number}\n") for number in range(1, 51)
    ]
    assert "for you alone" not in while_it_runs + export(history)


# -- damaged files ------------------------------------------------------------------------------------


def damage(path: Path, body: str) -> None:
    """Overwrite the page of the message with this body."""
    content = path.read_bytes()
    page = content.index(body.encode()) // 4096 * 4096
    path.write_bytes(content[:page] + b"\xa5" * 4096 + content[page + 4096 :])


def test_damaged_page_is_a_gap_for_clients_and_a_warning_for_the_operator(history: Path) -> None:
    filled(history, *[time.time()] * 300, size=100)
    damage(history, "150 xxx")
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        server.expect(
            rf"(?m)^Warning: the history {history} is damaged: [0-9]+ messages cannot be read "
            r"\(lobby: [0-9]+ to [0-9]+\)\. docs/history\.rst says how to repair it$"
        )
        resume = {"log": asa.welcome["log"], "rooms": {"lobby": 0}}
        with SelchatPeer(server.port, "Bo", resume=resume) as bo:
            got = bo.read_until(lambda message: message.get("seq") == 300)
        [gap] = [message for message in got if message["type"] == "gap"]
        seqs = [message["seq"] for message in got if message["type"] == "said"]
        assert seqs == [*range(1, gap["after"] + 1), *range(gap["before"], 301)]
        assert gap["after"] < 150 < gap["before"] < 200
        messages = asa.request("history", room="lobby", limit=1000)["messages"]
        assert [one["seq"] for one in messages] == seqs
        assert asa.say("on", "a-1")["seq"] == 301
        assert server.stop() == 0


# -- unusable files -----------------------------------------------------------------------------------


def test_second_server_on_the_same_file_does_not_start(history: Path) -> None:
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert cannot_serve(f"--history={history}") == (
            f"selchat: the history {history} is in use by another server (process {server.pid})\n"
        )
        other = history.with_name("other name")
        other.symlink_to(history)
        assert "is in use by another server" in cannot_serve(f"--history={other}")
        other.unlink()
        other.hardlink_to(history)
        assert cannot_serve(f"--history={other}") == (
            f"selchat: the history {other} is in use by another server (process unknown)\n"
        )
        assert asa.say("still here", "a-1")["seq"] == 1
        server.process.kill()
        server.wait()
    with serving(history) as server, SelchatPeer(server.port, "Asa") as asa:
        assert asa.say("still here", "a-1")["seq"] == 1, "no stale lock is left"


def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "history.sqlite"
    assert cannot_serve(f"--history={path}").startswith(f"selchat: cannot use the history {path}: ")


def test_folder_as_history_is_refused(tmp_path: Path) -> None:
    assert cannot_serve(f"--history={tmp_path}") == (
        f"selchat: cannot use the history {tmp_path}: it is a directory\n"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o500)
    path = folder / "history.sqlite"
    assert cannot_serve(f"--history={path}") == f"selchat: cannot use the history {path}: permission denied\n"


def test_read_only_file_system_is_refused() -> None:
    path = Path("/proc/sys/history.sqlite")  # not even root can create a file there
    if not path.parent.is_dir():
        pytest.skip("there is no /proc here")
    assert cannot_serve(f"--history={path}").startswith(f"selchat: cannot use the history {path}: ")


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_other_kind_of_file_is_refused_and_unchanged(history: Path, content: bytes) -> None:
    history.write_bytes(content)
    assert cannot_serve(f"--history={history}") == (
        f"selchat: {history} is not a selchat history, or it is damaged\n"
    )
    assert history.read_bytes() == content, "the file does not change"


def test_database_of_another_program_is_refused(history: Path) -> None:
    db = sqlite3.connect(history)
    db.execute("CREATE TABLE bookmark (url)")
    db.commit()
    db.close()
    assert "is not a selchat history" in cannot_serve(f"--history={history}")


def test_damaged_file_is_refused(history: Path) -> None:
    filled(history, *[1.0] * 2000, size=100)
    size = history.stat().st_size
    with history.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    error = cannot_serve(f"--history={history}")
    assert error == f"selchat: cannot use the history {history}: the file is damaged\n"
