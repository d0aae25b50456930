from __future__ import annotations

import errno
import inspect
import pickle
import re

import pytest

from selchat import errors
from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.chat.confusables import ConfusableNameError, MixedScriptsError
from selchat.chat.moderation import MutedError
from selchat.chat.rooms import TooManyRoomsError
from selchat.client.bot.blocking import DisconnectedError
from selchat.config.sources import ConfigFileError, ConfigurationError, UnknownSettingError
from selchat.errors import (
    BannedError,
    LimitError,
    NameTakenError,
    NotInRoomError,
    ProtocolError,
    RefusalError,
    SelchatError,
    SettingError,
    UnreadableError,
    UsageError,
    close_reason,
)
from selchat.log.port import NotStoredError
from selchat.net.admission import AddressFullError, AddressRateError, ServerFullError
from selchat.net.fanout import LappedError
from selchat.net.memory_limit import QueuedLimitError
from selchat.net.outbox import UnreadRepliesError
from selchat.server.server import TlsRequiredError
from selchat.sessions.classic import BadNameError
from selchat.sessions.http.api import BadTokenError, RateLimitError, WrongRoomError
from selchat.sessions.inbound import FrameTimeoutError, LoginTimeoutError
from selchat.sessions.selchat import NoValidHelloError, VersionError
from selchat.wire.e2ee import DecryptionError, ReorderedError, ReplayedError, WrongPassphraseError
from selchat.wire.frames import BadHeaderError, BrokenStreamError, FrameTooLongError, TruncatedFrameError
from selchat.wire.http_message import MediaTypeError
from selchat.wire.requests import BadMessageError, BodyTooLongError, UnknownTypeError
from selchat.wire.strict_json import BadJsonError
from tests.error_tree import every_error

TEXTS = [
    (
        BadTokenError(False),
        "a token is required: Authorization: Bearer TOKEN. The operator creates one with selchat token",
    ),
    (BadTokenError(True), "this token is unknown or revoked"),
    (WrongRoomError("builds"), "this token is valid only for the room builds"),
    (
        MediaTypeError("image/png"),
        "Content-Type 'image/png' is not supported: use application/json or text/plain, in UTF-8",
    ),
    (RateLimitError(0.25), "too many messages; try again in 0.2 s"),
    (BadHeaderError(b"GET / HTTP"), "frame header b'GET / HTTP' is not a number padded with spaces"),
    (FrameTooLongError(70000, 65536), "frame of 70000 bytes is over the limit of 65536"),
    (TruncatedFrameError(3), "stream ended inside a frame, 3 bytes short"),
    (BadNameError(), "username is not UTF-8"),
    (NoValidHelloError(16), "no valid hello among 16 messages"),
    (LoginTimeoutError(10.0), "no username within 10 s"),
    (FrameTimeoutError(0.25), "frame not finished within 0.25 s"),
    (ServerFullError(10_000), "server is full (10000 connections)"),
    (AddressFullError(64), "more than 64 connections from one address"),
    (AddressRateError(128), "more than 128 new connections a minute from one address"),
    (QueuedLimitError(1000), "reader too slow, and more than 1000 bytes wait for all readers together"),
    (WrongPassphraseError(), "encrypted with another passphrase"),
    (DecryptionError(), "changed in transit"),
    (ReplayedError(), "an old message that was delivered again"),
    (ReorderedError(), "delivered in the wrong order"),
    (TlsRequiredError(), "this server takes only encrypted connections (TLS)"),
    (PasswordNeededError(), "this server requires a password"),
    (WrongPasswordError(), "wrong password"),
    (TooManyAttemptsError(0.2), "too many login attempts; try again in 1 s"),
    (LappedError(1048576), "reader too slow, more than 1048576 bytes behind"),
    (UnreadRepliesError(262144), "reader too slow, more than 262144 bytes of replies unread"),
    (BadJsonError("the value is not an object"), "invalid JSON object: the value is not an object"),
    (BadMessageError("say", "room", "a string", "1"), "say: room is not a string"),
    (UnknownTypeError("x" * 100), "unknown message type: " + "x" * 64),
    (VersionError(2, 1), "version 2 of the protocol is not supported, only version 1"),
    (NameTakenError("Venkat"), "the name Venkat is taken"),
    (
        ConfusableNameError("rnike", "mike"),
        "the name rnike looks too much like mike, which belongs to someone else",
    ),
    (
        MixedScriptsError("p\u0430y", ("Cyrillic", "Latin")),
        "the name p\u0430y mixes Cyrillic and Latin letters and could be mistaken for another name",
    ),
    (BannedError("noon"), "the operator has banned you until noon"),
    (MutedError(), "the operator has muted you"),
    (NotInRoomError("engine"), "you are not in the room engine; join it first"),
    (TooManyRoomsError(100), "the limit of 100 rooms is reached"),
    (BodyTooLongError(10, 5), "a body of 10 bytes is over the limit of 5"),
    (NotStoredError("disk full"), "the server cannot store messages at the moment (disk full)"),
    (SettingError("port", -1, "a port number"), "port: -1 is not a port number"),
    (SettingError("port", "x" * 299, "a port"), "port: '" + "x" * 199 + "... is not a port"),
    (UnknownSettingError("x:3", "prot", "port"), "x:3: unknown key 'prot'; did you mean 'port'?"),
    (UnknownSettingError("x:3", "prot"), "x:3: unknown key 'prot'"),
    (ConfigFileError("x", 3, "no TOML"), "x:3: no TOML"),
    (ConfigFileError("x", 0, "no such file"), "x: no such file"),
    (BrokenStreamError(), "the decoder has failed or ended and accepts no more data"),
    (LimitError(5), "limit of 5 reached"),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda value: type(value).__name__)
