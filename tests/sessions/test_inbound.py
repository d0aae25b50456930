"""The inbound stream: rate limit and frame timeout, on a clock that the tests advance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.config.settings import Settings
from selchat.errors import SelchatError
from selchat.limits import KIB
from selchat.sessions.inbound import FrameTimeoutError, InboundStream
from selchat.sessions.work import WorkLimits
from selchat.wire.frames import FrameDecoder, encode_frame
from tests.chat.fakes import FakeClock


class Context:
    """The part of a context that an inbound stream needs."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.clock = FakeClock()
        self.lengths: dict[bytes, int] = {}
        self.login_lengths: dict[bytes, int] = {}


class Peer:
    """A peer after login, and its transport: sent bytes wait while reading is paused."""

    def __init__(self, decoder: FrameDecoder | None = None, **settings: Any) -> None:
        self.context = Context(**settings)
        work = WorkLimits(self.context.settings, self.context.clock)
        self.meter = work.meter("192.168.43.169:54494")
        self.stream = InboundStream(self.context, decoder or FrameDecoder(), self.meter)  # type: ignore[arg-type]
        self.paused = False
        self.reads = 0
        self.delivered: list[bytes] = []
        self.times: list[float] = []
        self.errors: list[SelchatError] = []
        self._waiting: list[bytes] = []
        self.deliver(self.stream.lift_limits(self, self.deliver))  # type: ignore[arg-type]

    def deliver(self, payloads: list[bytes]) -> None:
        self.delivered += payloads
        self.times += [self.context.clock.now - 100] * len(payloads)
        self.stream.check(bool(payloads), self.errors.append)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def send(self, *payloads: bytes) -> None:
        """Send these payloads as one read."""
        self._waiting.append(b"".join(map(encode_frame, payloads)))
        self._read()

    def send_raw(self, data: bytes) -> None:
        self._waiting.append(data)
        self._read()

    def tick(self, seconds: float) -> None:
        self.context.clock.advance(seconds)
        self._read()

    def _read(self) -> None:
        while self._waiting and not self.paused:
            self.reads += 1
            self.deliver(self.stream.receive_data(self._waiting.pop(0)))


MESSAGES = [b"%d" % number for number in range(100)]


def test_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    peer = Peer(message_rate=5.0, message_burst=20)
    peer.send(*MESSAGES)
    assert peer.delivered == MESSAGES[:20]
    assert peer.paused
    for _ in range(79):
        peer.tick(0.2)
    assert len(peer.delivered) == 99
    peer.tick(0.2)
    assert peer.delivered == MESSAGES
    assert not peer.paused
    assert peer.context.clock.pending == 0


def test_messages_that_wait_unread_keep_their_order() -> None:
    peer = Peer(message_rate=10.0, message_burst=1)
    for message in MESSAGES:
        peer.send(message)
    for _ in range(1000):
        peer.tick(0.05)
    assert peer.delivered == MESSAGES
    assert not peer.paused


def test_long_silence_refills_one_burst_only() -> None:
    peer = Peer(message_rate=5.0, message_burst=20)
    peer.send(*MESSAGES[:20])
    peer.tick(3600.0)
    peer.send(*MESSAGES[20:])
    assert len(peer.delivered) == 40


def test_byte_rate_is_enforced() -> None:
    peer = Peer(message_rate=0, byte_rate=64 * KIB)
    message = b"x" * (64 * KIB - 10)  # with its header, a second's worth
    peer.send(message, message)
    assert not peer.paused
    peer.send(message)  # over the rate, but the stream delivers bytes that it has already read
    assert len(peer.delivered) == 3
    assert peer.paused
    peer.send(b"later")
    peer.tick(0.9)
    assert len(peer.delivered) == 3
    peer.tick(0.2)
    assert peer.delivered[3:] == [b"later"]


def test_without_limits_nothing_is_delayed() -> None:
    peer = Peer(message_rate=0, byte_rate=0)
    peer.send(*MESSAGES * 100)
    assert len(peer.delivered) == 10_000
    assert not peer.paused


def test_message_rate_alone_is_enforced() -> None:
    peer = Peer(message_rate=5, byte_rate=0)
    peer.send(*[b"x" * 60_000] * 21)
    assert len(peer.delivered) == 20
    peer.tick(0.2)
    assert len(peer.delivered) == 21


