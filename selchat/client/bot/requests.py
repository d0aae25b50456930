"""Requests that wait for a response, and the matching of responses to them.

Knows nothing about how a request is sent, nor which thread waits. The server answers in order, so each
response goes to the oldest request that it matches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.client.events import ClientEvent, History, Parted, Refused, Rooms, Users
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError
from selchat.events import Topic
from selchat.limits import MAX_ABANDONED_REQUESTS
from selchat.text import escape_controls, name_key

# The types of request that these events answer.
_REQUEST_TYPES: dict[type, Collection[str]] = {
    History: {"history"},
    Users: {"users", "join"},
    Rooms: {"rooms"},
    Topic: {"topic"},
    Parted: {"part"},
}

E = TypeVar("E")


class RefusedError(RefusalError):
    """The server refuses the request. ``code`` is one of docs/protocol.rst, ``text`` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return escape_controls(self.text)  # the server's text is untrusted, and a traceback may show it


def refusal_error(refused: Refused, name: str) -> RefusalError:
    """Return the exception for a refusal; ``name`` is the one that this user signed in with."""
    if refused.code == NameTakenError.code:
        return NameTakenError(name)
    if refused.code == PasswordNeededError.code:
        return PasswordNeededError()
    if refused.code == WrongPasswordError.code:
        return WrongPasswordError()
    if refused.code == TooManyAttemptsError.code:
        return TooManyAttemptsError(refused.retry_after)
    if refused.code == BannedError.code:
        return BannedError(refused.text.partition(" until ")[2])
    return RefusedError(refused.code, refused.text)


class PendingRequest(Generic[E]):
    """One request, until it has a ``response`` or an ``error``.

    An event of the type ``kind`` is the response if it is about ``room`` (None: any room), carries the
    message ``id`` (if the request is a message), and ``matches`` agrees. ``send`` sends the request again on
    a new connection; None: the link does that.
    """

    def __init__(
        self,
        kind: type[E],
        room: str | None,
        *,
        id: str = "",
        matches: Callable[[E], bool] = lambda _: True,
    ) -> None:
        self.response: E | None = None
        self.error: SelchatError | None = None
        self.send: Callable[[], object] | None = None
        self._kind = kind
        self._room = None if room is None else name_key(room)
        self._id = id
        self._matches = matches

    @property
    def is_open(self) -> bool:
        return self.response is None and self.error is None

    def resolve(self, event: ClientEvent) -> bool:
        """Set the response if the event is one; return whether it is."""
        if not isinstance(event, self._kind) or not self._is_about(event) or not self._matches(event):
            return False
        self.response = event
        return True

    def reject(self, refused: Refused, error: RefusalError) -> bool:
        """Set the error if the refusal is for this request; return whether it is.

        A refusal that names neither a message nor a room matches any request.
        """
        if refused.to and not refused.id:
            return False
        if refused.request and refused.request not in _REQUEST_TYPES.get(self._kind, ()):
            return False
        if not self._is_about(refused) and (refused.id or refused.room or self._id):
            return False
        self.error = error
        return True

    def _is_about(self, event: Any) -> bool:
        id = getattr(event, "id", "")
        if id or self._id:
            return bool(id == self._id)
        return self._room is None or self._room == name_key(event.room)


class PendingRequests:
    """The requests that are open, oldest first."""

    def __init__(self) -> None:
        self._open: list[PendingRequest[Any]] = []
        self._abandoned: deque[PendingRequest[Any]] = deque()  # no thread waits, but a response may come

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: PendingRequest[Any]) -> None:
        self._open.append(request)

    def remove(self, request: PendingRequest[Any]) -> None:
        """Forget a request that was not sent."""
        if request in self._open:
            self._open.remove(request)

    def abandon(self, request: PendingRequest[Any]) -> None:
        """Stop waiting for a request, but keep its place: a late response must not go to a later request."""
        self._abandoned.append(request)
        if len(self._abandoned) > MAX_ABANDONED_REQUESTS:
            self.remove(self._abandoned.popleft())

    def resolve(self, event: ClientEvent) -> bool:
        """Give the event to the oldest request that it answers; return whether there is one."""
        return self._close_first(lambda request: request.resolve(event))

    def reject(self, refused: Refused, error: RefusalError) -> bool:
        """Give the error to the oldest request that the server refused; return whether there is one."""
        return self._close_first(lambda request: request.reject(refused, error))

    def resend(self) -> None:
        """Send the open requests on a new connection: their responses were lost with the old one."""
        for request in self._abandoned:
            self.remove(request)
        self._abandoned.clear()
        for request in tuple(self._open):
            if request.send is not None:
                try:
                    request.send()
                except SelchatError as error:
                    request.error = error
                    self.remove(request)

    def _close_first(self, closes: Callable[[PendingRequest[Any]], bool]) -> bool:
        for request in self._open:
            if closes(request):
                self._open.remove(request)
                return True
        return False
