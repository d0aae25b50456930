"""Every knob and every limit, in one table: unit, default, and who else uses that figure.

A `Settings` is made once, checked, and never changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from selchat.auth.password import PASSWORD_LENGTH, PasswordHash
from selchat.errors import SettingError

KIB = 1024
MIB = 1024 * KIB

# What a value is, where its type alone does not say it; `selchat.config.sources` goes by these.
Bytes = int  # may be written as 64KiB, but for that of the header
Seconds = float
Pathname = str

_MAY_BE_ZERO = frozenset({"port", "message_rate", "byte_rate"})  # for any port, and for no limit
_LONGEST = (
    86_400  # seconds: what timers are asked to wait, so that no poll is asked for more than it can take
)
_LARGEST = 1024 * 1024 * MIB  # of anything else that is counted, but for these, which the system has to give
_MAX = {
    "backlog": 65_535,
    "max_clients": 1_000_000,
    "reserved_descriptors": 1_000_000,
    "read_size": 64 * MIB,
}
# What RFC 9116 (2.5.3) wants of a contact: a URI, and https where it is one of the web.
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")
_CONTACT = re.compile(r"(?:mailto:|tel:|https://)[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,1000}")
SELCHAT_HEADER_LENGTH = (
    5  # bytes that announce 64 KiB; what the selchat protocol says would not fit into much less
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is run with. Raises `SettingError` for a value out of its range."""

    # -- where and what ------------------------------------------------------------------------------
    host: str = "0.0.0.0"  # the paper's server listens for its whole network
    port: int = 33000  # the paper's port; 0 lets the system pick one
    header_length: int = 10  # bytes; the paper's HEADER_LENGTH
    key: str | None = None  # the paper's toy cipher for what the server itself says
    roster: bool = True  # broadcast who is online
    quiet: bool = False  # show only the start and what goes wrong
    log_format: str = "text"  # or "json"

    # -- what outlives a restart -----------------------------------------------------------------------
    history: Pathname | None = None  # the file of the durable log; None: messages are kept in memory alone
    retention: str = ""  # such as 30d or 2GiB: what the durable log keeps; empty: everything
    operators: tuple[str, ...] = ()  # names whose owners may give commands

    # -- who is trusted --------------------------------------------------------------------------------
    tls: str = "auto"  # TLS and plaintext on one port; or "require": plaintext from loopback only; or "off"
    cert: Pathname | None = None  # file of the certificate, PEM; None: one of our own making
    key_file: Pathname | None = (
        None  # file of its private key, PEM; None: it is in the file of the certificate
    )
    password: str = ""  # its hash, as selchat hash-password prints it; empty: everyone may come in

    # -- the page, and what scripts use ------------------------------------------------------------------
    allowed_host: tuple[str, ...] = ()  # further names by which browsers may come
    security_contact: str = ""  # URI for /.well-known/security.txt; empty: there is no such file
    web_ping_seconds: Seconds = 30.0  # of silence before a browser is asked for a sign; websockets: 20

    # -- who may connect -----------------------------------------------------------------------------
    max_clients: int = 10_000  # connections; Redis: maxclients 10,000
    clients_per_address: int = 64  # connections, loopback exempt; ngIRCd: MaxConnectionsIP 5
    address_rate: int = (
        128  # new connections a minute from one address, loopback exempt; sshd: MaxStartups 10
    )
    backlog: int = 4096  # connections; Linux's somaxconn since 5.4
    accept_batch: int = 256  # connections a tick; Redis: 1,000
    accept_pause: Seconds = 0.25  # seconds without accepting when descriptors run out; asyncio: 1
    reserved_descriptors: int = 32  # kept back for the server's own files; Redis: 32

    # -- what one connection may do --------------------------------------------------------------------
    frame_limit: Bytes = 64 * KIB  # bytes of payload; NATS: 1 MiB, IRC: 512 bytes
    login_seconds: Seconds = 10.0  # from connecting to a whole username; OpenSSH: 120, NATS: 2
    password_workers: int = 2  # threads that check passwords; sshd checks one in each process
    password_queue: int = 32  # passwords that wait for them
    login_messages: int = 16  # that are answered before that; sshd's MaxAuthTries: 6
    login_limit: Bytes = (
        4 * KIB
    )  # bytes of payload before that; OpenSSH: 8 KiB of banner, HTTP headers: 8 KiB
    frame_seconds: Seconds = 30.0  # for one frame, first byte to last; Apache's RequestReadTimeout: 20 and up
    name_length: int = 32  # characters; Libera.Chat: 16, Discord: 32
    rooms_per_member: int = 100  # Libera.Chat: 250
    unacknowledged: int = 1024  # messages of a client that wait for their ack; a quarter of the remembered
    message_rate: float = 5.0  # messages a second, by reading no faster; 0: no limit; Discord: 5 in 5 s
    message_burst: int = 20  # messages at once after a silence; ngIRCd and others: 10
    byte_rate: Bytes = 64 * KIB  # bytes a second, likewise; 0: no limit
    dead_seconds: Seconds = 30.0  # of silence, before a peer that has vanished is given up; ngIRCd: 120 + 20
    ping_seconds: Seconds = 20.0  # of silence before a selchat client is asked for a sign; ngIRCd: 120
    pong_seconds: Seconds = 14.0  # for that sign; with the one above, dead peers are found within 35 s
    read_size: Bytes = 64 * KIB  # bytes read at a time from one connection; asyncio: 256 KiB
    replies_limit: Bytes = MIB  # bytes of unread replies, which the largest has; asyncio: 64 KiB

    # -- what is kept --------------------------------------------------------------------------------
    feed_limit: Bytes = (
        MIB  # bytes behind before a reader is lapped; Redis pub/sub: 8 MiB for 60 s, NATS: 64 MiB
    )
    queued_limit: Bytes = (
        256 * MIB  # bytes that wait for all readers together, then the largest goes; Redis: by maxmemory
    )
    rooms_limit: int = 10_000  # rooms with members or history; Discord: 500 channels of a server
    log_limit: int = MIB  # characters of messages that the memory log keeps for each room
    roster_interval: Seconds = 1.0  # seconds between two rosters, at least
    roster_limit: Bytes = 1400  # bytes of a roster's text: one Ethernet segment, for clients that recv once

    forget_interval: Seconds = 10.0  # seconds between two looks for what is past the retention

    # -- how it ends -----------------------------------------------------------------------------------
    full_retry: Seconds = 10.0  # seconds after which a client that found the server full should come back
    linger_seconds: Seconds = 1.0  # for a peer to close its end, so that the last words are not reset away
    flush_seconds: Seconds = (
        5.0  # for a closing connection to take what is queued; docker stop: 10, systemd: 90
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingError("port", self.port, "a port number from 0 to 65535")
        if not 1 <= self.header_length <= 32:
            raise SettingError("header_length", self.header_length, "a number of bytes from 1 to 32")
        if self.log_format not in {"text", "json"}:
            raise SettingError("log_format", self.log_format, "text or json")
        if self.tls not in {"auto", "require", "off"}:
            raise SettingError("tls", self.tls, "auto, require or off")
        if self.key_file is not None and self.cert is None:
            raise SettingError("key_file", self.key_file, "possible without cert")
        if self.password:
            PasswordHash.parse(self.password)
        if self.security_contact and not _CONTACT.fullmatch(self.security_contact):
            wanted = "a URI such as mailto:security@example.org or https://example.org/security"
            raise SettingError("security_contact", self.security_contact, wanted)
        for host in self.allowed_host:
            if not _HOST.fullmatch(host):
                wanted = "a name or an address as browsers write it, without https:// and without a port"
                raise SettingError("allowed_host", host, wanted)
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) not in {int, float}:
                continue
            if each.name not in _MAY_BE_ZERO and not value > 0:
                raise SettingError(each.name, value, "more than zero")
            if not value >= 0:
                raise SettingError(each.name, value, "zero or more")
            most = _MAX.get(each.name, _LONGEST if each.type == "Seconds" else _LARGEST)
            if value > most:
                raise SettingError(each.name, value, f"{most} or less")

    @property
    def payload_limit(self) -> int:
        """Bytes: the frame limit, or what a header of this length can announce if that is less."""
        return int(min(self.frame_limit, 10**self.header_length - 1))

    @property
    def login_payload_limit(self) -> int:
        """The same for those who have not said who they are."""
        return min(self.login_limit, self.payload_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a client is run with."""

    host: str
    port: int = 33000
    name: str = ""
    key: str | None = None
    passphrase: str = field(default="", repr=False)  # of the end-to-end encryption; empty: there is none
    tls: str = "off"  # or "auto": where the server has it; or "require"
    wire: str = "auto"  # or "selchat", or "classic": the paper's; auto is rich where the server speaks it
    room: str = "lobby"  # in which to talk
    beside: bool = False  # to come in under another name where oneself is online already, and not instead
    secret: str = ""  # that makes the name one's own; empty: the one that this user's data folder holds
    password: str = field(default="", repr=False)  # for servers that have one, said when they ask
    header_length: int = 10  # bytes
    frame_limit: int = 64 * KIB  # bytes of payload sent: what our server takes
    read_limit: int = MIB  # bytes of payload read: other servers may allow more than ours
    connect_seconds: float = 10.0  # for one address to answer; a LAN answers in milliseconds or not at all
    retry_least: float = 0.5  # seconds: the first ceiling of the full jitter before reconnecting
    retry_most: float = 30.0  # seconds: the last
    queue_limit: int = 4 * MIB  # bytes typed and not yet sent
    finish_seconds: float = 30.0  # at the end of the input: without anything that is queued getting across
    drain_seconds: float = 2.0  # after the last byte was acknowledged: for the server to close or object
    settled_seconds: float = 10.0  # a connection that lives as long makes the next retry quick again
    keepalive_seconds: float = 30.0  # of silence before it is asked whether the server is still there
    tls_seconds: float = 5.0  # for a server never met to answer by TLS: one that is busy may have it too
    hello_seconds: float = (
        2.0  # for a server to show that it speaks the selchat protocol; on a LAN it takes 0.01
    )
    store_seconds: float = 1.0  # before saying again what the server could not store

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingError("port", self.port, "a port number from 1 to 65535")
        if not 1 <= self.header_length <= 32:
            raise SettingError("header_length", self.header_length, "a number of bytes from 1 to 32")
        if self.tls not in {"auto", "require", "off"}:
            raise SettingError("tls", self.tls, "auto, require or off")
        if self.wire not in {"auto", "classic", "selchat"}:
            raise SettingError("wire", self.wire, "auto, rich or classic")
        if self.passphrase and self.key:
            raise SettingError("key", self.key, "possible together with a passphrase: it protects nothing")
        if self.passphrase and self.wire != "selchat":  # so that nothing can be said on the paper's wire
            raise SettingError("wire", self.wire, "selchat, as it has to be with a passphrase")
        if self.wire == "selchat" and self.header_length < SELCHAT_HEADER_LENGTH:
            least = f"at least {SELCHAT_HEADER_LENGTH}, for the selchat protocol"
            raise SettingError("header_length", self.header_length, least)
        if len(self.password) > PASSWORD_LENGTH:
            raise SettingError("password", "...", f"a text of up to {PASSWORD_LENGTH} characters")

    @property
    def payload_limit(self) -> int:
        """Bytes: the frame limit, or what a header of this length can announce if that is less."""
        return int(min(self.frame_limit, 10**self.header_length - 1))