def test_frame_timeout_excludes_the_rate_limit_pause() -> None:
    peer = Peer(message_rate=1.0, message_burst=1, frame_seconds=30.0)
    peer.send_raw(b"".join(map(encode_frame, MESSAGES)) + b"5         lat")
    for _ in range(99):
        peer.tick(1.0)
    assert (len(peer.delivered), peer.errors) == (100, [])
    peer.tick(29.0)
    assert peer.errors == []
    peer.tick(1.1)
    assert [type(error) for error in peer.errors] == [FrameTimeoutError]


def test_framing_error_is_reported_after_all_earlier_payloads() -> None:
    peer = Peer(message_rate=1.0, message_burst=1)
    peer.send_raw(encode_frame(b"one") + encode_frame(b"two") + b"GET / HTTP")
    assert (peer.delivered, peer.errors) == ([b"one"], [])
    peer.tick(1.0)
    assert peer.delivered == [b"one", b"two"]
    assert len(peer.errors) == 1


def test_closed_stream_delivers_nothing_and_has_no_timers() -> None:
    peer = Peer(message_rate=1.0, message_burst=1)
    peer.send(*MESSAGES)
    peer.stream.close()
    assert peer.context.clock.pending == 0
    peer.tick(1000.0)
    assert peer.delivered == MESSAGES[:1]
    assert peer.context.clock.pending == 0


@given(
    st.lists(st.tuples(st.floats(0, 5), st.lists(st.binary(max_size=2000), max_size=30)), max_size=30),
    st.floats(0.1, 1000),
    st.integers(1, 50),
)
def test_no_message_is_lost_or_reordered_and_no_interval_exceeds_the_rate(
    reads: list[tuple[float, list[bytes]]], rate: float, burst: int
) -> None:
    peer = Peer(message_rate=rate, message_burst=burst, byte_rate=0)
    sent: list[bytes] = []
    for pause, payloads in reads:
        peer.tick(pause)
        peer.send(*payloads)
        sent += payloads
    while len(peer.delivered) < len(sent):
        peer.tick(1 / rate)
    assert peer.delivered == sent
    for start in range(len(peer.times)):
        for end in range(start, len(peer.times), 7):
            elapsed = peer.times[end] - peer.times[start]
            assert end - start + 1 <= burst + elapsed * rate + 1e-6


def test_rate_limiter_queues_at_most_one_read() -> None:
    peer = Peer(message_rate=1.0, message_burst=1)
    peer.send(*MESSAGES)
    peer.send(*MESSAGES)
    assert peer.reads == 1
    for _ in range(98):
        peer.tick(1.0)
    assert (len(peer.delivered), peer.reads) == (99, 1)
    peer.tick(1.0)
    assert (len(peer.delivered), peer.reads) == (100, 2)


class CostlyDecoder(FrameDecoder):
    """Count 50,000 bytes for each read in addition to its own."""

    overhead = 50_000


def test_decoder_overhead_counts_against_the_byte_rate() -> None:
    peer = Peer(CostlyDecoder(), message_rate=0, byte_rate=1000)
    assert not peer.paused
    peer.send(b"x")
    assert peer.paused


def test_byte_debt_delays_queued_messages_too() -> None:
    peer = Peer(message_rate=10.0, message_burst=1, byte_rate=1000)
    peer.send(b"x" * 60_000, b"x" * 40_000)
    assert len(peer.delivered) == 1
    peer.tick(1.0)
    assert len(peer.delivered) == 1
    peer.tick(33.0)
    assert len(peer.delivered) == 2


def test_each_frame_has_the_whole_timeout() -> None:
    peer = Peer(message_rate=0, byte_rate=0, frame_seconds=30.0)
    peer.send_raw(b"5         he")
    peer.tick(20.0)
    peer.send_raw(b"llo5         wo")
    peer.tick(20.0)
    assert (peer.delivered, peer.errors) == ([b"hello"], [])
    peer.tick(11.0)
    assert [type(error) for error in peer.errors] == [FrameTimeoutError]


