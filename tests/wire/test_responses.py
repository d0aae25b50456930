from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.errors import BadRoomError
from selchat.events import Event, Joined, Left, Notice, Roster, Said, Topic
from selchat.limits import HISTORY_BYTES, MAX_ENCODED_NAMES, MAX_LISTED, PAYLOAD_LIMIT, SHORT_PAYLOAD
from selchat.log.port import NotStoredError
from selchat.wire.frames import DecimalHeaders, FrameDecoder, FrameTooLongError
from selchat.wire.requests import BadMessageError, parse_message
from selchat.wire.responses import SelchatFormat, json_growth

AT = 1763900003.5
HI = Said("lobby", 43, "Michael", "hi!", AT, "a7-9")
HEADER_LENGTHS = (4, 5, 10, 32)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)
MESSAGES = st.builds(
    Said,
    NAMES,
    st.integers(1, 1 << 53),
    NAMES,
    TEXT,
    st.floats(0, 1e11),
    st.just("") | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=256),
)


def payloads(stream: bytes, header_length: int = 10) -> list[bytes]:
    decoder = FrameDecoder(header_length, PAYLOAD_LIMIT)
    payloads = decoder.receive_data(stream)
    assert decoder.error is None and not decoder.unfinished
    return payloads


def objects(stream: bytes, header_length: int = 10) -> list[dict[str, Any]]:
    """Return the messages as a client parses them, as strictly as the server."""
    return [parse_message(payload) for payload in payloads(stream, header_length)]


def said(message: Said) -> dict[str, Any]:
    """Return the fields of the message as the document specifies them."""
    members = {
        "type": "said",
        "room": message.room,
        "seq": message.seq,
        "from": message.author,
        "at": pytest.approx(message.at, abs=0.000_6),
        "body": message.body,
    }
    if message.id:
        members["id"] = message.id
    if message.cipher is not None:
        members["cipher"] = message.cipher
    return members


# -- events of a room ------------------------------------------------------------------------------------


def test_message_is_one_frame_of_json() -> None:
    assert SelchatFormat().encode([HI]) == (
        b'101       {"type":"said","room":"lobby","from":"Michael","seq":43,"at":1763900003.500,'
        b'"id":"a7-9","body":"hi!"}'
    )


def test_message_without_an_id_has_no_id_field() -> None:
    (members,) = objects(SelchatFormat().encode([HI._replace(id="")]))
    assert "id" not in members and "cipher" not in members


def test_cipher_is_passed_on_even_if_it_is_empty() -> None:
    for cipher in ("", "caesar", 'a "quoted" one'):
        (members,) = objects(SelchatFormat().encode([HI._replace(cipher=cipher)]))
        assert members["cipher"] == cipher


def test_non_ascii_text_is_utf_8_and_not_escaped() -> None:
    assert '"body":"naïve 👋\u2028"'.encode() in SelchatFormat().encode([HI._replace(body="naïve 👋\u2028")])


@given(st.lists(MESSAGES, max_size=5), st.sampled_from(HEADER_LENGTHS))
def test_any_message_is_encoded_unchanged(messages: list[Said], header_length: int) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    stream = format.encode(messages)
    assert objects(stream, header_length) == [said(message) for message in messages]
    assert stream == b"".join(
        SelchatFormat(DecimalHeaders(header_length)).encode([message]) for message in messages
    )
    assert format.encode(messages) == stream


@given(st.lists(MESSAGES | st.builds(Topic, NAMES, TEXT, NAMES, st.floats(0, 1e11)), max_size=4), st.data())
def test_frames_are_decoded_whole_at_any_chunking(events: list[Event], data: st.DataObject) -> None:
    stream = SelchatFormat().encode(events)
    whole = payloads(stream)
    decoder = FrameDecoder(10, PAYLOAD_LIMIT)
    assert [payload for byte in stream for payload in decoder.receive_data(bytes([byte]))] == whole
    decoder = FrameDecoder(10, PAYLOAD_LIMIT)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) if start < end
    ]
    assert [payload for piece in pieces for payload in decoder.receive_data(piece)] == whole


