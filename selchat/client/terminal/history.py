"""What is asked of rooms' pasts, and what is shown of the answers.

The wire does not say which question a ``history`` answers. The answers about one room come in the order of
the questions, and that is what is remembered here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.client.events import History, Message
from selchat.client.terminal import style as look
from selchat.client.terminal.style import Line
from selchat.text import name_key

SHOWN_ON_ENTERING = 20  # messages
_PAGE = 1000  # messages asked for at a time; docs/protocol.rst allows no more
_SEARCHED = 5000  # messages that a search looks at
_MAX_FOUND = 200  # messages that are shown


class Entering(NamedTuple):
    """Someone has come into the room and sees what was said last."""


class Asked(NamedTuple):
    """Someone has asked for it."""


class Search(NamedTuple):
    """The search for ``words`` is under way: what was ``found``, newest first, among how many."""

    words: str
    found: list[Message]
    searched: int


class Past:
    """Asks a link, and calls ``show`` for each line; ``form`` makes one of a message."""

    def __init__(self, link: Link, show: Callable[[Line], object], form: Callable[[Message], Line]) -> None:
        self._link = link
        self._show = show
        self._form = form
        self._questions: dict[str, deque[Entering | Asked | Search]] = {}  # by key of the room

    def enter(self, room: str, seq: int) -> None:
        """Ask for what was said last, up to ``seq``: what is said from now on comes by itself."""
        self._ask(room, Entering(), SHOWN_ON_ENTERING, before=seq + 1)

    def ask(self, room: str, count: int) -> None:
        """Ask for the last ``count`` messages. Raises `SelchatError`, as the others here do."""
        self._ask(room, Asked(), min(count, _PAGE))

    def search(self, room: str, words: str) -> None:
        """Ask for the messages that have these words in them."""
        self._ask(room, Search(words, [], 0), _PAGE)

    def take(self, history: History) -> Entering | Asked | Search:
        """Show an answer, or ask on, and return what it was the answer to."""
        questions = self._questions.get(name_key(history.room))
        question = questions.popleft() if questions else Asked()
        if isinstance(question, Search):
            self._go_on(question, history)
            return question
        for message in history.messages:
            self._show(look.dimmed(self._form(message)))
        if isinstance(question, Asked) and not history.messages:
            self._show(look.plain(f"Nothing has been said in {lines.safe(history.room)}"))
        return question

    def forget(self, room: str) -> None:
        """Expect no more answers about that room."""
        self._questions.pop(name_key(room), None)

    def clear(self) -> None:
        """Expect no more answers."""
        self._questions.clear()

    # ----------------------------------------------------------------------------------------------------

    def _ask(
        self, room: str, question: Entering | Asked | Search, limit: int, before: int | None = None
    ) -> None:
        self._link.get_history(room, limit, before=before)
        self._questions.setdefault(name_key(room), deque()).append(question)

    def _go_on(self, search: Search, history: History) -> None:
        found = [message for message in reversed(history.messages) if lines.has_words(message, search.words)]
        search = Search(search.words, search.found + found, search.searched + len(history.messages))
        enough = search.searched >= _SEARCHED or len(search.found) >= _MAX_FOUND
        if history.more and history.messages and not enough:
            self._ask(history.room, search, _PAGE, before=history.messages[0].seq)
            return
        shown = search.found[_MAX_FOUND - 1 :: -1]
        for message in shown:
            self._show(self._form(message))
        self._show(look.plain(lines.found(shown, search.words, search.searched, history.room)[-1]))