def test_trickled_bytes_do_not_extend_the_frame_timeout() -> None:
    peer = Peer(message_rate=0, byte_rate=0, frame_seconds=30.0)
    peer.send_raw(b"5         h")
    peer.tick(20.0)
    peer.send_raw(b"e")
    peer.tick(9.0)
    assert peer.errors == []
    peer.tick(1.1)
    assert [type(error) for error in peer.errors] == [FrameTimeoutError]


def test_idle_time_between_frames_does_not_count() -> None:
    peer = Peer(message_rate=0, byte_rate=0, frame_seconds=30.0)
    peer.send_raw(b"5         he")
    peer.tick(20.0)
    peer.send_raw(b"llo")
    peer.tick(20.0)
    assert peer.errors == []
    peer.send_raw(b"5         wo")
    peer.tick(29.0)
    assert peer.errors == []
    peer.tick(1.1)
    assert [type(error) for error in peer.errors] == [FrameTimeoutError]


def test_frame_timeout_starts_again_when_reading_resumes() -> None:
    peer = Peer(message_rate=0, byte_rate=1000, frame_seconds=30.0)
    peer.send_raw(encode_frame(b"x" * 60_000) + b"65000     " + b"x" * 46_000)
    assert peer.paused
    peer.tick(39.0)
    assert peer.paused and peer.errors == []
    peer.tick(1.0)
    assert not peer.paused
    peer.tick(29.0)
    assert peer.errors == []
    peer.tick(1.5)
    assert [type(error) for error in peer.errors] == [FrameTimeoutError]


def test_close_cancels_the_frame_timeout() -> None:
    peer = Peer(message_rate=0, byte_rate=0, frame_seconds=30.0)
    peer.send_raw(b"5         he")
    peer.stream.close()
    assert peer.context.clock.pending == 0
    peer.tick(100.0)
    assert peer.errors == []


class Worker(Peer):
    """A peer whose payloads are work: each costs a millisecond."""

    def deliver(self, payloads: list[bytes]) -> None:
        for place, payload in enumerate(payloads):
            if not self.meter.admit(1000):
                self.stream.defer(payloads[place:])
                break
            super().deliver([payload])


def test_work_over_the_limit_waits_in_order_and_reading_pauses() -> None:
    peer = Worker(message_rate=0, byte_rate=0, connection_work=0.1, tick_work=1.0)
    peer.send(*MESSAGES[:50])
    peer.send(*MESSAGES[50:])
    for _ in range(300):
        peer.tick(0.01)
    assert peer.delivered == MESSAGES
    assert not peer.paused


def test_work_and_rate_limits_hold_together() -> None:
    peer = Worker(message_rate=10.0, message_burst=20, connection_work=0.005, tick_work=1.0)
    peer.send(*MESSAGES)
    for _ in range(2100):
        peer.tick(0.01)
    assert peer.delivered == MESSAGES
    # A hundred milliseconds of work at five a second, after a burst of fifty and the one that makes the debt.
    assert peer.times[-1] == pytest.approx((100 - 51) / 5, abs=0.3)
    assert all(later - earlier < 1 for earlier, later in zip(peer.times, peer.times[1:], strict=False))


def test_tick_limit_defers_work_to_later_ticks() -> None:
    peer = Worker(
        message_rate=0, byte_rate=0, connection_work=0, person_work=0, address_work=0, tick_work=0.002
    )
    peer.send(*MESSAGES[:20])
    seen = [len(peer.delivered)]
    while len(peer.delivered) < 20:
        assert peer.paused
        peer.tick(0)
        seen.append(len(peer.delivered))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 2
    assert peer.delivered == MESSAGES[:20]


def test_charged_bytes_delay_the_next_read() -> None:
    peer = Peer(byte_rate=1000, message_rate=0, frame_limit=1000)
    peer.stream.charge_bytes(2500)  # 2,000 were saved
    assert peer.paused
    peer.tick(0.4)
    assert peer.paused
    peer.tick(0.2)
    assert not peer.paused


def test_closed_stream_delivers_no_deferred_payload() -> None:
    peer = Worker(message_rate=0, byte_rate=0, connection_work=0.1, tick_work=0.001)
    peer.send(*MESSAGES[:20])
    count = len(peer.delivered)
    peer.stream.close()
    for _ in range(10):
        peer.tick(1.0)
    assert len(peer.delivered) == count < 20
