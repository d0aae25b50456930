"""End-to-end encryption: the specification, its test vectors, and tampering."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import example, given
from hypothesis import strategies as st

from selchat.errors import SettingError, UnreadableError
from selchat.limits import CIPHER_LENGTH
from selchat.wire import e2ee
from selchat.wire.e2ee import (
    DecryptionError,
    Decryptor,
    EncryptedMessage,
    Encryptor,
    ReorderedError,
    ReplayedError,
    WrongPassphraseError,
    longest_encryption,
    parse_salt,
    passphrase_bytes,
    room_key,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "encryption.rst").read_text("utf-8")
KEY = bytes(range(32))
SESSION = bytes(range(100, 116))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def vectors() -> list[dict[str, str]]:
    """The vectors of the document, each as a dict from line name to value."""
    block = (
        DOCUMENT.partition("\nTest vectors\n")[2]
        .partition("::\n\n")[2]
        .partition("\nDependencies and their tests")[0]
    )
    found = []
    for paragraph in re.sub(r"\n {20}", "", block).strip("\n").split("\n\n"):
        lines = [(line[4:20].strip(), line[20:]) for line in paragraph.split("\n")]
        found.append(dict(lines))
    return found


VECTORS = vectors()


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def session_keys(key: bytes, session: bytes) -> tuple[bytes, bytes]:
    """The session's key and check, from RFC 5869 alone."""
    extracted = hmac.new(session, key, "sha256").digest()
    first = hmac.new(extracted, b"selchat1 session\1", "sha256").digest()
    second = hmac.new(extracted, first + b"selchat1 session\2", "sha256").digest()
    return first, second[:16]


def additional_data(room: str, sender: str, session: bytes, counter: int) -> bytes:
    found = b"selchat1 message"
    for part in (room.encode(), sender.encode(), session):
        found += len(part).to_bytes(4, "big") + part
    return found + counter.to_bytes(8, "big")


def reference_encrypt(
    counter: int,
    data: bytes = b"hello",
    *,
    key: bytes = KEY,
    session: bytes = SESSION,
    room: str = "lobby",
    sender: str = "Venkat",
) -> EncryptedMessage:
    """Encrypt as the document specifies, without the module under test."""
    session_key, check = session_keys(key, session)
    bound = additional_data(room, sender, session, counter)
    body = ChaCha20Poly1305(session_key).encrypt(counter.to_bytes(12, "big"), data, bound)
    return EncryptedMessage(f"selchat1 {unpadded(session)} {counter} {unpadded(check)}", unpadded(body))


def opened(message: EncryptedMessage, seq: int, decryptor: Decryptor | None = None, **more: Any) -> str:
    given = {"room_key": KEY, "room": "lobby", "sender": "Venkat", **more}
    return (decryptor or Decryptor()).decrypt(**given, cipher=message.cipher, body=message.body, seq=seq)


# -- the vectors -----------------------------------------------------------------------------------------


def test_document_has_three_test_vectors() -> None:
    assert len(VECTORS) == 3
    assert len({tuple(vector) for vector in VECTORS}) == 1, "the same lines in each"
    assert len({vector["session"] for vector in VECTORS}) == 3


@pytest.mark.parametrize("vector", VECTORS)
def test_vector_is_encrypted_and_decrypted_as_documented(vector: dict[str, str]) -> None:
    passphrase, salt = bytes.fromhex(vector["passphrase"]).decode(), parse_salt(vector["salt"])
    assert salt is not None
    key, session = room_key(passphrase, salt), bytes.fromhex(vector["session"])
    assert key.hex() == vector["room key"]
    assert tuple(part.hex() for part in session_keys(key, session)) == (
        vector["session key"],
        vector["check"],
    )
    room, sender, counter = vector["room"], vector["sender"], int(vector["counter"])
    assert additional_data(room, sender, session, counter).hex() == vector["additional data"]
    assert counter.to_bytes(12, "big").hex() == vector["nonce"]
    text = bytes.fromhex(vector["text"]).decode()

    encryptor = Encryptor(key, session)
    encryptor.counter = counter - 1
    message = encryptor.encrypt(room, sender, text)
    assert message == EncryptedMessage(vector["cipher"], vector["body"])
    assert message == reference_encrypt(
        counter, text.encode(), key=key, session=session, room=room, sender=sender
    )
    assert Decryptor().decrypt(key, room, sender, vector["cipher"], vector["body"], 7) == text


