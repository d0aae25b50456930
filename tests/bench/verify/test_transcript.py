"""What is lost, comes twice, comes late or is changed must be found, wherever it happens."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.verify.transcript import (
    BrokenFramingError,
    NumberChecker,
    Reader,
    SequenceChecker,
    Tally,
    Transcript,
)
from selchat.bench.wires.wires import CLASSIC, MIN_PAYLOAD, SELCHAT, WEB, Receipts, Wire
from selchat.wire.frames import encode_frame

RUN = b"run"
A, B = b"run00001", b"run00002"
ROSTER = encode_frame(b"Server") + encode_frame(b"Users online (2): run00001, run00002")


@pytest.fixture(params=[CLASSIC, SELCHAT, WEB], ids=["classic", "selchat", "websocket"])
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found


def pairs(name: bytes, count: int, wire: Wire = CLASSIC) -> list[bytes]:
    script = wire.script(name, MIN_PAYLOAD + 4, relayed=True)
    return [script.say(1, 1000 + number) for number in range(count)]


def transcript(*readers: Reader, wire: Wire = CLASSIC) -> Transcript:
    result = Transcript(RUN, wire)
    for reader in readers:
        result.add(reader)
    return result


def feed(checked: Transcript, reader: Reader, data: bytes, now: int = 5000) -> None:
    if data:
        checked.receive(reader, memoryview(data), now)


def errors(checked: Transcript, sent: int) -> tuple[int, int, int, int]:
    return checked.lost(sent, {}), checked.duplicated(), checked.reordered(), checked.diverged


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=5))
def test_the_sequence_checker_against_a_set(order: list[int], again: list[int]) -> None:
    checker = SequenceChecker()
    seen: set[int] = set()
    late = 0
    for number in order[:8]:
        late += bool(seen) and number < max(seen)
        seen.add(number)
        checker.take(A, number)
    twice = [number for number in again if number in seen]
    for number in twice:
        checker.take(A, number)
    assert (checker.unique, checker.duplicated.total(), checker.reordered.total()) == (8, len(twice), late)


@given(st.integers(0, 1 << 32))
def test_streams_that_are_the_same_are_clean_however_they_are_cut(seed: int) -> None:
    draw = random.Random(seed)
    stream = b"".join([*pairs(A, 4), ROSTER, *pairs(B, 3)])
    readers = [Reader() for _ in range(3)]
    checked = transcript(*readers)
    checked.aim(7)
    left = dict.fromkeys(readers, stream)
    while any(left.values()):
        reader = draw.choice([reader for reader in readers if left[reader]])
        size = draw.randint(1, 200)
        feed(checked, reader, left[reader][:size])
        left[reader] = left[reader][size:]
    assert errors(checked, 7) == (0, 0, 0, 0)
    assert (checked.tally.deliveries, checked.lagging, checked.tally.latencies.count) == (21, 0, 21)
    assert checked.tally.reached == [checked]


@given(st.integers(0, 1 << 32))
def test_talkers_skip_what_is_their_own(seed: int) -> None:
    draw = random.Random(seed)
    said = {A: pairs(A, 5), B: pairs(B, 5)}
    order = draw.sample([A, B] * 5, 10)
    stream = [(name, said[name].pop(0)) for name in order]
    observer, a, b = Reader(), Reader(), Reader()
    checked = Transcript(RUN)
    checked.add(observer)
    checked.add(a, A)
    checked.add(b, B)
    checked.aim(10)
    left = {
        observer: b"".join(pair for _, pair in stream),
        a: b"".join(pair for name, pair in stream if name != A),
        b: b"".join(pair for name, pair in stream if name != B),
    }
    while any(left.values()):
        reader = draw.choice([reader for reader in left if left[reader]])
        size = draw.randint(1, 150)
        feed(checked, reader, left[reader][:size])
        left[reader] = left[reader][size:]
    assert errors(checked, 10) == (0, 0, 0, 0)
    assert (checked.tally.deliveries, checked.lagging) == (20, 0)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ([0, 1, 3, 4], (1, 0, 0, 1)),
        ([0, 1, 2, 2, 3, 4], (0, 1, 0, 1)),
        ([0, 2, 1, 3, 4], (0, 0, 1, 1)),
        ([0, 1], (3, 0, 0, 0)),
    ],
    ids=["lost", "duplicated", "reordered", "cut off"],
)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_one_reader_that_gets_something_else(
    order: list[int], found: tuple[int, int, int, int], cut: int, wire: Wire
) -> None:
    said = pairs(A, 5, wire)
    good, bad = Reader(), Reader()
    checked = transcript(good, bad, wire=wire)
    feed(checked, good, b"".join(said))
    stream = b"".join(said[number] for number in order)
    for start in range(0, len(stream), cut):
        feed(checked, bad, stream[start : start + cut])
    assert errors(checked, 5) == found


@pytest.mark.parametrize(
    ("order", "found"),
    [([0, 1, 3, 4], (2, 0, 0)), ([0, 1, 1, 2, 3, 4], (0, 2, 0)), ([1, 0, 2, 3, 4], (0, 0, 2))],
    ids=["lost", "duplicated", "reordered"],
)
def test_what_goes_wrong_for_all_counts_for_each(
    order: list[int], found: tuple[int, int, int], wire: Wire
) -> None:
    said = pairs(A, 5, wire)
    readers = [Reader(), Reader()]
    checked = transcript(*readers, wire=wire)
    for reader in readers:
        feed(checked, reader, b"".join(said[number] for number in order))
    assert errors(checked, 5) == (*found, 0)
    assert (checked.misnumbered() > 0) is wire.acks


def test_a_changed_byte_is_seen() -> None:
    said = b"".join(pairs(A, 3))
    changed = bytearray(said)
    changed[-1] ^= 1
    good, bad = Reader(), Reader()
    checked = transcript(good, bad)
    feed(checked, good, said)
    feed(checked, bad, bytes(changed))
    assert checked.diverged == 1


def test_a_diverged_talker_is_not_held_to_its_own_messages() -> None:
    said = pairs(B, 4)
    observer, talker = Reader(), Reader()
    checked = Transcript(RUN)
    checked.add(observer)
    checked.add(talker, A)
    checked.aim(6)
    own = pairs(A, 2)
    feed(checked, observer, said[0] + own[0] + b"".join(said[1:]) + own[1])
    feed(checked, talker, said[0] + said[1] + said[3])
    assert errors(checked, 6)[3] == 1
    assert checked.lagging == 0
    feed(checked, talker, said[2])
    assert checked.reordered() == 1


def test_what_is_no_frame_is_an_error() -> None:
    reader = Reader()
    checked = transcript(reader)
    with pytest.raises(BrokenFramingError, match="padded"):
        feed(checked, reader, b"HTTP/1.1 400 Bad Request")


def test_the_transcript_forgets_what_all_have_read() -> None:
    readers = [Reader(), Reader()]
    checked = transcript(*readers)
    script = CLASSIC.script(A, 4096, relayed=True)
    for turn in range(200):
        data = script.say(8, turn)
        for reader in random.sample(readers, 2):
            feed(checked, reader, data)
        checked.forget()
    assert len(checked._data) < 1 << 20
    assert len(checked._ends) < 200
    assert errors(checked, 1600) == (0, 0, 0, 0)
    assert checked.tally.deliveries == 3200


def test_numbers_of_a_room_have_no_holes_and_do_not_come_again() -> None:
    numbers, with_holes = NumberChecker(), NumberChecker(holes=True)
    for room, number in [(b"a", 7), (b"b", 1), (b"a", 8), (b"a", 10), (b"b", 2), (b"a", 10), (b"a", 11)]:
        numbers.take(A, room, number)
        with_holes.take(A, room, number)
    assert (numbers.wrong, with_holes.wrong) == ({A: 2}, {A: 1})


def test_rooms_share_a_tally() -> None:
    tally = Tally()
    rooms = [Transcript(RUN, SELCHAT, tally) for _ in range(2)]
    for room in rooms:
        reader = Reader()
        room.add(reader)
        room.aim(3)
        feed(room, reader, b"".join(pairs(A, 3, SELCHAT)))
    assert (tally.deliveries, tally.reached) == (6, rooms)


@pytest.mark.parametrize(("off", "wrong"), [(0, 0), (1, 3)])
def test_an_ack_has_the_number_that_the_readers_see(off: int, wrong: int) -> None:
    receipts = Receipts()
    receipts.expect(3, 0)
    checked = Transcript(RUN, SELCHAT)
    reader = Reader()
    checked.add(reader)
    checked.add(Reader(), A, receipts)
    feed(checked, reader, b"".join(pairs(A, 3, SELCHAT)))
    first = SELCHAT.parse(pairs(A, 1, SELCHAT)[0][10:], RUN)
    assert first is not None
    for sequence in range(3):
        receipts.seen(sequence, first.number + sequence + off)  # as `take` does for each ack
    assert receipts.wrong == wrong


def cut_at_random(draw: random.Random, stream: bytes) -> list[bytes]:
    """Return it in pieces, none of them empty."""
    pieces = []
    while stream:
        size = draw.choice([1, 2, 7, 100, 1000])
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


@given(st.integers(0, 1 << 32))
def test_pings_between_the_messages_are_noted_and_make_no_difference(seed: int) -> None:
    draw = random.Random(seed)
    said = [*pairs(A, 4, WEB), *pairs(B, 3, WEB)]
    readers = [Reader() for _ in range(4)]
    checked = transcript(*readers[:3], wire=WEB)
    checked.add(readers[3], A)
    checked.aim(7)
    left: dict[Reader, list[bytes]] = {}
    asked: dict[Reader, list[bytes]] = {}
    for reader in readers:
        parts = list(said[4:] if reader is readers[3] else said)
        asked[reader] = [b"%d" % number for number in range(draw.randint(0, 3))]
        places = sorted(draw.choices(range(len(parts) + 1), k=len(asked[reader])))
        for place, payload in reversed(list(zip(places, asked[reader], strict=True))):
            parts[place:place] = [b"\x89\x01" + payload, b"\x8a\x00"]
        left[reader] = cut_at_random(draw, b"".join(parts))
    while any(left.values()):
        reader = draw.choice([reader for reader in readers if left[reader]])
        feed(checked, reader, left[reader].pop(0))
    assert errors(checked, 7) == (0, 0, 0, 0)
    assert (checked.tally.deliveries, checked.lagging) == (24, 0)
    for reader in readers:
        assert [payload for who, payload in checked.tally.pings if who is reader] == asked[reader]


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_reader_that_has_diverged_is_asked_too(cut: int) -> None:
    said = pairs(A, 5, WEB)
    good, bad = Reader(), Reader()
    checked = transcript(good, bad, wire=WEB)
    feed(checked, good, b"".join(said))
    stream = said[0] + b"\x89\x01a" + said[1] + said[3] + b"\x89\x01b" + said[4]
    for start in range(0, len(stream), cut):
        feed(checked, bad, stream[start : start + cut])
    assert errors(checked, 5) == (1, 0, 0, 1)
    assert checked.tally.pings == [(bad, b"a"), (bad, b"b")]


def test_a_stream_can_be_parsed_by_itself_from_what_was_not_forgotten() -> None:
    ahead, behind = Reader(), Reader()
    checked = transcript(ahead, behind)
    script = CLASSIC.script(A, 4096, relayed=True)
    stream = b"".join(script.say(1, stamp) for stamp in range(100))
    feed(checked, ahead, stream)
    half = len(stream) // 2 + 100  # within a message
    feed(checked, behind, stream[:half])
    checked.forget()
    assert len(checked._data) < len(stream)
    feed(checked, behind, b":" + stream[half + 1 :])
    assert errors(checked, 100) == (0, 0, 0, 1)
