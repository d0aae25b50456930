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


class House:
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


def test_everyone_live_gets_a_tick_s_messages_with_one_call() -> None:
    house = House()
    peers = [house.peer() for _ in range(5)]
    house.tick(b"one", b"two", b"three")
    assert [(bytes(peer.sock.taken), peer.sock.calls) for peer in peers] == [(b"onetwothree", 1)] * 5
    assert not house.feed._chunks


def test_a_tick_without_news_makes_no_call() -> None:
    house = House()
    peer = house.peer()
    house.tick()
    assert peer.sock.calls == 0


def test_dead_peers_are_closed_after_the_loop_and_the_others_served() -> None:
    house = House()
    peers = [house.peer() for _ in range(6)]
    for dead in peers[::2]:
        dead.sock.dead = True
    house.feed.append(b"one")
    house.fanout.deliver(house.feed)
    assert all(not peer.lost for peer in peers), "no one is closed inside the fan-out"
    house.fanout.finish()
    assert [len(peer.lost) for peer in peers] == [1, 0, 1, 0, 1, 0]
    assert [bytes(peer.sock.taken) for peer in peers[1::2]] == [b"one"] * 3
    house.tick(b"two")
    assert [len(peer.lost) for peer in peers] == [1, 0, 1, 0, 1, 0]


def test_a_slow_reader_holds_nobody_up_and_is_given_up_when_it_is_lapped() -> None:
    house = House(limit=10)
    slow, fast = house.peer(room=1), house.peer()
    for _ in range(2):
        house.tick(b"12345")
        assert slow.lost == []
    house.tick(b"12345")
    [error] = slow.lost
    assert isinstance(error, LappedError)
    assert str(error) == "reader too slow, more than 10 bytes behind"
    assert bytes(fast.sock.taken) == b"12345" * 3
    assert bytes(slow.sock.taken) == b"1"
    house.tick(b"12345")
    assert not house.feed._chunks


def test_a_large_chunk_laps_nobody_who_has_read_it_nearly_to_its_end() -> None:
    house = House(limit=10)
    reader = house.peer(room=99)
    house.tick(b"x" * 100)
    house.tick(b"12345")
    assert reader.lost == []
    reader.sock.room = None
    reader.outbox.flush()
    assert bytes(reader.sock.taken) == b"x" * 100 + b"12345"


def test_a_lapped_reader_in_the_middle_of_a_frame_is_sent_no_other_bytes() -> None:
    house = House(limit=10)
    reader = house.peer(room=3)
    house.tick(b"[frame one]")
    house.feed.append(b"[frame two is longer than the limit]")
    house.fanout.deliver(house.feed)
    house.feed.append(b"[frame three is longer than the limit]")
    house.fanout.deliver(house.feed)
    reader.sock.room = None
    reader.outbox.flush()
    house.fanout.finish()
    assert bytes(reader.sock.taken) == b"[fr"
    assert isinstance(reader.lost[0], LappedError)


def test_a_leaver_who_has_everything_is_not_lapped_by_what_it_does_not_read() -> None:
    house = House(limit=10)
    other: Feed[Outbox] = Feed(1000)
    reader = house.peer()
    reader.outbox.subscribe(other)
    reader.sock.room = 0
    other.append(b"[other room]")
    house.fanout.deliver(other)
    house.feed.leave(reader.subscription)
    for _ in range(10):
        house.tick(b"12345")
    assert reader.lost == []
    reader.sock.room = None
    reader.outbox.flush()
    assert bytes(reader.sock.taken) == b"[other room]"


def test_what_closing_a_lost_peer_queues_is_sent_in_the_same_tick() -> None:
    house = House()
    lost, other = house.peer(), house.peer()
    house.fanout.close_later(lambda _error: other.outbox.reply(b"[they have gone]"), ConnectionResetError())
    house.tick()
    assert bytes(other.sock.taken) == b"[they have gone]"
    assert lost.lost == []


def test_authors_who_cannot_take_their_share_are_dealt_with_after_the_loop_too() -> None:
    house = House()
    dead, blocked, short, well = house.peer(), house.peer(), house.peer(), house.peer()
    dead.sock.dead = True
    blocked.sock.room = 0
    short.sock.room = 2
    for peer in (dead, blocked, short, well):
        house.feed.append(b"[mine]", peer.subscription)
    house.tick(b"[all]")
    assert [len(peer.lost) for peer in (dead, blocked, short, well)] == [1, 0, 0, 0]
    assert bytes(well.sock.taken) == b"[mine]" * 3 + b"[all]"
    assert bytes(short.sock.taken) == b"[m"
    house.tick(b"[next]")
    for peer in (blocked, short):
        peer.sock.room = None
        peer.outbox.flush()
        assert bytes(peer.sock.taken) == b"[mine]" * 3 + b"[all][next]"
