"""TLS stream over a non-blocking socket.

`TlsStream` has the methods of a socket (``recv``, ``send``, ``sendmsg``, ``shutdown``), so its callers use it
like one. OpenSSL reads and writes memory buffers only. Callers therefore never meet a want-read during a
write, and never repeat a write.

A connection is TLS from its first byte or never, so plaintext from before the handshake cannot be injected.

TLS 1.3 only. No session tickets: a LAN handshake is cheap, and unread tickets turn our close into a reset.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from selchat.errors import NOT_TRUSTED
from selchat.limits import MAX_TLS_HANDSHAKE, MAX_TLS_UNSENT, TLS_PIECE, TLS_READ
from selchat.net.records import RecordLimits

# The alerts of a peer that does not trust our certificate (RFC 8446, 6.2), by OpenSSL's names.
_NOT_TRUSTED = {"SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"}


class TlsState(Enum):
    """``HANDSHAKE`` becomes ``OPEN`` after the handshake, and ``CLOSED`` with the peer's close_notify."""

    HANDSHAKE = auto()
    OPEN = auto()
    CLOSED = auto()


class TlsError(ConnectionError):
    """The peer's TLS failed; ``strerror`` says how."""

    def __init__(self, why: str) -> None:
        super().__init__(0, f"TLS: {why}")


