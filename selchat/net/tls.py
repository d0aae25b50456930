"""TLS between a connection and its socket, without I/O of its own but through that socket.

`TlsStream` has the socket's ``recv``, ``send``, ``sendmsg`` and ``shutdown``, so that whoever reads and sends
needs not know of it. OpenSSL sees only memory: what it wants to read while it writes, and to write while it
reads, are bytes in a buffer here, so there is no ``want-read`` on a write to be dealt with elsewhere, and a
write is never tried twice.

Nothing that came before the handshake can get into it: a stream is TLS from its first byte, or never.

TLS 1.3 alone. Without session tickets: on a LAN a handshake costs less than to keep them, and a server that
sends them to a client that never reads has its last words reset away.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from selchat.errors import NOT_TRUSTED

# Bytes that are encrypted at a time, and so the most that a full socket leaves with us; two records. A whole
# chunk would leave a copy of it with each slow reader, and a single record costs a system call per 16 KiB.
PIECE = 32 * 1024
MAX_UNSENT = 4 * PIECE  # bytes, above which a peer only makes TLS talk to itself
MAX_GREETED = 16 * 1024  # bytes of a peer's handshake; a server's with a long chain of certificates has 8 KiB
# The alerts of a peer that does not take our certificate (RFC 8446, 6.2), as OpenSSL calls them.
_NOT_TRUSTED = {"SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"}
_READ = 64 * 1024  # bytes of a read from OpenSSL, which gives one record at a time: 16 KiB


class TlsState(Enum):
    """``GREETING`` becomes ``OPEN`` when hands are shaken, and that ``ENDED`` with the peer's goodbye."""

    GREETING = auto()
    OPEN = auto()
    ENDED = auto()


class TlsError(ConnectionError):
    """What is wrong with the peer's TLS, in words: ``strerror``."""

    def __init__(self, why: str) -> None:
        super().__init__(0, f"TLS: {why}")


class Socket(Protocol):
    """What a stream needs below it, and is itself for those above."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class TlsStream:
    """A socket whose bytes are encrypted.

    ``stuck()`` is called when TLS itself has something to say that the socket does not take now: whoever is
    told sends again, no bytes if there are none, when the socket is writable. ``again()`` is called when
    something has been read that `recv` has not returned yet: it is to be called again, without waiting.

    All methods raise what the socket raises, and `TlsError`.
    """

    __slots__ = (
        "_again",
        "_ahead",
        "_greeted",
        "_incoming",
        "_outgoing",
        "_sock",
        "_stuck",
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
        stuck: Callable[[], object],
        again: Callable[[], object],
    ) -> None:
        self.state = TlsState.GREETING
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side)
        self._stuck = stuck
        self._again = again
        self._greeted = 0  # bytes of the peer's handshake
        self._unsent: bytes | memoryview = b""  # encrypted, and not taken by the socket
        # Of what a caller offers next, how many bytes are encrypted already: 1 while the last bytes of a
        # `send` are unsent, else 0. It is told then that its last byte was not taken, and so comes again.
        self._ahead = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    @property
    def unsent(self) -> int:
        """How many bytes are encrypted, and not taken by the socket."""
        return len(self._unsent)

    # -- the handshake ---------------------------------------------------------------------------------

    def begin(self, first: bytes = b"") -> None:
        """Begin the handshake; ``first`` is what the peer has sent of it."""
        self._incoming.write(first)
        self._shake_hands()

    @property
    def certificate(self) -> bytes:
        """The peer's certificate, in DER; empty: it has shown none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def _shake_hands(self) -> None:
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
        """Read up to ``size`` bytes from the socket, and return all that they decrypt to.

        Empty: the peer has ended the stream. BlockingIOError: there is nothing yet.
        """
        try:
            data = self._sock.recv(size)
        except BlockingIOError:
            if not self._incoming.pending and self.state is not TlsState.ENDED:
                raise
        else:
            if data:
                self._incoming.write(data)
                if self.state is TlsState.GREETING:
                    self._greeted += len(data)
                    if self._greeted > MAX_GREETED:
                        raise TlsError(f"a handshake of more than {MAX_GREETED} bytes")
            else:
                self._incoming.write_eof()
        if self.state is TlsState.GREETING:
            if self._incoming.eof:
                raise TlsError("the peer has left during the handshake")
            self._shake_hands()
        parts: list[bytes] = []
        while self.state is TlsState.OPEN:
            try:
                part = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                # The first: closed without a goodbye, which is as good as one, as frames tell when one of
                # them is cut. The second: the goodbye that answers our own.
                self.state = TlsState.ENDED
            except ssl.SSLError as error:
                self._push_last()
                raise _explained(error) from error
            else:
                if part:
                    parts.append(part)
                else:
                    self.state = TlsState.ENDED
        if self._outgoing.pending:
            self._push()
        if parts:
            if self.state is TlsState.ENDED:
                self._again()
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if self.state is TlsState.ENDED:
            return b""
        raise BlockingIOError

    # -- sending ---------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and send; return how many bytes were taken, and are not to be offered again.

        As long as anything of them is unsent, the last byte does not count as taken: it has to come first the
        next time. (So one byte alone cannot be offered, but then no message is as short.) No bytes: send what
        is left of before. BlockingIOError: it is still left.
        """
        if self._unsent:
            self._flush()
        size = len(data)
        if not size:
            return 0
        done = self._ahead
        if size > done and self.state is TlsState.GREETING:
            raise TlsError("the handshake was not finished")
        view: bytes | memoryview = data if size <= PIECE and not done else memoryview(data)
        while done < size:
            piece = view if size <= PIECE and not done else view[done : done + PIECE]
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
        """Say goodbye, if the socket takes it, and shut down that side of it."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # the peer's goodbye is not waited for
        self._push_last()
        self._sock.shutdown(how)

    # ----------------------------------------------------------------------------------------------------

    def _push(self) -> None:
        """Send what TLS itself has to say, or tell that it is stuck."""
        if self._outgoing.pending:
            self._unsent = b"".join((self._unsent, self._outgoing.read()))
            if len(self._unsent) > MAX_UNSENT:
                raise TlsError("the peer reads nothing")
        if self._unsent:
            try:
                self._flush()
            except BlockingIOError:
                self._stuck()

    def _push_last(self) -> None:
        """Send it if that can be done at once, before the end."""
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
    """Return what a server needs: files of a certificate and of its key, PEM. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # Without a password of our own, OpenSSL would ask for one on the terminal, and hold everyone up.
    context.load_cert_chain(certificate, key, password=lambda: "")
    return context


def client_context() -> ssl.SSLContext:
    """Return what a client needs that knows its server by the key alone: it has to look at that itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _explained(error: ssl.SSLError) -> TlsError:
    """Return the error in words: OpenSSL's own, ``WRONG_VERSION_NUMBER`` for one."""
    if error.reason in _NOT_TRUSTED:
        return TlsError(NOT_TRUSTED.removeprefix("tls: "))
    return TlsError((error.reason or str(error)).replace("_", " ").lower())
