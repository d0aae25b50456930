"""Settings: every option and limit that an operator can change, with unit, default and precedent.

A settings object is checked when it is made, and never changes. Each comment names the unit, and then another
program's value of the same limit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from selchat.auth.password import PasswordHash
from selchat.errors import SettingError
from selchat.events import SERVER
from selchat.limits import (
    HEADER_LENGTH,
    KIB,
    MAX_HEADER_LENGTH,
    MIB,
    PASSWORD_LENGTH,
    SELCHAT_HEADER_LENGTH,
    TLS_RECORDS,
)
from selchat.text import NAME_RULE, clean_name, name_key

# Types of values; `selchat.config.sources` parses a text by its type.
Bytes = int  # accepts a unit, as in 64KiB
Seconds = float
Pathname = str

_MAY_BE_ZERO = frozenset(  # 0: any free port, or no limit
    {"port", "message_rate", "byte_rate", "connection_work", "person_work", "address_work"}
)
_MAX_SECONDS = 86_400  # a poll with a much longer timeout fails
_MAX_NUMBER = 1024 * 1024 * MIB  # for all settings that have no entry here
_MAX = {
    "backlog": 65_535,
    "max_clients": 1_000_000,
    "reserved_descriptors": 1_000_000,
    "read_size": 64 * MIB,
}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")
# RFC 9116, section 2.5.3: a contact is a URI, and a web URI is https.
_CONTACT = re.compile(r"(?:mailto:|tel:|https://)[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,1000}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings. Raises `SettingError` for a value out of its range."""

    # -- where to listen, what to show -----------------------------------------------------------------
    host: str = "0.0.0.0"  # address to listen on; the paper's server listens on all interfaces
    port: int = 33000  # TCP port, the paper's; 0: the system picks a free one
    header_length: int = HEADER_LENGTH  # bytes, up to 4,096; the paper's HEADER_LENGTH: 10
    key: str | None = None  # key of the paper's toy cipher for the server's own notices; None: no cipher
    roster: bool = True  # report joins and leaves; classic clients get the list of online users
    quiet: bool = False  # log only the start, warnings and errors
    log_format: str = "text"  # text or json
    log_body: int = 1000  # characters of a message's body in a log line; the history has all; syslog: 1 KiB

    # -- what survives a restart -----------------------------------------------------------------------
    history: Pathname | None = None  # file of the message history; None: keep messages in memory only
    retention: str = "10GiB"  # how much history to keep; empty: all of it; 60 million short messages
    operators: tuple[str, ...] = ()  # names that operators claim with a code; see `selchat.chat.operators`

    # -- TLS and password ------------------------------------------------------------------------------
    tls: str = "auto"  # auto: TLS and plaintext on one port; require: plaintext from loopback only; off
    cert: Pathname | None = None  # PEM file of the certificate; None: a self-signed certificate
    key_file: Pathname | None = None  # PEM file of the private key; None: the key is in the file ``cert``
    password: str = ""  # hash of the server's password, from selchat hash-password; empty: no password

    # -- the web page and HTTP -------------------------------------------------------------------------
    allowed_host: tuple[str, ...] = ()  # more host names that browsers may use for this server
    security_contact: str = ""  # URI in /.well-known/security.txt (RFC 9116); empty: no such file
    http_head_limit: Bytes = 16 * KIB  # bytes of an HTTP request line and headers; Apache: 8 KiB a line
    http_headers: int = 100  # lines of a request line and headers; Apache: LimitRequestFields 100
    http_chunks: int = 1024  # chunks of a request body; curl sends 16 KiB in each
    web_ping_seconds: Seconds = 30.0  # seconds of silence before a ping to a browser; websockets: 20

    # -- who may connect -----------------------------------------------------------------------------
    max_clients: int = 10_000  # open connections; Redis: maxclients 10,000
    clients_per_address: int = 64  # open connections from one remote address; ngIRCd: MaxConnectionsIP 5
    address_rate: int = 128  # new connections a minute from one remote address; sshd: MaxStartups 10
    backlog: int = 4096  # connections that the kernel queues for accept(); Linux: somaxconn 4096
    accept_batch: int = 4  # connections accepted in one tick, which takes half a millisecond; Redis: 1,000
    accept_pause: Seconds = 0.25  # seconds without accept() after the descriptors ran out; asyncio: 1
    reserved_descriptors: int = 32  # file descriptors kept free for the server's own files; Redis: 32

    # -- limits of one connection ----------------------------------------------------------------------
    frame_limit: Bytes = 64 * KIB  # bytes of a frame's payload; NATS: 1 MiB, IRC: 512 bytes
    login_seconds: Seconds = 10.0  # seconds until the username is complete; OpenSSH: 120, NATS: 2
    password_workers: int = 2  # threads that check passwords; sshd: one process per connection
    password_queue: int = 32  # passwords that wait for a thread
    login_messages: int = 16  # requests answered before login; sshd: MaxAuthTries 6
    login_limit: Bytes = 4 * KIB  # bytes of a payload before login; OpenSSH's banner, HTTP headers: 8 KiB
    frame_seconds: Seconds = 30.0  # seconds to receive one frame; Apache's RequestReadTimeout: 20 and more
    name_length: int = 32  # characters of a name; Libera.Chat: 16, Discord: 32
    rooms_per_member: int = 100  # rooms that one member may join; Libera.Chat: 250
    unacknowledged: int = 1024  # messages without an ack; a quarter of the ids kept for deduplication
    message_rate: float = 5.0  # messages a second, read no faster; 0: no limit; Discord: 5 in 5 s
    message_burst: int = 20  # messages read at once after a silence; ngIRCd and others: 10
    byte_rate: Bytes = 64 * KIB  # bytes a second, read no faster; 0: no limit
    connection_work: float = 0.05  # seconds of loop time in a second, for requests in `Costs`; 0: no limit
    person_work: float = 0.1  # the same for all connections of one person
    address_work: float = 0.25  # the same for all connections from one address
    tick_work: Seconds = 0.001  # seconds of loop time in one tick for such requests of all peers together
    dead_seconds: Seconds = 30.0  # seconds of silence before TCP drops a vanished peer; ngIRCd: 120 + 20
    ping_seconds: Seconds = 20.0  # seconds of silence before a ping to a selchat client; ngIRCd: 120
    pong_seconds: Seconds = 14.0  # seconds to answer a ping; a dead client is found within 35 s
    read_size: Bytes = 64 * KIB  # bytes read from a connection at a time; asyncio: 256 KiB
    replies_limit: Bytes = MIB  # bytes of unread replies to one client; asyncio: 64 KiB

    # -- what the server keeps in memory ---------------------------------------------------------------
    feed_limit: Bytes = MIB  # bytes a reader may lag behind; Redis pub/sub: 8 MiB for 60 s, NATS: 64 MiB
    queued_limit: Bytes = 256 * MIB  # bytes queued for all readers, then drop the largest; Redis: maxmemory
    rooms_limit: int = 10_000  # rooms in memory; idle ones make way for others; IRC networks: 50,000
    person_rooms: int = 100  # rooms that one person may create in an hour; Discord: 500 channels in a server
    address_rooms: int = 500  # rooms that one address may create in an hour; loopback is exempt
    person_names: int = 20  # names that one person may own; NickServ of Libera.Chat: 20
    names_limit: int = 100_000  # owned names of all people, 1 kB each; ten times ``max_clients``
    address_names: int = 500  # new names from one address in an hour; loopback is exempt
    log_limit: int = MIB  # characters of messages in the memory log of each room
    roster_interval: Seconds = 1.0  # minimum seconds between two rosters
    roster_limit: Bytes = 1400  # bytes of a roster's text: one Ethernet segment, for clients that recv once
    forget_interval: Seconds = 10.0  # seconds between two deletions of expired messages

    # -- closing ---------------------------------------------------------------------------------------
    full_retry: Seconds = 10.0  # seconds before a client should try a full server again
    linger_seconds: Seconds = 1.0  # seconds for a peer to close its end; a reset would lose our last bytes
    flush_seconds: Seconds = 5.0  # seconds to send the queued bytes on close; docker stop: 10, systemd: 90

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingError("port", self.port, "a port number from 0 to 65535")
        _check_header_length(self.header_length)
        if self.log_format not in {"text", "json"}:
            raise SettingError("log_format", self.log_format, "text or json")
        if self.tls not in {"auto", "require", "off"}:
            raise SettingError("tls", self.tls, "auto, require or off")
        if self.key_file is not None and self.cert is None:
            raise SettingError("key_file", self.key_file, "allowed without cert")
        if self.password:
            PasswordHash.parse(self.password)
        if self.security_contact and not _CONTACT.fullmatch(self.security_contact):
            expected = "a URI such as mailto:security@example.org or https://example.org/security"
            raise SettingError("security_contact", self.security_contact, expected)
        for name in self.operators:
            key = name_key(clean_name(name, self.name_length))
            if key != name_key(name) or key in {"", name_key(SERVER)}:
                raise SettingError("operators", name, f"a name that a user can have: {NAME_RULE}")
        for host in self.allowed_host:
            if not _HOST.fullmatch(host):
                expected = "a host name or an address, without https:// and without a port"
                raise SettingError("allowed_host", host, expected)
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) not in {int, float}:
                continue
            if each.name not in _MAY_BE_ZERO and not value > 0:
                raise SettingError(each.name, value, "more than zero")
            if not value >= 0:
                raise SettingError(each.name, value, "zero or more")
            maximum = _MAX.get(each.name, _MAX_SECONDS if each.type == "Seconds" else _MAX_NUMBER)
            if value > maximum:
                raise SettingError(each.name, value, f"{maximum} or less")

    @property
    def payload_limit(self) -> int:
        """Bytes of a payload: ``frame_limit``, or the largest number that fits into the header if smaller."""
        return _payload_limit(self.frame_limit, self.header_length)

    @property
    def record_rate(self) -> float:
        """TLS records a second from one connection, read no faster; 0: no limit."""
        return TLS_RECORDS * self.message_rate

    @property
    def record_burst(self) -> int:
        """TLS records from one connection, read at once after a silence."""
        return TLS_RECORDS * self.message_burst

    @property
    def login_payload_limit(self) -> int:
        """Bytes of a payload before login."""
        return min(self.login_limit, self.payload_limit)