def test_each_error_says_in_one_line_what_happened(error: SelchatError, text: str) -> None:
    assert str(error) == text
    assert close_reason(error) == text


@pytest.mark.parametrize("error", [error for error, _ in TEXTS], ids=lambda error: type(error).__name__)
def test_each_error_can_be_copied_to_another_process(error: SelchatError) -> None:
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)


def test_every_error_is_in_exactly_one_family() -> None:
    families = (ProtocolError, LimitError, RefusalError, UnreadableError, UsageError)
    families += (DisconnectedError,)
    classes = [each for each in every_error() if not each.__module__.startswith("selchat.bench")]
    classes.remove(SelchatError)
    assert len(classes) >= 70
    for each in classes:
        assert sum(issubclass(each, family) for family in families) == 1, each


def test_the_documented_tree_is_complete() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    here = [value.__name__ for value in vars(errors).values() if inspect.isclass(value)]
    assert sorted(["SelchatError", *drawn]) == sorted(here)


def test_a_configuration_error_lists_all_mistakes() -> None:
    error = ConfigurationError((ConfigFileError("x", 0, "a"), SettingError("b", 1, "c")))
    assert str(error) == "x: a; b: 1 is not c"
    assert list(map(str, pickle.loads(pickle.dumps(error)).mistakes)) == ["x: a", "b: 1 is not c"]


def test_a_number_too_long_for_python_has_a_short_text() -> None:
    assert str(SettingError("port", 10**5000, "a port")) == "port: such a number is not a port"


def test_exceptions_keep_their_arguments_as_fields() -> None:
    error = SettingError("port", 70000, "a port")
    assert (error.name, error.value, error.expected) == ("port", 70000, "a port")
    assert BadHeaderError(b"x").header == b"x"
    assert (FrameTooLongError(2, 1).length, FrameTooLongError(2, 1).limit) == (2, 1)
    assert LappedError(7).limit == 7


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset by peer"),
        (OSError("no number"), "no number"),
        (ZeroDivisionError("secret detail"), "internal error (ZeroDivisionError)"),
    ],
)
def test_other_exceptions_have_a_close_reason_too(error: Exception, reason: str) -> None:
    assert close_reason(error) == reason
