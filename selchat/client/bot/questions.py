"""What a bot has asked and is waiting for, and what comes as the answer.

It must not know how a question is sent, nor who waits. Answers come in the order of the questions, so each
goes to the oldest question that it fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.client.events import Event, Refused
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError
from selchat.text import escape_controls, name_key

_MAX_ABANDONED = 100  # questions that a server may leave unanswered before the oldest is forgotten

E = TypeVar("E")


class RefusedError(RefusalError):
    """The server does not do that. ``code`` is one of docs/protocol.rst, ``text`` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return escape_controls(self.text)  # it is a stranger's, and may end on a terminal in a traceback


def refusal_error(refused: Refused, name: str) -> RefusalError:
    """Return the error to be raised for a refusal; ``name`` is the one that was asked for."""
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


class Question(Generic[E]):
    """One question: its ``answer``, or the ``error`` that came for it; neither: it is open.

    ``kind`` is the event that answers it, in that ``room`` (of any, if it is None), if ``fits`` says so, and
    for what was said with that ``id``. ``ask`` is to be set to what asks it again on another connection, if
    that has to be.
    """

    def __init__(
        self,
        kind: type[E],
        room: str | None,
        *,
        id: str = "",
        fits: Callable[[E], bool] = lambda _: True,
    ) -> None:
        self.answer: E | None = None
        self.error: SelchatError | None = None
        self.ask: Callable[[], object] | None = None
        self._kind = kind
        self._room = None if room is None else name_key(room)
        self._id = id
        self._fits = fits

    @property
    def is_open(self) -> bool:
        return self.answer is None and self.error is None

    def take(self, event: Event) -> bool:
        """Take the event, if it is the answer; return whether it is."""
        if not isinstance(event, self._kind) or not self._is_about(event) or not self._fits(event):
            return False
        self.answer = event
        return True

    def take_refusal(self, refused: Refused, error: RefusalError) -> bool:
        """The same for a refusal. One that does not say what it is about is an answer to any question."""
        if refused.to and not refused.id:
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


class Questions:
    """The open ones, oldest first."""

    def __init__(self) -> None:
        self._open: list[Question[Any]] = []
        self._abandoned: deque[Question[Any]] = deque()  # nobody waits, but the answer may still come

    def __len__(self) -> int:
        return len(self._open)

    def add(self, question: Question[Any]) -> None:
        self._open.append(question)

    def remove(self, question: Question[Any]) -> None:
        """Forget a question that was not asked."""
        if question in self._open:
            self._open.remove(question)

    def abandon(self, question: Question[Any]) -> None:
        """Wait no more for it. Its answer, should it still come, is not taken for that of a later one."""
        self._abandoned.append(question)
        if len(self._abandoned) > _MAX_ABANDONED:
            self.remove(self._abandoned.popleft())

    def take(self, event: Event) -> bool:
        """Give the event to the question that it answers; return whether there is one."""
        return self._settle(lambda question: question.take(event))

    def take_refusal(self, refused: Refused, error: RefusalError) -> bool:
        """The same for a refusal."""
        return self._settle(lambda question: question.take_refusal(refused, error))

    def ask_again(self) -> None:
        """Ask what has to be asked on a new connection, as the old one has taken the answers with it."""
        for question in self._abandoned:
            self.remove(question)
        self._abandoned.clear()
        for question in tuple(self._open):
            if question.ask is not None:
                try:
                    question.ask()
                except SelchatError as error:
                    question.error = error
                    self.remove(question)

    def _settle(self, takes: Callable[[Question[Any]], bool]) -> bool:
        for question in self._open:
            if takes(question):
                self._open.remove(question)
                return True
        return False
