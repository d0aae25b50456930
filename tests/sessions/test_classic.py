from __future__ import annotations

from dataclasses import replace

import pytest

from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.config.settings import Settings
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.sessions.classic import SessionState
from selchat.sessions.context import Context, Session
from selchat.sessions.detect import DetectSession
from selchat.sessions.work import WorkLimits
from selchat.wire.cipher import CaesarCipher
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import DecimalHeaders, FrameDecoder, encode_frame
from selchat.wire.responses import SelchatFormat
from tests.chat.fakes import FakeClock, FakeObserver, RecordingLog, end_tick
from tests.net.fakes import FakeSocket


class FakeServer:
    """A server without sockets."""

    def __init__(self, cipher: CaesarCipher | None = None, **settings: object) -> None:
        self.settings = Settings(**{"roster": False, "message_rate": 0, "byte_rate": 0, **settings})  # type: ignore[arg-type]
        self.clock = FakeClock()
        self.log = RecordingLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(self.settings.feed_limit)
        self.hub = Hub(self.settings, self.log, self.clock, self.observer)
        format = ClassicFormat(self.settings.header_length, self.settings.payload_limit, cipher)
        self.context = Context(
            self.settings,
            self.hub,
            self.clock,
            WorkLimits(self.settings, self.clock),
            self.observer,
            format,
            SelchatFormat(DecimalHeaders(self.settings.header_length)),
        )

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        end_tick(self.hub, self.fanout)


class Client:
    """A classic client, and the transport of its session."""

    address = "192.168.43.169:54494"

    def __init__(self, server: FakeServer, first: bytes = b"") -> None:
        self.server = server
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.closed: list[str | None] = []
        self.paused = False
        self.session: Session = DetectSession(server.context, self)
        if first:
            self.session.data_received(first)

    def send(self, *payloads: str) -> None:
        header_length = self.server.settings.header_length
        self.session.data_received(b"".join(encode_frame(p.encode(), header_length) for p in payloads))

    def read(self) -> list[tuple[str, str]]:
        """Return the new pairs, which must be complete."""
        self.server.tick()
        decoder = FrameDecoder(self.server.settings.header_length, 1 << 20)
        payloads = [payload.decode() for payload in decoder.receive_data(bytes(self.sock.taken))]
        assert decoder.error is None and not decoder.unfinished
        assert len(payloads) % 2 == 0
        self.sock.taken.clear()
        return list(zip(payloads[::2], payloads[1::2], strict=True))

    def hang_up(self) -> None:
        self.session.eof_received()
        self.close()

    def set_handler(self, session: Session) -> None:
        self.session = session

    def start_tls(self, first: bytes) -> None:
        raise AssertionError

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        if not self.closed:
            self.closed.append(reason)
            self.session.connection_lost(reason)
            self.outbox.finish(final_data)

    def schedule_flush(self) -> None:
        self.server.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        raise AssertionError

    def on_drained(self) -> None:
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        raise AssertionError(error)


def join(server: FakeServer, *names: str) -> list[Client]:
    clients = [Client(server, encode_frame(name.encode(), server.settings.header_length)) for name in names]
    server.tick()
    return clients


def test_three_classic_clients_talk() -> None:
    server = FakeServer()
    michael, narayan, venkat = join(server, "Michael", "Narayan", "Venkat")
    venkat.send("Hey! ...")
    assert michael.read() == narayan.read() == [("Venkat", "Hey! ...")]
    assert venkat.read() == []
    michael.send("one", "two")
    assert venkat.read() == [("Michael", "one"), ("Michael", "two")]
    michael.hang_up()
    assert server.observer.seen == [
        ("joined", "Michael", "192.168.43.169:54494"),
        ("joined", "Narayan", "192.168.43.169:54494"),
        ("joined", "Venkat", "192.168.43.169:54494"),
        ("said", "Venkat", "Hey! ..."),
        ("said", "Michael", "one"),
        ("said", "Michael", "two"),
        ("left", "Michael", None),
    ]