class Costs:
    """Loop time of work that costs more than its bytes, in microseconds.

    Measured by ``benchmarks/costs.py``, which compares its figures with these. A slower machine scales all of
    them alike.
    """

    REQUEST = 130  # of HTTP, with its response
    METRICS = 1400  # in addition, with 1,000 connections
    CONNECTION = 150  # that is accepted and closed
    HANDSHAKE = 250  # of TLS
    SIGN_IN = 150  # with the record of its name
    JOIN = 40  # a room, besides its list of users
    PART = 20
    TOPIC = 30
    ROOMS = 20  # a list of rooms
    ROOM = 1.8  # one room of it
    SORTED_ROOM = 0.1  # one room of all, if they have to be sorted
    USERS = 10  # a list of users
    USER = 0.4  # one name of it
    HISTORY = 25  # a page of history
    HISTORY_MESSAGE = 1.9  # one message of it
    OVERHEAD = 0.002  # a byte that a WebSocket frame without a message counts; each counts 512
    COMMAND = 100  # a command to the server
    LONG_KIB = 6.5  # a KiB of a long message
    SENT_KIB = 0.16  # a KiB of it for one reader

    @classmethod
    def long_message(cls, size: int, readers: int) -> float:
        """Return the cost of a message of ``size`` bytes that the server sends to so many readers."""
        return size / KIB * (cls.LONG_KIB + cls.SENT_KIB * readers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """A client's settings. Raises `SettingError` for a value out of its range."""

    host: str  # host name or address of the server
    port: int = 33000  # TCP port, the paper's
    name: str = ""  # name to sign in with
    key: str | None = None  # key of the paper's toy cipher; None: no cipher
    passphrase: str = field(default="", repr=False)  # of the end-to-end encryption; empty: none
    tls: str = "off"  # off; auto: TLS if the server supports it; require
    wire: str = "auto"  # protocol: selchat, classic, or auto: selchat if the server supports it
    room: str = "lobby"  # room to send to
    alongside: bool = False  # if the name is online: sign in with a number after it, and do not replace it
    secret: str = ""  # proves that the name is ours; empty: the secret in the user's data folder
    password: str = field(default="", repr=False)  # the server's; sent when the server asks for it
    header_length: int = HEADER_LENGTH  # bytes, up to 4,096; the paper's HEADER_LENGTH: 10
    frame_limit: int = 64 * KIB  # bytes of a payload to send; our server's limit
    read_limit: int = MIB  # bytes of a received payload; other servers may have a higher limit than ours
    connect_seconds: float = 10.0  # seconds to connect to one address; a LAN takes milliseconds
    retry_base_seconds: float = 0.5  # first maximum of the random delay before a reconnection (full jitter)
    retry_max_seconds: float = 30.0  # last maximum of that delay; each failure doubles it
    queue_limit: int = 4 * MIB  # bytes of messages not yet sent
    finish_seconds: float = 30.0  # seconds at the end of the input in which no queued message gets across
    drain_seconds: float = 2.0  # seconds after the last ack for the server to close or object
    stable_seconds: float = 10.0  # seconds after which a connection counts as stable and resets the delay
    keepalive_seconds: float = 30.0  # seconds of silence before a ping to the server
    tls_seconds: float = 5.0  # seconds for an unknown server to answer by TLS; a busy one may need long
    hello_seconds: float = 2.0  # seconds for a server to show that it speaks selchat; a LAN needs 0.01
    # Seconds between two frames on the classic protocol, until the server shows that it is selchat's: many
    # servers read a name or a message with one recv, and lose what arrives with it. No person types faster.
    frame_gap_seconds: float = 0.05
    store_seconds: float = 1.0  # seconds before sending a message again that the server could not store

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingError("port", self.port, "a port number from 1 to 65535")
        _check_header_length(self.header_length)
        if self.tls not in {"auto", "require", "off"}:
            raise SettingError("tls", self.tls, "auto, require or off")
        if self.wire not in {"auto", "classic", "selchat"}:
            raise SettingError("wire", self.wire, "auto, selchat or classic")
        if self.passphrase and self.key:
            raise SettingError("key", self.key, "allowed together with a passphrase: it protects nothing")
        if self.passphrase and self.wire != "selchat":  # the classic protocol would send plaintext
            raise SettingError("wire", self.wire, "selchat, which a passphrase requires")
        if self.wire == "selchat" and self.header_length < SELCHAT_HEADER_LENGTH:
            expected = f"at least {SELCHAT_HEADER_LENGTH}, for the selchat protocol"
            raise SettingError("header_length", self.header_length, expected)
        if len(self.password) > PASSWORD_LENGTH:
            raise SettingError("password", "...", f"a text of up to {PASSWORD_LENGTH} characters")

    @property
    def payload_limit(self) -> int:
        """Bytes of a payload: ``frame_limit``, or the largest number that fits into the header if smaller."""
        return _payload_limit(self.frame_limit, self.header_length)


def _check_header_length(length: int) -> None:
    if not 1 <= length <= MAX_HEADER_LENGTH:
        raise SettingError("header_length", length, f"a number of bytes from 1 to {MAX_HEADER_LENGTH}")


def _payload_limit(frame_limit: int, header_length: int) -> int:
    return int(min(frame_limit, 10**header_length - 1))