@pytest.mark.parametrize(
    "length",
    [0, 1, SHORT_PAYLOAD - 100, SHORT_PAYLOAD - 93, SHORT_PAYLOAD - 92, SHORT_PAYLOAD, 65_000, 400_000],
)
def test_bodies_of_every_length_have_the_right_header(length: int) -> None:
    (members,) = objects(SelchatFormat().encode([HI._replace(body="x" * length)]))
    assert members["body"] == "x" * length


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (0.0, b'"at":0.000,'),
        (1763900003.1251, b'"at":1763900003.125,'),
        (1763900003.9999, b'"at":1763900004.000,'),
        (5.0, b'"at":5.000,'),
    ],
)
def test_times_are_written_to_the_millisecond(at: float, written: bytes) -> None:
    assert written in SelchatFormat().encode([HI._replace(at=at)])


def test_batch_may_mix_times_rooms_and_authors() -> None:
    messages = [
        Said(room, seq, author, "x", at)
        for seq, (room, author, at) in enumerate(
            [("a", "x", 1.0), ("a", "x", 1.0), ("b", "x", 2.0), ("b", "y", 2.0), ("a", "x", 1.0)], 1
        )
    ]
    assert objects(SelchatFormat().encode(messages)) == [said(message) for message in messages]


def test_joined_and_left_are_encoded() -> None:
    format = SelchatFormat()
    assert objects(
        format.encode([Joined("lobby", ("Michael", "Zoë"), 5), Left("lobby", ('a "b" \\',), 4)])
    ) == [
        {"type": "joined", "room": "lobby", "names": ["Michael", "Zoë"], "total": 5},
        {"type": "left", "room": "lobby", "names": ['a "b" \\'], "total": 4},
    ]


def test_topic_is_encoded() -> None:
    assert objects(SelchatFormat().encode([Topic("lobby", "tea at 4", "Zoë", 7.0004)])) == [
        {"type": "topic", "room": "lobby", "topic": "tea at 4", "from": "Zoë", "at": 7.0}
    ]


def test_rosters_and_notices_are_not_encoded() -> None:
    assert SelchatFormat().encode([]) == b""
    assert SelchatFormat().encode([Roster(("Michael",), 1), Notice("Bye.")]) == b""
    assert SelchatFormat().encode([Notice("Bye."), HI, Notice("Bye.")]) == SelchatFormat().encode([HI])


@pytest.mark.parametrize("header_length", [4, 10])
@pytest.mark.parametrize("kind", [Joined, Left])
def test_long_list_of_names_is_cut_and_keeps_the_total(kind: Any, header_length: int) -> None:
    names = tuple(f"{number:05}" + '"' * 27 for number in range(20_000))
    (payload,) = payloads(
        SelchatFormat(DecimalHeaders(header_length)).encode([kind("lobby", names, 30_000)]), header_length
    )
    members = parse_message(payload)
    assert members["total"] == 30_000
    assert members["names"] == list(names[: len(members["names"])])
    if header_length == 10:
        assert len(members["names"]) == MAX_LISTED
    else:
        assert 9_999 - len(names[0]) * 2 < len(payload) <= 9_999


def test_caches_are_bounded() -> None:
    format = SelchatFormat()
    for number in range(MAX_ENCODED_NAMES + 10):
        message = Said(f"room{number}", 1, f"name{number}", "x", AT, "1")
        assert objects(format.encode([message])) == [said(message)]
        format.acks([message])
    for cache in (format._rooms, format._acks, format._names):
        assert len(cache) <= MAX_ENCODED_NAMES


# -- bodies that do not fit ------------------------------------------------------------------------------


