"""Requests for the history of rooms, and how the terminal shows the answers."""

from __future__ import annotations

from collections.abc import Callable

from selchat.client import lines
from selchat.client.commands import Search, Trigger
from selchat.client.connection.link import Link
from selchat.client.events import History, Message, Refused
from selchat.client.terminal import style
from selchat.client.terminal.style import Line
from selchat.limits import HISTORY_LIMIT, SHOWN_ON_JOIN


class HistoryView:
    """Request history from a link, and call ``show`` for each line; ``format`` makes the line of a message.

    All requests raise `SelchatError` if the link cannot send them.
    """

    def __init__(self, link: Link, show: Callable[[Line], object], format: Callable[[Message], Line]) -> None:
        self._link = link
        self._show = show
        self._format = format

    def join(self, room: str, seq: int) -> None:
        """Request the last messages up to ``seq``; newer ones arrive as ordinary messages."""
        self._link.get_history(room, SHOWN_ON_JOIN, before=seq + 1, tag=Trigger.JOIN)

    def show_last(self, room: str, count: int) -> None:
        """Request the last ``count`` messages."""
        self._link.get_history(room, min(count, HISTORY_LIMIT), tag=Trigger.COMMAND)

    def search(self, room: str, words: str) -> None:
        """Request the messages that contain these words."""
        self._link.get_history(room, HISTORY_LIMIT, tag=Search(words))

    def receive(self, history: History) -> None:
        """Show an answer, or request the next page of a search."""
        if isinstance(history.tag, Search):
            self._continue(history.tag.add(history), history)
            return
        for message in history.messages:
            self._show(style.dimmed(self._format(message)))
        if history.tag is not Trigger.JOIN and not history.messages:
            self._show(style.plain(lines.no_messages(history.room)))

    def receive_refusal(self, refused: Refused) -> None:
        """Show what a search has found, if the server refuses the next page."""
        if isinstance(refused.tag, Search) and refused.tag.searched:
            self._show_results(refused.tag, refused.room)

    # ----------------------------------------------------------------------------------------------------

    def _continue(self, search: Search, history: History) -> None:
        before = search.next_before(history)
        if before is not None:
            self._link.get_history(history.room, HISTORY_LIMIT, before=before, tag=search)
        else:
            self._show_results(search, history.room)

    def _show_results(self, search: Search, room: str) -> None:
        for message in search.results():
            self._show(self._format(message))
        self._show(style.plain(search.lines(room)[-1]))
