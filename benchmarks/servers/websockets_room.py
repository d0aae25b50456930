"""A chat of one room on the ``websockets`` library, that tells everyone with its ``broadcast(...)``.

As much of selchat's selchat protocol as a load needs: a welcome for a hello, and for what is said a number, a
``said`` for everyone else and an ``ack`` for who has said it. It keeps nothing, limits nothing and checks
nothing. No compression, no pings.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import time
from typing import Any

# Any: the library is optional, and its types would be missing where it is.
server_module: Any = importlib.import_module("websockets.asyncio.server")
members: set[Any] = set()
numbers = itertools.count(1)  # of what is said


def written(**words: object) -> str:
    """Return the message with these fields."""
    return json.dumps(words, separators=(",", ":"), ensure_ascii=False)


async def chat(connection: Any) -> None:
    """Serve one client."""
    name = json.loads(await connection.recv())["name"]
    await connection.send(written(type="welcome", version=1, name=name))
    members.add(connection)
    try:
        async for message in connection:
            words = json.loads(message)
            if words["type"] != "say":
                continue
            room, id, seq, at = words["room"], words["id"], next(numbers), round(time.time(), 3)
            text = written(
                **{"type": "said", "room": room, "from": name, "seq": seq, "at": at},
                **{"id": id, "body": words["body"]},
            )
            server_module.broadcast(members - {connection}, text)
            await connection.send(written(type="ack", room=room, id=id, seq=seq, at=at))
    finally:
        members.discard(connection)


async def main() -> None:
    """Serve for ever."""
    async with server_module.serve(
        chat, "127.0.0.1", 0, backlog=4096, compression=None, ping_interval=None, max_queue=4096
    ) as server:
        print(f"Listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