@given(
    st.text(st.sampled_from('a"\\\n\0é€👋'), min_size=3_000, max_size=4_000)
    | st.sampled_from(["a" * 9_999, "\0" * 9_999, "👋" * 9_000, '"' * 20_000])
)
def test_body_too_long_for_a_short_header_is_cut(body: str) -> None:
    """Only classic clients can send such a long body, and their messages have neither id nor cipher."""
    format = SelchatFormat(DecimalHeaders(4))
    message = Said("lobby", 1, "Zoë", body, AT)
    for frame, name in (
        (format.encode([message]), "said"),
        (format.whispered(message, "Michael"), "whispered"),
        (format.history("lobby", format.fit_history([message]), False), "history"),
    ):
        (payload,) = payloads(frame, 4)
        members = parse_message(payload)
        assert members["type"] == name
        shown = members["messages"][0]["body"] if name == "history" else members["body"]
        assert body.startswith(shown)
        if shown != body:
            assert 9_999 - 6 < len(payload) <= 9_999, "the frame is as full as possible"


def test_body_that_json_escapes_grow_over_the_limit_is_cut() -> None:
    """JSON escapes each null as six bytes."""
    (payload,) = payloads(SelchatFormat().encode([HI._replace(body="\0" * PAYLOAD_LIMIT)]))
    assert PAYLOAD_LIMIT - 6 < len(payload) <= PAYLOAD_LIMIT
    assert set(parse_message(payload)["body"]) == {"\0"}


@pytest.mark.parametrize("header_length", [1, 2])
def test_too_short_header_gives_no_messages(header_length: int) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    events = [HI._replace(id="x" * 64), Topic("lobby", "x" * 99, "Zoë", 1.0), Joined("x" * 99, (), 1)]
    assert format.encode(events) == b""
    with pytest.raises(FrameTooLongError):
        format.frame("welcome", name="x" * 99)


# -- responses -------------------------------------------------------------------------------------------


@given(st.lists(MESSAGES.filter(lambda message: message.id), max_size=5))
def test_each_stored_message_gets_its_ack(messages: list[Said]) -> None:
    format = SelchatFormat()
    acks = format.acks(messages)
    assert objects(acks) == [
        {
            "type": "ack",
            "room": message.room,
            "id": message.id,
            "seq": message.seq,
            "at": pytest.approx(message.at, abs=0.000_6),
        }
        for message in messages
    ]
    again = [format.ack(message.id, message.room, None, message.seq, message.at) for message in messages]
    assert objects(b"".join(again)) == objects(acks)


def test_ack_is_compact_json() -> None:
    assert SelchatFormat().acks([HI]) == (
        b'70        {"type":"ack","room":"lobby","id":"a7-9","seq":43,"at":1763900003.500}'
    )


def test_ack_of_a_direct_message_has_its_recipient() -> None:
    assert objects(SelchatFormat().ack("5f2c-1", "@michael", "Michael", 7, 1.5)) == [
        {"type": "ack", "to": "Michael", "id": "5f2c-1", "seq": 7, "at": 1.5}
    ]


def test_ack_of_the_longest_id_in_the_longest_room_is_not_cut() -> None:
    message = Said("\0" * 256, 1, "x", "y", AT, "\0" * 64)
    assert objects(SelchatFormat().acks([message]))[0]["id"] == "\0" * 64


@given(MESSAGES, NAMES)
def test_any_direct_message_is_encoded_unchanged(message: Said, to: str) -> None:
    members = said(message) | {"type": "whispered", "to": to}
    del members["room"]
    assert objects(SelchatFormat().whispered(message, to)) == [members]


@given(st.lists(MESSAGES, max_size=5), st.booleans())
def test_history_is_one_frame(messages: list[Said], more: bool) -> None:
    expected = [said(message) for message in messages]
    for members in expected:
        del members["type"], members["room"]
    format = SelchatFormat()
    assert objects(format.history("lobby", format.fit_history(messages), more)) == [
        {"type": "history", "room": "lobby", "messages": expected, "more": more}
    ]


