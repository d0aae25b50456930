"""A person or program that is signed in."""

from __future__ import annotations

from typing import Any

from selchat.addresses import host_of
from selchat.chat.peer import Peer
from selchat.chat.room import Room
from selchat.feed import Subscription


class Member:
    """A person or program that is signed in under ``name``.

    ``address`` is the peer's address as ``host:port``, for the operator only. ``client_id`` is the hash of
    the secret that proves ownership of the name; None: the member's protocol has no secrets. ``rooms`` maps
    each joined room to the member's subscription; None: the session still replays the room's history.
    """

    __slots__ = ("address", "client_id", "name", "peer", "rooms")

    def __init__(self, name: str, address: str, peer: Peer, client_id: bytes | None = None) -> None:
        self.name = name
        self.address = address
        self.peer = peer
        self.client_id = client_id
        self.rooms: dict[Room, Subscription[Any] | None] = {}

    @property
    def host(self) -> str:
        """The address without the port."""
        return host_of(self.address)
