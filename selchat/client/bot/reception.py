"""What a link tells a bot: answers go to who has asked, all else into the inbox.

It must not know which thread it is in, nor who takes the things out again.
"""

from __future__ import annotations

from enum import Enum, auto

from selchat.client.bot.inbox import Connected, Inbox, Lost
from selchat.client.bot.questions import Questions, refusal_error
from selchat.client.connection.link import Link, Wire
from selchat.client.events import (
    Acked,
    Bye,
    Event,
    Heard,
    History,
    Message,
    Refused,
    Rooms,
    Users,
    Welcomed,
)
from selchat.errors import BannedError, RefusalError, SelchatError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.text import name_key


class DisconnectedError(SelchatError):
    """The connection is over, and will not come back by itself. ``why``, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why


class Standing(Enum):
    """How a link stands.

    =======  ========================================  ==================================================
    state    means                                     next
    =======  ========================================  ==================================================
    AWAITED  it was never up                           UP; OVER when the first try fails
    UP       something can be asked                    DOWN when lost; OVER
    DOWN     it comes back by itself                   UP; OVER
    OVER     it does not, and ``problem`` says why     (final)
    =======  ========================================  ==================================================
    """

    AWAITED = auto()
    UP = auto()
    DOWN = auto()
    OVER = auto()


class BotInterface:
    """An `Interface` for a link. ``own``: whether what this user says is told too.

    ``reconnect``: whether the link may come back when lost. ``seqs`` are the newest numbers of the rooms
    when they were entered, by key. ``problem``: why the link is over; None: because it was to be.
    ``refusal``: the first of what was said and then refused, without anyone waiting for that.
    """

    def __init__(self, inbox: Inbox, name: str, *, own: bool, reconnect: bool) -> None:
        self.standing = Standing.AWAITED
        self.problem: SelchatError | None = None
        self.refusal: RefusalError | None = None
        self.questions = Questions()
        self.seqs: dict[str, int] = {}
        self._inbox = inbox
        self._name = name
        self._tells_own = own
        self._reconnect = reconnect
        self._key: str | None = None  # of our name, where nobody else can have it
        self._link: Link | None = None

    def attach(self, link: Link) -> None:
        """Name the link that tells; before it is opened."""
        self._link = link

    # -- what happens to the link ----------------------------------------------------------------------

    def connected(self, address: str) -> None:
        if self._link is not None and self._link.wire is Wire.CLASSIC:
            self._key = None
            self._up(Connected("", again=self.standing is not Standing.AWAITED))

    def received(self, events: list[Event]) -> None:
        for event in events:
            self._receive(event)

    def lost(self, reason: str, delay: float) -> None:
        if self._reconnect and self.standing is not Standing.AWAITED:
            self.standing = Standing.DOWN
            self._inbox.put(Lost(reason, delay))
        else:
            self._over(reason)
            assert self._link is not None
            self._link.close()

    def drained(self) -> None:
        pass

    def finished(self, problem: str | None) -> None:
        refusal = None if self._link is None else self._link.refusal
        if refusal is not None and self.standing is Standing.AWAITED:
            self._take_refusal(refusal)
        else:
            self._over(problem)

    # ----------------------------------------------------------------------------------------------------

    def _receive(self, event: Event) -> None:
        if isinstance(event, Message):
            self._take_message(event)
        elif isinstance(event, Welcomed):
            self._name, self._key = event.name, name_key(event.name)
            if not event.again:
                self.seqs = {name_key(room.room): room.seq for room in event.rooms}
            self._up(Connected(event.server, event.again))
        elif isinstance(event, Refused):
            self._take_refusal(event)
        elif isinstance(event, Heard):
            self._receive(Users(LOBBY, event.names, len(event.names), "", 0, entered=False))
        elif isinstance(event, Users):
            if event.entered:
                self.seqs[name_key(event.room)] = event.seq
            self.questions.take(event)
        elif isinstance(event, Acked | History | Rooms):
            self.questions.take(event)
        elif isinstance(event, Bye):
            if event.reason == BannedError.code and self.standing is Standing.AWAITED:
                self._over(BannedError())
        elif self.questions.take(event):
            pass
        elif isinstance(event, Joined | Left):
            self._take_names(event)
        elif not isinstance(event, Topic) or self._tells_own or not self.is_own(event.author):
            self._inbox.put(event)

    def is_own(self, author: str) -> bool:
        """Whether the author's name is this user's, and can be nobody else's."""
        return self._key is not None and name_key(author) == self._key

    def mark(self, message: Message) -> Message:
        """Return it with ``own`` for what an earlier run of the program has said, too."""
        return message._replace(own=True) if self.is_own(message.author) else message

    def _take_message(self, message: Message) -> None:
        message = self.mark(message)
        if self._tells_own or not message.own:
            self._inbox.put(message)

    def _take_names(self, event: Joined | Left) -> None:
        names = tuple(name for name in event.names if not self.is_own(name))
        if names:
            self._inbox.put(event._replace(names=names))

    def _take_refusal(self, refused: Refused) -> None:
        error = refusal_error(refused, self._name)
        if self.standing is Standing.AWAITED:
            self._over(error)
        elif not self.questions.take_refusal(refused, error):
            if refused.id or refused.body:
                self.refusal = self.refusal or error
            self._inbox.put(refused)

    def _up(self, connected: Connected) -> None:
        self.standing = Standing.UP
        self._inbox.put(connected)
        self.questions.ask_again()

    def _over(self, problem: SelchatError | str | None) -> None:
        if self.standing is not Standing.OVER:
            self.standing = Standing.OVER
            self.problem = DisconnectedError(problem) if isinstance(problem, str) else problem