def test_passphrase_of_the_second_vector_is_normalised() -> None:
    assert passphrase_bytes("cafe\u0301 \U0001f511").hex() == VECTORS[1]["passphrase"]


def test_primitives_match_the_vectors_of_their_rfcs() -> None:
    # RFC 7914, 12: the vector with the parameters nearest to ours.
    derived = hashlib.scrypt(
        b"pleaseletmein", salt=b"SodiumChloride", n=16384, r=8, p=1, maxmem=64 << 20, dklen=64
    )
    assert derived.hex().startswith("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")
    # RFC 5869, A.1
    expanded = HKDF(
        hashes.SHA256(), 42, salt=bytes(range(13)), info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    ).derive(b"\x0b" * 22)
    assert expanded.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    # RFC 8439, 2.8.2
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    data = ChaCha20Poly1305(bytes(range(0x80, 0xA0))).encrypt(
        bytes.fromhex("070000004041424344454647"), plain, bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    )
    assert data.hex().startswith("d31a8d34648e60db7b86afbc53ef7ec2")
    assert data[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


# -- keys ------------------------------------------------------------------------------------------------


def test_room_key_is_derived_by_scrypt_with_32_mib() -> None:
    salt = bytes(range(16))
    assert room_key("x", salt) == hashlib.scrypt(b"x", salt=salt, n=32768, r=8, p=1, maxmem=1 << 26, dklen=32)


def test_composed_and_decomposed_passphrases_are_equal() -> None:
    assert passphrase_bytes("\u00e9") == passphrase_bytes("e\u0301") == "\u00e9".encode()
    assert passphrase_bytes(" \ufb01 ") == " \ufb01 ".encode(), "nothing but the composition changes"


def test_invalid_passphrase_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^passphrase: '' is not a passphrase: it is empty$"):
        passphrase_bytes("")
    with pytest.raises(SettingError, match=r"^passphrase: '\.\.\.' is not text in UTF-8$"):
        passphrase_bytes("secret\ud800")
    with pytest.raises(SettingError):
        room_key("", bytes(16))


@pytest.mark.parametrize(
    ("text", "salt"),
    [
        ("AAECAwQFBgcICQoLDA0ODw", bytes(range(16))),
        ("__79_Pv6-fj39vX08_Lx8A", bytes(range(255, 239, -1))),
        ("AAECAwQFBgcICQoLDA0ODx", None),  # unused bits are not zero
        ("AAECAwQFBgcICQoLDA0O", None),  # 15 bytes
        ("AAECAwQFBgcICQoLDA0ODxA", None),  # 17 bytes
        ("AAECAwQFBgcICQoLDA0ODw==", None),
        ("//79/Pv6+fj39vX08/Lx8A", None),
        ("AAECAwQFBgcICQoLDA0OD\u00e9", None),
        (" AAECAwQFBgcICQoLDA0ODw", None),
        ("AAECAwQFBgcICQoLDA0ODw\n", None),
        ("A" * 21, None),
        ("", None),
    ],
)
def test_only_canonical_base64_of_16_bytes_is_a_salt(text: str, salt: bytes | None) -> None:
    assert parse_salt(text) == salt


# -- encryption and decryption ---------------------------------------------------------------------------


def test_session_counter_starts_at_one() -> None:
    encryptor = Encryptor(KEY, SESSION)
    assert [encryptor.encrypt("lobby", "Venkat", "hello") for _ in range(3)] == [
        reference_encrypt(counter) for counter in (1, 2, 3)
    ]


def test_every_encryptor_has_its_own_session() -> None:
    encryptors = [Encryptor(KEY) for _ in range(20)]
    messages = [encryptor.encrypt("lobby", "Venkat", "hello") for encryptor in encryptors]
    assert len({message.cipher.split()[1] for message in messages}) == 20
    assert len({message.body for message in messages}) == 20
    assert {len(base64.urlsafe_b64decode(message.cipher.split()[1] + "==")) for message in messages} == {16}


@given(TEXTS)
@example("")
@example("x" * 1000)
def test_longest_encryption_is_an_upper_bound(text: str) -> None:
    message, form = Encryptor(KEY).encrypt("lobby", "Venkat", text), longest_encryption(text)
    assert len(form.body) == len(message.body)
    assert len(message.cipher) < len(form.cipher) <= CIPHER_LENGTH
    encryptor = Encryptor(KEY, SESSION)
    encryptor.counter = e2ee.MAX_COUNTER - 1
    assert len(encryptor.encrypt("lobby", "Venkat", text).cipher) == len(form.cipher)


@given(TEXTS, TEXTS, TEXTS, st.integers(0, 2**53 - 1))
def test_encrypted_message_can_be_decrypted(room: str, sender: str, text: str, seq: int) -> None:
    message = Encryptor(KEY).encrypt(room, sender, text)
    assert message.body.isascii() and text not in {message.body, message.cipher}
    assert Decryptor().decrypt(KEY, room, sender, *message, seq) == text


# -- tampering -------------------------------------------------------------------------------------------


def refused(message: EncryptedMessage, error: type[UnreadableError], **more: Any) -> None:
    decryptor = Decryptor()
    with pytest.raises(UnreadableError) as caught:
        opened(message, 1, decryptor, **more)
    assert type(caught.value) is error
    # The refused message left no trace: the genuine one is accepted with any seq.
    assert opened(reference_encrypt(1), 5, decryptor) == "hello"


GOOD = reference_encrypt(1)


def test_another_passphrase_cannot_decrypt() -> None:
    refused(GOOD, WrongPassphraseError, room_key=bytes(32))
    refused(GOOD._replace(body="AAAA"), WrongPassphraseError, room_key=bytes(32))


def test_message_is_bound_to_its_room_and_sender() -> None:
    refused(GOOD, DecryptionError, room="deck")
    refused(GOOD, DecryptionError, sender="Eve")
    refused(GOOD, DecryptionError, room="lobbyV", sender="enkat")
    refused(GOOD, DecryptionError, room="Lobby")


def test_message_is_bound_to_its_session_and_counter() -> None:
    scheme, session, _, check = GOOD.cipher.split()
    refused(GOOD._replace(cipher=f"{scheme} {session} 2 {check}"), DecryptionError)
    other = reference_encrypt(1, session=bytes(16))
    refused(GOOD._replace(cipher=other.cipher), DecryptionError)
    refused(GOOD._replace(cipher=f"{scheme} {other.cipher.split()[1]} 1 {check}"), WrongPassphraseError)
    refused(GOOD._replace(cipher=f"{scheme} {session} 1 {other.cipher.split()[3]}"), WrongPassphraseError)


@pytest.mark.parametrize("place", range(len(b"hello") + 16))
def test_change_or_cut_at_any_byte_of_a_body_is_detected(place: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(GOOD.body + "=" * (-len(GOOD.body) % 4)))
    assert len(data) == 21
    data[place] ^= 1
    refused(GOOD._replace(body=unpadded(bytes(data))), DecryptionError)
    refused(GOOD._replace(body=unpadded(bytes(data[:place]))), DecryptionError)


@pytest.mark.parametrize(
    "cipher",
    [
        "",
        "selchat1",
        "selchat1 ",
        "caesar",
        GOOD.cipher + " ",
        " " + GOOD.cipher,
        GOOD.cipher + "\n",
        GOOD.cipher + "A",
        GOOD.cipher[:-1],
        GOOD.cipher.replace("selchat1", "selchat2"),
        GOOD.cipher.replace("selchat1", "SELCHAT1"),
        GOOD.cipher.replace(" 1 ", " 01 "),
        GOOD.cipher.replace(" 1 ", " 0 "),
        GOOD.cipher.replace(" 1 ", " -1 "),
        GOOD.cipher.replace(" 1 ", " +1 "),
        GOOD.cipher.replace(" 1 ", " 1_0 "),
        GOOD.cipher.replace(" 1 ", "  1 "),
        GOOD.cipher.replace(" 1 ", " \u0661 "),
        GOOD.cipher.replace(" 1 ", "\t1 "),
        GOOD.cipher.replace(" 1 ", f" {2**53} "),
        GOOD.cipher.replace(" 1 ", f" {10**16} "),
        GOOD.cipher.replace(" 1 ", " "),
        # The last character of a session and of a check has only two significant bits.
        re.sub(r"(\S{21})\S( 1)", r"\1B\2", GOOD.cipher),
        re.sub(r"\S$", "B", GOOD.cipher),
        re.sub(r"\S$", "=", GOOD.cipher),
    ],
)
def test_invalid_cipher_is_refused(cipher: str) -> None:
    assert cipher != GOOD.cipher
    refused(GOOD._replace(cipher=cipher), DecryptionError)


def test_largest_counter_is_accepted() -> None:
    assert opened(reference_encrypt(2**53 - 1), 1) == "hello"
    refused(reference_encrypt(2**53), DecryptionError)


@pytest.mark.parametrize(
    "body",
    [
        *("", "A", "AAAA", GOOD.body + "=", GOOD.body + "A", GOOD.body[:-1], GOOD.body + "\n"),
        *(" " + GOOD.body, GOOD.body + "AAAA", GOOD.body + "\u00e9", "\ud800", "*" * 28),
    ],
)
def test_invalid_body_is_refused(body: str) -> None:
    refused(GOOD._replace(body=body), DecryptionError)


def test_body_must_be_canonical_url_safe_base64() -> None:
    # 17 bytes are 23 characters; the last one has four unused bits.
    for counter in range(1, 200):
        message = reference_encrypt(counter, b"x")
        assert len(message.body) == 23
        assert opened(message, counter) == "x"
        if set(message.body) & set("-_"):
            refused(message._replace(body=message.body.replace("-", "+").replace("_", "/")), DecryptionError)
        last = chr(ord(message.body[-1]) + 1)
        refused(message._replace(body=message.body[:-1] + last), DecryptionError)


def test_names_with_lone_surrogates_cannot_be_confused() -> None:
    """Only a caller in Python can pass a lone surrogate: no protocol delivers one."""
    refused(GOOD, DecryptionError, room="\ud800")
    refused(GOOD, DecryptionError, sender="Venkat\udfff")
    assert Decryptor().decrypt(KEY, "\ud800", "x", *Encryptor(KEY).encrypt("\ud800", "x", "hey"), 1) == "hey"


def test_decrypted_bytes_that_are_not_utf_8_are_refused() -> None:
    for data in (b"\xff", b"a\xc3", b"\xed\xa0\x80"):
        refused(reference_encrypt(1, data), DecryptionError)
    assert opened(reference_encrypt(1, b"\0\x1b[2J"), 1) == "\0\x1b[2J", (
        "the client escapes it when it displays it"
    )


ANYTHING = st.text(max_size=80)
CIPHERS = st.one_of(
    ANYTHING,
    st.just(GOOD.cipher),
    st.builds(
        "selchat1 {} {} {}".format,
        st.just(unpadded(SESSION)) | st.text("AQgw_-", min_size=20, max_size=23),
        st.integers(-1, 2**60) | st.just(1),
        st.just(GOOD.cipher.split()[3]) | st.text("AQgw_-", min_size=21, max_size=23),
    ),
)
BODIES = ANYTHING | st.just(GOOD.body) | st.binary(max_size=40).map(unpadded)


@given(st.lists(st.tuples(ANYTHING, ANYTHING, CIPHERS, BODIES, st.integers(0, 2**53 - 1)), max_size=5))
def test_any_input_gives_a_text_or_an_unreadable_error(
    messages: list[tuple[str, str, str, str, int]],
) -> None:
    decryptor = Decryptor()
    for room, sender, cipher, body, seq in messages:
        try:
            decryptor.decrypt(KEY, room, sender, cipher, body, seq)
        except UnreadableError as error:
            assert str(error)


# -- replays and order -----------------------------------------------------------------------------------


TWICE = ("replayed", "replayed")


class Reader:
    """Decrypt the messages of one session; name the error of each."""

    def __init__(self) -> None:
        self.decryptor = Decryptor()
        self._encrypted: dict[int, EncryptedMessage] = {}

    def read(self, counter: int, seq: int, **more: Any) -> str:
        if counter not in self._encrypted:
            self._encrypted[counter] = reference_encrypt(counter)
        try:
            assert opened(self._encrypted[counter], seq, self.decryptor, **more) == "hello"
        except ReplayedError:
            return "replayed"
        except ReorderedError:
            return "reordered"
        return "fine"


def test_repeated_message_with_the_same_seq_is_accepted() -> None:
    reader = Reader()
    assert [reader.read(1, 7), reader.read(1, 7), reader.read(2, 8), reader.read(1, 7)] == ["fine"] * 4


def test_same_counter_with_another_seq_is_a_replay() -> None:
    reader = Reader()
    assert reader.read(1, 7) == "fine"
    for seq in (6, 8, 100, 1):
        assert reader.read(1, seq) == "replayed"
    assert reader.read(1, 7) == "fine"


def test_counters_must_increase_with_the_seq() -> None:
    reader = Reader()
    assert [reader.read(5, 50), reader.read(9, 90)] == ["fine"] * 2
    for counter, seq in ((4, 51), (4, 50), (6, 49), (6, 50), (6, 90), (6, 91), (10, 89), (10, 90), (4, 91)):
        assert reader.read(counter, seq) == "reordered", (counter, seq)
    for counter, seq in ((4, 49), (6, 51), (8, 89), (10, 91)):
        assert reader.read(counter, seq) == "fine", (counter, seq)


def test_history_pages_may_arrive_newest_first() -> None:
    reader = Reader()
    for page in range(90, -10, -10):
        for counter in range(page + 1, page + 11):
            assert reader.read(counter, 3 * counter) == "fine"
    assert all(reader.read(counter, 3 * counter) == "fine" for counter in range(1, 101))


@pytest.mark.parametrize(("more", "last"), [(998, "fine"), (999, "fine"), (1000, "reordered")])
def test_replay_window_has_1000_messages(more: int, last: str) -> None:
    """The decryptor keeps the first message while it is among the 1,000 with the largest counters."""
    reader = Reader()
    for counter in range(1, more + 2):
        assert reader.read(counter, counter) == "fine"
    # With another seq it is a replay while the window has it, and reordered afterwards.
    assert reader.read(1, more + 10) == ("replayed" if last == "fine" else "reordered")
    assert reader.read(1, 1) == "fine", "a message older than the window is history"
    assert reader.read(more + 2, more + 2) == "fine"
    oldest = max(1, more + 2 - 999)
    assert reader.read(oldest, more + 10) == "replayed"
    if oldest > 1:
        assert reader.read(oldest - 1, more + 10) == "reordered"


def test_counter_older_than_a_full_window_is_not_kept() -> None:
    reader = Reader()
    for counter in range(2, 1002):
        assert reader.read(counter, counter + 10) == "fine"
    assert reader.read(1, 5) == "fine"
    assert reader.read(2, 12) == "fine"
    assert reader.read(2, 13) == "replayed", "it is still in the window"


def test_direct_message_without_a_seq_comes_after_all_others() -> None:
    reader = Reader()
    assert [reader.read(1, 0), reader.read(2, 0), reader.read(4, 0)] == ["fine"] * 3
    assert [reader.read(1, 0), reader.read(4, 0), reader.read(3, 0)] == [
        "replayed",
        "replayed",
        "reordered",
    ]
    assert [reader.read(5, 1), reader.read(5, 1), reader.read(6, 2)] == ["fine"] * 3
    assert [reader.read(5, 0), reader.read(3, 0), reader.read(4, 9)] == [
        "replayed",
        "reordered",
        "replayed",
    ]
    assert [reader.read(7, 0), reader.read(8, 2), reader.read(8, 3)] == ["fine", "reordered", "fine"]
    assert reader.read(2, 2) == "replayed"


def test_new_log_resets_the_order_but_still_detects_replays() -> None:
    reader = Reader()
    for counter in (1, 2, 3):
        reader.read(counter, 10 * counter)
    assert reader.read(4, 7) == "reordered"
    reader.decryptor.reset_order()
    assert reader.read(4, 7) == "fine"
    assert reader.read(2, 20) == "reordered", "without its old seq it would be a replay"
    assert [reader.read(2, 5), reader.read(3, 40), reader.read(1, 0)] == ["replayed"] * 3
    assert reader.read(5, 8) == "fine"
    reader.decryptor.reset_order()
    reader.decryptor.reset_order()
    assert [reader.read(1, 10), reader.read(2, 20), reader.read(3, 30)] == ["fine"] * 3
    assert [reader.read(4, 40), reader.read(5, 50), reader.read(5, 8)] == [
        "replayed",
        "replayed",
        "reordered",
    ]


def test_replays_of_the_last_1000_messages_are_detected_after_a_new_log() -> None:
    reader = Reader()
    for counter in range(1, 601):
        reader.read(counter, counter)
    reader.decryptor.reset_order()
    for counter in range(601, 1002):
        assert reader.read(counter, counter) == "fine"
    reader.decryptor.reset_order()
    assert reader.read(2, 1) == "replayed"
    assert reader.read(1, 5) == "fine", "it has left the window"


def test_sessions_senders_and_rooms_are_independent() -> None:
    decryptor = Decryptor()
    places: list[dict[str, Any]] = [{}, {"room": "deck"}, {"sender": "Michael"}, {"session": bytes(16)}]
    for place in places:
        message = reference_encrypt(9, **place)
        place.pop("session", None)
        assert opened(message, 3, decryptor, **place) == "hello"
    other = reference_encrypt(1, key=bytes(32))
    assert opened(other, 50, decryptor, room_key=bytes(32)) == "hello"
    with pytest.raises(ReorderedError):
        opened(reference_encrypt(1), 50, decryptor)


def test_only_the_last_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e2ee, "MAX_E2EE_SESSIONS", 3)
    decryptor = Decryptor()
    first, *others = [reference_encrypt(1, session=bytes([number]) * 16) for number in range(4)]
    for message in (first, *others[:2], first, others[2]):
        opened(message, 5, decryptor)
    with pytest.raises(ReplayedError):
        opened(first, 6, decryptor)
    assert opened(others[0], 6, decryptor) == "hello", "the decryptor has dropped its session"
    assert opened(others[1], 7, decryptor) == "hello", "dropped too: the decryptor keeps only three sessions"
    for message in (first, others[0], others[1]):
        with pytest.raises(ReplayedError):
            opened(message, 8, decryptor)
    assert e2ee.MAX_E2EE_SESSIONS == 3


