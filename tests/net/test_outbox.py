from __future__ import annotations

from typing import Any

import pytest

from selchat.feed import Feed, Lapped, SubscriptionState
from selchat.net import outbox as module
from selchat.net.fanout import Fanout, LappedError
from selchat.net.outbox import Outbox, OutboxState, UnreadRepliesError
from tests.net.fakes import FakeOwner, FakeSocket


class Peer:
    def __init__(self, room: int | None = None, replies_limit: int = 1000) -> None:
        self.sock: Any = FakeSocket(room)
        self.owner = FakeOwner()
        self.outbox = Outbox(self.sock, self.owner, replies_limit)

    @property
    def taken(self) -> bytes:
        return bytes(self.sock.taken)

    def writable(self, room: int | None = None) -> None:
        self.sock.room = room
        self.outbox.flush()


def deliver(feed: Feed[Outbox], *messages: bytes) -> None:
    for message in messages:
        feed.append(message)
    Fanout(1000).deliver(feed)


def test_replies_are_sent_at_the_end_of_the_tick_with_one_call() -> None:
    peer = Peer()
    peer.outbox.reply(b"one")
    peer.outbox.reply(b"two")
    assert peer.taken == b""
    assert peer.owner.asked == ["flush"]
    peer.outbox.end_tick()
    assert peer.taken == b"onetwo"
    assert peer.sock.calls == 1
    assert peer.outbox.state is OutboxState.IDLE
    assert peer.owner.asked == ["flush"]


def test_short_write_continues_when_the_socket_is_writable() -> None:
    peer = Peer(room=4)
    peer.outbox.reply(b"one")
    peer.outbox.reply(b"two")
    peer.outbox.end_tick()
    assert peer.taken == b"onet"
    assert peer.sock.calls == 1, "a full socket is not tried again"
    assert peer.owner.asked == ["flush", "writable"]
    assert peer.outbox.state is OutboxState.BLOCKED
    assert peer.outbox.blocked
    peer.writable(1)
    peer.writable()
    assert peer.taken == b"onetwo"
    assert not peer.outbox.blocked
    assert peer.owner.asked == ["flush", "writable", "not writable"]


def test_many_replies_take_few_calls() -> None:
    peer = Peer(replies_limit=10_000)
    replies = [b"%03d," % number for number in range(200)]
    for reply in replies:
        peer.outbox.reply(reply)
    peer.outbox.end_tick()
    assert peer.taken == b"".join(replies)
    assert peer.sock.calls == 4


def test_buffers_are_joined_without_sendmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HAS_SENDMSG", False)
    monkeypatch.setattr(FakeSocket, "sendmsg", None)
    peer = Peer(room=4)
    peer.outbox.reply(b"one")
    peer.outbox.reply(b"two")
    peer.outbox.end_tick()
    peer.writable()
    assert peer.taken == b"onetwo"


def test_replies_over_the_limit_close_the_connection() -> None:
    peer = Peer(room=0, replies_limit=10)
    peer.outbox.reply(b"x" * 10)
    assert peer.owner.errors == []
    peer.outbox.reply(b"x")
    [error] = peer.owner.errors
    assert isinstance(error, UnreadRepliesError)
    assert error.limit == 10
    peer.outbox.reply(b"x")
    assert len(peer.owner.errors) == 1, "the error is reported once"
    peer.writable()
    assert peer.taken == b"", "nothing more is sent"


def test_burst_of_replies_is_sent_before_a_reader_counts_as_slow() -> None:
    peer = Peer(replies_limit=10)
    for number in range(20):
        peer.outbox.reply(b"%08d" % number)
    peer.outbox.end_tick()
    assert peer.taken == b"".join(b"%08d" % number for number in range(20))
    assert peer.owner.errors == []
    assert peer.outbox.state is OutboxState.IDLE


def test_reader_that_takes_less_than_a_burst_is_too_slow() -> None:
    peer = Peer(room=30, replies_limit=10)
    for number in range(20):
        peer.outbox.reply(b"%08d" % number)
    assert [str(error) for error in peer.owner.errors] == [str(UnreadRepliesError(10))]
    assert peer.taken == b"".join(b"%08d" % number for number in range(20))[:30]


def test_blocked_reader_whose_socket_has_room_again_is_not_too_slow() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=2, replies_limit=10)
    peer.outbox.subscribe(feed)
    deliver(feed, b"chunk")
    assert peer.outbox.blocked
    peer.sock.room = None  # and the reactor has not reported it yet
    for number in range(5):
        peer.outbox.reply(b"%08d" % number)
    peer.outbox.end_tick()
    assert peer.taken == b"chunk" + b"".join(b"%08d" % number for number in range(5))
    assert peer.owner.errors == []
    deliver(feed, b"more")
    assert peer.taken.endswith(b"more")


