"""A TLS 1.3 client that sends records of its own making: key updates, empty and padded ones.

Python's ``ssl`` makes the handshake and logs the traffic secret; this module derives the keys from it and
encrypts the records that come after (RFC 8446, sections 5 and 7).
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from selchat.net.tls import client_context

ALERT, HANDSHAKE, DATA = 21, 22, 23  # types of records
MAX_RECORD = 16 * 1024

_SUITES = {
    "TLS_AES_256_GCM_SHA384": ("sha384", AESGCM, 32),
    "TLS_AES_128_GCM_SHA256": ("sha256", AESGCM, 16),
    "TLS_CHACHA20_POLY1305_SHA256": ("sha256", ChaCha20Poly1305, 32),
}


class RecordClient:
    """The sending side of a client.

    Pass `hello` to the server, its answer to `finish`, and then any records. ``key_log``: a new file.
    """

    def __init__(self, key_log: Path) -> None:
        context = client_context()
        context.keylog_filename = str(key_log)
        self._context = context
        self._key_log = key_log
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._secret = b""
        self._sequence = 0

    def hello(self) -> bytes:
        """Return the first part of the handshake."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def finish(self, answer: bytes) -> bytes:
        """Return the second part of the handshake. Raises `ssl.SSLWantReadError` if ``answer`` is a part."""
        self._incoming.write(answer)
        self._tls.do_handshake()
        for line in self._key_log.read_text().splitlines():
            if line.startswith("CLIENT_TRAFFIC_SECRET_0 "):
                self._secret = bytes.fromhex(line.split()[2])
        self._context.keylog_filename = None  # type: ignore[assignment] # closes the file
        cipher = self._tls.cipher()
        assert cipher is not None
        self._hash, self._aead, self._key_size = _SUITES[cipher[0]]
        return self._outgoing.read()

    def data(self, data: bytes, padding: int = 0) -> bytes:
        """Return a record with data, and zeros after it."""
        return self._record(DATA, data + bytes([DATA]) + bytes(padding))

    def alert(self) -> bytes:
        """Return the warning ``user_canceled``, which most receivers ignore."""
        return self._record(ALERT, bytes([1, 90, ALERT]))

    def key_update(self, *, requested: bool = False) -> bytes:
        """Return a key update, and use the next key from then on."""
        record = self._record(HANDSHAKE, bytes([24, 0, 0, 1, requested, HANDSHAKE]))
        self._secret = self._expand(b"traffic upd", hashlib.new(self._hash).digest_size)
        self._sequence = 0
        return record

    def _record(self, _type: int, inner: bytes) -> bytes:
        header = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        nonce = int.from_bytes(self._expand(b"iv", 12)) ^ self._sequence
        self._sequence += 1
        key = self._aead(self._expand(b"key", self._key_size))
        return header + key.encrypt(nonce.to_bytes(12), inner, header)

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context; one block is enough for all our sizes."""
        label = b"tls13 " + label
        info = struct.pack("!HB", size, len(label)) + label + b"\0"
        return hmac.new(self._secret, info + b"\1", self._hash).digest()[:size]
