from __future__ import annotations

from selchat.feed import Feed, Subscription, SubscriptionState


class Reader:
    """Reads a feed as an outbox does, a given number of bytes at a time."""

    def __init__(self, feed: Feed[Reader]) -> None:
        self.feed = feed
        self.got = b""
        self.subscription: Subscription[Reader] = feed.subscribe(self, self.send)

    def send(self, data: bytes) -> int:
        self.got += data
        return len(data)

    def fall_behind(self) -> None:
        self.feed.detach(self.subscription)

    def read(self, max_bytes: int = 1 << 30, max_buffers: int = 64) -> int:
        """Read up to ``max_bytes`` of the view; return the end position that `Feed.view` gives."""
        if not self.feed.ready(self.subscription):
            return -1
        view, until = self.feed.view(self.subscription, max_bytes, max_buffers)
        data = b"".join(view)[:max_bytes]
        self.got += data
        self.feed.advance(self.subscription, len(data))
        return until

    @property
    def state(self) -> SubscriptionState:
        return self.subscription.state


def tick(feed: Feed[Reader], *messages: bytes) -> bytes:
    for message in messages:
        feed.append(message)
    chunk = feed.seal()
    if chunk:
        for send in feed.live.values():
            send(chunk)
        for subscription, buffers, _ in feed.shares(64):
            for buffer in buffers:
                subscription.reader.send(bytes(buffer))
            feed.rejoin(subscription)
    return chunk


def test_frames_of_a_tick_become_one_chunk() -> None:
    feed: Feed[Reader] = Feed(100)
    assert tick(feed, b"one", b"two") == b"onetwo"
    assert feed.sealed == 6
    assert tick(feed) == b""
    assert tick(feed, b"") == b""


def test_single_frame_is_not_copied() -> None:
    feed: Feed[Reader] = Feed(100)
    message = b"one"
    feed.append(message)
    assert feed.seal() is message


def test_reader_at_the_edge_is_live_and_reader_that_joins_during_a_tick_is_due() -> None:
    feed: Feed[Reader] = Feed(100)
    early = Reader(feed)
    feed.append(b"before")
    late = Reader(feed)
    feed.append(b"after")
    assert (early.state, late.state) == (SubscriptionState.LIVE, SubscriptionState.BEHIND)
    tick(feed)
    assert feed.due() == [late.subscription]
    assert feed.due() == []
    late.read()
    assert (early.got, late.got) == (b"beforeafter", b"after")
    assert not feed.ready(late.subscription)
    assert late.state is SubscriptionState.LIVE


def test_author_gets_the_chunk_without_its_own_frames() -> None:
    feed: Feed[Reader] = Feed(100)
    author, other = Reader(feed), Reader(feed)
    feed.append(b"[one]")
    feed.append(b"[mine]", author.subscription)
    feed.append(b"[mine]", author.subscription)
    feed.append(b"[two]")
    feed.append(b"[mine]", author.subscription)
    assert author.state is SubscriptionState.WRITING
    tick(feed)
    assert author.got == b"[one][two]"
    assert other.got == b"[one][mine][mine][two][mine]"
    assert author.state is SubscriptionState.LIVE
    tick(feed, b"[three]")
    assert author.got == b"[one][two][three]"


def test_author_of_the_whole_chunk_gets_nothing_and_stays_live() -> None:
    feed: Feed[Reader] = Feed(100)
    author = Reader(feed)
    feed.append(b"[mine]", author.subscription)
    tick(feed)
    assert author.got == b""
    assert author.state is SubscriptionState.LIVE
    assert not feed.behind


def test_empty_frame_has_no_author() -> None:
    feed: Feed[Reader] = Feed(100)
    author = Reader(feed)
    for _ in range(2):
        feed.append(b"", author.subscription)
        assert author.state is SubscriptionState.LIVE
        author.fall_behind()
        assert author.read() == -1
    feed.append(b"[mine]", author.subscription)
    tick(feed, b"[one]")
    assert author.got == b"[one]"


def test_author_whose_share_has_too_many_pieces_is_behind_and_due() -> None:
    feed: Feed[Reader] = Feed(1000)
    author = Reader(feed)
    for number in range(5):
        feed.append(b"[mine]", author.subscription)
        feed.append(b"[%d]" % number)
    feed.seal()
    assert feed.shares(4) == []
    assert feed.due() == [author.subscription]
    author.read(max_buffers=2)
    author.read(max_buffers=2)
    author.read(max_buffers=2)
    assert author.got == b"[0][1][2][3][4]"