def test_reply_over_the_limit_during_the_last_tick_does_not_end_it() -> None:
    peer = Peer(replies_limit=10)
    peer.outbox.reply(b"0123456789")
    peer.outbox.finish(b"bye")
    peer.outbox.reply(b"late")
    assert peer.owner.asked == ["flush", "flush"]
    peer.outbox.end_tick()
    assert peer.taken == b"0123456789latebye"
    assert peer.owner.asked == ["flush", "flush", "sent all"]
    assert peer.owner.errors == []


def test_single_reply_may_be_longer_than_the_limit() -> None:
    peer = Peer(replies_limit=10)
    peer.outbox.reply(b"before")
    peer.outbox.reply(b"x" * 1000)
    peer.outbox.end_tick()
    assert peer.taken == b"before" + b"x" * 1000
    assert peer.owner.errors == []


def test_sent_replies_do_not_count() -> None:
    peer = Peer(replies_limit=10)
    for _ in range(5):
        peer.outbox.reply(b"x" * 10)
        peer.outbox.end_tick()
    assert peer.owner.errors == []
    peer.sock.room = 4
    peer.outbox.reply(b"x" * 10)
    peer.outbox.end_tick()
    peer.outbox.reply(b"y" * 4)
    assert peer.owner.errors == []
    peer.outbox.reply(b"y")
    assert len(peer.owner.errors) == 1


def test_live_reader_with_a_full_socket_falls_behind_and_catches_up() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=2)
    subscription = peer.outbox.subscribe(feed)
    assert subscription.state is SubscriptionState.LIVE
    deliver(feed, b"one")
    assert subscription.state is SubscriptionState.BEHIND
    assert peer.owner.asked == ["writable"]
    deliver(feed, b"two")
    peer.writable(2)
    assert peer.taken == b"onet"
    peer.writable()
    assert peer.taken == b"onetwo"
    assert subscription.state is SubscriptionState.LIVE
    deliver(feed, b"three")
    assert peer.taken == b"onetwothree"
    assert peer.owner.asked == ["writable", "not writable"]


def test_many_small_chunks_are_sent_with_one_call() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=0)
    peer.outbox.subscribe(feed)
    chunks = [b"%03d," % number for number in range(60)]
    for chunk in chunks:
        deliver(feed, chunk)
    calls = peer.sock.calls
    peer.writable()
    assert peer.taken == b"".join(chunks)
    assert peer.sock.calls == calls + 1


def test_partly_sent_chunk_keeps_the_wire() -> None:
    rooms: list[Feed[Outbox]] = [Feed(1000), Feed(1000)]
    peer = Peer(room=1)
    for feed in rooms:
        peer.outbox.subscribe(feed)
    deliver(rooms[1], b"[one", b" two]")
    deliver(rooms[0], b"[other room]")
    peer.outbox.reply(b"[reply]")
    peer.writable(3)
    peer.writable(4)
    assert peer.taken == b"[one two"
    peer.writable()
    assert peer.taken == b"[one two][reply][other room]"


def test_chunk_releases_the_wire_at_its_last_byte() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=4)
    peer.outbox.subscribe(feed)
    deliver(feed, b"[one]")
    deliver(feed, b"[two]")
    peer.outbox.reply(b"[reply]")
    peer.writable(3)
    assert peer.taken == b"[one][r"
    peer.writable()
    assert peer.taken == b"[one][reply][two]"


def test_partly_sent_reply_keeps_the_wire() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=1)
    peer.outbox.subscribe(feed)
    peer.outbox.reply(b"[reply]")
    peer.outbox.end_tick()
    deliver(feed, b"[room]")
    peer.writable(2)
    peer.outbox.reply(b"[reply 2]")
    peer.writable()
    assert peer.taken == b"[reply][reply 2][room]"


def test_chunk_with_a_skipped_middle_keeps_the_wire() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=5)
    author = peer.outbox.subscribe(feed)
    feed.append(b"[one]")
    feed.append(b"[mine]", author)
    feed.append(b"[two]")
    deliver(feed)
    assert peer.taken == b"[one]"
    peer.outbox.reply(b"[reply]")
    peer.writable(2)
    peer.outbox.reply(b"[reply 2]")
    peer.writable()
    assert peer.taken == b"[one][two][reply][reply 2]"


def test_tick_with_only_own_frames_makes_no_call() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer()
    author = peer.outbox.subscribe(feed)
    feed.append(b"[mine]", author)
    feed.append(b"[mine too]", author)
    deliver(feed)
    assert peer.sock.calls == 0
    assert author.state is SubscriptionState.LIVE
    assert not feed.behind


