from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.client.protocol.classic import ClassicClient, Pair, parse_roster
from selchat.errors import SettingError
from selchat.events import Roster
from selchat.wire.cipher import CaesarCipher
from selchat.wire.frames import BadHeaderError, FrameTooLongError, TruncatedFrameError
from tests.client.support import frame, pair, settings

KEY = "1024"
KEYED = CaesarCipher(KEY).encrypt

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def core(**more: object) -> ClassicClient:
    return ClassicClient(settings(**more))


def test_login_is_the_name_in_a_frame() -> None:
    assert core().login() == b"7         Michael"
    assert core(name="").login() == b"0         "
    assert core(key=KEY).login() == b"7         Michael"


def test_what_is_said_is_encrypted() -> None:
    assert core().say("Hello World!") == b"12        Hello World!"
    assert core(key=KEY).say("Hello Narayan!") == frame("Olssv'Uhyh\x80hu(")


def test_the_limit_is_in_bytes_after_encryption() -> None:
    assert core(frame_limit=3).say("abc") == frame("abc")
    with pytest.raises(FrameTooLongError) as caught:
        core(frame_limit=3).say("äa\u20ac")
    assert (caught.value.length, caught.value.limit) == (6, 3)
    with pytest.raises(FrameTooLongError):
        core(frame_limit=3, key="9").say("xyz")  # one of them gets two bytes long


def test_a_short_header_limits_too() -> None:
    assert core(header_length=1).say("123456789") == b"9123456789"
    with pytest.raises(FrameTooLongError):
        core(header_length=1).say("1234567890")
    with pytest.raises(FrameTooLongError):
        core(header_length=1, name="1234567890").login()


def test_a_bad_key() -> None:
    with pytest.raises(SettingError):
        core(key="12a")


@pytest.mark.parametrize("key", [None, KEY])
def test_what_is_no_text_is_replaced(key: str | None) -> None:
    text = "\udce4\ud800x\ude00"
    data = core(key=key).say(text)
    [message] = core(key=key).receive_data(frame("A") + data)
    assert message.body == "\ufffd\ufffdx\ufffd"


@given(st.lists(st.tuples(TEXT.filter(lambda user: user != "Server"), TEXT)), st.data())
def test_pairs_come_out_whole_however_they_are_cut(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    stream = b"".join(pair(user, KEYED(body)) for user, body in pairs)
    client, got, start = core(key=KEY), [], 0
    while start < len(stream):
        size = data.draw(st.integers(1, len(stream) - start))
        got += client.receive_data(stream[start : start + size])
        start += size
    assert got == pairs
    assert client.error is None


@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_one_error(data: bytes) -> None:
    client = core(key=KEY)
    for message in client.receive_data(data):
        assert isinstance(message, Pair)
    client.receive_eof()


@given(st.text())
def test_any_text_of_the_server_gives_text(text: str) -> None:
    raw = text.encode("utf-8", "replace").decode()
    assert core().receive_data(pair("Server", raw)) == [("Server", raw)]
    [message] = core(key=KEY).receive_data(pair("Server", raw))
    assert message.body in {raw, CaesarCipher(KEY).decrypt(raw)}


def test_bytes_that_are_no_frames() -> None:
    client = core()
    assert client.receive_data(pair("A", "hey") + b"HTTP/1.1 400") == [("A", "hey")]
    assert isinstance(client.error, BadHeaderError)


def test_a_frame_over_the_read_limit() -> None:
    client = core(read_limit=10)
    client.receive_data(b"11        ")
    assert isinstance(client.error, FrameTooLongError)


def test_the_end_inside_a_frame() -> None:
    client = core()
    client.receive_data(b"3         Ve")
    client.receive_eof()
    assert isinstance(client.error, TruncatedFrameError)


def test_broken_utf8_is_replaced() -> None:
    assert core().receive_data(frame(b"V\xff") + frame(b"\xc3(")) == [("V\ufffd", "\ufffd(")]


# -- names ---------------------------------------------------------------------------------------------


def test_authors_are_remembered_in_order_and_not_for_ever() -> None:
    client = core()
    for user in ("Zoe", "Adam", "Zoe"):
        client.receive_data(pair(user, "hey"))
    assert client.heard == client.names == ("Zoe", "Adam")
    for number in range(2000):
        client.receive_data(pair(str(number), ""))
    assert len(client.heard) == 1000


def test_a_roster_tells_who_is_online() -> None:
    client = core()
    client.receive_data(pair("Narayan", "hey") + pair("Server", "Users online (2): Michael, Venkat"))
    assert client.online == Roster(("Michael", "Venkat"), 2)
    assert client.names == ("Michael", "Venkat")
    client.receive_data(pair("Server", "good morning"))
    assert client.online == Roster(("Michael", "Venkat"), 2)


@pytest.mark.parametrize(
    ("text", "names", "total"),
    [
        ("Users online (1): Michael", ["Michael"], 1),
        ("Users online (3): Michael, Narayan, Venkat", ["Michael", "Narayan", "Venkat"], 3),
        ("Users online (903): A, B, C and 900 more", ["A", "B", "C"], 903),
        ("Users online (2): A, B and 900 more", ["A", "B and 900 more"], 2),
        ("Users online (903):  and 903 more", [], 903),
    ],
)
def test_rosters(text: str, names: list[str], total: int) -> None:
    assert parse_roster(text) == Roster(tuple(names), total)


@pytest.mark.parametrize(
    "text", ["", "Users online", "Users online (x): A", "users online (1): A", " Users online (1): A"]
)
def test_what_is_no_roster(text: str) -> None:
    assert parse_roster(text) is None


# -- whether the server encrypts -----------------------------------------------------------------------

ROSTER = "Users online (1): Michael"
KICKED = "The operator has removed you from this chat."


def bodies(client: ClassicClient, *raw: str) -> list[str]:
    return [message.body for text in raw for message in client.receive_data(pair("Server", text))]


def test_a_server_without_a_key_is_read_as_it_is() -> None:
    assert bodies(core(key=KEY), ROSTER, "hello", KEYED(ROSTER)) == [ROSTER, "hello", KEYED(ROSTER)]


def test_a_server_with_the_key_is_decrypted() -> None:
    assert bodies(core(key=KEY), KEYED(ROSTER), KEYED("hello"), ROSTER) == [
        ROSTER,
        "hello",
        CaesarCipher(KEY).decrypt(ROSTER),
    ]


def test_before_the_first_known_text_it_is_decrypted() -> None:
    assert bodies(core(key=KEY), KEYED("hello"), ROSTER, "hello") == ["hello", ROSTER, "hello"]


@pytest.mark.parametrize(
    "text", [KICKED, "The server is shutting down.", "Closing this connection: no username within 10 s."]
)
def test_last_words_are_known_either_way(text: str) -> None:
    for raw in (text, KEYED(text)):
        client = core(key=KEY)
        assert bodies(client, raw) == [text]
        assert client.last_words == text


def test_another_key_than_the_servers_shows_what_it_decrypts_to() -> None:
    other = CaesarCipher("1010")
    client = core(key="1010")
    assert bodies(client, KEYED(ROSTER)) == [other.decrypt(KEYED(ROSTER))]
    assert client.online is None


def test_others_are_always_decrypted() -> None:
    client = core(key=KEY)
    client.receive_data(pair("Server", ROSTER))
    assert client.receive_data(pair("Venkat", KEYED("hey"))) == [("Venkat", "hey")]
    assert client.receive_data(pair("Venkat", KICKED))[0].body != KICKED
    assert client.last_words is None
