"""A link for those who wait: each call returns when the server has answered, in whichever thread it was made.

It must not know of callbacks or loops, nor how a bot is written: that is `selchat.client.bot.client`. What the link
tells is sorted by `selchat.client.bot.reception`; who runs the reactor meanwhile is the business of
`selchat.client.bot.driving`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from selchat.client.bot.driving import ReactorLock
from selchat.client.bot.inbox import Connected, Event, Inbox
from selchat.client.bot.questions import Question
from selchat.client.bot.reception import BotInterface, Standing
from selchat.client.connection.link import CannotConnectError, Link, LinkState, Wire
from selchat.client.events import Acked, History, Message, Users
from selchat.client.protocol.conversation import UnsupportedError
from selchat.config.settings import ClientSettings
from selchat.errors import LimitError, RefusalError, UsageError
from selchat.events import LOBBY
from selchat.net.reactor import Reactor
from selchat.text import name_key

_HIGH_WATER = 1024 * 1024  # bytes that were said and are not acknowledged, above which to say more waits
_ENOUGH = 1000  # events in the inbox, above which the server is left to wait
_PAUSE = 0.05  # seconds between two looks at the connection while there are events to be handed out
_LONG_PAUSE = 1.0  # the same while there are enough of them
_GRACE = 1.0  # seconds by which the link may be late with its own deadline

E = TypeVar("E")
Act = Callable[[Link], object]


class NoAnswerError(LimitError):
    """``limit`` in seconds. What was asked for may be done all the same."""

    template = "no answer within {limit} s"


class StoppedError(UsageError):
    def __str__(self) -> str:
        return "it was stopped meanwhile"


class BlockingLink:
    """One user's link to one server. Raises what `Link` does.

    ``own``: whether what this user says is told too. ``timeout`` in seconds is for each call that
    waits for the server. ``stopped`` says whether to wait no more for events.

    Calls raise `DisconnectedError` when the link is over for good, and `StoppedError` when it was closed.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        own: bool,
        reconnect: bool,
        timeout: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        reactor = Reactor(_raise)
        self._driver = ReactorLock(reactor)
        self._inbox = Inbox()
        self._reception = BotInterface(self._inbox, settings.name, own=own, reconnect=reconnect)
        self._settings = settings
        self._own = own
        self._timeout = timeout
        self._stopped = stopped
        try:
            self._link = Link(reactor, settings, self._reception, reconnect=reconnect, members=True)
        except BaseException:
            self._driver.close()
            raise
        self._reception.attach(self._link)

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        return self._link.state is LinkState.ONLINE

    @property
    def name(self) -> str:
        return self._link.name

    def names(self, room: str) -> tuple[str, ...]:
        with self._driver:
            if self._link.wire is Wire.CLASSIC:
                return self._link.names if room == LOBBY else ()
            known = self._link.room(room)
            return () if known is None else known.members

    def topic(self, room: str) -> str:
        return self._link.topic(room)

    # -- coming and going ------------------------------------------------------------------------------

    def enter(self, rooms: tuple[str, ...], history: int) -> None:
        """Connect, and be in exactly these rooms; the last ``history`` messages of each are the first events.

        Raises `CannotConnectError`, `RefusalError`, `NoAnswerError`, `StoppedError`, and
        `UnsupportedError` for rooms on the paper's wire, which has no history either. It is over then.
        """
        link, reception = self._link, self._reception
        joins = [_entering(room) for room in rooms if room != LOBBY]
        with self._driver:
            for room in rooms:
                if room != LOBBY:
                    link.join(room)
            for join in joins:
                reception.questions.add(join)
            if LOBBY not in rooms:
                link.part(LOBBY)
            link.open()

        def is_in() -> bool:
            if reception.standing is Standing.AWAITED:
                return False
            if link.wire is Wire.CLASSIC or any(join.error for join in joins):
                return True
            known = filter(None, map(link.room, rooms))
            # The members come soon after: whoever is in a room is one of them.
            return not any(join.is_open for join in joins) and all(room.members for room in known)

        self._driver.until(
            lambda: self._stopped() or self._is_over or is_in(), time.monotonic() + self._timeout
        )
        if self._stopped():
            raise StoppedError
        if not is_in() or self._is_over:
            raise self._why_not_in()
        if link.wire is Wire.CLASSIC:
            if rooms != (LOBBY,):
                raise UnsupportedError("rooms")
            with self._driver:
                self._driver.tick()  # nobody is waited for on that wire, and the name is still to be written
            return
        for join in joins:
            if join.error is not None:
                raise join.error
        if history:
            self._put_history_first(rooms, history)

    def close(self, seconds: float | None = None) -> None:
        """Wait until all that was said is with the server, and disconnect.

        Or until nothing of it got there for ``finish_seconds``, or for so long.

        Raises `DisconnectedError` if something may not be there, unless the link was over before.
        """
        link, reception = self._link, self._reception
        try:
            if self._is_over:
                return  # whoever has met that knows why
            with self._driver:
                if link.queued or self.is_online:
                    link.finish()
                else:
                    reception.finished(None)
            if seconds is None:
                seconds = self._settings.finish_seconds + _GRACE  # the link itself says then what is missing
            queued = link.queued + 1
            while not self._is_over and link.queued < queued:  # it is getting across
                queued = link.queued
                self._driver.until(lambda: self._is_over, time.monotonic() + seconds)
            if reception.problem is not None:
                raise reception.problem
        finally:
            self.abort()

    def abort(self) -> None:
        """Give everything back at once."""
        with self._driver:
            self._reception.finished(None)
            self._link.close()
        self._driver.close()

    def wake(self) -> None:
        """Have those who wait for events see that it was stopped. Safe everywhere, in signal handlers too."""
        self._driver.wake()

    # -- talking ---------------------------------------------------------------------------------------

    def send(self, say: Callable[[Link], str], *, wait: bool) -> str:
        """Have something said, and return its id; ``wait``: when the server has it.

        Waits while too much is on its way. Raises what ``say`` does; waiting, also `RefusalError`,
        `NoAnswerError`.
        """
        link = self._link
        if link.queued > _HIGH_WATER:
            self._driver.until(
                lambda: link.queued <= _HIGH_WATER or self._is_over, time.monotonic() + self._timeout
            )
        with self._driver:
            self._check()
            id = say(link)
            question = Question(Acked, None, id=id)
            if wait and id:
                self._reception.questions.add(question)
            self._push()
        if wait and id:
            self._answer(question)
        elif wait:
            self._wait(lambda: not link.queued, self._timeout)  # the paper's wire has no ids
        return id

    def flush(self, timeout: float | None) -> None:
        """Wait until all that was said is with the server; raise the first refusal since the last time."""
        self._wait(lambda: not self._link.queued, self._timeout if timeout is None else timeout)
        with self._driver:
            error, self._reception.refusal = self._reception.refusal, None
        if error is not None:
            raise error

    # -- asking ----------------------------------------------------------------------------------------

    def ask(self, question: Question[E], act: Act) -> E:
        """Return the answer to a question, which ``act`` asks; after a break, once more.

        Raises what ``act`` does, `RefusalError` and `NoAnswerError`.
        """
        return self._ask(question, act, at_once=False)

    def join(self, room: str) -> None:
        if self._link.wire is Wire.CLASSIC:
            self._link.join(room)  # the lobby, or it raises
            return
        self._ask(_entering(room), lambda link: link.join(room), at_once=True)

    def part(self, room: str, question: Question[E]) -> None:
        self._ask(question, lambda link: link.part(room), at_once=True)

    def history(self, room: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        """Return so many messages, in as many pages as the server makes of them."""
        found: list[Message] = []
        while len(found) < limit:
            page = self._page(room, limit - len(found), before, after)
            if after is None:
                found[:0] = page.messages
            else:
                found += page.messages
            if not page.more or not page.messages:
                break
            if after is None:
                before = page.messages[0].seq
            else:
                after = page.messages[-1].seq
        return list(map(self._reception.mark, found))

    def is_own(self, author: str) -> bool:
        return self._reception.is_own(author)

    # -- what happens ----------------------------------------------------------------------------------

    def receive(self, timeout: float | None) -> Event | None:
        """Return the next event; None: there was none in time, or it was stopped."""
        inbox, driver = self._inbox, self._driver
        deadline = None if timeout is None else time.monotonic() + timeout
        driver.tick_if_idle(_PAUSE if len(inbox) < _ENOUGH else _LONG_PAUSE)
        while True:
            event = inbox.get()
            if event is not None:
                return event
            if self._stopped():
                return None
            self._check()
            if not driver.until(lambda: inbox or self._is_over or self._stopped(), deadline):
                return None

    def sleep(self, seconds: float) -> bool:
        """Wait for so long, while what comes is kept; return False at once when it is stopped."""
        self._driver.until(lambda: self._is_over or self._stopped(), time.monotonic() + seconds)
        if self._stopped():
            return False
        self._check()
        return True

    # ----------------------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._reception.standing is Standing.OVER

    def _check(self) -> None:
        if self._is_over:
            raise self._reception.problem or StoppedError

    def _ask(self, question: Question[E], act: Act, *, at_once: bool) -> E:
        link, questions = self._link, self._reception.questions
        with self._driver:
            self._check()
            question.ask = lambda: act(link)
            questions.add(question)
            try:
                if at_once or self.is_online:
                    question.ask()
                    self._driver.tick()
            except BaseException:
                questions.remove(question)
                raise
        return self._answer(question)

    def _answer(self, question: Question[E]) -> E:
        try:
            self._wait(lambda: not question.is_open, self._timeout)
        except BaseException:
            with self._driver:
                self._reception.questions.abandon(question)
            raise
        if question.error is not None:
            raise question.error
        assert question.answer is not None
        return question.answer

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        if not self._driver.until(lambda: done() or self._is_over, time.monotonic() + seconds):
            raise NoAnswerError(seconds)
        if not done():
            self._check()

    def _push(self) -> None:
        """Write what is to be written, unless that would bring in more than anyone is taking out."""
        if len(self._inbox) < _ENOUGH:
            self._driver.tick()

    def _page(self, room: str, limit: int, before: int | None, after: int | None) -> History:
        return self.ask(
            Question(History, room), lambda link: link.get_history(room, limit, before=before, after=after)
        )

    def _put_history_first(self, rooms: tuple[str, ...], limit: int) -> None:
        found: list[Event] = []
        for room in rooms:
            newest = self._reception.seqs.get(name_key(room), 0)
            if newest:
                messages = self.history(room, limit, newest + 1, None)  # what is newer comes by itself
                found += [one._replace(missed=True) for one in messages if self._own or not one.own]
        first: list[Event] = []  # up to the connection, and with that
        while (event := self._inbox.get()) is not None:
            first.append(event)
            if isinstance(event, Connected):
                break
        self._inbox.put_first(first + found)

    def _why_not_in(self) -> Exception:
        problem, settings = self._reception.problem, self._settings
        if isinstance(problem, RefusalError):
            return problem
        beginning = str(CannotConnectError(settings.host, settings.port, ""))
        why = str(problem or NoAnswerError(self._timeout)).removeprefix(beginning)
        return CannotConnectError(settings.host, settings.port, why)


def _entering(room: str) -> Question[Users]:
    return Question(Users, room, fits=lambda users: users.entered)


def _raise(_where: str, error: Exception) -> None:
    raise error
