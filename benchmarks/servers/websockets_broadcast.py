"""A broadcast server on the ``websockets`` library, with its ``broadcast()``, as documented.

The load does not offer compression. Keepalive pings are off, as in every other server here.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

# Any: the library is optional, and so are its types.
server_module: Any = importlib.import_module("websockets.asyncio.server")
connections: set[Any] = set()


async def chat(connection: Any) -> None:
    """Serve one client."""
    connections.add(connection)
    try:
        async for message in connection:
            server_module.broadcast([other for other in connections if other is not connection], message)
    finally:
        connections.discard(connection)


async def main() -> None:
    """Serve forever."""
    async with server_module.serve(
        chat, "127.0.0.1", 0, backlog=4096, ping_interval=None, max_queue=4096
    ) as server:
        print(f"Listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
