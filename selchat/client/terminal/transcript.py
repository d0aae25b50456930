"""What a chat looks like as it goes on: events to lines, in their order, and what is drawn with the prompt.

It lives in the link's thread. It must not know when or where anything is drawn: lines go to a function, and
`Transcript.live` says what the prompt is and what waits above it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable

from selchat.client import lines
from selchat.client.commands import CommandRunner, NotInRoomsError
from selchat.client.connection.link import LinkState
from selchat.client.events import (
    Acked,
    ClientEvent,
    Gap,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    SeenAuthors,
    Trusted,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.lines import Command, Typed
from selchat.client.terminal import style as look
from selchat.client.terminal.history import Entering, Past
from selchat.client.terminal.holding import Holding
from selchat.client.terminal.knowledge import RoomNames
from selchat.client.terminal.pending import Pending, TalkingLink, Unconfirmed
from selchat.client.terminal.screen import WAITING, Live, Waiting
from selchat.client.terminal.style import Line
from selchat.errors import SelchatError
from selchat.text import name_key

_MAX_WHISPERS = 1000  # that wait until everything is shown on entering
_MAX_WAITING_SHOWN = 10  # messages
_ROSTER_ROWS = 2  # of the screen, at most, for a roster that nobody has asked for
_HASH = re.compile(r"(/(?:join|part|users)\s+)#", re.IGNORECASE)  # as the prompt writes a room, and people
_SPOKEN = frozenset({Typed.TEXT, Typed.ME, Typed.MSG, Typed.OPERATOR})


class Transcript:
    """One chat as it is shown. ``show`` is called for each line.

    ``name`` is the one that was asked for, ``room`` the one to talk in. ``knowledge`` is for completion.
    """

    def __init__(self, link: TalkingLink, name: str, room: str, show: Callable[[Line], object]) -> None:
        self._link = link
        self._asked_name = name
        self._show = show
        self._typist = CommandRunner(link, room, lambda line: show(look.plain(line)))
        self._past = Past(link, show, self._past_line)
        self._holding = Holding()
        self._pending = Pending()
        self.knowledge = RoomNames(link)
        self._storing_problem = ""  # why the server stores nothing now
        self._entered: set[str] = set()  # keys of the rooms that were entered
        self._shown: dict[str, int] = {}  # by key of the room, the ``seq`` up to which all is shown
        self._whispers: list[Whispered] = []  # that wait until everything is shown on entering
        self._arrivals: list[str] = []  # keys of the rooms in which ``users`` was asked for on entering
        self._kept_whispers = 0  # that are still to come
        self._has_several = False  # whether there are several rooms, so that lines have to say which

    # -- what is drawn with the prompt -----------------------------------------------------------------

    def live(self) -> Live:
        waiting = list(self._pending)
        note = ""
        if self._storing_problem:
            note = f"{WAITING}: {lines.safe(self._storing_problem)}"
        elif waiting and self._link.state is not LinkState.ONLINE:
            note = WAITING
        return Live(
            look.prompt(self._typist.room),
            tuple(map(self._waiting, waiting[-_MAX_WAITING_SHOWN:])),
            len(waiting),
            waiting[0].since if waiting else 0.0,
            note if waiting else "",
        )

    # -- what is typed ---------------------------------------------------------------------------------

    def typed(self, line: str) -> Typed:
        """Do what the line asks for and return what that is; `Typed.QUIT` is left to the caller."""
        asked = Typed.NOTHING
        try:
            command = lines.parse(line)
            asked = command.asked
            if asked is not Typed.TEXT or command.text.strip():
                if asked not in _SPOKEN | {Typed.NOTHING, Typed.QUIT}:
                    self._echo(line)
                self._do(command, line)
        except SelchatError as error:
            if asked in _SPOKEN:
                self._tell(f"This was {lines.refusal(error)}.")
            else:
                if asked is Typed.NOTHING:
                    self._echo(line)
                self._tell(look.sentence(lines.safe(str(error))))
        return asked

    def said(self, id: str, room: str, to: str, body: str) -> None:
        """Note that the user has said this."""
        if id:
            self._pending.add(Unconfirmed(id, room, to, body, time.monotonic()))
            return
        self._tell(self._said(room, to, body))
        if self._link.state is not LinkState.ONLINE:
            self._tell("Not connected now: this is kept, and sent when the server is back.")

    # -- what happens ----------------------------------------------------------------------------------

    def take(self, events: list[ClientEvent]) -> None:
        """Show what has happened."""
        self._has_several = len(self._link.rooms) > 1
        for event in events:
            for one in self._holding.take(event):
                self._take(one)
        self._take_whispers()
        for message in self._pending.placed(self._is_past):
            self._tell(self._said(message.room, "", message.body))

    def lost(self) -> None:
        """Forget what was asked on a connection that is gone."""
        self._typist.lost()
        self._past.clear()
        self._arrivals.clear()
        self._storing_problem = ""
        for event in self._holding.release_all():
            self._take(event)
        self._take_whispers()
        self.knowledge.lost()

    # -- one thing that happens ------------------------------------------------------------------------

    def _take(self, event: ClientEvent) -> None:
        match event:
            case Message():
                self._take_message(event)
            case Whispered():
                self._whispers.append(event)
                self._take_whispers()
            case Acked():
                self._take_ack(event)
            case Refused():
                self._take_refusal(event)
            case Trusted():
                self._show_all([look.dim(line) for line in lines.trusted(event)])
            case Welcomed():
                self._take_welcome(event)
            case Users():
                self._take_users(event)
            case Rooms():
                if self.knowledge.take(event):
                    self._show_all(look.rooms(event, self._link.rooms, _width()))
            case History():
                if isinstance(self._past.take(event), Entering):
                    self._release(event.room)
            case SeenAuthors():
                self._typist.answer(event)
            case NotStored(text=text):
                self._storing_problem = text
            case Parted(room=room):
                self._entered.discard(name_key(room))
                self._past.forget(room)
                self._release(room)
                self._tell_news(event)
            case Gap(room=room, before=before):
                self._shown[name_key(room)] = before - 1
                self._tell_news(event)
            case _:
                self._tell_news(event)

    def _take_message(self, message: Message) -> None:
        time = self._time(message.at) if message.missed else ""
        self._shown[name_key(message.room)] = message.seq
        if message.own:
            self._pending.pop(message.id)
            self._show(look.own(message, here=self._is_here(message.room), time=time))
            return
        line = look.message(message, self._link.name, room=self._prefix(message.room), time=time)
        if lines.is_roster(message):
            text = look.text(line)
            line = look.plain(look.fit(text, _ROSTER_ROWS * _width()))
        self._show(line)

    def _take_whispers(self) -> None:
        if (self._holding or self._arrivals) and len(self._whispers) < _MAX_WHISPERS:
            return  # what scrolls by now must not hide them
        whispers, self._whispers = self._whispers, []
        for whisper in whispers:
            kept = self._kept_whispers > 0 and whisper.seq > 0
            self._kept_whispers -= kept
            time = self._time(whisper.at) if kept else ""
            self._show(look.message(whisper, self._link.name, time=time))

    def _take_ack(self, ack: Acked) -> None:
        self._storing_problem = ""
        if ack.room:
            self._pending.stored(ack.id, ack.seq)
            return
        message = self._pending.pop(ack.id)
        if message is not None:
            self._tell(self._said("", message.to, message.body))

    def _take_refusal(self, refused: Refused) -> None:
        if refused.id:
            self._pending.pop(refused.id)
        elif refused.room:
            self._past.forget(refused.room)
            self._release(refused.room)
            if name_key(refused.room) in self._arrivals:
                self._arrivals.remove(name_key(refused.room))
        shown = lines.refused(refused)
        self._tell(f"This was {shown}" if refused.body else look.sentence(shown))
        self._typist.answer(refused)  # one may be somewhere else now

    def _take_welcome(self, welcome: Welcomed) -> None:
        for message in self._pending.placed(lambda _room, _seq: True):
            self._tell(self._said(message.room, "", message.body))
        self._shown.clear()
        self._kept_whispers = welcome.whispers
        if lines.safe(welcome.name) != lines.safe(self._asked_name) and not welcome.again:
            self._tell(f"You are called {lines.safe(welcome.name)} here.")
        self._tell_news(welcome)
        for room in welcome.rooms:
            if name_key(room.room) not in self._entered and not welcome.again:
                self._arrivals.append(name_key(room.room))
                self._link.get_users(room.room)
                self._enter(room.room, room.seq)

    def _take_users(self, users: Users) -> None:
        key = name_key(users.room)
        if users.joined:
            self._typist.answer(users)  # the server may write the room's name in another way
            self._show_all(look.entered(users, _width()))
            if key not in self._entered:
                self._shown[key] = users.seq
                self._enter(users.room, users.seq)
        elif key in self._arrivals:
            self._arrivals.remove(key)
            self._show_all(look.entered(users, _width()))
        else:
            self._show_all(look.users(users, _width()))

    # ----------------------------------------------------------------------------------------------------

    def _do(self, command: Command, line: str) -> None:
        if command.asked is Typed.HISTORY:
            self._past.ask(self._here(), command.number)
        elif command.asked is Typed.SEARCH:
            self._past.search(self._here(), command.text)
        else:
            self._typist.take(_HASH.sub(r"\1", line))
            if command.asked is Typed.ROOMS:
                self.knowledge.asked()

    def _enter(self, room: str, seq: int) -> None:
        """Have what was said last in a room shown, before what is said from now on."""
        self._entered.add(name_key(room))
        if seq:
            self._past.enter(room, seq)
            self._holding.begin(room)

    def _release(self, room: str) -> None:
        for event in self._holding.release(room):
            self._take(event)

    def _is_past(self, room: str, seq: int) -> bool:
        """Whether a message of that room and number cannot come any more."""
        key = name_key(room)
        return self._shown.get(key, 0) >= seq or key not in map(name_key, self._link.rooms)

    def _here(self) -> str:
        if not self._typist.room:
            raise NotInRoomsError
        return self._typist.room

    def _is_here(self, room: str) -> bool:
        return name_key(room) == name_key(self._typist.room)

    def _prefix(self, room: str) -> str:
        """Return the room's name where it has to be said, because one talks in another."""
        return room if self._has_several and not self._is_here(room) else ""

    def _past_line(self, message: Message) -> Line:
        when = self._time(message.at)
        if message.own:
            return look.own(message, here=self._is_here(message.room), time=when)
        return look.message(message, "", room=self._prefix(message.room), time=when)

    def _said(self, room: str, to: str, body: str) -> str:
        return look.said(room, to, body, self._link.name, here=self._is_here(room))

    def _waiting(self, message: Unconfirmed) -> Waiting:
        here = self._is_here(message.room)
        old = look.waiting(message.room, message.to, message.body, here=here)
        return Waiting(self._said(message.room, message.to, message.body), old, message.since)

    def _time(self, at: float | None) -> str:
        return look.when(at, time.time())

    def _echo(self, line: str) -> None:
        self._show(look.dim(f"{look.prompt(self._typist.room)}{lines.safe(line)}"))

    def _tell_news(self, event: ClientEvent) -> None:
        line = lines.news(event, self._prefix(getattr(event, "room", "")))
        if line is not None:
            self._show(look.dim(line))
        self._typist.answer(event)

    def _tell(self, text: str) -> None:
        self._show(look.plain(text))

    def _show_all(self, shown: list[Line]) -> None:
        for line in shown:
            self._show(line)


def _width() -> int:
    return shutil.get_terminal_size().columns
