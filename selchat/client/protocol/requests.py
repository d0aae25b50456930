"""Requests without an id, matched to their answers and refusals.

The server handles the requests of a connection in order, so an answer or an error belongs to the oldest
request that can have it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from selchat.client.protocol.fields import Fields
from selchat.client.protocol.rooms import UsersReason
from selchat.limits import MAX_UNANSWERED_REQUESTS
from selchat.text import name_key

# The types of request that the server can refuse with a code. Other codes say nothing about the type.
_REFUSED_TYPES: dict[str, Collection[str]] = {
    "muted": {"topic"},
    "not-stored": {"topic", "join"},
    "not-readable": {"history", "join"},
    "too-many-rooms": {"join"},
    "bad-room": {"join", "part", "users", "topic", "history"},
}


class ClientRequest(NamedTuple):
    """The ``fields`` of a request. ``reason`` for the requests that ``users`` answers.

    ``tag`` is the caller's. With a tag, somebody waits for the answer, so the client sends the request again
    after a lost connection.
    """

    fields: Fields
    reason: UsersReason | None = None
    tag: object = None

    @property
    def kind(self) -> str:
        return str(self.fields["type"])

    @property
    def room_key(self) -> str:
        return name_key(self.fields.get("room", ""))


class SentRequests:
    """The requests of this connection that have no answer yet, oldest first."""

    def __init__(self) -> None:
        self._requests: deque[ClientRequest] = deque(maxlen=MAX_UNANSWERED_REQUESTS)

    @property
    def tagged(self) -> int:
        """The number of requests with a tag."""
        return sum(request.tag is not None for request in self._requests)

    def add(self, request: ClientRequest) -> None:
        self._requests.append(request)

    def answer(self, kinds: Collection[str], room: str = "") -> object:
        """Remove the oldest request of these types for that room, and return its tag."""
        request = self._take(kinds, name_key(room))
        return None if request is None else request.tag

    def refuse(self, code: str, room: str) -> ClientRequest | None:
        """Remove and return the oldest request that the server can have refused with this code."""
        if code == "bad-message" and not room:
            topics = [request for request in self._requests if request.kind == "topic"]
            return self._take({"topic"}, topics[0].room_key) if topics else None
        kinds = _REFUSED_TYPES.get(code) or {request.kind for request in self._requests}
        return self._take(kinds, name_key(room))

    def take_tagged(self) -> list[ClientRequest]:
        """Forget all requests, because the connection is lost; return those to send again."""
        requests = [request for request in self._requests if request.tag is not None]
        self._requests.clear()
        return requests

    def _take(self, kinds: Collection[str], key: str) -> ClientRequest | None:
        found = next((one for one in self._requests if one.kind in kinds and one.room_key == key), None)
        if found is None:
            return None
        # The server would have refused an earlier topic before it answered this request. It announces a topic
        # to the whole room, which a slow reader may not get.
        done = [found]
        for request in self._requests:
            if request is found:
                break
            if request.kind == "topic":
                done.append(request)
        for request in done:
            self._requests.remove(request)
        return found
