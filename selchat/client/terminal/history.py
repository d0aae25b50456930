"""Requests for the history of rooms, and how the terminal shows the answers.

A ``history`` on the wire does not say which request it answers. The answers for one room arrive in the order
of the requests, so this module keeps the requests of each room in a queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from selchat.client import lines
from selchat.client.commands import PAGE_SIZE, Search
from selchat.client.connection.link import Link
from selchat.client.events import History, Message
from selchat.client.terminal import style
from selchat.client.terminal.style import Line
from selchat.text import name_key

SHOWN_ON_JOIN = 20  # messages


class Trigger(Enum):
    """The reason for a request without search words."""

    JOIN = auto()  # the user has joined the room
    COMMAND = auto()  # the user has typed /history


HistoryRequest = Trigger | Search


class HistoryView:
    """Request history from a link, and call ``show`` for each line; ``format`` makes the line of a message.

    All requests raise `SelchatError` if the link cannot send them.
    """

    def __init__(self, link: Link, show: Callable[[Line], object], format: Callable[[Message], Line]) -> None:
        self._link = link
        self._show = show
        self._format = format
        self._requests: dict[str, deque[HistoryRequest]] = {}  # by key of the room

    def join(self, room: str, seq: int) -> None:
        """Request the last messages up to ``seq``; newer ones arrive as ordinary messages."""
        self._request(room, Trigger.JOIN, SHOWN_ON_JOIN, before=seq + 1)

    def show_last(self, room: str, count: int) -> None:
        """Request the last ``count`` messages."""
        self._request(room, Trigger.COMMAND, min(count, PAGE_SIZE))

    def search(self, room: str, words: str) -> None:
        """Request the messages that contain these words."""
        self._request(room, Search(words), PAGE_SIZE)

    def receive(self, history: History) -> HistoryRequest:
        """Show an answer, or request the next page of a search; return the request that it answers."""
        requests = self._requests.get(name_key(history.room))
        request = requests.popleft() if requests else Trigger.COMMAND
        if isinstance(request, Search):
            self._continue(request.add(history), history)
            return request
        for message in history.messages:
            self._show(style.dimmed(self._format(message)))
        if request is Trigger.COMMAND and not history.messages:
            self._show(style.plain(lines.no_messages(history.room)))
        return request

    def forget(self, room: str) -> None:
        """Expect no more answers for that room."""
        self._requests.pop(name_key(room), None)

    def clear(self) -> None:
        """Expect no more answers."""
        self._requests.clear()

    # ----------------------------------------------------------------------------------------------------

    def _request(self, room: str, request: HistoryRequest, limit: int, before: int | None = None) -> None:
        self._link.get_history(room, limit, before=before)
        self._requests.setdefault(name_key(room), deque()).append(request)

    def _continue(self, search: Search, history: History) -> None:
        before = search.next_before(history)
        if before is not None:
            self._request(history.room, search, PAGE_SIZE, before=before)
            return
        results = search.results()
        for message in results:
            self._show(self._format(message))
        self._show(style.plain(lines.found(results, search.words, search.searched, history.room)[-1]))