def test_chunk_with_200_skips_is_sent_with_several_calls() -> None:
    feed: Feed[Outbox] = Feed(100_000)
    peer = Peer()
    author = peer.outbox.subscribe(feed)
    wanted = b""
    for number in range(200):
        feed.append(b"[mine %d]" % number, author)
        feed.append(b"[%d]" % number)
        wanted += b"[%d]" % number
    deliver(feed)
    assert peer.taken == wanted
    assert peer.sock.calls == 4


def test_finish_sends_everything_and_calls_the_owner() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer()
    peer.outbox.subscribe(feed)
    peer.outbox.reply(b"[reply]")
    peer.outbox.finish()
    peer.outbox.finish()
    peer.outbox.reply(b"[receipt]")
    feed.append(b"[same tick]")
    deliver(feed)
    peer.outbox.end_tick()
    peer.outbox.reply(b"[too late]")
    peer.outbox.end_tick()
    assert peer.taken == b"[reply][receipt][same tick]"
    assert peer.owner.asked.count("sent all") == 1
    assert not feed.live and not feed.behind
    deliver(feed, b"[next tick]")
    assert b"next" not in peer.taken


def test_finish_while_blocked_accepts_nothing_after_the_tick() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=1)
    peer.outbox.subscribe(feed)
    deliver(feed, b"[one]")
    peer.outbox.finish()
    deliver(feed, b"[same tick]")
    peer.outbox.end_tick()
    deliver(feed, b"[next tick]")
    peer.writable()
    assert peer.taken == b"[one][same tick]"
    assert peer.owner.asked[-1] == "sent all"


def test_finish_and_writable_in_one_tick_still_sends_the_frames_of_the_tick() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=1)
    peer.outbox.subscribe(feed)
    deliver(feed, b"[one]")
    peer.outbox.finish()
    peer.writable()
    assert "sent all" not in peer.owner.asked
    deliver(feed, b"[the server is shutting down]")
    peer.outbox.end_tick()
    assert peer.taken == b"[one][the server is shutting down]"
    assert peer.owner.asked[-1] == "sent all"


def test_empty_outbox_finishes_at_once() -> None:
    peer = Peer()
    peer.outbox.finish()
    peer.outbox.end_tick()
    assert peer.owner.asked == ["flush", "sent all"]
    assert peer.sock.calls == 0


def test_dead_peer_is_reported_and_gets_nothing_more() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer()
    subscription = peer.outbox.subscribe(feed)
    peer.sock.dead = True
    peer.outbox.reply(b"[reply]")
    peer.outbox.end_tick()
    [error] = peer.owner.errors
    assert isinstance(error, ConnectionResetError)
    assert subscription.state is SubscriptionState.ENDED
    deliver(feed, b"[one]")
    assert peer.sock.calls == 1


def test_closed_outbox_discards_everything() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer(room=1)
    subscription = peer.outbox.subscribe(feed)
    deliver(feed, b"[one]")
    peer.outbox.reply(b"[reply]")
    peer.outbox.close()
    assert subscription.state is SubscriptionState.ENDED
    assert not feed.behind
    peer.outbox.leave(subscription)
    peer.outbox.reply(b"[reply]")
    peer.outbox.finish()
    peer.writable()
    peer.outbox.end_tick()
    assert peer.taken == b"["
    assert peer.outbox.state is OutboxState.CLOSED
    assert peer.owner.asked == ["writable"]


def test_subscription_while_blocked_waits_for_the_wire() -> None:
    rooms: list[Feed[Outbox]] = [Feed(1000), Feed(1000)]
    peer = Peer(room=2)
    peer.outbox.subscribe(rooms[0])
    deliver(rooms[0], b"[one]")
    subscription = peer.outbox.subscribe(rooms[1])
    assert subscription.state is SubscriptionState.BEHIND
    deliver(rooms[1], b"[two]")
    assert peer.taken == b"[o"
    peer.writable()
    assert peer.taken == b"[one][two]"
    assert subscription.state is SubscriptionState.LIVE


def test_final_data_is_sent_after_everything_else() -> None:
    feed: Feed[Outbox] = Feed(1000)
    peer = Peer()
    peer.outbox.subscribe(feed)
    peer.outbox.finish(b"[bye]")
    feed.append(b"[same tick]")
    deliver(feed)
    peer.outbox.end_tick()
    assert peer.taken == b"[same tick][bye]"


def test_callback_runs_once_when_the_replies_are_sent() -> None:
    peer = Peer()
    told: list[int] = []
    peer.outbox.when_replies_sent(lambda: told.append(1))
    assert told == [1], "nothing waits"
    peer.sock.room = 3
    peer.outbox.reply(b"[reply]")
    peer.outbox.when_replies_sent(lambda: told.append(2))
    peer.outbox.end_tick()
    assert told == [1]
    peer.sock.room = None
    peer.outbox.flush()
    peer.outbox.flush()
    assert told == [1, 2]


