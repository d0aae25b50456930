"""A WebSocket session and RFC 6455: the cases of the Autobahn testsuite that apply.

That suite expects an echo of each message, text or binary. Here a message is a request, so each case begins
with a `hello`. Its messages are ``ping`` of the selchat protocol, whose ``pong`` shows that they arrived
complete. Binary messages are refused. UTF-8 is checked when a message is complete, as section 6 allows.
Sections 12 and 13 are omitted, because they are about compression.
"""

from __future__ import annotations

import json
import struct

import pytest

from tests.e2e.web_support import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    closing,
    masked,
    opening,
    texts,
)
from tests.sessions.test_selchat import (
    Browser,
    Client,
    FakeServer,
    bodies,
    hello,
    kinds,
    log_in,
    resume,
    say,
    wait,
)


@pytest.fixture(autouse=True)
def by_websocket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeServer, "wire", Browser)


def browser(server: FakeServer, name: str = "Venkat") -> Browser:
    [one] = log_in(server, name)
    assert isinstance(one, Browser)
    return one


def ping_request(token: str = "?") -> bytes:
    """Return a request whose reply has the same token, as the suite's messages have an echo."""
    return json.dumps({"type": "ping", "token": token}, ensure_ascii=False).encode()


def fragments(payload: bytes, size: int, opcode: int = TEXT) -> list[bytes]:
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    return [
        masked(CONT if number else opcode, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


MESSAGE = masked(TEXT, ping_request("a"))
HALVES = fragments(ping_request("ab"), 10)
FIRST, LAST = HALVES[0], b"".join(HALVES[1:])
# Replies of a session: `pong` as its token, an error as its code, a WebSocket pong as bytes.
Replies = list[str | bytes]
UTF8 = "Hello-µ@ßöäüàá-UTF-8!!"
SAMPLE = "κόσμε".encode()

# By number of the suite: the received bytes, the replies, and the close code (None: no close).
CASES: dict[str, tuple[bytes, Replies, int | None]] = {
    # 1: framing. Text of 0 bytes to 64 KiB is in `test_messages_of_every_length_are_echoed`.
    "1.1.1 an empty text": (masked(TEXT) + MESSAGE, ["bad-json", "a"], None),
    "1.2.1 an empty binary": (masked(BINARY), [], 1003),
    "1.2.2 binary of 125 bytes": (MESSAGE + masked(BINARY, b"\xfe" * 125) + MESSAGE, ["a"], 1003),
    "1.2.6 binary of 64 KiB": (masked(BINARY, b"\xfe" * 65_536), [], 1003),
    # 2: pings and pongs
    "2.1": (masked(PING) + MESSAGE, [b"", "a"], None),
    "2.2": (masked(PING, b"Hello, world!"), [b"Hello, world!"], None),
    "2.3": (masked(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), [b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"], None),
    "2.4": (masked(PING, b"\xfe" * 125), [b"\xfe" * 125], None),
    "2.5": (masked(PING, b"\xfe" * 126), [], 1002),
    "2.7": (masked(PONG) + MESSAGE, ["a"], None),
    "2.8": (masked(PONG, b"unsolicited"), [], None),
    "2.9": (masked(PONG, b"unsolicited") + masked(PING, b"x"), [b"x"], None),
    "2.10": (b"".join(masked(PING, b"%d" % n) for n in range(10)), [b"%d" % n for n in range(10)], None),
    # 3: reserved bits
    "3.1": (masked(TEXT, ping_request(), rsv=1), [], 1002),
    "3.2": (MESSAGE + masked(TEXT, ping_request(), rsv=2) + masked(PING), ["a"], 1002),
    "3.3": (MESSAGE + masked(TEXT, ping_request(), rsv=3) + masked(PING), ["a"], 1002),
    "3.5": (masked(BINARY, b"\x00\xff", rsv=5), [], 1002),
    "3.6": (masked(PING, b"x", rsv=6), [], 1002),
    "3.7": (masked(CLOSE, rsv=7), [], 1002),
    # 4: opcodes
    **{f"4.1.{n} opcode {n + 2}": (masked(n + 2, b""), [], 1002) for n in range(1, 6)},
    **{f"4.2.{n} opcode {n + 10}": (masked(n + 10, b""), [], 1002) for n in range(1, 6)},
    "4.1.3 after a message": (MESSAGE + masked(5, b"x") + masked(PING), ["a"], 1002),
    # 5: fragmentation
    "5.1": (b"".join(fragments(b"x" * 10, 5, PING)) + masked(PING), [], 1002),
    "5.2": (b"".join(fragments(b"x" * 10, 5, PONG)), [], 1002),
    "5.3": (FIRST + LAST, ["ab"], None),
    "5.6": (FIRST + masked(PING, b"?") + LAST, [b"?", "ab"], None),
    "5.9": (masked(CONT, b"x") + MESSAGE, [], 1002),
    "5.12": (masked(CONT, b"x", fin=False), [], 1002),
    "5.15": (FIRST + LAST + masked(CONT, b"x", fin=False) + MESSAGE, ["ab"], 1002),
    "5.18": (FIRST + masked(TEXT, b"x"), [], 1002),
    "5.19": (
        HALVES[0] + HALVES[1] + masked(PING, b"1") + b"".join(HALVES[2:-1]) + masked(PING, b"2") + HALVES[-1],
        [b"1", b"2", "ab"],
        None,
    ),
    "5.x a beginning of binary in a text": (FIRST + masked(BINARY, b"x"), [], 1002),
    # 6: UTF-8, looked at when a message is whole
    "6.1.1": (masked(TEXT), ["bad-json"], None),
    "6.1.2": (masked(TEXT, b"", fin=False) + masked(CONT, b"", fin=False) + masked(CONT), ["bad-json"], None),
    "6.1.3": (
        masked(TEXT, b"", fin=False) + masked(CONT, ping_request("m"), fin=False) + masked(CONT),
        ["m"],
        None,
    ),
    "6.2.1": (masked(TEXT, ping_request(UTF8)), [UTF8], None),
    "6.2.2": (b"".join(fragments(ping_request(UTF8), 31)), [UTF8], None),
    "6.2.3": (b"".join(fragments(ping_request(UTF8), 1)), [UTF8], None),
    "6.2.4": (b"".join(fragments(ping_request("κόσμε"), 1)), ["κόσμε"], None),
    "6.3.1": (masked(TEXT, SAMPLE + b"\xed\xa0\x80edited"), [], 1007),
    "6.3.2": (b"".join(fragments(SAMPLE + b"\xed\xa0\x80edited", 1)), [], 1007),
    "6.4.1": (
        masked(TEXT, SAMPLE, fin=False)
        + masked(CONT, b"\xf4\x90\x80\x80", fin=False)
        + masked(CONT, b"edited"),
        [],
        1007,
    ),
    # 7: closing
    "7.1.1": (MESSAGE + closing(1000), ["a"], 1000),
    "7.1.2": (closing(1000) + closing(1000), [], 1000),
    "7.1.3": (closing(1000) + masked(PING), [], 1000),
    "7.1.4": (closing(1000) + MESSAGE, [], 1000),
    "7.1.5": (FIRST + closing(1000) + LAST, [], 1000),
    "7.1.6": (masked(TEXT, ping_request().ljust(60_000)) + MESSAGE + closing(1000), ["?", "a"], 1000),
    "7.3.1": (closing(None), [], 1005),
    "7.3.2": (masked(CLOSE, b"a"), [], 1002),
    "7.3.3": (closing(1000), [], 1000),
    "7.3.4": (closing(1000, "Hello World!"), [], 1000),
    "7.3.5": (closing(1000, "*" * 123), [], 1000),
    "7.3.6": (closing(1000, "*" * 124), [], 1002),
    "7.5.1": (closing(1000, SAMPLE + b"\xed\xa0\x80edited"), [], 1007),
    **{
        f"7.7.{code}": (closing(code), [], code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    # Registered since the suite was written.
    **{f"7.7 registered {code}": (closing(code), [], code) for code in (1012, 1013, 1014)},
    **{
        f"7.9.{code}": (closing(code), [], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
    },
    **{f"7.13.{code}": (closing(code), [], 1002) for code in (5000, 65_535)},
    # 10: a message in fragments of 1,300 bytes
    "10.1.1": (b"".join(fragments(ping_request("x" * 50).ljust(65_536), 1300)), ["x" * 50], None),
    # None of the suite's: a client has to mask.
    "no mask": (MESSAGE + masked(TEXT, ping_request(), mask=None), ["a"], 1002),
}

# 6.5 and on: sequences that are UTF-8, and invalid ones (Markus Kuhn's test file).
VALID = [
    *(
        "\0",
        "\x80",
        "\u0800",
        "\U00010000",
        "\x7f",
        "\u07ff",
        "\uffff",
        "\U0010ffff",
        "\ud7ff",
        "\ue000",
        "\ufffd",
    ),
    *("\ufffe", "\U0001fffe", "\U0001ffff", "\U000ffffe", "\U0010fffe"),
]
INVALID = [
    *(b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf"),
    *(b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf"),
    *(bytes(range(0x80, 0xC0)), b"\xc0 \xc1 \xc2 ", b"\xe0 \xe1 ", b"\xf0 ", b"\xf8 ", b"\xfc "),
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"),
    *(b"\xc0\xe0\x80\xf0\x80\x80", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
    # Longer than need be, and halves of surrogate pairs.
    *(b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"),
    *(b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80"),
    *(b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"),
]


VALID += ["hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world"]
for place in range(1, len(SAMPLE)):  # all beginnings of something in characters of two and three bytes
    try:
        VALID.append(SAMPLE[:place].decode())
    except UnicodeDecodeError:
        INVALID.append(SAMPLE[:place])
INVALID += [
    high + low
    for high in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
    for low in (b"\xed\xb0\x80", b"\xed\xbf\xbf")
]


def replies(one: Browser) -> Replies:
    """Return the new replies: tokens, error codes, and payloads of WebSocket pongs."""
    found: Replies = []
    for opcode, payload in one.frames():
        if opcode == PONG:
            found.append(payload)
        elif opcode == TEXT:
            fields = json.loads(payload)
            if fields["type"] == "error":
                found.append(fields["code"])
            elif fields["type"] == "pong":
                found.append(fields["token"])
            else:
                assert fields["type"] == "bye"
                found.append(f"bye: {fields['reason']}")
    return found


def check(stream: bytes, expected: Replies, code: int | None, parts: list[bytes]) -> None:
    server = FakeServer(login_limit=4096)
    one = browser(server)
    at_rest = server.clock.pending
    for part in parts:
        if not one.closed:
            one.session.data_received(part)
    found = replies(one)
    if code is None:
        assert [text for text in found if isinstance(text, str)] == [
            text for text in expected if isinstance(text, str)
        ]
        assert [text for text in found if isinstance(text, bytes)] == [
            text for text in expected if isinstance(text, bytes)
        ]
        assert (one.closed, one.ends) == ([], [])
        assert server.clock.pending <= at_rest + 1
        one.send({"type": "bye"})
        assert replies(one) == ["bye: goodbye"]
        assert one.ends == [(1000, "goodbye")]
    else:
        ours = isinstance(one.closed[0], str) and not one.closed[0].startswith("closed by the peer")
        leaving = code in {1000, 1001, 1005} or not ours
        assert found == [*expected, "bye: goodbye" if leaving else "bye: protocol"]
        [(end, _)] = one.ends
        assert end == (None if code == 1005 else code)
        assert len(one.closed) == 1
    assert server.hub.members() == []
    assert server.clock.pending == 0


@pytest.mark.parametrize("name", CASES)
def test_frames_get_their_messages_and_close_code(name: str) -> None:
    stream, expected, code = CASES[name]
    check(stream, expected, code, [stream])


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name][0]) < 2000])
def test_frames_get_the_same_result_byte_by_byte(name: str) -> None:
    stream, expected, code = CASES[name]
    check(stream, expected, code, [stream[place : place + 1] for place in range(len(stream))])


@pytest.mark.parametrize("text", VALID, ids=ascii)
def test_6_valid_utf_8_is_accepted(text: str) -> None:
    payload = json.dumps({"type": "ping", "token": text}, ensure_ascii=False).encode()
    for stream in (masked(TEXT, payload), b"".join(fragments(payload, 1))):
        check(stream, [text], None, [stream])


@pytest.mark.parametrize("sequence", INVALID, ids=repr)
def test_6_invalid_utf_8_closes_the_connection(sequence: bytes) -> None:
    payload = b'{"type":"ping","token":"' + sequence + b'"}'
    for stream in (masked(TEXT, payload), b"".join(fragments(payload, 1))):
        check(stream + MESSAGE, [], 1007, [stream + MESSAGE])


@pytest.mark.parametrize("size", [125, 126, 127, 128, 65_534, 65_535, 65_536])
def test_messages_of_every_length_are_echoed(size: int) -> None:
    """1.1.2 to 1.1.8, and 9.1: the limit is 64 KiB here."""
    stream = masked(TEXT, ping_request().ljust(size))
    check(stream, ["?"], None, [stream])
    check(stream, ["?"], None, [stream[place : place + 997] for place in range(0, len(stream), 997)])


@pytest.mark.parametrize("pieces", [1, 64])
def test_9_message_over_the_limit_closes_the_connection(pieces: int) -> None:
    stream = b"".join(fragments(ping_request().ljust(65_537), 65_537 // pieces))
    server = FakeServer()
    one = browser(server)
    one.session.data_received(MESSAGE + stream + MESSAGE)
    assert replies(one) == ["a", "bye: protocol"]
    assert one.ends[0][0] == 1009
    assert "65536" in str(one.closed[0])


def test_9_length_over_the_limit_is_refused_from_the_header() -> None:
    one = browser(FakeServer())
    one.session.data_received(b"\x81\xff" + struct.pack("!Q", 65_537))
    assert replies(one) == ["bye: protocol"]
    assert one.ends[0][0] == 1009


def test_close_code_and_reason_are_echoed() -> None:
    one = browser(FakeServer())
    one.session.data_received(closing(4321, "see you"))
    replies(one)
    assert one.ends == [(4321, "see you")]
    assert one.closed == ["closed by the peer: 4321 see you"]


# -- close codes -----------------------------------------------------------------------------------------


def close_of(server: FakeServer, one: Browser) -> tuple[str, int | None, str | None]:
    """Return the reason in the `bye`, the close code, and the reason in the log."""
    last = one.read()[-1]
    assert last["type"] == "bye"
    assert len(one.ends) == len(one.closed) == 1
    wait(server, 60)
    assert one.read() == []
    return last["reason"], one.ends[0][0], one.closed[0]


def test_bye_closes_with_code_1000() -> None:
    server = FakeServer()
    one = browser(server)
    one.send({"type": "bye"})
    assert close_of(server, one) == ("goodbye", 1000, None)


def test_replaced_connection_gets_its_close_code() -> None:
    server = FakeServer()
    one = browser(server)
    browser(server)
    assert close_of(server, one)[:2] == ("replaced", 1000)


def test_server_shutdown_gets_its_close_code() -> None:
    from selchat.server.server import SHUTDOWN

    server = FakeServer()
    one = browser(server)
    server.hub.disconnect(server.hub.members(), SHUTDOWN)
    assert close_of(server, one) == ("shutdown", 1001, "server shut down")


@pytest.mark.parametrize("command", ["/kick Venkat", "/ban Venkat"])
def test_kick_gets_its_close_code(command: str) -> None:
    server = FakeServer()
    one = browser(server)
    server.commands.run(command)
    reason, code, _ = close_of(server, one)
    assert code == 1008
    assert reason == ("kicked" if "kick" in command else "banned")


def test_login_timeout_gets_its_close_code() -> None:
    server = FakeServer()
    one = Browser(server)
    server.tick(9.9)
    assert one.closed == []
    server.tick(0.2)
    assert close_of(server, one) == ("timeout", 1008, "no username within 10 s")
    assert server.clock.pending == 0


def test_too_many_invalid_hellos_get_a_close_code() -> None:
    server = FakeServer(login_messages=3)
    one = Browser(server)
    one.send(*[{"type": "rooms"}] * 5)
    assert close_of(server, one) == ("protocol", 1008, "no valid hello among 3 messages")


def test_incomplete_message_times_out() -> None:
    server = FakeServer(web_ping_seconds=1000.0)
    one = browser(server)
    one.session.data_received(FIRST)
    for _ in range(29):
        server.tick(1.0)
        one.session.data_received(masked(PING))
    assert one.closed == []
    server.tick(1.1)
    assert close_of(server, one) == ("timeout", 1008, "frame not finished within 30 s")


def test_unanswered_pings_close_the_connection() -> None:
    server = FakeServer(web_ping_seconds=30.0)
    one = browser(server)
    wait(server, 29)
    assert one.frames() == []
    wait(server, 1)
    assert one.frames() == [(PING, b"")]
    wait(server, 13)
    assert one.closed == []
    wait(server, 1)
    assert close_of(server, one) == ("timeout", 1008, "ping timeout: no data for 44 s")
    assert server.clock.pending == 0


@pytest.mark.parametrize("sign", [masked(PONG), masked(PING), masked(PONG, b"x"), MESSAGE, b"\x81"])
def test_any_frame_answers_a_ping(sign: bytes) -> None:
    server = FakeServer(web_ping_seconds=30.0)
    one = browser(server)
    for _ in range(3):
        wait(server, 30)
        assert one.frames()[-1:] == [(PING, b"")]
        wait(server, 13)
        one.session.data_received(sign)
        one.frames()
        if len(sign) == 1:
            break
    wait(server, 16)
    assert one.closed == []


# -- frames in one read ----------------------------------------------------------------------------------


def test_messages_before_a_close_in_the_same_read_are_published() -> None:
    server = FakeServer()
    one, other = browser(server), browser(server, "Narayan")
    one.session.data_received(texts(say("one", "1"), say("two", "2")) + closing(1001, "gone"))
    assert bodies(other.read()) == ["one", "two"]
    assert [one["type"] for one in one.read()] == ["ack", "ack", "bye"]
    assert one.ends == [(1001, "gone")]
    assert one.closed == [None]


def test_rate_limited_messages_before_a_close_are_published() -> None:
    server = FakeServer(message_rate=1, message_burst=1, web_ping_seconds=1000.0)
    one, other = browser(server), browser(server, "Narayan")
    server.tick(5)
    one.session.data_received(texts(*(say(str(n), str(n)) for n in range(4))) + masked(PING) + closing(1000))
    assert bodies(other.read()) == ["0"]
    assert one.closed == []
    said = []
    for _ in range(8):
        wait(server, 0.6)
        server.tick(0.5)
        said += bodies(other.read())
    assert said == ["1", "2", "3"]
    assert kinds(one.read()) == ["ack"] * 4 + ["bye"]
    assert one.ends == [(1000, "")]
    assert len(one.closed) == 1


def test_hello_messages_and_close_in_one_read_are_all_handled() -> None:
    server = FakeServer()
    other = browser(server, "Narayan")
    one = Client(server)
    one.session.data_received(
        opening() + texts(hello("Venkat"), say("x" * 9_000, "1")) + masked(PING, b"?") + closing(1000)
    )
    assert bodies(other.read()) == ["x" * 9_000], "the limit before login does not apply to later messages"
    assert one.closed == [None]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_handshake_and_messages_work_at_any_chunking(size: int) -> None:
    server = FakeServer()
    other = browser(server, "Narayan")
    one = Client(server)
    stream = opening() + texts(hello("Venkat"), say("hi", "1"), say("y" * 5_000, "2")) + closing(1000)
    for start in range(0, len(stream), size):
        one.session.data_received(stream[start : start + size])
    assert bodies(other.read()) == ["hi", "y" * 5_000]
    assert one.closed == [None]


def test_message_limit_is_smaller_before_login() -> None:
    server = FakeServer()
    one = Browser(server)
    one.session.data_received(masked(TEXT, b"x" * 4097)[:8])
    assert close_of(server, one)[:2] == ("protocol", 1009)


def test_end_of_stream_without_a_close_frame_publishes_earlier_messages() -> None:
    server = FakeServer()
    one, other = browser(server), browser(server, "Narayan")
    one.session.data_received(texts(say("hi", "1")))
    one.hang_up()
    assert bodies(other.read()) == ["hi"]
    assert one.closed == [None]
    cut = browser(server)
    cut.session.data_received(MESSAGE[:5])
    cut.hang_up()
    assert cut.closed == ["stream ended inside a message"]
    assert server.clock.pending == 1, "Narayan's ping timer"


def test_ping_frames_count_against_the_byte_rate() -> None:
    """A ping of six bytes costs as much as a message, so the byte rate limits pings too."""
    server = FakeServer(byte_rate=65_536)
    one = browser(server)
    one.session.data_received(masked(PING) * 100)
    assert not one.paused
    one.session.data_received(masked(PING) * 1000)
    assert one.paused
    assert len(one.frames()) == 1100
    wait(server, 10)
    assert not one.paused
    assert one.closed == []


# -- one room, all wires ---------------------------------------------------------------------------------


def test_all_protocols_share_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    web, again = browser(server), browser(server, "Narayan")
    monkeypatch.setattr(FakeServer, "wire", Client)
    [selchat_client] = log_in(server, "Michael")
    classic = Client(server)
    classic.session.data_received(b"3         Ann" + b"2         hi")
    web.send(say("w" * 200, "1"))
    selchat_client.send(say("é\0\x7f\u0081~", "1"))
    expected = ["hi", "w" * 200, "é\0\x7f\u0081~"]
    assert bodies(again.read()) == expected
    assert bodies(web.read()) == [expected[0], expected[2]]
    assert bodies(selchat_client.read()) == expected[:2]
    server.settle()
    assert bytes(classic.sock.taken).count(b"w" * 200) == 1
    # One feed for each wire format.
    assert len(server.hub.lobby.feeds) == 3
    for number, client in enumerate((selchat_client, web, again)):
        client.hang_up()
        server.settle()
        assert len(server.hub.lobby.feeds) == (2, 2, 1)[number], "nothing is encoded for nobody"


@pytest.mark.parametrize(
    ("size", "room"),
    [
        *((90, room) for room in (0, 1, 2, 5, 301, 302, 303, 304, 5_003)),
        (300, 4_001),
        (70_000, 1),
        (70_000, 70_001),
    ],
)
def test_reader_lapped_inside_a_frame_gets_every_message(size: int, room: int) -> None:
    server = FakeServer(feed_limit=20_000, frame_limit=200_000)
    one, other = browser(server), browser(server, "Narayan")
    other.sock.room = room
    expected = []
    for number in range(600_000 // (size + 2_000)):
        expected.append(f"{number} \u0081~\x7f" + '{"type":"said",' + "x" * size)
        one.send(say(expected[-1], str(number)))
        server.tick()
    assert (one.closed, other.closed) == ([], [])
    while other.outbox.blocked:
        other.sock.room = 1_234_567
        other.outbox.flush()
        server.tick()
    other.sock.room = None
    messages = other.read()
    gaps = [message for message in messages if message["type"] == "gap"]
    assert gaps and all(gap["before"] == gap["after"] + 1 for gap in gaps)
    assert bodies(messages) == expected
    one.send(say("live", "live"))
    assert bodies(other.read()) == ["live"]


def test_resume_over_websocket_loses_nothing() -> None:
    server = FakeServer()
    one, other = browser(server), browser(server, "Narayan")
    one.send(*(say(str(n), str(n)) for n in range(1, 301)))
    server.settle()
    other.hang_up()
    again = Browser(server)
    again.send(hello("Narayan", resume=resume(server, lobby=7)))
    assert [message["seq"] for message in again.read() if message["type"] == "said"] == list(range(8, 301))