@given(
    st.lists(st.builds(HI._replace, body=st.integers(0, 6_000).map("\0".__mul__)), max_size=30),
    st.sampled_from(HEADER_LENGTHS),
    st.booleans(),
)
def test_history_is_cut_to_the_size_of_a_page(messages: list[Said], header_length: int, newest: bool) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    page = format.fit_history(messages, newest)
    count = len(page.messages)
    assert page.messages == (messages[len(messages) - count :] if newest else messages[:count])
    assert bool(count) == bool(messages)
    (payload,) = payloads(format.history("lobby", page, True), header_length)
    if count > 1:
        assert len(payload) <= min(HISTORY_BYTES, 10**header_length) + 100
    if count < len(messages):  # the next message would not fit
        next_ = messages[-count - 1] if newest else messages[count]
        assert len(payload) + len(format.encode([next_])) > min(HISTORY_BYTES, 10**header_length) - 600


def test_other_responses_are_frames_of_their_fields() -> None:
    format = SelchatFormat()
    assert format.frame("bye", reason="goodbye", retry_after=None) == (
        b'52        {"type":"bye","reason":"goodbye","retry_after":null}'
    )
    assert objects(format.frame("pong", token="é\0")) == [{"type": "pong", "token": "é\0"}]
    assert objects(format.frame("ping")) == [{"type": "ping"}]
    with pytest.raises(FrameTooLongError):
        format.frame("pong", token="x" * PAYLOAD_LIMIT)


@pytest.mark.parametrize("header_length", [4, 10])
def test_list_is_cut_to_fit_into_a_frame(header_length: int) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    rooms = [{"room": f"r{n}", "seq": n, "topic": "\0" * 256, "members": 0} for n in range(2_000)]
    (payload,) = payloads(format.listed("rooms", "rooms", rooms, total=2_000), header_length)
    members = parse_message(payload)
    shown = len(members["rooms"])
    assert members == {"type": "rooms", "rooms": rooms[:shown], "total": 2_000}
    limit = min(PAYLOAD_LIMIT, 10**header_length - 1)
    assert limit - 1_700 < len(payload) <= limit
    assert objects(format.listed("rooms", "rooms", [], total=0), header_length) == [
        {"type": "rooms", "rooms": [], "total": 0}
    ]


def test_list_has_at_most_1000_entries() -> None:
    (members,) = objects(SelchatFormat().listed("users", "names", ["x"] * 1_001, total=1_001))
    assert len(members["names"]) == MAX_LISTED == 1_000


def test_error_has_its_code_reason_and_subject() -> None:
    format = SelchatFormat()
    assert objects(format.error(BadRoomError("a b"), room="a b")) == [
        {"type": "error", "code": "bad-room", "message": str(BadRoomError("a b")), "room": "a b"}
    ]
    assert objects(format.error(NotStoredError("disk full"), id="1", to="Zoë")) == [
        {
            "type": "error",
            "code": "not-stored",
            "message": "the server cannot store messages at the moment (disk full)",
            "id": "1",
            "to": "Zoë",
        }
    ]


def test_error_about_an_invalid_message_has_its_id() -> None:
    format = SelchatFormat()
    (members,) = objects(format.error(BadMessageError("say", "body", "a string", "5f2c-1")))
    assert (members["code"], members["id"]) == ("bad-message", "5f2c-1")
    (members,) = objects(format.error(BadMessageError("say", "body", "a string")))
    assert "id" not in members


# -- messages before an offset ---------------------------------------------------------------------------


def reference_count(frames: list[bytes], offset: int, header_length: int) -> tuple[int, bytes]:
    """Count the frames before ``offset`` one by one, as a reference."""
    count = 0
    start = 0
    for frame in frames:
        if start >= offset:
            return count, b""
        count += json.loads(frame[header_length:])["type"] == "said"
        start += len(frame)
        if start > offset:
            return count, frame[len(frame) - (start - offset) :]
    return count, b""