def test_author_s_share_may_have_the_maximum_number_of_pieces() -> None:
    feed: Feed[Reader] = Feed(1000)
    author = Reader(feed)
    for _ in range(5):
        feed.append(b"[mine]", author.subscription)
        feed.append(b"[one]")
    feed.seal()
    [(subscription, buffers, size)] = feed.shares(5)
    assert subscription is author.subscription
    assert (list(map(bytes, buffers)), size) == ([b"[one]"] * 5, 25)


def test_author_that_falls_behind_skips_its_own_frames_over_many_ticks() -> None:
    feed: Feed[Reader] = Feed(1000)
    author = Reader(feed)
    author.fall_behind()
    for number in range(4):
        feed.append(b"[mine]", author.subscription)
        tick(feed, b"[%d]" % number)
        feed.append(b"[mine]", author.subscription)
        tick(feed)
    while author.read(max_bytes=2) != -1:
        pass
    assert author.got == b"[0][1][2][3]"
    assert author.state is SubscriptionState.LIVE


def test_view_returns_the_end_position_of_its_last_chunk() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    reader.fall_behind()
    tick(feed, b"12345")
    tick(feed, b"67890")
    assert reader.read(max_bytes=1) == 5
    assert reader.read(max_bytes=4) == 5
    assert reader.read(max_bytes=1) == 10
    assert reader.got == b"123456"


def test_buffers_of_a_view_are_slices_of_the_chunks() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    reader.fall_behind()
    chunk = tick(feed, b"one", b"two")
    [buffer], _ = feed.view(reader.subscription, 100, 64)
    assert buffer.obj is chunk


def test_view_is_about_as_large_as_requested() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    reader.fall_behind()
    for _ in range(5):
        tick(feed, b"0123456789")
    view, until = feed.view(reader.subscription, 25, 64)
    assert (list(map(bytes, view)), until) == ([b"0123456789"] * 3, 30)
    view, until = feed.view(reader.subscription, 25, 2)
    assert (list(map(bytes, view)), until) == ([b"0123456789"] * 2, 20)


def test_view_of_a_reader_with_everything_is_empty() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    tick(feed, b"12345")
    reader.fall_behind()
    assert feed.view(reader.subscription, 100, 64) == ([], 5)


def test_leaving_reader_reads_to_the_end_of_that_time() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    feed.append(b"before")
    feed.leave(reader.subscription)
    feed.leave(reader.subscription)
    feed.append(b"after")
    feed.leave(reader.subscription)
    tick(feed)
    assert feed.due() == [reader.subscription]
    reader.read()
    assert reader.got == b"before"
    assert not feed.ready(reader.subscription)
    assert reader.state is SubscriptionState.ENDED
    assert not feed.live and not feed.behind


def test_author_may_leave_in_the_same_tick() -> None:
    feed: Feed[Reader] = Feed(1000)
    author, other = Reader(feed), Reader(feed)
    feed.append(b"[one]")
    feed.append(b"[bye]", author.subscription)
    feed.leave(author.subscription)
    tick(feed, b"[after]")
    author.read()
    assert (author.got, other.got) == (b"[one]", b"[one][bye][after]")
    assert not feed.ready(author.subscription)


def test_others_read_the_frames_of_an_author_that_has_ended() -> None:
    feed: Feed[Reader] = Feed(1000)
    author, other = Reader(feed), Reader(feed)
    feed.append(b"[one]", author.subscription)
    feed.end(author.subscription)
    feed.append(b"[two]", author.subscription)
    feed.leave(author.subscription)
    tick(feed)
    assert (author.got, other.got) == (b"", b"[one][two]")


def test_ended_reader_cannot_leave() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    feed.end(reader.subscription)
    feed.leave(reader.subscription)
    assert reader.state is SubscriptionState.ENDED
    assert not feed.behind and feed.due() == []


def test_reader_more_than_the_limit_behind_is_lapped() -> None:
    feed: Feed[Reader] = Feed(10)
    near, far = Reader(feed), Reader(feed)
    far.fall_behind()
    tick(feed, b"12345")
    near.fall_behind()
    tick(feed, b"67890")
    assert feed.trim() == []
    tick(feed, b"12345")
    assert [lapped.subscription for lapped in feed.trim()] == [far.subscription]
    assert feed.trim() == [], "a reader is lapped once"
    while near.read() != -1:
        pass
    assert near.got == b"123456789012345"


