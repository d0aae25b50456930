from __future__ import annotations

from typing import Any

from selchat.feed import Feed
from selchat.net.fanout import Fanout, LappedError
from selchat.net.outbox import Outbox
from tests.net.fakes import FakeSocket


class Peer:
    def __init__(self, fanout: Fanout, feed: Feed[Outbox], room: int | None = None) -> None:
        self.fanout = fanout
        self.sock: Any = FakeSocket(room)
        self.outbox = Outbox(self.sock, self, 1000)
        self.subscription = self.outbox.subscribe(feed)
        self.lost: list[Exception] = []

    def schedule_flush(self) -> None:
        self.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        pass

    def on_drained(self) -> None:
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        self.fanout.close_later(self.lose, error)

    def lose(self, error: Exception) -> None:
        self.lost.append(error)
        self.outbox.close()


class Setup:
    def __init__(self, limit: int = 1000) -> None:
        self.fanout = Fanout(limit)
        self.feed: Feed[Outbox] = Feed(limit)

    def peer(self, room: int | None = None) -> Peer:
        return Peer(self.fanout, self.feed, room)

    def tick(self, *messages: bytes) -> None:
        for message in messages:
            self.feed.append(message)
        self.fanout.deliver(self.feed)
        self.fanout.finish()


def test_every_live_reader_gets_the_frames_of_a_tick_with_one_call() -> None:
    chat = Setup()
    peers = [chat.peer() for _ in range(5)]
    chat.tick(b"one", b"two", b"three")
    assert [(bytes(peer.sock.taken), peer.sock.calls) for peer in peers] == [(b"onetwothree", 1)] * 5
    assert chat.feed.retained == 0


def test_tick_without_frames_makes_no_call() -> None:
    chat = Setup()
    peer = chat.peer()
    chat.tick()
    assert peer.sock.calls == 0


def test_dead_peers_close_after_the_loop_and_the_others_are_served() -> None:
    chat = Setup()
    peers = [chat.peer() for _ in range(6)]
    for dead in peers[::2]:
        dead.sock.dead = True
    chat.feed.append(b"one")
    chat.fanout.deliver(chat.feed)
    assert all(not peer.lost for peer in peers), "no one is closed inside the fan-out"
    chat.fanout.finish()
    assert [len(peer.lost) for peer in peers] == [1, 0, 1, 0, 1, 0]
    assert [bytes(peer.sock.taken) for peer in peers[1::2]] == [b"one"] * 3
    chat.tick(b"two")
    assert [len(peer.lost) for peer in peers] == [1, 0, 1, 0, 1, 0]


def test_slow_reader_delays_nobody_and_closes_when_it_is_lapped() -> None:
    chat = Setup(limit=10)
    slow, fast = chat.peer(room=1), chat.peer()
    for _ in range(2):
        chat.tick(b"12345")
        assert slow.lost == []
    chat.tick(b"12345")
    [error] = slow.lost
    assert isinstance(error, LappedError)
    assert str(error) == "reader too slow, more than 10 bytes behind"
    assert bytes(fast.sock.taken) == b"12345" * 3
    assert bytes(slow.sock.taken) == b"1"
    chat.tick(b"12345")
    assert chat.feed.retained == 0


def test_large_chunk_does_not_lap_a_reader_near_its_end() -> None:
    chat = Setup(limit=10)
    reader = chat.peer(room=99)
    chat.tick(b"x" * 100)
    chat.tick(b"12345")
    assert reader.lost == []
    reader.sock.room = None
    reader.outbox.flush()
    assert bytes(reader.sock.taken) == b"x" * 100 + b"12345"


def test_lapped_reader_in_the_middle_of_a_frame_gets_no_other_bytes() -> None:
    chat = Setup(limit=10)
    reader = chat.peer(room=3)
    chat.tick(b"[frame one]")
    chat.feed.append(b"[frame two is longer than the limit]")
    chat.fanout.deliver(chat.feed)
    chat.feed.append(b"[frame three is longer than the limit]")
    chat.fanout.deliver(chat.feed)
    reader.sock.room = None
    reader.outbox.flush()
    chat.fanout.finish()
    assert bytes(reader.sock.taken) == b"[fr"
    assert isinstance(reader.lost[0], LappedError)


def test_leaving_reader_with_everything_is_not_lapped_by_later_frames() -> None:
    chat = Setup(limit=10)
    other: Feed[Outbox] = Feed(1000)
    reader = chat.peer()
    reader.outbox.subscribe(other)
    reader.sock.room = 0
    other.append(b"[other room]")
    chat.fanout.deliver(other)
    chat.feed.leave(reader.subscription)
    for _ in range(10):
        chat.tick(b"12345")
    assert reader.lost == []
    reader.sock.room = None
    reader.outbox.flush()
    assert bytes(reader.sock.taken) == b"[other room]"


def test_frames_queued_by_a_close_are_sent_in_the_same_tick() -> None:
    chat = Setup()
    lost, other = chat.peer(), chat.peer()
    chat.fanout.close_later(lambda _error: other.outbox.reply(b"[they have gone]"), ConnectionResetError())
    chat.tick()
    assert bytes(other.sock.taken) == b"[they have gone]"
    assert lost.lost == []


def test_authors_with_a_full_or_dead_socket_are_handled_after_the_loop() -> None:
    chat = Setup()
    dead, blocked, short, well = chat.peer(), chat.peer(), chat.peer(), chat.peer()
    dead.sock.dead = True
    blocked.sock.room = 0
    short.sock.room = 2
    for peer in (dead, blocked, short, well):
        chat.feed.append(b"[mine]", peer.subscription)
    chat.tick(b"[all]")
    assert [len(peer.lost) for peer in (dead, blocked, short, well)] == [1, 0, 0, 0]
    assert bytes(well.sock.taken) == b"[mine]" * 3 + b"[all]"
    assert bytes(short.sock.taken) == b"[m"
    chat.tick(b"[next]")
    for peer in (blocked, short):
        peer.sock.room = None
        peer.outbox.flush()
        assert bytes(peer.sock.taken) == b"[mine]" * 3 + b"[all][next]"