class Socket(Protocol):
    """The part of a socket that a stream uses below it and offers above it."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class TlsStream:
    """A socket that encrypts.

    ``on_blocked()``: a TLS message does not fit into the socket's buffer. Call `send` when the socket is
    writable, with no bytes if you have none. ``on_buffered()``: the stream has read data that `recv` has not
    returned yet. Call `recv` again without waiting for the socket. ``limits`` of the peer's records; None: no
    limits. ``on_throttle(seconds)``: the peer is over its rate of records. Call `recv` after that time only.

    Every method raises `TlsError` and the socket's own exceptions.
    """

    __slots__ = (
        "_ahead",
        "_handshake_size",
        "_incoming",
        "_limits",
        "_on_blocked",
        "_on_buffered",
        "_on_throttle",
        "_outgoing",
        "_sock",
        "_tls",
        "_unsent",
        "state",
    )

    def __init__(
        self,
        sock: Socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        on_blocked: Callable[[], object],
        on_buffered: Callable[[], object],
        limits: RecordLimits | None = None,
        on_throttle: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self.state = TlsState.HANDSHAKE
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side)
        self._on_blocked = on_blocked
        self._on_buffered = on_buffered
        self._limits = limits
        self._on_throttle = on_throttle
        self._handshake_size = 0  # bytes received during the handshake
        self._unsent: bytes | memoryview = b""  # encrypted bytes that the socket has not accepted
        # How many bytes of the next `send` are encrypted already: 1 while the end of the previous `send` is
        # unsent, else 0. The previous `send` reported its last byte as not sent, so the caller offers that
        # byte again.
        self._ahead = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    @property
    def unsent(self) -> int:
        """Encrypted bytes that the socket has not accepted."""
        return len(self._unsent)

    # -- the handshake ---------------------------------------------------------------------------------

    def start_handshake(self, first: bytes = b"") -> None:
        """Start the handshake; ``first``: the part of the peer's handshake that was read before."""
        self._incoming.write(first)
        self._handshake()
        if self._limits is not None:
            self._count(self._limits, first, ())

    @property
    def certificate(self) -> bytes:
        """The peer's certificate in DER; empty if the peer has sent none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._push_last()
            raise _explained(error) from error
        else:
            self.state = TlsState.OPEN
        self._push()

    # -- reading ---------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Read up to ``size`` bytes from the socket and return the plaintext.

        Empty: the peer has closed the stream. BlockingIOError: there is no plaintext yet.
        """
        data = b""
        try:
            data = self._sock.recv(size)
        except BlockingIOError:
            if not self._incoming.pending and self.state is not TlsState.CLOSED:
                raise
        else:
            if data:
                self._incoming.write(data)
                if self.state is TlsState.HANDSHAKE:
                    self._handshake_size += len(data)
                    if self._handshake_size > MAX_TLS_HANDSHAKE:
                        raise TlsError(f"a handshake of more than {MAX_TLS_HANDSHAKE} bytes")
            else:
                self._incoming.write_eof()
        if self.state is TlsState.HANDSHAKE:
            if self._incoming.eof:
                raise TlsError("the peer has left during the handshake")
            self._handshake()
        parts: list[bytes] = []
        while self.state is TlsState.OPEN:
            try:
                part = self._tls.read(TLS_READ)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                # SSLEOFError: closed without close_notify. That is fine, because frames show a truncation.
                # SSLZeroReturnError: the close_notify that answers ours.
                self.state = TlsState.CLOSED
            except ssl.SSLError as error:
                self._push_last()
                raise _explained(error) from error
            else:
                if part:
                    parts.append(part)
                else:
                    self.state = TlsState.CLOSED
        if data and self._limits is not None:
            self._count(self._limits, data, parts)
        if self._outgoing.pending:
            self._push()
        if parts:
            if self.state is TlsState.CLOSED:
                self._on_buffered()
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if self.state is TlsState.CLOSED:
            return b""
        raise BlockingIOError

    # -- sending ---------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send; return how many bytes were sent and must not be offered again.

        While encrypted bytes are unsent, the last byte does not count as sent: the caller must offer it first
        the next time. (A single byte can therefore not be sent alone, but no frame is that short.) With no
        bytes, send the rest of the previous call. BlockingIOError: the socket is still full.
        """
        if self._unsent:
            self._flush()
        size = len(data)
        if not size:
            return 0
        done = self._ahead
        if size > done and self.state is TlsState.HANDSHAKE:
            raise TlsError("the handshake was not finished")
        view: bytes | memoryview = data if size <= TLS_PIECE and not done else memoryview(data)
        while done < size:
            piece = view if size <= TLS_PIECE and not done else view[done : done + TLS_PIECE]
            try:
                self._tls.write(piece)
            except ssl.SSLError as error:
                raise _explained(error) from error
            done += len(piece)
            encrypted = self._outgoing.read()
            try:
                sent = self._sock.send(encrypted)
            except BlockingIOError:
                sent = 0
            if sent < len(encrypted):
                self._unsent = memoryview(encrypted)[sent:]
                self._ahead = 1
                return done - 1
        self._ahead = 0
        return size

    def sendmsg(self, buffers: Sequence[memoryview]) -> int:
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        """Send close_notify if the socket has room, and shut down that side of the socket."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # do not wait for the peer's close_notify
        self._push_last()
        self._sock.shutdown(how)

    # ----------------------------------------------------------------------------------------------------

    def _count(self, limits: RecordLimits, data: bytes, parts: Sequence[bytes]) -> None:
        wait = limits.count(data, parts)
        if wait is None:
            raise TlsError("too many records without data, such as key updates or padding")
        if wait:
            self._on_throttle(wait)

    def _push(self) -> None:
        """Send pending TLS messages, or call ``on_blocked``."""
        if self._outgoing.pending:
            self._unsent = b"".join((self._unsent, self._outgoing.read()))
            if len(self._unsent) > MAX_TLS_UNSENT:
                raise TlsError("the peer reads nothing")
        if self._unsent:
            try:
                self._flush()
            except BlockingIOError:
                self._on_blocked()

    def _push_last(self) -> None:
        """Send the final TLS message if the socket has room; the connection closes anyway."""
        data = self._outgoing.read()
        if data and not self._unsent:
            try:
                self._sock.send(data)
            except OSError:
                pass

    def _flush(self) -> None:
        unsent = memoryview(self._unsent)
        while unsent:
            try:
                unsent = unsent[self._sock.send(unsent) :]
            except BlockingIOError:
                self._unsent = unsent
                raise
        self._unsent = b""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the server's context for a certificate file and its key file, both PEM. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # Without a password callback, OpenSSL would prompt on the terminal and block the server.
    context.load_cert_chain(certificate, key, password=lambda: "")
    return context


def client_context() -> ssl.SSLContext:
    """Return a client's context. It verifies no certificate: the caller must check the fingerprint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _explained(error: ssl.SSLError) -> TlsError:
    """Return the error with OpenSSL's reason in lower case, such as ``wrong version number``."""
    if error.reason in _NOT_TRUSTED:
        return TlsError(NOT_TRUSTED.removeprefix("tls: "))
    return TlsError((error.reason or str(error)).replace("_", " ").lower())