MIXED = (
    "Your name is guest1, because the name Mich\u0430el mixes Cyrillic and Latin letters "
    "and could be mistaken for another name."
)
RENAMED = {
    "Michael": "Your name is Michael_2, because Michael is taken or looks like another name.",
    "M1CHAEL": "Your name is M1CHAEL_2, because M1CHAEL is taken or looks like another name.",
    "Mich\u0430el": MIXED,
    "Server": "Your name is guest1, because ",
    "": "Your name is guest1.",
    "Venkat > I quit": "Your name is Venkat I quit.",
    "x" * 40: f"Your name is {'x' * 32}.",
}


@pytest.mark.parametrize("roster", [False, True])
@pytest.mark.parametrize("name", RENAMED)
def test_renamed_user_is_told_once_after_the_first_message_or_roster(name: str, roster: bool) -> None:
    server = FakeServer(roster=roster)
    [michael] = join(server, "Michael")
    server.tick(10)
    michael.sock.taken.clear()
    renamed = Client(server, encode_frame(name.encode()))
    if roster:
        [(user, text)] = renamed.read()
        assert (user, text[:12]) == ("Server", "Users online")
    else:
        assert renamed.read() == []
        server.tick(10)
        michael.send("one")
        assert renamed.read() == [("Michael", "one")]
    [(user, text)] = renamed.read()
    assert user == "Server" and text.startswith(RENAMED[name])
    michael.send("two")
    assert renamed.read() == [("Michael", "two")]
    assert renamed.read() == []
    assert server.clock.pending == 0


def test_renamed_user_is_told_after_their_own_first_message() -> None:
    server = FakeServer()
    michael, renamed = join(server, "Michael", "Michael")
    renamed.send("one")
    assert michael.read() == [("Michael_2", "one")]
    [(user, _)] = renamed.read()
    assert user == "Server"
    assert michael.read() == []


@pytest.mark.parametrize("name", ["Zoe\u0308", " Zoë ", "ZOË", "Zoë  B"])
def test_user_who_got_their_name_is_not_told(name: str) -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    peer = Client(server, encode_frame(name.encode()))
    michael.send("one")
    assert peer.read() == [("Michael", "one")]
    assert peer.read() == []


def test_renamed_users_who_have_left_are_forgotten() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    for _ in range(3):
        [renamed] = join(server, "Michael")
        renamed.hang_up()
        assert renamed.read() == []
    assert server.hub.lobby.after_publish == set()
    [renamed] = join(server, "Michael")
    michael.send("one")
    server.tick()
    renamed.hang_up()
    assert renamed.read() == [("Michael", "one")]


def test_classic_client_gets_nothing_on_login() -> None:
    server = FakeServer()
    stranger = Client(server)
    assert stranger.read() == []
    stranger.send("Michael")
    assert stranger.read() == []


def test_message_is_relayed_byte_for_byte() -> None:
    server = FakeServer()
    michael, narayan = join(server, "Michael", "Narayan")
    narayan.session.data_received(b"12        Hello there!")
    server.tick()
    assert bytes(michael.sock.taken) == b"7         Narayan12        Hello there!"


def test_name_and_messages_work_in_one_piece_or_byte_by_byte() -> None:
    stream = b"7         Michael3         one0         3         two"
    for size in (1, 7, 1000):
        server = FakeServer()
        [narayan] = join(server, "Narayan")
        michael = Client(server)
        for start in range(0, len(stream), size):
            michael.session.data_received(stream[start : start + size])
        assert narayan.read() == [("Michael", "one"), ("Michael", ""), ("Michael", "two")]
        assert michael.session.state is SessionState.JOINED


def test_left_padded_length_is_accepted() -> None:
    server = FakeServer()
    [narayan] = join(server, "Narayan")
    Client(server, b"         7Michael         3one")
    assert narayan.read() == [("Michael", "one")]


def test_empty_name_becomes_a_guest() -> None:
    server = FakeServer()
    join(server, "", "", "Michael", "Michael")
    assert [member.name for member in server.hub.members()] == ["guest1", "guest2", "Michael", "Michael_2"]


def test_empty_message_is_relayed() -> None:
    server = FakeServer()
    michael, narayan = join(server, "Michael", "Narayan")
    michael.send("")
    assert narayan.read() == [("Michael", "")]


