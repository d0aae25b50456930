"""The client side of the classic protocol: framing, the Caesar cipher, rosters and closing notices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.client.events import ClientEvent, Message, SeenAuthors, Users
from selchat.client.protocol.classic import ClassicClient, parse_roster
from selchat.errors import SettingError
from selchat.events import Roster
from selchat.wire.cipher import CaesarCipher
from selchat.wire.frames import BadHeaderError, FrameTooLongError, TruncatedFrameError
from tests.client.selchat_support import take_data
from tests.client.support import frame, pair, settings

KEY = "1024"
KEYED = CaesarCipher(KEY).encrypt

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def classic_client(**more: object) -> ClassicClient:
    return ClassicClient(settings(**more))


def login_frame(**more: object) -> bytes:
    client = classic_client(**more)
    client.connection_made()
    return take_data(client)


def message_frame(text: str, **more: object) -> bytes:
    client = classic_client(**more)
    assert client.say(text) == "", "the classic protocol has no ids"
    return take_data(client)


def pairs_of(events: list[ClientEvent]) -> list[tuple[str, str]]:
    assert all(isinstance(event, Message) for event in events)
    return [(event.author, event.body) for event in events if isinstance(event, Message)]


def test_login_is_the_name_in_a_frame() -> None:
    assert login_frame() == b"7         Michael"
    assert login_frame(name="") == b"0         "
    assert login_frame(key=KEY) == b"7         Michael"


def test_messages_are_encrypted() -> None:
    assert message_frame("Hello World!") == b"12        Hello World!"
    assert message_frame("Hello Narayan!", key=KEY) == frame("Olssv'Uhyh\x80hu(")


def test_frame_limit_counts_bytes_after_encryption() -> None:
    assert message_frame("abc", frame_limit=3, name="M") == frame("abc")
    with pytest.raises(FrameTooLongError) as caught:
        message_frame("äa\u20ac", frame_limit=3, name="M")
    assert (caught.value.length, caught.value.limit) == (6, 3)
    with pytest.raises(FrameTooLongError):
        message_frame("xyz", frame_limit=3, name="M", key="9")  # one character takes two bytes


def test_short_header_limits_frames_too() -> None:
    assert message_frame("123456789", header_length=1) == b"9123456789"
    with pytest.raises(FrameTooLongError):
        message_frame("1234567890", header_length=1)
    with pytest.raises(FrameTooLongError):
        classic_client(header_length=1, name="1234567890")


def test_bad_key_raises_a_setting_error() -> None:
    with pytest.raises(SettingError):
        classic_client(key="12a")


@pytest.mark.parametrize("key", [None, KEY])
def test_lone_surrogates_are_replaced(key: str | None) -> None:
    data = message_frame("\udce4\ud800x\ude00", key=key)
    assert pairs_of(classic_client(key=key).receive_data(frame("A") + data)) == [("A", "\ufffd\ufffdx\ufffd")]


@given(st.lists(st.tuples(TEXT.filter(lambda user: user != "Server"), TEXT)), st.data())
def test_messages_survive_any_fragmentation(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    stream = b"".join(pair(user, KEYED(body)) for user, body in pairs)
    client, got, start = classic_client(key=KEY), [], 0
    while start < len(stream):
        size = data.draw(st.integers(1, len(stream) - start))
        got += pairs_of(client.receive_data(stream[start : start + size]))
        start += size
    assert got == pairs
    assert client.error is None


@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_one_error(data: bytes) -> None:
    client = classic_client(key=KEY)
    pairs_of(client.receive_data(data))
    client.receive_eof()


@given(st.text())
def test_any_text_of_the_server_is_a_message(text: str) -> None:
    raw = text.encode("utf-8", "replace").decode()
    assert classic_client().receive_data(pair("Server", raw)) == [Message("Server", raw)]
    [(_, body)] = pairs_of(classic_client(key=KEY).receive_data(pair("Server", raw)))
    assert body in {raw, CaesarCipher(KEY).decrypt(raw)}


def test_bad_frame_header_is_an_error() -> None:
    client = classic_client()
    assert client.receive_data(pair("A", "hey") + b"HTTP/1.1 400") == [Message("A", "hey")]
    assert isinstance(client.error, BadHeaderError)


def test_frame_over_the_read_limit_is_an_error() -> None:
    client = classic_client(read_limit=10)
    client.receive_data(b"11        ")
    assert isinstance(client.error, FrameTooLongError)


def test_end_of_stream_inside_a_frame_is_an_error() -> None:
    client = classic_client()
    client.receive_data(b"3         Ve")
    client.receive_eof()
    assert isinstance(client.error, TruncatedFrameError)


def test_invalid_utf8_is_replaced() -> None:
    assert classic_client().receive_data(frame(b"V\xff") + frame(b"\xc3(")) == [Message("V\ufffd", "\ufffd(")]


# -- names ---------------------------------------------------------------------------------------------


def test_authors_are_remembered_in_order_up_to_a_limit() -> None:
    client = classic_client()
    for user in ("Zoe", "Adam", "Zoe"):
        client.receive_data(pair(user, "hey"))
    assert client.names == ("Zoe", "Adam")
    client.get_users()
    assert client.events() == [SeenAuthors(("Zoe", "Adam"))]
    for number in range(2000):
        client.receive_data(pair(str(number), ""))
    assert len(client.names) == 1000


def test_roster_lists_the_users_who_are_online() -> None:
    client = classic_client()
    client.receive_data(pair("Narayan", "hey") + pair("Server", "Users online (2): Michael, Venkat"))
    assert client.online == Roster(("Michael", "Venkat"), 2)
    assert client.names == ("Michael", "Venkat")
    client.receive_data(pair("Server", "good morning"))
    assert client.online == Roster(("Michael", "Venkat"), 2)
    client.get_users()
    assert client.events() == [Users("lobby", ("Michael", "Venkat"), 2, "", 0, joined=False)]


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
def test_roster_is_parsed(text: str, names: list[str], total: int) -> None:
    assert parse_roster(text) == Roster(tuple(names), total)


@pytest.mark.parametrize(
    "text", ["", "Users online", "Users online (x): A", "users online (1): A", " Users online (1): A"]
)
def test_other_text_is_no_roster(text: str) -> None:
    assert parse_roster(text) is None


# -- encryption of the server's messages ---------------------------------------------------------------

ROSTER = "Users online (1): Michael"
KICKED = "The operator has removed you from this chat."


def bodies(client: ClassicClient, *raw: str) -> list[str]:
    return [body for text in raw for _, body in pairs_of(client.receive_data(pair("Server", text)))]


def test_plain_roster_shows_that_the_server_has_no_key() -> None:
    assert bodies(classic_client(key=KEY), ROSTER, "hello", KEYED(ROSTER)) == [ROSTER, "hello", KEYED(ROSTER)]


def test_encrypted_roster_shows_that_the_server_has_the_key() -> None:
    assert bodies(classic_client(key=KEY), KEYED(ROSTER), KEYED("hello"), ROSTER) == [
        ROSTER,
        "hello",
        CaesarCipher(KEY).decrypt(ROSTER),
    ]


def test_server_text_is_decrypted_until_a_known_form_arrives() -> None:
    assert bodies(classic_client(key=KEY), KEYED("hello"), ROSTER, "hello") == ["hello", ROSTER, "hello"]


@pytest.mark.parametrize(
    "text", [KICKED, "The server is shutting down.", "Closing this connection: no username within 10 s."]
)
def test_closing_notice_is_recognised_plain_and_encrypted(text: str) -> None:
    for raw in (text, KEYED(text)):
        client = classic_client(key=KEY)
        assert bodies(client, raw) == [text]
        assert client.last_words == text


def test_text_under_another_key_is_decrypted_to_garbage() -> None:
    other = CaesarCipher("1010")
    client = classic_client(key="1010")
    assert bodies(client, KEYED(ROSTER)) == [other.decrypt(KEYED(ROSTER))]
    assert client.online is None


def test_messages_of_users_are_always_decrypted() -> None:
    client = classic_client(key=KEY)
    client.receive_data(pair("Server", ROSTER))
    assert pairs_of(client.receive_data(pair("Venkat", KEYED("hey")))) == [("Venkat", "hey")]
    assert pairs_of(client.receive_data(pair("Venkat", KICKED))) != [("Venkat", KICKED)]
    assert client.last_words is None


# -- the queue -----------------------------------------------------------------------------------------


def test_message_counts_as_queued_until_its_last_byte_is_sent() -> None:
    client = classic_client()
    client.say("one")
    client.say("two")
    client.connection_made()
    take_data(client)
    assert client.data_to_send() == frame("one") + frame("two")
    client.data_sent(12)
    assert (client.queued, client.unacknowledged) == (26, 2)
    client.data_sent(1)
    assert (client.queued, client.unacknowledged) == (13, 1)
    client.data_sent(13)
    assert (client.queued, client.unacknowledged) == (0, 0)


def test_message_sent_in_part_is_sent_again_whole() -> None:
    client = classic_client()
    for text in ("one", "two"):
        client.say(text)
    client.connection_made()
    take_data(client)
    client.data_sent(20)
    client.connection_lost()
    client.connection_made()
    assert take_data(client) == frame("Michael")
    assert take_data(client) == frame("two")