def test_second_reader_behind_the_tail_is_lapped_too() -> None:
    feed: Feed[Reader] = Feed(15)
    first, second, third = Reader(feed), Reader(feed), Reader(feed)
    for reader in (first, second, third):
        reader.fall_behind()
        tick(feed, b"12345")
        assert feed.trim() == []
    for reader in (first, second, third):
        tick(feed, b"12345")
        assert [(lapped.subscription, lapped.mark) for lapped in feed.trim()] == [(reader.subscription, 0)]
        feed.end(reader.subscription)


def test_lapped_reader_gets_its_position() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    reader.fall_behind()
    for mark, message in enumerate([b"[one]", b"[two]", b"[three]", b"[four]"], 1):
        feed.mark = mark
        tick(feed, message)
    reader.read(max_bytes=7)
    [lapped] = feed.trim(0)
    assert lapped == (reader.subscription, b"[two]", 2, 1)


def test_trim_may_override_the_limit() -> None:
    feed: Feed[Reader] = Feed(1000)
    near, far = Reader(feed), Reader(feed)
    assert feed.retained == 0
    for _ in range(3):
        far.fall_behind()
        tick(feed, b"12345")
    near.fall_behind()
    tick(feed, b"67890")
    assert feed.trim() == []
    assert feed.retained == 20
    assert [lapped.subscription for lapped in feed.trim(0)] == [far.subscription]
    assert feed.retained == 5, "the newest chunk stays"
    near.read()
    assert near.got == b"12345" * 3 + b"67890"


def test_newest_chunk_is_retained_whatever_its_size() -> None:
    feed: Feed[Reader] = Feed(10)
    reader = Reader(feed)
    reader.fall_behind()
    tick(feed, b"x" * 1000)
    assert feed.trim() == []
    reader.read()
    assert len(reader.got) == 1000


def test_nothing_is_retained_without_a_reader_behind() -> None:
    feed: Feed[Reader] = Feed(1000)
    reader = Reader(feed)
    for _ in range(5):
        tick(feed, b"12345")
        assert feed.trim() == []
        assert feed.retained == 0
    reader.fall_behind()
    tick(feed, b"12345")
    assert feed.trim() == []
    assert feed.retained == 5
    reader.read()
    assert reader.got == b"12345" * 6


def test_author_with_only_own_frames_ahead_is_not_lapped() -> None:
    feed: Feed[Reader] = Feed(10)
    author = Reader(feed)
    author.fall_behind()
    for _ in range(5):
        feed.append(b"[my own words]", author.subscription)
        tick(feed)
        assert feed.trim() == []
    assert author.read() == -1
    assert author.state is SubscriptionState.LIVE


def test_nothing_is_retained_for_an_author_that_has_everything() -> None:
    """As one whose receipt is on its way at each tick's end: behind, and with nothing to read."""
    feed: Feed[Reader] = Feed(1000)
    author = Reader(feed)
    for _ in range(5):
        feed.append(b"[my own words]", author.subscription)
        tick(feed)
        feed.detach(author.subscription)
        assert feed.trim() == []
        assert feed.retained == 0
        assert author.read() == -1


def test_chunks_that_all_readers_have_read_are_dropped() -> None:
    feed: Feed[Reader] = Feed(1000)
    slow, slower = Reader(feed), Reader(feed)
    slow.fall_behind()
    slower.fall_behind()
    for number in range(5):
        tick(feed, b"%d" % number)
    assert feed.trim() == []
    assert feed.retained == 5
    slow.read()
    slower.read(3)
    tick(feed, b"5")
    assert feed.trim() == []
    assert feed.retained == 3
    slower.read()
    assert slower.got == b"012345"


def test_trim_does_not_check_the_positions_of_many_readers() -> None:
    feed: Feed[Reader] = Feed(4)
    crowd = [Reader(feed) for _ in range(9)]
    for reader in crowd:
        reader.fall_behind()
    for number in range(3):
        tick(feed, b"%d" % number)
    for reader in crowd:
        reader.read(2)
    assert feed.trim() == []
    assert feed.retained == 3
    crowd[0].read()
    assert crowd[0].read() == -1  # and is live
    assert feed.trim() == []
    assert feed.retained == 1
