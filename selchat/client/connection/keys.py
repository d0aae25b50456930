"""Key derivation from the passphrase, in threads.

One key takes a tenth of a second, or a whole one on a small machine, and a user may be in a hundred rooms.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from selchat.net.reactor import Reactor
from selchat.wire.e2ee import room_key


class KeyDeriver:
    """Derives one key at a time, in threads, and calls ``on_key(salt, key)`` in the reactor's thread."""

    def __init__(self, reactor: Reactor, passphrase: str, on_key: Callable[[bytes, bytes], object]) -> None:
        self._reactor = reactor
        self._passphrase = passphrase
        self._on_key = on_key
        self._queue: deque[bytes] = deque()  # salts; a thread derives the key of the first
        self._closed = False

    def derive(self, salt: bytes) -> None:
        """Queue a salt, and derive its key after the earlier ones."""
        self._queue.append(salt)
        if len(self._queue) == 1:
            self._start()

    def close(self) -> None:
        """Stop, and call nobody; discard the key that a thread is deriving."""
        self._closed = True
        self._queue.clear()

    def _start(self) -> None:
        threading.Thread(target=self._run, args=(self._queue[0],), name="key", daemon=True).start()

    def _run(self, salt: bytes) -> None:
        try:
            key = room_key(self._passphrase, salt)  # releases the GIL
        except Exception as error:  # usually out of memory
            self._reactor.call_soon(self._on_failed, error)
        else:
            self._reactor.call_soon(self._on_derived, salt, key)

    def _on_derived(self, salt: bytes, key: bytes) -> None:
        if self._closed:
            return
        self._queue.popleft()
        if self._queue:
            self._start()
        self._on_key(salt, key)

    def _on_failed(self, error: Exception) -> None:
        if not self._closed:
            raise error  # to the reactor's error handler