def test_invalid_utf_8_is_replaced_and_control_characters_are_kept() -> None:
    server = FakeServer()
    michael, narayan = join(server, "Michael", "Narayan")
    michael.session.data_received(
        encode_frame(b"caf\xc3") + encode_frame(b"\xff\x00\x1b[2J") + encode_frame(b"\xc2\x80")
    )
    assert narayan.read() == [("Michael", "caf\ufffd"), ("Michael", "\ufffd\0\x1b[2J"), ("Michael", "\x80")]


def test_body_that_replacement_grows_over_the_limit_is_cut_between_characters() -> None:
    server = FakeServer(frame_limit=10)
    michael, narayan = join(server, "Michael", "Narayan")
    michael.session.data_received(encode_frame(b"\xff" * 10))
    assert narayan.read() == [("Michael", "\ufffd" * 3)]


def test_message_of_the_limit_is_relayed_and_one_byte_more_is_not() -> None:
    server = FakeServer(frame_limit=20)
    michael, narayan = join(server, "Michael", "Narayan")
    michael.send("x" * 20)
    assert narayan.read() == [("Michael", "x" * 20)]
    michael.session.data_received(b"21        ")
    assert michael.closed == ["frame of 21 bytes is over the limit of 20"]


@pytest.mark.parametrize("changed", [{"login_limit": 1000}, {"frame_limit": 1000}])
def test_lower_limit_applies_to_headers_that_passed_before(changed: dict[str, int]) -> None:
    server = FakeServer()
    name, message = encode_frame(b"x" * 3000), encode_frame(b"y" * 5000)
    [old] = join(server, "x" * 3000)
    old.session.data_received(message)
    server.context = replace(server.context, settings=replace(server.settings, **changed))
    assert Client(server, name).closed == ["frame of 3000 bytes is over the limit of 1000"]
    short = Client(server, encode_frame(b"Michael"))
    short.session.data_received(message)
    assert short.closed == (
        ["frame of 5000 bytes is over the limit of 1000"] if "frame_limit" in changed else []
    )
    old.session.data_received(message)
    assert old.closed == [], "an open connection keeps its limits"


BREAKS = {
    "a secure shell": (
        b"SSH-2.0-OpenSSH_9.6\r\n",
        "frame header b'SSH-2.0-Op' is not a number padded with spaces",
    ),
    "too much": (b"99999     ", "frame of 99999 bytes is over the limit of 65536"),
}


@pytest.mark.parametrize("name", ["", "Michael"])
@pytest.mark.parametrize("what", BREAKS)
def test_broken_stream_gets_the_reason_and_others_are_not_affected(what: str, name: str) -> None:
    sent, reason = BREAKS[what]
    if not name:
        reason = reason.replace("65536", "4096")  # who has not said who they are may say less
    server = FakeServer()
    [narayan] = join(server, "Narayan")
    peer = Client(server, encode_frame(name.encode()) + encode_frame(b"said") if name else b"")
    peer.session.data_received(sent)
    assert peer.closed == [reason]
    assert peer.read() == [("Server", f"Closing this connection: {reason}.")]
    assert narayan.read() == ([("Michael", "said")] if name else [])
    told = ("left", "Michael", reason) if name else ("stranger left", Client.address, reason)
    assert told in server.observer.seen
    assert server.clock.pending == 0, "no timer is left"


def test_messages_before_a_framing_error_are_relayed() -> None:
    server = FakeServer()
    [narayan] = join(server, "Narayan")
    michael = Client(server, encode_frame(b"Michael") + encode_frame(b"one") + b"nonsense!!")
    assert narayan.read() == [("Michael", "one")]
    assert len(michael.closed) == 1


def kick(server: FakeServer, name: str) -> None:
    member = server.hub.find_member(name)
    assert member is not None
    server.hub.disconnect([member], Farewell("kicked", "You were removed.", "kicked"))