def test_lapped_reader_that_survives_gets_the_rest_of_its_frame_first() -> None:
    feed: Feed[Outbox] = Feed(10)
    peer = Peer()
    seen: list[tuple[bytes, int, int]] = []

    def lapped(where: Lapped) -> bytes:
        seen.append((where.chunk, where.offset, where.mark))
        return where.chunk[where.offset : where.chunk.index(b"]") + 1]

    subscription = peer.outbox.subscribe(feed, lapped)
    feed.mark = 7
    peer.sock.room = 3
    feed.append(b"[first][second]")
    deliver(feed)
    feed.mark = 9
    peer.outbox.reply(b"[reply]")
    feed.append(b"[a lot of bytes more]")
    deliver(feed)
    assert seen == [(b"[first][second]", 3, 0)]
    assert subscription.state is SubscriptionState.ENDED
    peer.sock.room = None
    peer.outbox.flush()
    assert peer.taken == b"[first][reply]"


def test_lapped_reader_without_other_data_gets_the_rest_of_its_frame() -> None:
    feed: Feed[Outbox] = Feed(10)
    peer = Peer(room=3)
    peer.outbox.subscribe(feed, lambda where: where.chunk[where.offset :])
    deliver(feed, b"[first]")
    deliver(feed, b"[a lot of bytes more]")
    assert peer.outbox.queued == len(b"rst]")
    peer.outbox.reply(b"[refill]")
    assert peer.outbox.queued == len(b"rst][refill]")
    peer.writable()
    assert peer.taken == b"[first][refill]"
    assert peer.outbox.queued == 0


def test_rest_of_a_lapped_reader_s_frame_counts_as_queued() -> None:
    feed: Feed[Outbox] = Feed(10)
    peer = Peer(room=3)
    peer.outbox.subscribe(feed, lambda where: where.chunk[where.offset :])
    deliver(feed, b"[first]")
    peer.outbox.reply(b"[reply]")
    deliver(feed, b"[a lot of bytes more]")
    assert peer.outbox.queued == len(b"rst][reply]")


def test_lapped_reader_without_a_callback_closes_the_connection() -> None:
    patient, strict = Feed[Outbox](1000), Feed[Outbox](10)
    peer = Peer(room=0)
    peer.outbox.subscribe(patient, lambda _where: b"")
    peer.outbox.subscribe(strict)
    deliver(strict, b"[first]")
    assert peer.owner.errors == []
    deliver(strict, b"[a lot of bytes more]")
    assert [type(error) for error in peer.owner.errors] == [LappedError]


def test_leaving_a_feed_sends_its_frames_so_far_and_no_more() -> None:
    feed: Feed[Outbox] = Feed(10)
    peer = Peer(room=0)
    lapped: list[Lapped] = []
    staying = peer.outbox.subscribe(Feed[Outbox](10))
    leaving = peer.outbox.subscribe(feed, lambda where: bytes(lapped.append(where) or b""))
    feed.append(b"[one]")
    peer.outbox.leave(leaving)
    peer.outbox.leave(staying)
    deliver(feed, b"[after]")
    peer.writable()
    assert peer.taken == b"[one]"
    assert leaving.state is staying.state is SubscriptionState.ENDED
    assert peer.outbox.subscriptions == []


def test_leaving_reader_that_is_lapped_closes_the_connection() -> None:
    feed: Feed[Outbox] = Feed(10)
    peer = Peer(room=0)
    leaving = peer.outbox.subscribe(feed, lambda _where: b"")
    deliver(feed, b"[one]")
    peer.outbox.leave(leaving)
    deliver(feed, b"[a lot of bytes more]")
    assert [type(error) for error in peer.owner.errors] == [LappedError]


class WrappingStream:
    """Send bytes of its own before the given data, as TLS does."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.own = b"<hello>"

    def send(self, data: bytes) -> int:
        if self.own:
            self.sock.send(self.own)
            self.own = b""
        return self.sock.send(data) if data else 0


def test_wake_makes_the_stream_send_its_own_bytes() -> None:
    peer = Peer()
    peer.outbox.change_stream(WrappingStream(peer.sock))  # type: ignore[arg-type]
    peer.outbox.wake()
    assert peer.owner.asked == ["flush"]
    assert peer.outbox.queued == 0
    peer.outbox.end_tick()
    assert peer.taken == b"<hello>"
    assert peer.outbox.state is OutboxState.IDLE


def test_stream_may_change_only_before_the_first_use() -> None:
    queued, subscribed = Peer(), Peer()
    queued.outbox.reply(b"[reply]")
    subscribed.outbox.subscribe(Feed(10))
    for peer in (queued, subscribed):
        with pytest.raises(AssertionError):
            peer.outbox.change_stream(WrappingStream(peer.sock))  # type: ignore[arg-type]
