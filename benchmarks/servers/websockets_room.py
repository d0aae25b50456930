"""A chat server with one room on the ``websockets`` library and its ``broadcast()``.

It implements the part of the selchat protocol that a load needs: it answers a hello with a welcome, numbers
each message, sends a ``said`` to all other clients, and an ``ack`` to the author. It has no history, no
limits and no checks, no compression and no pings.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import time
from typing import Any

# Any: the library is optional, and so are its types.
server_module: Any = importlib.import_module("websockets.asyncio.server")
members: set[Any] = set()
numbers = itertools.count(1)  # seq of the messages


def to_json(**fields: object) -> str:
    """Return the message with these fields."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


async def chat(connection: Any) -> None:
    """Serve one client."""
    name = json.loads(await connection.recv())["name"]
    await connection.send(to_json(type="welcome", version=1, name=name))
    members.add(connection)
    try:
        async for message in connection:
            fields = json.loads(message)
            if fields["type"] != "say":
                continue
            room, id, seq, at = fields["room"], fields["id"], next(numbers), round(time.time(), 3)
            text = to_json(
                **{"type": "said", "room": room, "from": name, "seq": seq, "at": at},
                **{"id": id, "body": fields["body"]},
            )
            server_module.broadcast(members - {connection}, text)
            await connection.send(to_json(type="ack", room=room, id=id, seq=seq, at=at))
    finally:
        members.discard(connection)


async def main() -> None:
    """Serve forever."""
    async with server_module.serve(
        chat, "127.0.0.1", 0, backlog=4096, compression=None, ping_interval=None, max_queue=4096
    ) as server:
        print(f"Listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
