"""The protocol for machines: protocol.schema.json, which lies beside this file.

Nothing here checks messages against it: that would cost fifty times what `parse_request` costs. It is for the
tests, and for whoever writes a client.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the protocol.

    ``#/$defs/client`` is what a client sends and ``#/$defs/server`` what the server sends.
    """
    schema: dict[str, Any] = json.loads(files("selchat.wire").joinpath("protocol.schema.json").read_bytes())
    return schema
