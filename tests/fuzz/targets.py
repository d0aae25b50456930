"""Fuzz targets: one function of bytes for each parser of outside data. Only documented errors may occur.

`tests.fuzz.run` fuzzes them by coverage. `tests.fuzz.test_targets` runs them on the corpus and on inputs of
hypothesis. Each target also checks properties: that the chunking does not change the result,
that an accepted message can be encoded again, and so on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from selchat.auth.tokens import TokenFileError, parse_tokens
from selchat.client.protocol.classic import ClassicClient
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.config.settings import ClientSettings, Settings
from selchat.config.sources import ConfigurationError, parse_file
from selchat.errors import ProtocolError, RefusalError, UnreadableError
from selchat.events import Said
from selchat.text import clean_name, escape_controls, name_key
from selchat.wire.classic import ClassicFormat
from selchat.wire.detect import DetectedProtocol, detect_protocol, is_hello
from selchat.wire.e2ee import Decryptor, Encryptor
from selchat.wire.frames import DecoderState, FrameDecoder, encode_frame
from selchat.wire.http import HttpConnection, HttpError, Request, Response
from selchat.wire.http_message import parse_posted
from selchat.wire.requests import Hello, Say, Whisper, parse_request
from selchat.wire.responses import SelchatFormat
from selchat.wire.websocket import ClosedError, MessageDecoder, TextHeaders, open_websocket

Target = Callable[[bytes], None]

_HEADER_LENGTHS = (1, 2, 4, 10, 32)
_LIMIT = 300  # bytes of payload, so that short inputs can break it
_SHORT = 64  # bytes: shorter streams are also fed byte by byte, which is slow
_WELCOME = {
    "type": "welcome",
    "version": 1,
    "name": "Michael",
    "log": "1",
    "server": "selchat",
    "rooms": [{"room": "lobby", "seq": 3, "topic": "", "members": 2}],
    "whispers": 0,
    "limits": {},
}
_GREETED = encode_frame(json.dumps(_WELCOME).encode())
_SELCHAT = ClientSettings(host="127.0.0.1", name="Michael", wire="selchat", secret="x" * 16)
_CLASSIC = ClientSettings(host="127.0.0.1", name="Michael", wire="classic")
_SELCHAT_FORMAT, _CLASSIC_FORMAT = SelchatFormat(), ClassicFormat()
_KEY, _SESSION = bytes(range(32)), bytes(range(16))  # of a room, and of a sender's session
_SEALED = Encryptor(_KEY, _SESSION).encrypt("lobby", "Venkat", "hello")
_OPENING = Request(
    "GET",
    "/ws",
    "",
    {},
    head=b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: AAECAwQFBgcICQoLDA0ODw==\r\nsec-websocket-version: 13\r\n\r\n",
)
_ANSWER = Response(200, b"fine")
_WEB_FORMAT = SelchatFormat(TextHeaders())
_SAID = Said("lobby", 1, "Venkat", "", 1.5, "1", None)


def frames(data: bytes) -> None:
    """A stream of frames, at any chunking. The first two bytes select the header length and the cut."""
    if len(data) < 2:
        return
    header_length = _HEADER_LENGTHS[data[0] % len(_HEADER_LENGTHS)]
    stream = data[2:]
    cut = data[1] % (len(stream) + 1)
    whole = _decoded(header_length, [stream])
    assert _decoded(header_length, [stream[:cut], stream[cut:]]) == whole
    if len(stream) <= _SHORT:
        assert _decoded(header_length, [stream[start : start + 1] for start in range(len(stream))]) == whole
    one_by_one = FrameDecoder(header_length, _LIMIT)
    payloads = []
    payload = one_by_one.receive_one(stream)
    while payload is not None:
        payloads.append(payload)
        payload = one_by_one.receive_one()
    assert payloads == whole[0]
    assert isinstance(one_by_one.error, ProtocolError | None)


def _decoded(header_length: int, parts: list[bytes]) -> tuple[list[bytes], str]:
    decoder = FrameDecoder(header_length, _LIMIT)
    payloads: list[bytes] = []
    for part in parts:
        if decoder.state is DecoderState.READING:
            payloads += decoder.receive_data(part)
    assert isinstance(decoder.error, ProtocolError | None)
    return payloads, repr(decoder.error)


def requests(data: bytes) -> None:
    """A request of a selchat client; accepted messages can be encoded for both protocols."""
    try:
        request = parse_request(data)
    except RefusalError as error:
        _SELCHAT_FORMAT.error(error)
        return
    if isinstance(request, Hello):
        assert is_hello(data)
        clean_name(request.name)
    if isinstance(request, Say | Whisper):
        said = _SAID._replace(body=request.body, id=request.id, cipher=request.cipher)
        [payload] = FrameDecoder(limit=1 << 24).receive_data(_SELCHAT_FORMAT.encode([said]))
        fields = json.loads(payload)
        assert fields["body"] == request.body
        assert fields["id"] == request.id
        FrameDecoder().receive_data(_CLASSIC_FORMAT.encode([said]))


def detect(data: bytes) -> None:
    """The first payload and the first bytes of a connection: the verdict never changes."""
    assert is_hello(data) is is_hello(bytes(bytearray(data)))
    verdicts = [detect_protocol(data[:size]) for size in range(1, min(len(data), 10) + 1)]
    decided = [verdict for verdict in verdicts if verdict is not None]
    assert all(isinstance(verdict, DetectedProtocol) for verdict in decided)
    assert len(set(decided)) <= 1
    assert verdicts[len(verdicts) - len(decided) :] == decided, "the verdict changes"


def http(data: bytes) -> None:
    """HTTP requests at any chunking; each gets a response. The first byte selects the cut."""
    cut = data[0] if data else 0
    stream = data[1:]
    whole = _requests([stream])
    assert _requests([stream[:cut], stream[cut:]]) == whole
    if len(stream) <= _SHORT:
        assert _requests([stream[start : start + 1] for start in range(len(stream))]) == whole


def _requests(parts: list[bytes]) -> tuple[list[tuple[Request, bytes]], int]:
    connection = HttpConnection(_LIMIT, 16 * 1024, 100, 1024)
    found: list[tuple[Request, bytes]] = []
    request: Request | None = None
    for part in parts:
        connection.receive_data(part)
        try:
            while request is not None or (request := connection.next_request()) is not None:
                body = connection.read_body() if request.has_body else b""
                if body is None:
                    if not connection.has_more_chunks:
                        break
                    continue
                assert len(body) <= _LIMIT
                assert request.path.startswith("/")
                with suppress(HttpError):
                    open_websocket(request, _LIMIT)
                found.append((request, body))
                request = None
                assert connection.respond(_ANSWER).startswith(b"HTTP/1.1 200 ")
            if request is not None and connection.expects_continue:
                connection.continue_response()
        except HttpError as error:
            assert 400 <= error.status < 600
            assert connection.respond(Response(error.status), close=True).startswith(b"HTTP/1.1 ")
            return found, error.status
    return found, 0


def websocket(data: bytes) -> None:
    """WebSocket frames at any chunking; messages can be encoded again. The first byte selects the cut."""
    cut = data[0] if data else 0
    stream = data[1:]
    whole = _messages([stream])
    assert _messages([stream[:cut], stream[cut:]]) == whole
    if len(stream) <= _SHORT:
        assert _messages([stream[start : start + 1] for start in range(len(stream))]) == whole
    decoder = MessageDecoder(open_websocket(_OPENING, _LIMIT)[0], lambda _: None)
    payload, payloads = decoder.receive_one(stream), []
    while payload is not None:
        payloads.append(payload)
        payload = decoder.receive_one()
    assert payloads == whole[0]  # so few bytes stay below the limit of frames before a hello
    for payload in payloads:
        chunk = _WEB_FORMAT.encode([_SAID._replace(body=payload)])
        assert _WEB_FORMAT.delivered_before(chunk, 1) == (1, chunk[1:])


def _messages(parts: list[bytes]) -> tuple[list[str], str, bytes]:
    """Return the payloads, the error, and the bytes of the answers, including the close frame."""
    sent = bytearray()
    decoder = MessageDecoder(open_websocket(_OPENING, _LIMIT)[0], sent.extend)
    decoder.set_limit(_LIMIT)
    payloads: list[str] = []
    for part in parts:
        if decoder.state is DecoderState.READING:
            payloads += decoder.receive_data(part)
    error = decoder.error
    assert isinstance(error, ProtocolError | None)
    if error is None:
        return payloads, "", bytes(sent)
    if isinstance(error, ClosedError):
        return payloads, f"{error.code} {error.reason}", bytes(sent) + error.frame
    return payloads, repr(error), bytes(sent)


def selchat_client(data: bytes) -> None:
    """Bytes of a server after the welcome of a selchat client, in two pieces."""
    client = SelchatClient(_SELCHAT, _SELCHAT.secret)
    client.connection_made()
    client.say("hello")
    client.receive_data(_GREETED)
    assert client.state is ClientState.WELCOMED
    cut = data[0] if data else 0
    client.receive_data(data[1 : 1 + cut])
    if client.error is None:
        client.receive_data(encode_frame(data[1 + cut :]))
    client.data_to_send()
    client.connection_lost()


def classic_client(data: bytes) -> None:
    """Bytes of a server to a classic client."""
    client = ClassicClient(_CLASSIC)
    client.connection_made()
    client.receive_data(data)
    if client.error is None:
        client.receive_data(encode_frame(data) * 2)


def config(data: bytes) -> None:
    """A configuration file gives settings, or an error with one line for each mistake."""
    try:
        assert isinstance(parse_file(data), Settings)
    except ConfigurationError as error:
        assert str(error)
        assert escape_controls(str(error).replace("\n", "")).isprintable()


def e2ee(data: bytes) -> None:
    """The fields of an encrypted message: arbitrary, valid, and valid with one byte changed.

    The ``cipher`` ends at the first null, and the ``body`` follows. The last four bytes select the change.
    """
    cipher, _, body = data.decode(errors="replace").partition("\0")
    for given in ((cipher, body), (_SEALED.cipher, body), (cipher, _SEALED.body)):
        try:
            assert isinstance(Decryptor().decrypt(_KEY, "lobby", "Venkat", *given, 1), str)
        except UnreadableError as error:
            assert str(error).isprintable()
    sealed = Encryptor(_KEY, _SESSION).encrypt("lobby", "Venkat", body)
    assert Decryptor().decrypt(_KEY, "lobby", "Venkat", *sealed, 1) == body
    if len(data) >= 4:
        changed = bytearray(f"{sealed.cipher}\0{sealed.body}".encode())
        changed[int.from_bytes(data[-4:-2], "big") % len(changed)] ^= data[-1] | 1
        cipher, _, body = changed.decode(errors="replace").partition("\0")
        with suppress(UnreadableError):
            Decryptor().decrypt(_KEY, "lobby", "Venkat", cipher, body, 1)
            raise AssertionError("a changed message was decrypted")


def text(data: bytes) -> None:
    """Any text as a name and as a message."""
    given = data.decode(errors="replace")
    name = clean_name(given)
    assert clean_name(name) == name
    assert len(name) <= 32
    assert escape_controls(name) == name
    assert name_key(name_key(name)) == name_key(name)
    shown = escape_controls(given)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


def http_message(data: bytes) -> None:
    """A media type in one line, then the body of a POST; accepted messages can be encoded again."""
    kind, _, body = data.partition(b"\n")
    try:
        found = parse_posted(kind.decode("latin-1"), body)
    except RefusalError as error:
        assert "\n" not in str(error)
        return
    said = _SAID._replace(body=found.body, id=found.id or "")
    [payload] = FrameDecoder(limit=1 << 24).receive_data(_SELCHAT_FORMAT.encode([said]))
    assert json.loads(payload)["body"] == found.body


def tokens(data: bytes) -> None:
    """A token file; writing and parsing the parsed tokens again changes nothing."""
    try:
        found = parse_tokens(data, Path("tokens"))
    except TokenFileError as error:
        assert str(error).startswith("tokens:")
        return
    assert parse_tokens("".join(f"{token}\n" for token in found).encode(), Path("tokens")) == found


TARGETS: dict[str, Target] = {
    "frames": frames,
    "requests": requests,
    "detect": detect,
    "http": http,
    "websocket": websocket,
    "selchat-client": selchat_client,
    "classic-client": classic_client,
    "config": config,
    "e2ee": e2ee,
    "text": text,
    "http-message": http_message,
    "tokens": tokens,
}
