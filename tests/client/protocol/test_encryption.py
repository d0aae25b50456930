"""Transcripts of a client with a passphrase: encryption, decryption, and messages that wait for keys."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.client.events import (
    Acked,
    ClientEvent,
    Encryption,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.protocol import encryption, selchat
from selchat.client.protocol.encryption import EncryptedCodec, RoomKeys, direct_key_name
from selchat.client.protocol.rooms import RoomMap
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.errors import NotInRoomError, SettingError
from selchat.wire.e2ee import Decryptor, Encryptor, WrongPassphraseError, parse_salt
from selchat.wire.frames import FrameTooLongError
from tests.client import selchat_support
from tests.client.selchat_support import Fields, ack, encoded, error
from tests.client.support import SECRET, settings

SECRETS = ("three random words", "other words")


def salt_of(room: str, salt: str = "") -> str:
    """Return the salt of a room, as a server would."""
    import base64

    found = hashlib.sha256(f"{room} {salt}".encode()).digest()[:16]
    return base64.urlsafe_b64encode(found).decode().rstrip("=")


def key_of(salt: bytes, passphrase: str = SECRETS[0]) -> bytes:
    """Return a key without scrypt, which is slow."""
    return hashlib.sha256(salt + passphrase.encode()).digest()


def key_for(room: str, salt: str = "", passphrase: str = SECRETS[0]) -> bytes:
    return key_of(parse_salt(salt_of(room, salt)) or b"", passphrase)


def welcome(*rooms: tuple[str, int], salt: str = "", **more: object) -> Fields:
    fields = selchat_support.welcome(*rooms, **{"salt": salt_of("@", salt), **more})  # type: ignore[arg-type]
    for room in fields["rooms"]:
        room["salt"] = salt_of(room["room"], salt)
    return fields


def users(room: str, seq: int = 0, *names: str, salt: str = "") -> Fields:
    return {**selchat_support.users(room, seq, *names), "salt": salt_of(room, salt)}


class Author:
    """Another user, with a session in each room."""

    def __init__(self, name: str = "Venkat", passphrase: str = SECRETS[0]) -> None:
        self.name = name
        self._passphrase = passphrase
        self._encryptors: dict[str, Encryptor] = {}

    def encrypt(self, body: str, room: str = "lobby", salt: str = "") -> dict[str, str]:
        place = "@" if room.startswith("@") else room
        encryptor = self._encryptors.setdefault(room, Encryptor(key_for(place, salt, self._passphrase)))
        return encryptor.encrypt(room, self.name, body)._asdict()

    def says(self, seq: int, body: str, room: str = "lobby", **more: Any) -> Fields:
        fields = {"type": "said", "room": room, "seq": seq, "from": self.name, "at": 1.5, "id": f"v{seq}"}
        return {**fields, **self.encrypt(body, room), **more}

    def whispers(self, seq: int, body: str, to: str = "Michael", **more: Any) -> Fields:
        fields = {"type": "whispered", "seq": seq, "from": self.name, "to": to, "at": 1.5, "id": f"w{seq}"}
        return {**fields, **self.encrypt(body, direct_key_name(to)), **more}


class Talk(selchat_support.Talk):
    """A client with a passphrase. Keys arrive at once, unless ``late``."""

    def __init__(self, *, late: bool = False, members: bool = False, **more: object) -> None:
        self.late = late
        self.requested: list[bytes] = []
        given = settings(**{"wire": "selchat", "passphrase": SECRETS[0], **more})
        self.client = SelchatClient(given, SECRET, members=members, request_key=self.requested.append)

    def derive(self, count: int = 1000) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        while self.requested and count:
            count -= 1
            salt = self.requested.pop(0)
            self.client.add_key(salt, key_of(salt))
            events += self.client.events()
        return events

    def sent(self) -> list[Fields]:
        found = super().sent()
        while self.requested and not self.late:
            salt = self.requested.pop(0)
            self.client.add_key(salt, key_of(salt))
            found += super().sent()
        return found

    def receive(self, *messages: Fields) -> list[ClientEvent]:
        events = super().receive(*messages)
        while self.requested and not self.late:
            events += self.derive()
        return events

    def connect(self, *messages: Fields) -> Fields:
        return super().connect(*(messages or [welcome()]))


def opened(message: Fields, sender: str = "Michael", room: str = "lobby", salt: str = "") -> str:
    """Return what another client decrypts."""
    key = key_for("@" if room.startswith("@") else room, salt)
    return Decryptor().decrypt(key, room, sender, message["cipher"], message["body"], 1)


def bodies(events: list[ClientEvent]) -> list[tuple[str, Encryption]]:
    return [(event.body, event.encryption) for event in events if isinstance(event, Message | Whispered)]


# -- sending ------------------------------------------------------------------------------------------


def test_all_messages_are_encrypted() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 0), ("Engine-Room", 0)))
    talk.client.say("hello")
    talk.client.say("* Michael waves", "engine-room")
    talk.client.whisper(" VENKAT ", "psst")
    talk.client.whisper("server", "/kick Eve")
    one, two, three, command = talk.sent()
    assert (one["type"], one["room"], opened(one)) == ("say", "lobby", "hello")
    assert opened(two, room="Engine-Room") == "* Michael waves"
    assert (three["type"], three["to"], opened(three, room="@venkat")) == ("whisper", " VENKAT ", "psst")
    assert (command["to"], command["body"], command.get("cipher")) == ("server", "/kick Eve", None)
    assert "hello" not in str([one, two, three]) and "psst" not in str([one, two, three])


def test_messages_are_bound_to_the_servers_spelling_of_name_and_room() -> None:
    talk = Talk()
    talk.client.say("typed ahead", "LOBBY")
    talk.connect(welcome(("Lobby", 0), name="Michael_2"))
    [message] = talk.sent()
    assert message["room"] == "LOBBY"
    assert opened(message, sender="Michael_2", room="Lobby") == "typed ahead"


def test_each_room_has_a_session_with_a_growing_counter() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 0), ("a", 0)))
    for room in ("lobby", "a", "lobby", "a"):
        talk.client.say("x", room)
    sent = [message["cipher"].split() for message in talk.sent()]
    assert [counter for _, _, counter, _ in sent] == ["1", "1", "2", "2"]
    assert sent[0][1] == sent[2][1] != sent[1][1] == sent[3][1]
    another = Talk()
    another.connect()
    another.client.say("x")
    assert another.sent()[0]["cipher"].split()[1] not in {part[1] for part in sent}


def test_repeated_message_has_another_counter_and_the_same_id() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("hello")
    [first] = talk.sent()
    talk.reconnect(welcome(("lobby", 0)))
    [second] = talk.sent()
    assert first["id"] == second["id"] == id
    assert [one["cipher"].split()[2] for one in (first, second)] == ["1", "2"]
    assert first["body"] != second["body"]
    assert talk.receive(error("not-stored", id=id)) == [NotStored("about not-stored")]
    talk.client.retry()
    assert [one["cipher"].split()[2] for one in talk.sent()] == ["3"]
    assert bodies(talk.receive(ack(id, 1))) == [("hello", Encryption.DECRYPTED)]


def test_another_salt_starts_another_session() -> None:
    talk = Talk()
    talk.connect()
    talk.client.say("one")
    [one] = talk.sent()
    talk.reconnect(welcome(("lobby", 0), salt="new", log="log 2"))
    [again] = talk.sent()
    assert opened(again, salt="new") == "one"
    assert one["cipher"].split()[1] != again["cipher"].split()[1]
    assert again["cipher"].split()[2] == "1"


def test_messages_wait_for_the_key_and_the_join() -> None:
    talk = Talk(late=True)
    talk.client.join("a")
    talk.client.say("first", "a")
    talk.client.say("second")
    talk.connect()
    assert [message["type"] for message in talk.sent()] == ["join"]
    assert talk.requested == []
    talk.client.say("third", "a")
    assert talk.sent() == []
    talk.receive(users("A", 4, "Michael"))
    assert talk.sent() == [] and len(talk.requested) == 1
    assert talk.sent() == [] and len(talk.requested) == 1, "the client requests the key once"
    talk.derive()
    [first] = talk.sent()  # no message overtakes a waiting one
    assert (first["room"], opened(first, room="A")) == ("a", "first")
    talk.derive()
    second, third = talk.sent()
    assert (opened(second), opened(third, room="A")) == ("second", "third")
    assert talk.client.unacknowledged == 3


def test_message_to_another_room_is_refused_locally() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("hello", "nowhere")
    after = talk.client.say("to all")
    [sent] = talk.sent()
    assert sent["id"] == after
    [refused] = talk.client.events()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.id, refused.room, refused.body) == ("not-in-room", id, "nowhere", "hello")
    assert refused.text == "you are not in the room nowhere; join it first"
    assert talk.client.unacknowledged == 1


def test_messages_to_a_room_that_refuses_the_join_are_refused() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("a")
    id = talk.client.say("hello", "a")
    assert [message["type"] for message in talk.sent()] == ["join"]
    talk.receive(error("too-many-rooms", room="a"))
    assert talk.sent() == []
    assert [(event.code, event.id) for event in talk.client.events() if isinstance(event, Refused)] == [
        ("not-in-room", id)
    ]


def test_message_after_part_is_refused_and_after_join_is_sent() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 0), ("a", 0)))
    talk.client.part("a")
    lost = talk.client.say("gone", "a")
    assert [message["type"] for message in talk.sent()] == ["part"]
    assert [event.id for event in talk.client.events() if isinstance(event, Refused)] == [lost]
    talk.client.join("a")
    kept = talk.client.say("back", "a")
    assert [message["type"] for message in talk.sent()] == ["join"]
    assert talk.receive({"type": "left", "room": "a", "names": ["Michael"], "total": 0}) == [Parted("a")]
    assert talk.sent() == []
    talk.receive(users("a", 0, "Michael", salt="new"))
    [message] = talk.sent()
    assert (message["id"], opened(message, room="a", salt="new")) == (kept, "back")


def test_frame_limit_counts_encrypted_bytes() -> None:
    talk = Talk(frame_limit=1000)
    with pytest.raises(FrameTooLongError):
        talk.client.say("x" * 640)
    talk.connect()
    sizes = range(560, 660)
    for size in sizes:
        try:
            talk.client.say("\u20ac"[:0] + "x" * size)
        except FrameTooLongError:
            break
    assert 570 < size < 650
    sent = talk.sent()
    assert [len(opened(message)) for message in sent] == list(range(560, size))
    longest = len(encoded(sent[-1]).replace(b'": ', b'":').replace(b', "', b',"')) - 10
    assert 970 < longest <= 1000
    assert talk.client.queued >= sum(len(message["body"]) for message in sent)


def test_command_is_sent_plain_and_may_use_the_whole_limit() -> None:
    talk = Talk(frame_limit=1000)
    talk.connect()
    command = "/topic " + "x" * 800  # too long if it were encrypted
    talk.client.whisper("Server", command)
    [message] = talk.sent()
    assert (message["body"], "cipher" in message) == (command, False)


def test_servers_frame_limit_counts_encrypted_bytes() -> None:
    talk = Talk()
    talk.connect(welcome(limits={**selchat_support.LIMITS, "frame": 300}))
    talk.client.say("x" * 300)
    id = talk.client.say("y" * 30)
    assert [message["id"] for message in talk.sent()] == [id]
    [refused] = talk.client.events()
    assert isinstance(refused, Refused) and refused.code == "too-long"


# -- receiving ----------------------------------------------------------------------------------------


def test_each_result_of_decryption_is_reported() -> None:
    talk, venkat, eve = Talk(), Author(), Author("Eve", SECRETS[1])
    talk.connect()
    first = venkat.says(1, "one")
    got = talk.receive(
        first,
        {**selchat_support.said(2, body="in clear text"), "id": "c-1"},
        selchat_support.said(3, "Server", "tea"),
        eve.says(4, "secret"),
        {**venkat.says(5, "two"), "from": "Eve"},
        {**first, "seq": 6, "id": "again"},
        selchat_support.said(7, body="olsp", cipher="caesar", id="c"),
        venkat.says(8, "three"),
        venkat.says(9, "four", cipher="selchat1 nonsense"),
    )
    assert bodies(got) == [
        ("one", Encryption.DECRYPTED),
        ("in clear text", Encryption.UNENCRYPTED),
        ("tea", Encryption.NONE),
        ("", Encryption.OTHER_PASSPHRASE),
        ("", Encryption.TAMPERED),
        ("", Encryption.REPLAYED),
        ("", Encryption.OTHER_CIPHER),
        ("three", Encryption.DECRYPTED),
        ("", Encryption.TAMPERED),
    ]
    assert [event.cipher for event in got[:3] if isinstance(event, Message)] == [None] * 3
    assert got[3].cipher.startswith("selchat1 ")  # type: ignore[union-attr]
    assert got[6].cipher == "caesar"  # type: ignore[union-attr]


def test_reordered_messages_are_not_shown() -> None:
    talk, venkat = Talk(), Author()
    talk.connect()
    one, two = venkat.says(2, "one"), venkat.says(1, "two")
    assert bodies(talk.receive(two, one)) == [("two", Encryption.DECRYPTED), ("", Encryption.REORDERED)]


def test_without_a_passphrase_encrypted_messages_are_reported() -> None:
    talk = selchat_support.Talk()
    talk.connect()
    one, psst = Author().says(1, "one"), Author().whispers(1, "psst")
    got = talk.receive(one, psst, selchat_support.said(2))
    assert bodies(got) == [
        ("", Encryption.NO_PASSPHRASE),
        ("", Encryption.NO_PASSPHRASE),
        ("body 2", Encryption.NONE),
    ]
    assert [event.cipher for event in got if isinstance(event, Message | Whispered)] == [
        one["cipher"],
        psst["cipher"],
        None,
    ]


def test_direct_messages_are_encrypted() -> None:
    talk, venkat = Talk(), Author()
    talk.connect()
    kept = venkat.whispers(1, "one")
    got = talk.receive(
        kept,
        kept,
        venkat.whispers(2, "two", to="MICHAEL"),
        selchat_support.said(9, "Server") | {"type": "whispered", "seq": 0, "to": "Michael"},
        {**kept, "seq": 3},
        {**venkat.says(4, "said in the lobby"), "type": "whispered", "to": "Michael"},
        {**selchat_support.said(5), "type": "whispered", "to": "Michael", "id": "x"},
    )
    assert bodies(got) == [
        ("one", Encryption.DECRYPTED),
        ("two", Encryption.DECRYPTED),
        ("body 9", Encryption.NONE),
        ("", Encryption.REPLAYED),
        ("", Encryption.OTHER_PASSPHRASE),
        ("body 5", Encryption.UNENCRYPTED),
    ]


def test_replayed_and_reordered_unstored_direct_messages_are_detected() -> None:
    talk, venkat = Talk(), Author()
    talk.connect()
    first, second, third = (venkat.whispers(0, body) for body in ("one", "two", "three"))
    assert bodies(talk.receive(first, third, second, third)) == [
        ("one", Encryption.DECRYPTED),
        ("three", Encryption.DECRYPTED),
        ("", Encryption.REORDERED),
        ("", Encryption.REPLAYED),
    ]


def test_direct_message_cannot_be_redirected() -> None:
    talk = Talk()
    talk.connect()
    stolen = {**Author().whispers(1, "for Eve", to="Eve"), "to": "Michael"}
    assert bodies(talk.receive(stolen)) == [("", Encryption.TAMPERED)]


def history(*messages: Fields, room: str = "lobby") -> Fields:
    fields = [{name: one[name] for name in one if name not in {"type", "room"}} for one in messages]
    return {"type": "history", "room": room, "messages": fields, "more": False}


def test_history_may_repeat_messages() -> None:
    talk, venkat, eve = Talk(), Author(), Author("Eve")
    old = [venkat.says(seq, f"old {seq}") for seq in range(1, 4)]
    talk.connect(welcome(("lobby", 3)))
    new = venkat.says(4, "new")
    forged = eve.says(2, "moved")
    assert bodies(talk.receive(new)) == [("new", Encryption.DECRYPTED)]
    for _ in range(2):
        [answer] = talk.receive(history(*old, new))
        assert isinstance(answer, History)
        assert bodies(list(answer.messages)) == [
            *((f"old {seq}", Encryption.DECRYPTED) for seq in range(1, 4)),
            ("new", Encryption.DECRYPTED),
        ]
    [answer] = talk.receive(history(old[0], {**old[2], "seq": 2}, forged))
    assert isinstance(answer, History)
    assert [seal for _, seal in bodies(list(answer.messages))] == [
        Encryption.DECRYPTED,
        Encryption.REPLAYED,
        Encryption.DECRYPTED,
    ]


def test_own_messages_are_decrypted() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("mine")
    [sent] = talk.sent()
    own = {"type": "said", "room": "lobby", "seq": 1, "from": "Michael", "at": 1.5, "id": id}
    own |= {"body": sent["body"], "cipher": sent["cipher"]}
    talk.client.connection_lost()
    talk.client.connection_made()
    [acked, message] = talk.receive(welcome(("lobby", 1)), own)[1:]
    assert isinstance(acked, Acked)
    assert message == Message(
        "Michael", "mine", "lobby", 1, 1.5, id, own=True, missed=True, encryption=Encryption.DECRYPTED
    )
    later = Talk()
    later.connect(welcome(("lobby", 1)))
    [answer] = later.receive(history(own))
    assert isinstance(answer, History)
    [found] = answer.messages
    assert (found.body, found.own, found.encryption) == ("mine", False, Encryption.DECRYPTED)


def test_own_acknowledged_message_is_decrypted_in_the_history_too() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("mine")
    [sent] = talk.sent()
    assert bodies(talk.receive(ack(id, 1))) == [("mine", Encryption.DECRYPTED)]
    own = {"from": "Michael", "seq": 1, "at": 1.5, "id": id, "body": sent["body"], "cipher": sent["cipher"]}
    [answer] = talk.receive(history(own))
    assert isinstance(answer, History)
    assert bodies(list(answer.messages)) == [("mine", Encryption.DECRYPTED)]


def test_another_log_resets_the_order_and_still_detects_replays() -> None:
    talk, venkat = Talk(), Author()
    talk.connect()
    old = [venkat.says(seq, f"old {seq}") for seq in (1, 2, 3)]
    talk.receive(*old)
    new = venkat.says(1, "new")
    talk.reconnect(welcome(("lobby", 0), log="log 2"))
    assert bodies(talk.receive(new, {**old[2], "seq": 2})) == [
        ("new", Encryption.DECRYPTED),
        ("", Encryption.REPLAYED),
    ]


def test_restored_log_resets_the_order() -> None:
    talk, venkat = Talk(), Author()
    talk.connect()
    talk.receive(*(venkat.says(seq, f"old {seq}") for seq in (1, 2, 3)))
    talk.reconnect(welcome(("lobby", 1)))
    assert bodies(talk.receive(venkat.says(2, "new"))) == [("new", Encryption.DECRYPTED)]
    talk.reconnect(welcome(("lobby", 2)))
    assert bodies(talk.receive(venkat.says(1, "out of order", id="x"))) == []


# -- waiting for a key ---------------------------------------------------------------------------------


def test_received_messages_wait_for_a_key_in_order() -> None:
    talk, venkat = Talk(late=True), Author()
    talk.connect(welcome(("lobby", 0), ("a", 0)))
    assert bodies(talk.receive(selchat_support.said(1, "Server", "tea"))) == [("tea", Encryption.NONE)]
    assert talk.requested == []
    assert (
        talk.receive(venkat.says(2, "two"), selchat_support.said(3, "Server"), venkat.says(1, "in a", "a"))
        == []
    )
    assert talk.receive(users("a")) == []
    assert len(talk.requested) == 1
    got = talk.derive(1)
    assert bodies(got) == [("two", Encryption.DECRYPTED), ("body 3", Encryption.NONE)]
    assert len(talk.requested) == 1, "and now for the other room"
    got = talk.derive(1)
    assert bodies(got) == [("in a", Encryption.DECRYPTED)]
    assert isinstance(got[-1], Users)
    assert bodies(talk.receive(venkat.says(4, "at once"))) == [("at once", Encryption.DECRYPTED)]


def test_ping_and_bye_do_not_wait_for_a_key() -> None:
    talk = Talk(late=True)
    talk.connect()
    talk.receive(Author().says(1, "one"))
    assert talk.receive({"type": "ping", "token": "x"}) == []
    assert talk.sent() == [{"type": "pong", "token": "x"}]
    [bye] = talk.receive({"type": "bye", "reason": "kicked", "retry_after": None})
    assert type(bye).__name__ == "Bye"


def test_direct_messages_are_confirmed_after_decryption() -> None:
    talk = Talk(late=True)
    talk.connect()
    talk.receive(Author().whispers(1, "one"))
    assert talk.sent() == []
    assert bodies(talk.derive()) == [("one", Encryption.DECRYPTED)]
    assert talk.sent() == [{"type": "ack", "whisper": 1}]


def test_waiting_messages_are_dropped_with_the_connection() -> None:
    talk, venkat = Talk(late=True), Author()
    talk.connect()
    one = venkat.says(1, "one")
    talk.receive(one)
    talk.client.connection_lost()
    assert talk.derive() == []
    talk.client.connection_made()
    assert bodies(talk.receive(welcome(("lobby", 1)), one)) == [("one", Encryption.DECRYPTED)]


def test_size_of_waiting_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selchat, "MAX_HELD_KEYLESS_SIZE", 2000)
    talk, venkat = Talk(late=True), Author()
    talk.connect()
    talk.client.receive_data(encoded(*(venkat.says(seq, "x" * 100) for seq in range(1, 20))))
    assert (
        str(talk.client.error)
        == "more than 2000 bytes arrived while the client derived a key from the passphrase"
    )
    assert talk.client.state is ClientState.BROKEN
    talk.reconnect()
    assert talk.client.error is None


def test_waiting_message_may_be_a_protocol_error() -> None:
    talk = Talk(late=True)
    talk.connect()
    assert (
        talk.receive(Author().says(1, "one"), {"type": "said", "room": "lobby"}, Author().says(2, "two"))
        == []
    )
    assert bodies(talk.derive()) == [("one", Encryption.DECRYPTED)]
    assert str(talk.client.error) == "said: from is not a string of at most 256 characters"
    assert talk.client.state is ClientState.BROKEN


def test_malformed_messages_do_not_wait_for_a_key() -> None:
    for nonsense in (
        {"type": "said", "room": 7, "cipher": "selchat1 x"},
        {"type": "history", "room": "lobby", "messages": 7},
        {"type": "history", "room": "lobby", "messages": [7]},
        {"type": "whispered", "to": None, "cipher": "selchat1 x"},
        {"type": "said", "room": "lobby", "cipher": 7},
    ):
        talk = Talk(late=True)
        talk.connect()
        talk.client.receive_data(encoded(nonsense))
        assert talk.client.error is not None and talk.requested == []


def test_unknown_rooms_request_no_key() -> None:
    talk = Talk(late=True)
    talk.connect()
    assert talk.receive(Author().says(1, "one", "elsewhere")) == []
    assert talk.requested == []
    [answer] = talk.receive(history(Author().says(1, "one", "elsewhere"), room="elsewhere"))
    assert isinstance(answer, History)
    assert bodies(list(answer.messages)) == [("", Encryption.OTHER_PASSPHRASE)]


# -- servers without salts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "without",
    [
        selchat_support.welcome(),
        selchat_support.welcome(salt=salt_of("@")),
        {**welcome(), "salt": None},
        {**welcome(), "salt": "short"},
        {**welcome(), "salt": 7},
    ],
)
def test_nothing_is_sent_to_a_server_without_salts(without: Fields) -> None:
    talk = Talk()
    talk.client.say("secret")
    talk.client.whisper("Venkat", "secret")
    talk.client.connection_made()
    talk.sent()
    assert talk.client.receive_data(encoded(without)) == []
    assert str(talk.client.error) == "the server sent no salt, and without a salt nothing can be encrypted"
    assert talk.client.state is ClientState.BROKEN
    assert talk.sent() == []


def test_nothing_is_sent_to_a_room_without_a_salt() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("a")
    talk.client.say("secret", "a")
    talk.sent()
    talk.client.receive_data(encoded(selchat_support.users("a")))
    assert talk.client.error is not None
    assert talk.sent() == []


def test_without_a_passphrase_salts_are_not_required() -> None:
    talk = selchat_support.Talk()
    talk.connect(selchat_support.welcome())
    assert isinstance(talk.receive(selchat_support.users("lobby"))[0], Users)
    assert isinstance(talk.reconnect(), dict)
    talk.client.add_key(b"", b"")
    assert talk.client.events() == []


# -- settings -----------------------------------------------------------------------------------------


def test_passphrase_requires_selchat_and_excludes_a_key() -> None:
    for wire in ("auto", "classic"):
        with pytest.raises(
            SettingError, match=f"^wire: '{wire}' is not selchat, which a passphrase requires"
        ):
            settings(wire=wire, passphrase="x")
    with pytest.raises(SettingError, match="allowed together with a passphrase: it protects nothing"):
        settings(wire="selchat", passphrase="x", key="12")
    with pytest.raises(SettingError, match="header_length"):
        settings(wire="selchat", passphrase="x", header_length=4)
    assert "words" not in repr(settings(wire="selchat", passphrase=SECRETS[0]))


# -- keys ---------------------------------------------------------------------------------------------


def test_number_of_rooms_and_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "MAX_KEYS", 3)
    requested: list[bytes] = []
    found = RoomKeys(requested.append)
    for number in range(5):
        found.set_room_salt(f"room {number}", bytes([number]) * 16)
    assert [found.awaits_key(f"room {number}") for number in range(5)] == [False] * 2 + [True] * 3
    assert [salt[0] for salt in requested] == [2, 3, 4]
    for number in range(2, 5):
        found.add_key(bytes([number]) * 16, bytes(32))
        found.encrypt(f"ROOM {number}", "Michael", "x")
    assert not any(found.awaits_key(f"room {number}") for number in range(5))
    assert found.awaits_key("@venkat") is False, "there is no salt yet"
    found.set_direct_salt(b"w" * 16)
    assert found.awaits_key("@venkat") and found.awaits_key("@eve")
    assert requested[3:] == [b"w" * 16]


@pytest.mark.parametrize("room", ["lobby", "elsewhere", "@venkat"])
def test_nothing_is_encrypted_before_the_key_arrives(room: str) -> None:
    found = RoomKeys(lambda _salt: None)
    found.set_room_salt("lobby", b"s" * 16)
    with pytest.raises(NotInRoomError) as refused:
        found.encrypt(room, "Michael", "x")
    assert refused.value.name == room


def test_template_of_a_command_has_its_plain_body() -> None:
    codec = EncryptedCodec(RoomKeys(lambda _salt: None), RoomMap())
    assert codec.template("/kick Eve", "SERVER") == {"body": "/kick Eve"}


def test_nothing_is_decrypted_before_the_key_arrives() -> None:
    found = RoomKeys(lambda _salt: None)
    message = Encryptor(bytes(32)).encrypt("lobby", "Venkat", "x")
    with pytest.raises(WrongPassphraseError):
        found.decrypt("lobby", "Venkat", *message, seq=1)
    found.set_room_salt("lobby", b"s" * 16)
    with pytest.raises(WrongPassphraseError):
        found.decrypt("lobby", "Venkat", *message, seq=1)
    found.add_key(b"s" * 16, bytes(32))
    assert found.decrypt("lobby", "Venkat", *message, seq=1) == "x"


def test_direct_key_name_ignores_spelling() -> None:
    assert direct_key_name(" Stra\u00dfe\u200b ") == direct_key_name("STRASSE") == "@strasse"
    assert direct_key_name("\uff2dichael") == "@michael"
    assert direct_key_name("x" * 100) == "@" + "x" * 100, "how long a name may be is the server's business"


def test_helper_makes_a_valid_welcome() -> None:
    talk = Talk()
    talk.client.connection_made()
    [event] = talk.receive(welcome(("lobby", 4)))
    assert isinstance(event, Welcomed)


# -- arbitrary input ----------------------------------------------------------------------------------

GOOD = Author().encrypt("hey")
CIPHER_PREFIX = st.fixed_dictionaries(
    {},
    optional={
        "cipher": st.sampled_from([GOOD["cipher"], "selchat1 x", "selchat1 ", "caesar", None]) | st.text(),
        "body": st.sampled_from([GOOD["body"], "", "AAAA"]) | st.text(max_size=10),
        "room": st.sampled_from(["lobby", "LOBBY", "@michael", "a"]),
        "salt": st.sampled_from([salt_of("lobby"), salt_of("a"), "x", None]),
        "seq": st.integers(0, 3),
    },
)
MESSAGES = st.builds(
    lambda message, changes: {**message, **changes},
    st.sampled_from(
        [
            welcome(("lobby", 0)),
            users("lobby"),
            Author().says(1, "hey"),
            Author().whispers(1, "hey"),
            history(Author().says(1, "hey")),
            ack("1", 1),
            {"type": "ping"},
        ]
    ),
    CIPHER_PREFIX,
)


@given(st.lists(MESSAGES, max_size=12), st.booleans())
def test_any_objects_give_events_or_one_error_and_no_plain_text(messages: list[Fields], late: bool) -> None:
    talk = Talk(late=late)
    talk.client.say("hello")
    talk.client.whisper("Venkat", "hello")
    talk.client.connection_made()
    for message in messages:
        talk.client.receive_data(encoded(message))
        talk.derive(0 if late else 1000)
        assert all(one.get("body") is None or one["cipher"].startswith("selchat1 ") for one in talk.sent())
    talk.derive()
    talk.client.connection_lost()
    talk.connect()
    assert talk.client.state is ClientState.WELCOMED


# -- attacks by a server ------------------------------------------------------------------------------


def test_direct_message_to_another_user_counts_as_tampered() -> None:
    talk = Talk()
    talk.connect()
    assert bodies(talk.receive(Author().whispers(1, "for Eve", to="Eve"))) == [("", Encryption.TAMPERED)]


def test_direct_message_cannot_be_shown_as_a_room_message() -> None:
    talk, venkat = Talk(), Author()
    talk.connect(welcome(("lobby", 0), ("@michael", 0)))
    sealed = {"cipher": (whisper := venkat.whispers(1, "between us"))["cipher"], "body": whisper["body"]}
    said = {"type": "said", "room": "@michael", "seq": 1, "from": "Venkat", "at": 1.5, "id": "x", **sealed}
    assert all(body == "" for body, _ in bodies(talk.receive(said)))
    [answer] = talk.receive(history(said, room="@michael"))
    assert isinstance(answer, History)
    assert [(one.body, one.encryption) for one in answer.messages] == [("", Encryption.OTHER_PASSPHRASE)]


def test_replay_of_an_own_message_is_detected() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("attack at nine")
    [sent] = talk.sent()
    talk.receive(ack(id, 1))
    again = {"type": "said", "room": "lobby", "seq": 2, "from": "Michael", "at": 2.5, "id": "another"}
    again |= {"body": sent["body"], "cipher": sent["cipher"]}
    assert bodies(talk.receive(again)) == [("", Encryption.REPLAYED)]


def test_message_sent_twice_may_be_stored_as_either() -> None:
    """Each transmission has another counter, and an ack does not tell which one the server stored."""
    talk = Talk()
    talk.connect()
    id = talk.client.say("mine")
    [first] = talk.sent()
    talk.client.connection_lost()
    talk.client.connection_made()
    talk.receive(welcome())
    [_hello, _again] = talk.sent()
    talk.receive(ack(id, 1))
    own = {"from": "Michael", "seq": 1, "at": 1.5, "id": id, "body": first["body"], "cipher": first["cipher"]}
    [answer] = talk.receive(history(own))
    assert isinstance(answer, History)
    assert [(one.body, one.encryption) for one in answer.messages] == [("mine", Encryption.DECRYPTED)]


def test_inventing_rooms_only_makes_messages_refused() -> None:
    talk = Talk()
    talk.connect()
    talk.receive(*(users(f"room-{number}") for number in range(4200)))
    talk.client.say("mine")
    talk.sent()
    assert [type(event) for event in talk.client.events()] == [Refused]