@given(
    st.lists(
        MESSAGES
        | st.builds(Topic, NAMES, st.just('{"type":"said",'), NAMES, st.floats(0, 1e9))
        | st.builds(Joined, NAMES, st.lists(NAMES, max_size=3).map(tuple), st.integers(0, 9)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(HEADER_LENGTHS),
    st.sampled_from([bytes, memoryview]),
)
def test_messages_before_an_offset_are_counted(events: list[Event], header_length: int, kind: Any) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    frames = [format.encode([event]) for event in events]
    chunk = b"".join(frames)
    for offset in range(len(chunk) + 1):
        count, rest = format.delivered_before(kind(chunk), offset)
        assert (count, rest) == reference_count(frames, offset, header_length)
        # The bytes before the offset and the rest are complete frames.
        had = objects(chunk[:offset] + rest, header_length)
        assert count == sum(members["type"] == "said" for members in had)


def test_frames_quoted_in_a_body_are_not_counted() -> None:
    quoted = SelchatFormat().encode([HI]).decode()
    chunk = SelchatFormat().encode([HI._replace(body=quoted * 3, id="", author='{"type":"said",')])
    for offset in range(1, len(chunk)):
        assert SelchatFormat().delivered_before(chunk, offset) == (1, chunk[offset:])


def test_long_message_counts_once() -> None:
    chunk = SelchatFormat().encode([HI._replace(body="\0" * 10_000), HI])
    first = SelchatFormat().encode([HI._replace(body="\0" * 10_000)])
    assert SelchatFormat().delivered_before(chunk, 0) == (0, b"")
    assert SelchatFormat().delivered_before(chunk, 1) == (1, first[1:])
    assert SelchatFormat().delivered_before(chunk, len(first)) == (1, b"")
    assert SelchatFormat().delivered_before(chunk, len(first) + 1) == (2, chunk[len(first) + 1 :])
    assert SelchatFormat().delivered_before(chunk, len(chunk) - 1) == (2, b"}")
    assert SelchatFormat().delivered_before(chunk, len(chunk)) == (2, b"")


# -- the size of what goes out ---------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text('\0\x01\b\t\n\f\r\x1f\x7f"\\aé☃'))
def test_growth_in_json_is_exact(body: str) -> None:
    quoted = json.dumps(body, ensure_ascii=False).encode()[1:-1]
    assert json_growth(body, len(body.encode())) == len(quoted) - len(body.encode())
    assert SelchatFormat().encode([HI._replace(body=body)]).endswith(quoted + b'"}')


def test_growth_counts_replaced_bytes_and_is_never_negative() -> None:
    broken = b"\xff" * 9
    assert json_growth(broken.decode("utf-8", "replace"), len(broken)) == 18
    assert json_growth("\x01" * 65_000, 65_000) == 325_000
    assert json_growth("\x01", 6) == 0, "it came escaped"
    assert json_growth("x", 50) == 0


ANY = st.text(st.characters(exclude_categories=["Cs"]))
WIDE = st.text('\U0001f600"\\é', min_size=1, max_size=32)


@given(
    st.lists(
        st.builds(Said, WIDE, st.just((1 << 53) - 1), WIDE, ANY, st.just(1e11 - 1), WIDE, WIDE), max_size=9
    ),
    st.sampled_from([4, 5, 6, 7, 10, 100]),
    st.text('x\x01"é\U0001f600', min_size=1, max_size=3),
    WIDE,
    st.booleans(),
)
def test_messages_within_the_limit_are_whole_in_every_frame(
    messages: list[Said], header_length: int, filling: str, to: str, newest: bool
) -> None:
    format = SelchatFormat(DecimalHeaders(header_length))
    limit = min(format.message_limit(32), 65_536)
    for message in messages:
        request = {"type": "say", "room": "", "id": message.id, "body": "", "cipher": message.cipher}
        each = len(json.dumps(filling, ensure_ascii=False).encode()) - 2
        left = limit - len(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode())
        message = message._replace(body=filling * (left // each))
        for frame in (
            format.encode([message]),
            format.whispered(message, to),
            format.history("r" * 128, format.fit_history([message]), True),
        ):
            assert len(payloads(frame, header_length)) == 1
            (members,) = objects(frame, header_length)
            [*_, shown] = members.get("messages", [members])
            assert shown["body"] == message.body
    page = format.fit_history(messages, newest)
    assert bool(page.messages) == bool(messages)
    (members,) = objects(format.history("\U0001f600" * 32, page, False), header_length)
    assert [one["body"] for one in members["messages"]] == [one.body for one in page.messages]