def test_last_words_come_before_the_end_and_nothing_after_the_closing_pair() -> None:
    server = FakeServer(roster=True)
    [narayan] = join(server, "Narayan")
    server.tick(10)
    server.observer.seen.clear()
    narayan.sock.taken.clear()
    venkat = Client(server, encode_frame(b"Venkat"))
    server.tick()
    venkat.sock.taken.clear()
    server.tick(0.5)
    narayan.send("one")
    venkat.session.data_received(encode_frame(b"last words") + b"not a frame at all")
    narayan.send("two")
    server.clock.advance(0.5)  # the roster is due, too
    *before, (user, text) = venkat.read()
    assert before[:2] == [("Narayan", "one"), ("Narayan", "two")]
    assert user == "Server" and text.startswith("Closing this connection: frame header")
    assert server.observer.seen == [
        ("joined", "Venkat", Client.address),
        ("said", "Narayan", "one"),
        ("said", "Venkat", "last words"),
        ("left", "Venkat", "frame header b'not a fram' is not a number padded with spaces"),
        ("said", "Narayan", "two"),
    ]
    server.tick(10)
    assert venkat.read() == []


def test_messages_of_a_tick_come_before_the_pair_of_a_kick() -> None:
    server = FakeServer()
    narayan, venkat = join(server, "Narayan", "Venkat")
    venkat.send("one")
    narayan.send("go away")
    kick(server, "Venkat")
    narayan.send("gone")
    again = Client(server, encode_frame(b"Venkat") + encode_frame(b"two"))
    assert venkat.read() == [
        ("Narayan", "go away"),
        ("Narayan", "gone"),
        ("Venkat", "two"),
        ("Server", "You were removed."),
    ]
    assert again.read() == [("Venkat", "one"), ("Narayan", "go away"), ("Narayan", "gone")]
    assert server.observer.seen[2:] == [
        ("said", "Venkat", "one"),
        ("said", "Narayan", "go away"),
        ("left", "Venkat", "kicked"),
        ("said", "Narayan", "gone"),
        ("joined", "Venkat", Client.address),
        ("said", "Venkat", "two"),
    ]


def test_name_that_is_not_utf_8_is_refused() -> None:
    server = FakeServer()
    peer = Client(server, encode_frame(b"Mich\xff") + encode_frame(b"hello"))
    assert peer.closed == ["username is not UTF-8"]
    assert peer.read() == [("Server", "Closing this connection: username is not UTF-8.")]
    assert server.observer.seen == [("stranger left", Client.address, "username is not UTF-8")]
    assert server.log.committed == []


def test_trickled_bytes_do_not_extend_the_login_deadline() -> None:
    server = FakeServer()
    peer = Client(server)
    for byte in b"7         Mi"[:10]:
        server.tick(0.999)
        peer.session.data_received(bytes([byte]))
    assert peer.closed == []
    server.tick(0.02)
    assert peer.closed == ["no username within 10 s"]
    assert peer.read() == [("Server", "Closing this connection: no username within 10 s.")]
    assert server.observer.seen == [("stranger left", Client.address, "no username within 10 s")]


def test_name_in_time_ends_the_login_deadline() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    server.tick(1000)
    assert michael.closed == []
    assert server.clock.pending == 0


def test_trickled_bytes_do_not_extend_the_frame_timeout() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    server.tick(500)
    michael.session.data_received(b"9")
    for byte in b"99       ":
        server.tick(3.3)
        michael.session.data_received(bytes([byte]))
    assert michael.closed == []
    server.tick(0.29)
    assert michael.closed == []
    server.tick(0.02)
    assert michael.closed == ["frame not finished within 30 s"]
    assert michael.read() == [("Server", "Closing this connection: frame not finished within 30 s.")]


def test_each_frame_has_its_own_timeout() -> None:
    server = FakeServer()
    michael, narayan = join(server, "Michael", "Narayan")
    michael.session.data_received(b"3")
    for _ in range(10):
        server.tick(29)
        michael.session.data_received(b"         one3")
        assert narayan.read() == [("Michael", "one")]
    server.tick(29)
    assert michael.closed == []
    server.tick(1.1)
    assert michael.closed == ["frame not finished within 30 s"]


def test_idle_client_without_an_unfinished_frame_never_times_out() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    michael.session.data_received(b"3         on")
    server.tick(29)
    michael.session.data_received(b"e")
    server.tick(10_000)
    assert michael.closed == []
    assert server.clock.pending == 0
    michael.session.data_received(b"3")
    server.tick(29)
    assert michael.closed == []
    server.tick(1.1)
    assert michael.closed == ["frame not finished within 30 s"]


