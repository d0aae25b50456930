"""The transcript of a chat: events become lines, in order, and the live rows above the prompt.

Runs in the thread of the link. It does not know when or where anything is drawn: it passes lines to a
function, and `Transcript.live` returns the prompt and the pending messages above it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable

from selchat.client import lines
from selchat.client.commands import Command, CommandKind, CommandRunner, NotInRoomsError, Trigger, parse
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
from selchat.client.terminal import style
from selchat.client.terminal.completion import RoomNames
from selchat.client.terminal.history import HistoryView
from selchat.client.terminal.pending import PendingMessage, PendingMessages, ReportingLink
from selchat.client.terminal.screen import WAITING, Live, PendingRow
from selchat.client.terminal.style import Line
from selchat.errors import SelchatError
from selchat.events import Joined, Left, Topic
from selchat.limits import (
    MAX_HELD_EVENTS,
    MAX_HELD_EVENTS_SIZE,
    MAX_HELD_WHISPERS,
    MAX_PENDING_SHOWN,
    MAX_ROSTER_ROWS,
)
from selchat.text import name_key

_HASH = re.compile(r"\A(/(?:join|part|users)\s+)#", re.IGNORECASE)  # the prompt writes #room, and so do users
_SENDING = frozenset({CommandKind.TEXT, CommandKind.ME, CommandKind.MSG, CommandKind.OPERATOR})
_HINTS = {"no-such-name": " Type /users to see who is here."}  # by code of a refusal


class _HeldRoom:
    def __init__(self) -> None:
        self.events: list[ClientEvent] = []
        self.size = 0  # characters


class HeldEvents:
    """Events in rooms whose history is on its way, held so that they appear below it.

    ``max_events`` and ``max_size`` (characters) limit each room.
    """

    def __init__(self, max_events: int = MAX_HELD_EVENTS, max_size: int = MAX_HELD_EVENTS_SIZE) -> None:
        self._max_events = max_events
        self._max_size = max_size
        self._rooms: dict[str, _HeldRoom] = {}  # by key

    def __len__(self) -> int:
        return len(self._rooms)

    def hold(self, room: str) -> None:
        """Hold the events of that room from now on."""
        self._rooms.setdefault(name_key(room), _HeldRoom())

    def add(self, event: ClientEvent) -> list[ClientEvent]:
        """Return the events to show now: this one, none, or all of its room if too many are held."""
        held = None
        if isinstance(event, (Message, Joined, Left, Topic, Gap)):
            held = self._rooms.get(name_key(event.room))
        if held is None:
            return [event]
        held.events.append(event)
        held.size += len(event.body) if isinstance(event, Message) else 0
        if len(held.events) < self._max_events and held.size < self._max_size:
            return []
        return self.release(getattr(event, "room", ""))

    def release(self, room: str) -> list[ClientEvent]:
        """Stop holding that room, and return its events."""
        held = self._rooms.pop(name_key(room), None)
        return [] if held is None else held.events

    def release_all(self) -> list[ClientEvent]:
        """Stop holding all rooms, and return their events."""
        return [event for room in tuple(self._rooms) for event in self.release(room)]


class Transcript:
    """The transcript of one chat. Calls ``show`` for each line.

    ``name`` is the requested name and ``room`` the first current room. ``room_names`` is for completion.
    """

    def __init__(self, link: ReportingLink, name: str, room: str, show: Callable[[Line], object]) -> None:
        self._link = link
        self._requested_name = name
        self._show = show
        self._commands = CommandRunner(link, room, lambda line: show(style.plain(line)))
        self._history = HistoryView(link, show, self._format_old)
        self._held = HeldEvents()
        self._pending = PendingMessages()
        self.room_names = RoomNames(link)
        self._storage_problem = ""  # the reason why the server stores nothing now
        self._entered: set[str] = set()  # keys of the rooms that the user has entered
        self._shown: dict[str, int] = {}  # by key of the room, the last ``seq`` on the screen
        self._whispers: list[Whispered] = []  # held until the rooms are on the screen
        self._awaiting_users: list[str] = []  # keys of the rooms whose users were requested after login
        self._missed_whispers = 0  # still to arrive
        self._is_in_several = False  # several rooms, so that lines need the room's name

    # -- the live part of the screen ---------------------------------------------------------------------

    def live(self) -> Live:
        """Return the prompt and the rows of pending messages."""
        pending = list(self._pending)
        note = ""
        if self._storage_problem:
            note = f"{WAITING}: {lines.safe(self._storage_problem)}"
        elif pending and self._link.state is not LinkState.ONLINE:
            note = WAITING
        return Live(
            style.prompt(self._commands.room),
            tuple(map(self._pending_row, pending[-MAX_PENDING_SHOWN:])),
            len(pending),
            pending[0].since if pending else 0.0,
            note if pending else "",
        )

    # -- input -------------------------------------------------------------------------------------------

    def run(self, line: str) -> CommandKind:
        """Run a typed line and return its kind; the caller carries out `CommandKind.QUIT`."""
        kind = CommandKind.NOTHING
        try:
            command = parse(line, self._link.names)
            kind = command.kind
            if kind is not CommandKind.TEXT or command.text.strip():
                if kind not in _SENDING | {CommandKind.NOTHING, CommandKind.QUIT}:
                    self._echo(line)
                self._run(command, line)
        except SelchatError as error:
            if kind in _SENDING:
                self._show_text(f"{style.sentence(lines.not_sent(error))}.")
            else:
                if kind is CommandKind.NOTHING:
                    self._echo(line)
                self._show_text(style.sentence(lines.safe(str(error))))
        return kind

    def message_sent(self, id: str, room: str, to: str, body: str) -> None:
        """Record a message of the user. An empty ``id``: on the classic protocol, which has no receipts."""
        if id:
            self._pending.add(PendingMessage(id, room, to, body, time.monotonic()))
            return
        self._show_text(self._format_sent(room, to, body))
        if self._link.state is not LinkState.ONLINE:
            self._show_text("Not connected. The client sends this when the server is back.")

    # -- events ------------------------------------------------------------------------------------------

    def receive(self, events: list[ClientEvent]) -> None:
        """Show these events."""
        self._is_in_several = len(self._link.rooms) > 1
        for event in events:
            for ready in self._held.add(event):
                self._receive(ready)
        self._show_whispers()
        for message in self._pending.pop_passed(self._is_passed):
            self._show_text(self._format_sent(message.room, "", message.body))

    def connection_lost(self) -> None:
        """Forget the requests of a closed connection, and show the held events."""
        self._awaiting_users.clear()
        self._storage_problem = ""
        for event in self._held.release_all():
            self._receive(event)
        self._show_whispers()
        self.room_names.connection_lost()

    # -- one event ---------------------------------------------------------------------------------------

    def _receive(self, event: ClientEvent) -> None:
        match event:
            case Message():
                self._on_message(event)
            case Whispered():
                self._whispers.append(event)
                self._show_whispers()
            case Acked():
                self._on_ack(event)
            case Refused():
                self._on_refusal(event)
            case Trusted():
                self._show_all([style.dim(line) for line in lines.trusted(event)])
            case Welcomed():
                self._on_welcome(event)
            case Users():
                self._on_users(event)
            case Rooms():
                if self.room_names.receive(event):
                    self._show_all(style.rooms(event, self._link.rooms, _screen_width()))
            case History():
                self._history.receive(event)
                if event.tag is Trigger.JOIN:
                    self._release(event.room)
            case SeenAuthors():
                self._commands.handle(event)
            case NotStored(text=text):
                self._storage_problem = text
            case Parted(room=room):
                self._entered.discard(name_key(room))
                self._release(room)
                self._show_event(event)
            case Gap(room=room, before=before):
                self._shown[name_key(room)] = before - 1
                self._show_event(event)
            case _:
                self._show_event(event)

    def _on_message(self, message: Message) -> None:
        time = self._time(message.at) if message.missed else ""
        self._shown[name_key(message.room)] = message.seq
        if message.own:
            self._pending.pop(message.id)
            self._show(style.own_message(message, here=self._is_current(message.room), time=time))
            return
        line = style.message(message, self._link.name, room=self._prefix(message.room), time=time)
        if lines.is_roster(message):
            line = style.plain(style.fit(style.text(line), MAX_ROSTER_ROWS * _screen_width()))
        self._show(line)

    def _show_whispers(self) -> None:
        if (self._held or self._awaiting_users) and len(self._whispers) < MAX_HELD_WHISPERS:
            return  # the lines about the rooms would scroll them away
        whispers, self._whispers = self._whispers, []
        for whisper in whispers:
            is_missed = self._missed_whispers > 0 and whisper.seq > 0
            self._missed_whispers -= is_missed
            time = self._time(whisper.at) if is_missed else ""
            self._show(style.message(whisper, self._link.name, time=time))

    def _on_ack(self, ack: Acked) -> None:
        self._storage_problem = ""
        if ack.room:
            self._pending.acknowledge(ack.id, ack.seq)
            return
        message = self._pending.pop(ack.id)
        if message is not None:
            self._show_text(self._format_sent("", message.to, message.body))

    def _on_refusal(self, refused: Refused) -> None:
        if refused.id:
            self._pending.pop(refused.id)
        elif refused.tag is Trigger.JOIN:
            self._release(refused.room)
        elif refused.request == "users" and name_key(refused.room) in self._awaiting_users:
            self._awaiting_users.remove(name_key(refused.room))
        self._history.receive_refusal(refused)
        text = style.sentence(lines.refused(refused))
        self._show_text(f"{text}.{_HINTS.get(refused.code, '')}" if refused.body else text)
        self._commands.handle(refused._replace(tag=None))  # may change the current room

    def _on_welcome(self, welcome: Welcomed) -> None:
        for message in self._pending.pop_passed(lambda _room, _seq: True):
            self._show_text(self._format_sent(message.room, "", message.body))
        self._shown.clear()
        self._missed_whispers = welcome.whispers
        if lines.safe(welcome.name) != lines.safe(self._requested_name) and not welcome.again:
            self._show_text(f"{lines.new_name(welcome.name)}.")
        self._show_event(welcome)
        for room in welcome.rooms:
            if name_key(room.room) not in self._entered and not welcome.again:
                self._awaiting_users.append(name_key(room.room))
                self._link.get_users(room.room)
                self._enter(room.room, room.seq)

    def _on_users(self, users: Users) -> None:
        key = name_key(users.room)
        if users.joined:
            self._commands.handle(users)  # the server may spell the name of the room differently
            self._show_all(style.entered(users, _screen_width()))
            if key not in self._entered:
                self._shown[key] = users.seq
                self._enter(users.room, users.seq)
        elif key in self._awaiting_users:
            self._awaiting_users.remove(key)
            self._show_all(style.entered(users, _screen_width()))
        else:
            self._show_all(style.users(users, _screen_width()))

    # ----------------------------------------------------------------------------------------------------

    def _run(self, command: Command, line: str) -> None:
        if command.kind is CommandKind.HISTORY:
            self._history.show_last(self._current_room(), command.number)
        elif command.kind is CommandKind.SEARCH:
            self._history.search(self._current_room(), command.text)
        else:
            self._commands.run(_HASH.sub(r"\1", line))

    def _enter(self, room: str, seq: int) -> None:
        """Request the last messages of a room, and hold new ones until those are on the screen."""
        self._entered.add(name_key(room))
        if seq:
            self._history.join(room, seq)
            self._held.hold(room)

    def _release(self, room: str) -> None:
        for event in self._held.release(room):
            self._receive(event)

    def _is_passed(self, room: str, seq: int) -> bool:
        """Whether the message with this room and ``seq`` cannot arrive any more."""
        key = name_key(room)
        return self._shown.get(key, 0) >= seq or key not in map(name_key, self._link.rooms)

    def _current_room(self) -> str:
        if not self._commands.room:
            raise NotInRoomsError
        return self._commands.room

    def _is_current(self, room: str) -> bool:
        return name_key(room) == name_key(self._commands.room)

    def _prefix(self, room: str) -> str:
        """Return the name of a room that is not the current one, or an empty string."""
        return room if self._is_in_several and not self._is_current(room) else ""

    def _format_old(self, message: Message) -> Line:
        time = self._time(message.at)
        if message.own:
            return style.own_message(message, here=self._is_current(message.room), time=time)
        return style.message(message, "", room=self._prefix(message.room), time=time)

    def _format_sent(self, room: str, to: str, body: str) -> str:
        return style.sent(room, to, body, self._link.name, here=self._is_current(room))

    def _pending_row(self, message: PendingMessage) -> PendingRow:
        here = self._is_current(message.room)
        old = style.pending(message.room, message.to, message.body, here=here)
        return PendingRow(self._format_sent(message.room, message.to, message.body), old, message.since)

    def _time(self, at: float | None) -> str:
        return style.time(at, time.time())

    def _echo(self, line: str) -> None:
        self._show(style.dim(f"{style.prompt(self._commands.room)}{lines.safe(line)}"))

    def _show_event(self, event: ClientEvent) -> None:
        line = lines.format_event(event, self._prefix(getattr(event, "room", "")))
        if line is not None:
            self._show(style.dim(line))
        self._commands.handle(event)

    def _show_text(self, text: str) -> None:
        self._show(style.plain(text))

    def _show_all(self, shown: list[Line]) -> None:
        for line in shown:
            self._show(line)


def _screen_width() -> int:
    return shutil.get_terminal_size().columns
