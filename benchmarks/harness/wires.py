"""Minimal implementations of each protocol: the parts that a fan-out needs, without any library.

All deliveries of a wire have the same size, so the number of bytes tells whether a receiver has everything.
`Wire.delivery` returns the exact bytes, and the load compares one receiver's whole stream with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

SENDER = "sender"
CHANNEL = b"bench"


@dataclass(frozen=True)
class Step:
    """Bytes to send while joining, and bytes that the answer must contain before the next step."""

    send: bytes
    expect: bytes = b""


class Wire(ABC):
    """One protocol, as a sender and as a receiver."""

    settle_seconds = 0.0
    """Time after joining in which the server may still send unsolicited data, such as a first ping."""

    @abstractmethod
    def join_receiver(self, index: int) -> list[Step]:
        """Return the steps that make a new connection a receiver."""

    @abstractmethod
    def join_sender(self) -> list[Step]:
        """Return the steps that make a new connection the sender."""

    @abstractmethod
    def publish(self, payload: bytes) -> bytes:
        """Return the bytes with which the sender publishes that payload."""

    @abstractmethod
    def delivery(self, payload: bytes) -> bytes:
        """Return the bytes that every receiver gets for that payload."""

    def answer(self, data: bytes) -> bytes:
        """Return the reply to ``data`` that is no delivery, such as a ping; empty if none is due."""
        return b""


class Classic(Wire):
    """The classic protocol: 10 bytes of length, then the payload. A delivery is a pair of frames."""

    def join_receiver(self, index: int) -> list[Step]:
        return [Step(_frame(b"r%05d" % index))]

    def join_sender(self) -> list[Step]:
        return [Step(_frame(SENDER.encode()))]

    def publish(self, payload: bytes) -> bytes:
        return _frame(payload)

    def delivery(self, payload: bytes) -> bytes:
        return _frame(SENDER.encode()) + _frame(payload)


class Nats(Wire):
    """The NATS client protocol, verbose off.

    https://docs.nats.io/reference/reference-protocols/nats-protocol
    """

    settle_seconds = 2.7  # the server sends the first PING after 2 to 2.4 s
    _connect = b'CONNECT {"verbose":false,"pedantic":false}\r\n'

    def join_receiver(self, index: int) -> list[Step]:
        return [Step(self._connect + b"SUB %b 1\r\nPING\r\n" % CHANNEL, b"PONG\r\n")]

    def join_sender(self) -> list[Step]:
        return [Step(self._connect + b"PING\r\n", b"PONG\r\n")]

    def publish(self, payload: bytes) -> bytes:
        return b"PUB %b %d\r\n%b\r\n" % (CHANNEL, len(payload), payload)

    def delivery(self, payload: bytes) -> bytes:
        return b"MSG %b 1 %d\r\n%b\r\n" % (CHANNEL, len(payload), payload)

    def answer(self, data: bytes) -> bytes:
        return b"PONG\r\n" if b"PING\r\n" in data else b""


class Redis(Wire):
    """RESP2 publish and subscribe. https://redis.io/docs/latest/develop/reference/protocol-spec/"""

    def join_receiver(self, index: int) -> list[Step]:
        return [Step(_resp(b"SUBSCRIBE", CHANNEL), b":1\r\n")]

    def join_sender(self) -> list[Step]:
        return [Step(_resp(b"PING"), b"+PONG\r\n")]

    def publish(self, payload: bytes) -> bytes:
        return _resp(b"PUBLISH", CHANNEL, payload)

    def delivery(self, payload: bytes) -> bytes:
        return _resp(b"message", CHANNEL, payload)


class Mqtt(Wire):
    """MQTT 3.1.1 with QoS 0 and no keep-alive. http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/"""

    _connack = b"\x20\x02\x00\x00"
    _suback = b"\x90\x03\x00\x01\x00"

    def join_receiver(self, index: int) -> list[Step]:
        subscribe = b"\x00\x01" + _counted(CHANNEL) + b"\x00"
        return [
            Step(self._connect(b"r%05d" % index), self._connack),
            Step(_packet(0x82, subscribe), self._suback),
        ]

    def join_sender(self) -> list[Step]:
        return [Step(self._connect(SENDER.encode()), self._connack)]

    def publish(self, payload: bytes) -> bytes:
        return _packet(0x30, _counted(CHANNEL) + payload)

    delivery = publish

    def _connect(self, identity: bytes) -> bytes:
        clean_session, keep_alive = b"\x02", b"\x00\x00"
        return _packet(0x10, _counted(b"MQTT") + b"\x04" + clean_session + keep_alive + _counted(identity))


class Irc(Wire):
    """RFC 2812, with all clients in one channel. The server uses neither DNS nor ident."""

    def join_receiver(self, index: int) -> list[Step]:
        return self._join(b"r%05d" % index)

    def join_sender(self) -> list[Step]:
        return self._join(SENDER.encode())

    def publish(self, payload: bytes) -> bytes:
        return b"PRIVMSG #%b :%b\r\n" % (CHANNEL, payload)

    def delivery(self, payload: bytes) -> bytes:
        return b":%b!~u@127.0.0.1 PRIVMSG #%b :%b\r\n" % (SENDER.encode(), CHANNEL, payload)

    def answer(self, data: bytes) -> bytes:
        return b"PONG :bench\r\n" if data.startswith(b"PING") or b"\nPING" in data else b""

    def _join(self, nick: bytes) -> list[Step]:
        welcome, end_of_names = b" 001 ", b" 366 "
        return [
            Step(b"NICK %b\r\nUSER u 0 * :bench\r\n" % nick, welcome),
            Step(b"JOIN #%b\r\n" % CHANNEL, end_of_names),
        ]


class WebSocket(Wire):
    """RFC 6455, text frames, no compression offered."""

    _upgrade = (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    def join_receiver(self, index: int) -> list[Step]:
        return [Step(self._upgrade, b"\r\n\r\n")]

    def join_sender(self) -> list[Step]:
        return self.join_receiver(0)

    def publish(self, payload: bytes) -> bytes:
        assert len(payload) < 126, "longer payloads have another header"
        mask = bytes(
            4
        )  # a client must mask; a mask of zeros changes nothing, and the server cannot expect it
        return bytes([0x81, 0x80 | len(payload)]) + mask + payload

    def delivery(self, payload: bytes) -> bytes:
        return bytes([0x81, len(payload)]) + payload


def _frame(payload: bytes) -> bytes:
    return b"%-10d%b" % (len(payload), payload)


def _resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _packet(kind: int, body: bytes) -> bytes:
    length = len(body)
    header = bytearray([kind])
    while True:
        length, digit = divmod(length, 128)
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body
