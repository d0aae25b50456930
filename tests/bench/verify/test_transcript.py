"""Every lost, duplicated, late or changed message is found, at any reader."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.verify.acks import AckTracker
from selchat.bench.verify.stream import BrokenFramingError
from selchat.bench.verify.transcript import Counters, Reader, Transcript
from selchat.bench.wires.messages import MIN_PAYLOAD
from selchat.bench.wires.wire import CLASSIC, SELCHAT, WEBSOCKET, Wire
from selchat.wire.frames import encode_frame

RUN = b"run"
A, B = b"run00001", b"run00002"
ROSTER = encode_frame(b"Server") + encode_frame(b"Users online (2): run00001, run00002")


@pytest.fixture(params=[CLASSIC, SELCHAT, WEBSOCKET], ids=["classic", "selchat", "websocket"])
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found


def deliveries(name: bytes, count: int, wire: Wire = CLASSIC) -> list[bytes]:
    """Return the first messages of that sender, as the server delivers them."""
    generator = wire.generator(name, MIN_PAYLOAD + 4, as_delivered=True)
    return [generator.generate(1, 1000 + number) for number in range(count)]


def make_transcript(*readers: Reader, wire: Wire = CLASSIC) -> Transcript:
    transcript = Transcript(RUN, wire)
    for reader in readers:
        transcript.add(reader)
    return transcript


def feed(transcript: Transcript, reader: Reader, data: bytes, now: int = 5000) -> None:
    if data:
        transcript.receive(reader, memoryview(data), now)


def defects(transcript: Transcript, sent: int) -> tuple[int, int, int, int]:
    """Return (lost, duplicated, reordered, diverged)."""
    return transcript.lost(sent, {}), transcript.duplicated(), transcript.reordered(), transcript.diverged


@given(st.integers(0, 1 << 32))
def test_identical_streams_have_no_defects_at_any_chunking(seed: int) -> None:
    draw = random.Random(seed)
    stream = b"".join([*deliveries(A, 4), ROSTER, *deliveries(B, 3)])
    readers = [Reader() for _ in range(3)]
    transcript = make_transcript(*readers)
    transcript.expect(7)
    left = dict.fromkeys(readers, stream)
    while any(left.values()):
        reader = draw.choice([reader for reader in readers if left[reader]])
        size = draw.randint(1, 200)
        feed(transcript, reader, left[reader][:size])
        left[reader] = left[reader][size:]
    assert defects(transcript, 7) == (0, 0, 0, 0)
    counters = transcript.counters
    assert (counters.deliveries, transcript.behind, counters.latencies.count) == (21, 0, 21)
    assert counters.reached == [transcript]


@given(st.integers(0, 1 << 32))
def test_senders_skip_their_own_messages(seed: int) -> None:
    draw = random.Random(seed)
    messages = {A: deliveries(A, 5), B: deliveries(B, 5)}
    order = draw.sample([A, B] * 5, 10)
    stream = [(name, messages[name].pop(0)) for name in order]
    observer, a, b = Reader(), Reader(), Reader()
    transcript = Transcript(RUN)
    transcript.add(observer)
    transcript.add(a, A)
    transcript.add(b, B)
    transcript.expect(10)
    left = {
        observer: b"".join(data for _, data in stream),
        a: b"".join(data for name, data in stream if name != A),
        b: b"".join(data for name, data in stream if name != B),
    }
    while any(left.values()):
        reader = draw.choice([reader for reader in left if left[reader]])
        size = draw.randint(1, 150)
        feed(transcript, reader, left[reader][:size])
        left[reader] = left[reader][size:]
    assert defects(transcript, 10) == (0, 0, 0, 0)
    assert (transcript.counters.deliveries, transcript.behind) == (20, 0)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 3, 4], (1, 0, 0, 1)),
        ([0, 1, 2, 2, 3, 4], (0, 1, 0, 1)),
        ([0, 2, 1, 3, 4], (0, 0, 1, 1)),
        ([0, 1], (3, 0, 0, 0)),
    ],
    ids=["lost", "duplicated", "reordered", "cut off"],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_defects_of_one_reader_count_once(
    order: list[int], expected: tuple[int, int, int, int], size: int, wire: Wire
) -> None:
    messages = deliveries(A, 5, wire)
    good, bad = Reader(), Reader()
    transcript = make_transcript(good, bad, wire=wire)
    feed(transcript, good, b"".join(messages))
    stream = b"".join(messages[number] for number in order)
    for start in range(0, len(stream), size):
        feed(transcript, bad, stream[start : start + size])
    assert defects(transcript, 5) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [([0, 1, 3, 4], (2, 0, 0)), ([0, 1, 1, 2, 3, 4], (0, 2, 0)), ([1, 0, 2, 3, 4], (0, 0, 2))],
    ids=["lost", "duplicated", "reordered"],
)
def test_defects_of_all_readers_count_for_each(
    order: list[int], expected: tuple[int, int, int], wire: Wire
) -> None:
    messages = deliveries(A, 5, wire)
    readers = [Reader(), Reader()]
    transcript = make_transcript(*readers, wire=wire)
    for reader in readers:
        feed(transcript, reader, b"".join(messages[number] for number in order))
    assert defects(transcript, 5) == (*expected, 0)
    assert (transcript.misnumbered() > 0) is wire.acks


def test_changed_byte_makes_a_reader_diverge() -> None:
    stream = b"".join(deliveries(A, 3))
    changed = bytearray(stream)
    changed[-1] ^= 1
    good, bad = Reader(), Reader()
    transcript = make_transcript(good, bad)
    feed(transcript, good, stream)
    feed(transcript, bad, bytes(changed))
    assert transcript.diverged == 1


def test_diverged_sender_need_not_receive_its_own_messages() -> None:
    messages = deliveries(B, 4)
    observer, sender = Reader(), Reader()
    transcript = Transcript(RUN)
    transcript.add(observer)
    transcript.add(sender, A)
    transcript.expect(6)
    own = deliveries(A, 2)
    feed(transcript, observer, messages[0] + own[0] + b"".join(messages[1:]) + own[1])
    feed(transcript, sender, messages[0] + messages[1] + messages[3])
    assert defects(transcript, 6)[3] == 1
    assert transcript.behind == 0
    feed(transcript, sender, messages[2])
    assert transcript.reordered() == 1


def test_invalid_frame_is_an_error() -> None:
    reader = Reader()
    transcript = make_transcript(reader)
    with pytest.raises(BrokenFramingError, match="padded"):
        feed(transcript, reader, b"HTTP/1.1 400 Bad Request")


def test_trim_drops_the_part_that_all_have_read() -> None:
    readers = [Reader(), Reader()]
    transcript = make_transcript(*readers)
    generator = CLASSIC.generator(A, 4096, as_delivered=True)
    for stamp in range(200):
        data = generator.generate(8, stamp)
        for reader in random.sample(readers, 2):
            feed(transcript, reader, data)
        transcript.trim()
    assert transcript.retained_bytes < 1 << 20
    assert transcript.retained_bursts < 200
    assert defects(transcript, 1600) == (0, 0, 0, 0)
    assert transcript.counters.deliveries == 3200


def test_rooms_share_counters() -> None:
    counters = Counters()
    rooms = [Transcript(RUN, SELCHAT, counters) for _ in range(2)]
    for room in rooms:
        reader = Reader()
        room.add(reader)
        room.expect(3)
        feed(room, reader, b"".join(deliveries(A, 3, SELCHAT)))
    assert (counters.deliveries, counters.reached) == (6, rooms)


@pytest.mark.parametrize(("difference", "wrong"), [(0, 0), (1, 3)])
def test_seq_of_an_ack_must_equal_the_seq_of_the_readers(difference: int, wrong: int) -> None:
    acks = AckTracker()
    acks.expect(3, 0)
    transcript = Transcript(RUN, SELCHAT)
    reader = Reader()
    transcript.add(reader)
    transcript.add(Reader(), A, acks)
    feed(transcript, reader, b"".join(deliveries(A, 3, SELCHAT)))
    first = SELCHAT.parse(deliveries(A, 1, SELCHAT)[0][10:], RUN)
    assert first is not None
    for sequence in range(3):
        acks.record_seq(sequence, first.seq + sequence + difference)  # as `remove_acks` does for each ack
    assert acks.wrong == wrong


def split_at_random(draw: random.Random, stream: bytes) -> list[bytes]:
    """Return the stream in non-empty pieces."""
    pieces = []
    while stream:
        size = draw.choice([1, 2, 7, 100, 1000])
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


@given(st.integers(0, 1 << 32))
def test_pings_are_reported_and_are_no_difference(seed: int) -> None:
    draw = random.Random(seed)
    messages = [*deliveries(A, 4, WEBSOCKET), *deliveries(B, 3, WEBSOCKET)]
    readers = [Reader() for _ in range(4)]
    transcript = make_transcript(*readers[:3], wire=WEBSOCKET)
    transcript.add(readers[3], A)
    transcript.expect(7)
    left: dict[Reader, list[bytes]] = {}
    pings: dict[Reader, list[bytes]] = {}
    for reader in readers:
        parts = list(messages[4:] if reader is readers[3] else messages)
        pings[reader] = [b"%d" % number for number in range(draw.randint(0, 3))]
        places = sorted(draw.choices(range(len(parts) + 1), k=len(pings[reader])))
        for place, payload in reversed(list(zip(places, pings[reader], strict=True))):
            parts[place:place] = [b"\x89\x01" + payload, b"\x8a\x00"]
        left[reader] = split_at_random(draw, b"".join(parts))
    while any(left.values()):
        reader = draw.choice([reader for reader in readers if left[reader]])
        feed(transcript, reader, left[reader].pop(0))
    assert defects(transcript, 7) == (0, 0, 0, 0)
    assert (transcript.counters.deliveries, transcript.behind) == (24, 0)
    for reader in readers:
        assert [payload for pinged, payload in transcript.counters.pings if pinged is reader] == pings[reader]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pings_of_a_diverged_reader_are_reported(size: int) -> None:
    messages = deliveries(A, 5, WEBSOCKET)
    good, bad = Reader(), Reader()
    transcript = make_transcript(good, bad, wire=WEBSOCKET)
    feed(transcript, good, b"".join(messages))
    stream = messages[0] + b"\x89\x01a" + messages[1] + messages[3] + b"\x89\x01b" + messages[4]
    for start in range(0, len(stream), size):
        feed(transcript, bad, stream[start : start + size])
    assert defects(transcript, 5) == (1, 0, 0, 1)
    assert transcript.counters.pings == [(bad, b"a"), (bad, b"b")]


def test_reader_can_diverge_after_a_trim() -> None:
    fast, slow = Reader(), Reader()
    transcript = make_transcript(fast, slow)
    generator = CLASSIC.generator(A, 4096, as_delivered=True)
    stream = b"".join(generator.generate(1, stamp) for stamp in range(100))
    feed(transcript, fast, stream)
    half = len(stream) // 2 + 100  # within a message
    feed(transcript, slow, stream[:half])
    transcript.trim()
    assert transcript.retained_bytes < len(stream)
    feed(transcript, slow, b":" + stream[half + 1 :])
    assert defects(transcript, 100) == (0, 0, 0, 1)