def test_limits_have_their_documented_values() -> None:
    assert (e2ee.E2EE_WINDOW, e2ee.MAX_E2EE_SESSIONS, e2ee.MAX_COUNTER) == (1000, 4096, 2**53 - 1)


def expected(pairs: list[tuple[int, int]]) -> list[str]:
    """Return the result for each message, as the document specifies it, from all earlier messages."""
    known: dict[int, int] = {}
    found = []
    for counter, seq in pairs:
        if counter in known:
            found.append("fine" if known[counter] == seq else "replayed")
        elif any((one < counter) != (at < seq) or at == seq for one, at in known.items()):
            found.append("reordered")
        else:
            known[counter] = seq
            found.append("fine")
    return found


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=30))
def test_any_order_of_messages_gives_the_documented_results(pairs: list[tuple[int, int]]) -> None:
    reader = Reader()
    assert [reader.read(counter, seq) for counter, seq in pairs] == expected(pairs)


@given(st.integers(2, 30), st.randoms(use_true_random=False))
def test_reordered_stream_is_detected(count: int, chance: random.Random) -> None:
    """The server assigns seq numbers in another order than the author sent the messages."""
    counters = list(range(1, count + 1))
    order = counters[:]
    chance.shuffle(order)
    arrivals = list(zip(order, counters, strict=True))  # each counter with its assigned seq
    chance.shuffle(arrivals)  # the order of arrival does not matter
    reader = Reader()
    found = [reader.read(counter, seq) for counter, seq in arrivals]
    assert ("reordered" in found) == (order != counters)
    assert "replayed" not in found
    fine = sorted(pair for pair, how in zip(arrivals, found, strict=True) if how == "fine")
    assert [seq for _, seq in fine] == sorted(seq for _, seq in fine)


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_ordered_stream_is_accepted_in_any_reading_order(count: int, chance: random.Random) -> None:
    """Both sequences have holes, and each message arrives twice: from the history and live."""
    counters = sorted(chance.sample(range(1, 100), count))
    seqs = sorted(chance.sample(range(1, 100), count))
    arrivals = 2 * list(zip(counters, seqs, strict=True))
    chance.shuffle(arrivals)
    reader = Reader()
    assert {reader.read(counter, seq) for counter, seq in arrivals} == {"fine"}


def test_document_requires_nfc_and_its_vector_is_in_nfc() -> None:
    assert "form NFC" in DOCUMENT
    assert unicodedata.is_normalized("NFC", bytes.fromhex(VECTORS[1]["passphrase"]).decode())
