"""Keys from the passphrase, without holding up the reactor.

Each takes a tenth of a second, or a whole one on a small machine, and someone may be in a hundred rooms.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from selchat.net.reactor import Reactor
from selchat.wire.e2ee import room_key


class Deriver:
    """Derives one key after the other in threads, and calls ``on_key(salt, key)`` in the reactor's ticks."""

    def __init__(self, reactor: Reactor, passphrase: str, on_key: Callable[[bytes, bytes], object]) -> None:
        self._reactor = reactor
        self._passphrase = passphrase
        self._on_key = on_key
        self._wanted: deque[bytes] = deque()  # of which the first is being derived
        self._closed = False

    def derive(self, salt: bytes) -> None:
        """Begin with it, or put it behind those that are wanted already."""
        self._wanted.append(salt)
        if len(self._wanted) == 1:
            self._start()

    def close(self) -> None:
        """Call nobody any more. A key that is being derived is thrown away."""
        self._closed = True
        self._wanted.clear()

    def _start(self) -> None:
        threading.Thread(target=self._run, args=(self._wanted[0],), name="key", daemon=True).start()

    def _run(self, salt: bytes) -> None:
        try:
            key = room_key(self._passphrase, salt)  # lets other threads run meanwhile
        except Exception as error:  # for want of memory, mostly
            self._reactor.call_soon(self._failed, error)
        else:
            self._reactor.call_soon(self._derived, salt, key)

    def _derived(self, salt: bytes, key: bytes) -> None:
        if self._closed:
            return
        self._wanted.popleft()
        if self._wanted:
            self._start()
        self._on_key(salt, key)

    def _failed(self, error: Exception) -> None:
        if not self._closed:
            raise error  # to whoever runs the reactor
