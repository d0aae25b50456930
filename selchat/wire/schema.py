"""JSON Schema of the selchat protocol, for tests and for authors of clients.

The server does not validate messages against it: that would take fifty times the time of `parse_request`.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the protocol.

    ``#/$defs/client`` describes the client's messages and ``#/$defs/server`` the server's.
    """
    schema: dict[str, Any] = json.loads(files("selchat.wire").joinpath("protocol.schema.json").read_bytes())
    return schema
