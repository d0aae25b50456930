"""A plain, well-written broadcast server on asyncio, for the classic protocol.

Usage: asyncio_broadcast.py [--uvloop] [--batch]

It is a protocol, because streams cost a task for each client. It encodes a message once and calls ``write``
once for every client. ``--batch`` joins the messages of one read into one write: the half of selchat's idea
that fits into a dozen lines.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import cast

HEADER_LENGTH = 10
BATCH = "--batch" in sys.argv
transports: set[asyncio.Transport] = set()


class Chat(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self._buffer = b""
        self._name = b""  # the whole frame of its name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are no subclass of this. Both loops set TCP_NODELAY themselves.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        messages = []
        start, available = 0, len(buffer)
        while start + HEADER_LENGTH <= available:
            end = start + HEADER_LENGTH + int(buffer[start : start + HEADER_LENGTH])
            if end > available:
                break
            frame = buffer[start:end]
            start = end
            if self._name:
                messages.append(self._name + frame)
            else:
                self._name = frame
                transports.add(self._transport)
        self._buffer = buffer[start:]
        for message in [b"".join(messages)] if BATCH and messages else messages:
            for transport in transports:
                if transport is not self._transport:
                    transport.write(message)


async def main() -> None:
    """Serve forever."""
    server = await asyncio.get_running_loop().create_server(Chat, "127.0.0.1", 0, backlog=4096)
    print(f"Listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if "--uvloop" in sys.argv:
    # Any: uvloop is optional, and so are its types.
    importlib.import_module("uvloop").run(main())
else:
    asyncio.run(main())