def test_unfinished_frame_after_the_name_times_out_from_its_own_start() -> None:
    server = FakeServer()
    peer = Client(server)
    server.tick(9)
    peer.session.data_received(b"7         Michael3         on")
    server.tick(29.9)
    assert peer.closed == []
    server.tick(0.2)
    assert peer.closed == ["frame not finished within 30 s"]


def test_end_of_stream_inside_a_frame_is_the_close_reason() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    michael.session.data_received(b"5         ab")
    michael.hang_up()
    assert michael.closed == ["stream ended inside a frame, 3 bytes short"]
    assert server.clock.pending == 0


def test_connection_lost_before_login_is_reported() -> None:
    server = FakeServer()
    Client(server).hang_up()
    assert server.observer.seen == [("stranger left", Client.address, None)]
    assert server.clock.pending == 0


def test_end_of_stream_after_the_session_is_ignored() -> None:
    server = FakeServer()
    [michael] = join(server, "Michael")
    michael.close("kicked by the operator")
    michael.session.eof_received()
    assert michael.closed == ["kicked by the operator"]
    assert michael.session.state is SessionState.ENDED


def test_kick_sends_a_pair_and_closes() -> None:
    server = FakeServer()
    michael, _narayan = join(server, "Michael", "Narayan")
    member = server.hub.find_member("Michael")
    assert member is not None
    member.peer.disconnect(
        Farewell("kicked", "The operator has removed you from this chat.", "kicked by the operator")
    )
    assert michael.closed == ["kicked by the operator"]
    assert michael.read() == [("Server", "The operator has removed you from this chat.")]


def test_notices_are_encrypted_with_the_server_key() -> None:
    cipher = CaesarCipher("1024")
    server = FakeServer(cipher)
    peer = Client(server, b"SSH-2.0-OpenSSH")
    [(user, text)] = peer.read()
    assert user == "Server"
    assert cipher.decrypt(text).startswith("Closing this connection: frame header")


@pytest.mark.parametrize("header_length", [1, 2, 4, 32, 100, 1024, 4096])
def test_other_header_lengths_work_the_same(header_length: int) -> None:
    server = FakeServer(header_length=header_length)
    michael, narayan = join(server, "Michael", "Narayan")
    michael.send("one", "")
    assert narayan.read() == [("Michael", "one"), ("Michael", "")]
    server.hub.disconnect(
        server.hub.members()[1:], Farewell("kicked", "The operator has removed you from this chat.", "kicked")
    )
    [(user, text)] = narayan.read()
    assert user == "Server"
    assert "The operator has removed you from this chat.".startswith(text)


@pytest.mark.parametrize(
    "name",
    [
        *("Server", "sErVeR", "\uff33erver", "Ser\u200bver", "SERVER", "Server_2", "Server:", "Server >"),
        *("[Server]", "* Server", "Server > restart at 5", "[5erver] hi", "ꜱᴇʀᴠᴇʀ", "Sᴇrver", "S.e.r.v.e.r"),
    ],
)
def test_name_of_the_server_is_refused(name: str) -> None:
    server = FakeServer()
    michael, other = join(server, "Michael", name)
    other.send("give me your password")
    [(author, _)] = michael.read()
    assert author == "guest1"
    [(told_by, text)] = other.read()
    assert told_by == "Server"
    assert text.startswith("Your name is guest1, because the name ")
    assert text.endswith(" is taken.")


def test_message_that_grows_on_its_way_out_is_charged_by_its_size_there() -> None:
    """A control character takes six bytes in JSON."""
    seconds = {}
    for character in ("a", "\x01"):
        server = FakeServer(message_rate=1000, message_burst=1000, byte_rate=10_000, frame_limit=20_000)
        talker = Client(server, encode_frame(b"Venkat"))
        talker.send(*[character * 9_900] * 3)
        assert talker.paused is (character == "\x01")
        talker.send(character * 9_900)
        seconds[character] = 0.0
        while talker.paused:
            server.tick(0.1)
            seconds[character] += 0.1
    assert seconds["a"] == pytest.approx(1, abs=0.3)
    assert seconds["\x01"] == pytest.approx(4 * 6 - 3, abs=0.5)
