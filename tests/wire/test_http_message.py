"""HTTP messages: any bytes give a message or one refusal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.errors import RefusalError
from selchat.wire.http_message import MediaTypeError, PostedMessage, parse_posted
from selchat.wire.requests import BadMessageError
from selchat.wire.strict_json import BadJsonError

JSON = "application/json"


@pytest.mark.parametrize(
    ("media_type", "data", "posted"),
    [
        (JSON, b'{"body":"hi"}', PostedMessage("hi", None)),
        (
            "Application/JSON; charset=UTF-8",
            '{"body":"h\u00ef","id":"7"}'.encode(),
            PostedMessage("h\u00ef", "7"),
        ),
        ("application/problem+json", b'\xef\xbb\xbf{"body":"hi","else":[1]}', PostedMessage("hi", None)),
        (JSON, b'{"body":"\\ud83d\\ude00","id":null}', PostedMessage("\U0001f600", None)),
        ("", b"hi", PostedMessage("hi", None)),
        ("text/plain", b"one\ntwo\n", PostedMessage("one\ntwo", None)),
        ("text/markdown;charset=utf-8", b"hi\r\n", PostedMessage("hi", None)),
        ('text/plain; format=flowed; charset="US-ASCII"', b"\n\n", PostedMessage("\n", None)),
        ("text/plain", b"", PostedMessage("", None)),  # classic clients send empty messages too
        ("", b"\n", PostedMessage("", None)),
        (JSON, b'{"body":""}', PostedMessage("", None)),
        ("application/x-www-form-urlencoded", b"a=b&c", PostedMessage("a=b&c", None)),  # curl -d
    ],
)
def test_valid_message_is_parsed(media_type: str, data: bytes, posted: PostedMessage) -> None:
    assert parse_posted(media_type, data) == posted


@pytest.mark.parametrize(
    ("media_type", "data", "error"),
    [
        ("image/png", b"x", MediaTypeError),
        ("multipart/form-data; boundary=x", b"x", MediaTypeError),
        ("text/plain; charset=latin-1", b"x", MediaTypeError),
        ("application/json;charset=utf-16", b"{}", MediaTypeError),
        ("text/plain", b"\xff", BadMessageError),
        (JSON, b"", BadJsonError),
        (JSON, b"hi", BadJsonError),
        (JSON, b'"hi"', BadJsonError),
        (JSON, b"\xff", BadJsonError),
        (JSON, b'{"body":"a","body":"b"}', BadJsonError),
        (JSON, b'{"body":"\\ud83d"}', BadJsonError),
        (JSON, b'{"body":"a","id":"\\ud83d"}', BadJsonError),
        (JSON, b'{"body":"a","x":NaN}', BadJsonError),
        (JSON, b'{"x":' + b"[" * 60_000, BadJsonError),
        (JSON, b'{"x":' + b"9" * 60_000 + b"}", BadJsonError),
        (JSON, b"{}", BadMessageError),
        (JSON, b'{"body":null}', BadMessageError),
        (JSON, b'{"body":7}', BadMessageError),
        (JSON, b'{"body":"a","id":7}', BadMessageError),
        (JSON, b'{"body":"a","id":""}', BadMessageError),
        (JSON, json.dumps({"body": "a", "id": "x" * 65}).encode(), BadMessageError),
    ],
)
def test_invalid_message_is_refused(media_type: str, data: bytes, error: type[RefusalError]) -> None:
    with pytest.raises(error):
        parse_posted(media_type, data)


def test_same_id_may_be_in_several_places() -> None:
    assert parse_posted("", b"a", ("7",)).id == "7"
    assert parse_posted(JSON, b'{"body":"a","id":"7"}', ("7", "7")).id == "7"
    with pytest.raises(BadMessageError, match="the same in all places"):
        parse_posted(JSON, b'{"body":"a","id":"7"}', ("8",))
    with pytest.raises(BadMessageError, match="1 to 64 characters"):
        parse_posted("", b"a", ("",))


@given(
    st.text(max_size=40) | st.sampled_from([JSON, "", "text/plain"]),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_input_gives_a_message_or_a_refusal(media_type: str, data: bytes) -> None:
    try:
        posted = parse_posted(media_type, data)
    except RefusalError as error:
        assert "\n" not in str(error)
    else:
        posted.body.encode()
