"""The hub: the one place where the chat happens. It knows no socket and no wire format.

Sessions tell it who has come, what is said and who has gone. What it makes of that is staged during a
tick and exists from `Hub.publish` at the tick's end, which commits the log once for everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from selchat.chat.confusables import ConfusableNameError, check_scripts
from selchat.chat.inboxes import Inboxes
from selchat.chat.member import Farewell, Member, Peer
from selchat.chat.moderation import Moderation
from selchat.chat.people import Names, SentMessages
from selchat.chat.room import Batch, Room
from selchat.chat.rooms import Rooms, TooManyRoomsError
from selchat.chat.roster import Roster
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import BannedError, NamedRefusalError, NameTakenError, NotInRoomError, RefusalError
from selchat.events import LOBBY, SERVER, Event, Notice, Said, Topic
from selchat.feed import Feed
from selchat.log.port import Log, NotReadableError, NotStoredError
from selchat.text import clean_name, name_key


class EmptyNameError(RefusalError):
    code = "bad-name"
    text = "the name has no visible characters"


class NoSuchNameError(NamedRefusalError):
    code = "no-such-name"
    template = "nobody is called {name}"


_REPLACED = Farewell(
    "replaced", "You are here from another connection now.", "replaced by a newer connection"
)
_SERVER_KEY = name_key(SERVER)
_TRIALS = "trial"  # the kind of the record that is written to see whether one can be


class Observer(Protocol):
    """Who watches the chat from outside, such as the operator's console."""

    def joined(self, member: Member) -> None:
        """Someone has come."""

    def happened(self, events: Sequence[Event]) -> None:
        """A room was told these; the messages among them are in the log."""

    def left(self, member: Member, reason: str | None) -> None:
        """Someone has gone, of their own will if there is no ``reason``."""

    def unsaid(self, messages: Sequence[Event], error: NotStoredError) -> None:
        """The server's own words could not be stored, and nobody has heard them."""

    def storing(self, error: NotStoredError | None) -> None:
        """The log cannot be written from now on, or (None) it can again."""


class _Whisper(NamedTuple):
    """A whisper that is staged; it exists when the log has it."""

    message: Said
    to: str  # the key of the name
    author: Member


class Hub:
    """Members, rooms, and what goes on between them."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        clock: Clock,
        observer: Observer,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self.log = log  # for those who read; what is said goes through here
        self._clock = clock
        self._observer = observer
        self._now = now  # Unix time
        self._names = Names(log, now)
        self._members: Roster[Member] = Roster(settings.name_length, self._names.is_reserved)
        self._speakers: set[str] = set()  # keys of the names of those who speak without being here
        self._sent = SentMessages(log)
        self.moderation = Moderation(log, now)
        self._inboxes = Inboxes(log)
        self.rooms = Rooms(log, settings.feed_limit, settings.rooms_limit)
        self.lobby = self.rooms.lobby
        self._dirty: list[Room] = []  # rooms with something staged
        self._whispers: list[_Whisper] = []
        self._changed: dict[Room, None] = {}  # rooms that someone has entered or left
        self._roster_due = False
        self._last_roster = float("-inf")
        self.not_storing: NotStoredError | None = None  # why the last commit failed; None: it did not
        self.messages = 0  # that are stored, in all
        self.deliveries = 0  # messages times their readers, in all; whispers are not among them
        self.commits_failed = 0

    def reconfigure(self, settings: Settings) -> None:
        """Go by these from now on, but for lengths and limits that rooms and names were made with."""
        self._settings = settings

    # -- who comes and goes ----------------------------------------------------------------------------

    def join(self, wanted: str, address: str, peer: Peer) -> Member:
        """Let someone into the lobby, under the name ``wanted`` or one like it that is free.

        A name that mixes scripts, or is the server's, is as good as none, and they are told.

        Raises `BannedError`.
        """
        name = clean_name(wanted, self._settings.name_length)
        self.moderation.check_name(name, None)
        refusal: RefusalError | None = None
        try:
            check_scripts(name)
            others = {name_key(other) for other, _ in self._members.alike(name)}
            if _SERVER_KEY in {name_key(name), *others}:
                raise NameTakenError(name)  # with a number behind it, it would still be taken for the server
        except RefusalError as error:
            refusal = error
            name = ""
        member = Member(self._members.claim(name), address, peer)
        self._welcome(member)
        if refusal is not None:
            peer.tell(Notice(f"You are called {member.name} here: {refusal}."))
        return member

    def join_as(
        self, wanted: str, address: str, peer: Peer, client: bytes, *, beside: bool = False
    ) -> Member:
        """Let the owner of a name in, or whoever becomes it; they are in no room yet.

        If they are here already, the older session ends, or ``beside`` it they get the next free name.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name, key = self._check_own(wanted, client)
        present = self._members.get(name)
        if present is not None and not beside:
            present.peer.dismiss(_REPLACED)
        self._sent.arrive(client)
        self._use(name, key, client)
        member = Member(self._members.claim(name, reserved=True), address, peer, client)
        self._welcome(member)
        return member

    def leave(self, member: Member, reason: str | None = None) -> None:
        """Let someone go; their session ends its subscriptions."""
        for room in tuple(member.rooms):
            self.part(member, room)
        self._members.remove(member)
        if member.client is not None:
            self._depart(member.name, member.client)
        self._observer.left(member, reason)

    def speak_as(self, wanted: str, address: str, peer: Peer, client: bytes) -> Member:
        """Let the owner of a name speak, or whoever becomes it, without coming in: they are in no room and no
        roster, and hear nothing. The session calls `leave` at the end.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name, key = self._check_own(wanted, client)
        self._sent.arrive(client)
        self._use(name, key, client)
        self._speakers.add(key)
        return Member(name, address, peer, client)

    def leave_speaker(self, member: Member) -> None:
        """Let someone go who has spoken without coming in."""
        assert member.client is not None
        self._speakers.remove(name_key(member.name))
        self._depart(member.name, member.client)

    # -- rooms -----------------------------------------------------------------------------------------

    def room_of(self, member: Member, name: str) -> Room:
        """Return the room of that name that the member is in. Raises `NotInRoomError`."""
        room = self.rooms.find(name)
        if room is None or room not in member.rooms:
            raise NotInRoomError(name)
        return room

    def enter(self, member: Member, name: str) -> Room:
        """Let a member into a room, which is made if there is none; the session says what it reads of it.

        Raises `BadRoomError` and `TooManyRoomsError`.
        """
        room = self.rooms.find(name)
        if room is not None and room in member.rooms:
            return room
        if len(member.rooms) >= self._settings.rooms_per_member:
            raise TooManyRoomsError(self._settings.rooms_per_member)
        room = self.rooms.get(name)
        member.rooms[room] = None
        room.enter(member)
        self._roster_changed(room)
        return room

    def part(self, member: Member, room: Room) -> None:
        """Let a member out of a room; the session ends its subscription."""
        room.leave(member)
        del member.rooms[room]
        self._roster_changed(room)
        if not room.members and not room.seq and not room.staged:
            self.rooms.drop(room)

    def set_topic(self, member: Member, room: Room, topic: str) -> None:
        """Give the room a topic. Raises `MutedError`."""
        self.moderation.check_speech(member.name, member.client)
        room.topic = topic
        self.rooms.remember(room)
        self._stage(room, Batch([Topic(room.name, topic, member.name, self._now())], False))

    # -- what is said ----------------------------------------------------------------------------------

    def say(
        self,
        member: Member,
        room: Room,
        bodies: Sequence[str],
        ids: Sequence[str] = (),
        ciphers: Sequence[str | None] = (),
    ) -> None:
        """Say these in a room, to everyone but the member, whose session is told when they are stored.

        ``ids`` and ``ciphers``: as many as the bodies, from members whose name is their own.
        """
        client = member.client
        if self.moderation.muted:
            try:
                self.moderation.check_speech(member.name, client)
            except RefusalError as error:
                member.peer.refused(error, ids)
                return
        if client is not None and ids:
            try:
                new, repeated = self._sent.new(client, ids)
            except NotReadableError as error:
                member.peer.refused(NotStoredError(error.why), ids)
                return
            if repeated:
                member.peer.repeated(repeated)
            if len(new) < len(ids):
                bodies = [bodies[place] for place in new]
                ciphers = [ciphers[place] for place in new]
                ids = [ids[place] for place in new]
        if bodies:
            messages = self.log.append(room.name, member.name, bodies, self._now(), ids, ciphers, client)
            # Batch's own constructor calls just this, in twice the time.
            self._stage(room, tuple.__new__(Batch, (messages, True, member, member.rooms.get(room))))

    def whisper(self, member: Member, to: str, body: str, id: str, cipher: str | None) -> None:
        """Say something to one person alone; the session is told when it is stored.

        Raises `NoSuchNameError` and `MutedError`.
        """
        client = member.client
        assert client is not None  # only those wires have whispers where a name is its owner's
        self.moderation.check_speech(member.name, client)
        key = name_key(clean_name(to, self._settings.name_length))
        new, repeated = self._sent.new(client, [id])
        if repeated:
            member.peer.repeated(repeated)
        if not new:
            return
        present = self._members.get(to)
        if key in self._names:
            messages = self.log.append(
                self._inboxes.room(key), member.name, [body], self._now(), [id], [cipher], client
            )
            self._whispers.append(_Whisper(messages[0], key, member))
            return
        message = Said(self._inboxes.room(key), 0, member.name, body, self._now(), id, cipher)
        self._sent.not_stored(client, [message])
        if present is None:
            raise NoSuchNameError(to)
        present.peer.whispered(message, present.name)
        member.peer.stored([message])

    def name_of(self, room: str) -> str | None:
        """Return whose whispers the log calls that; None: it is a room of the chat."""
        key = self._inboxes.key(room)
        return key if key is None or key not in self._names else self._names.name(key)

    def confirm(self, member: Member, seq: int) -> None:
        """Note that the member has all whispers up to ``seq`` for good."""
        self._inboxes.confirm(name_key(member.name), seq)

    def inbox(self, member: Member) -> tuple[str, int, int]:
        """Return the log's room of the member's whispers, the last one confirmed, and how many came since."""
        key = name_key(member.name)
        return self._inboxes.room(key), *self._inboxes.waiting(key)

    @property
    def salt(self) -> str:
        """For those who encrypt their whispers."""
        return self._inboxes.salt

    def time(self) -> float:
        """Return Unix time in seconds."""
        return self._now()

    def tidy(self) -> None:
        """Forget rooms of which nothing is left, and names that nobody uses; now and then."""
        self.rooms.tidy()
        self._names.forget(lambda key: key in self._members or key in self._speakers)

    def try_to_store(self) -> None:
        """Have the end of this tick find out whether the log can be written again, if it could not."""
        if self.not_storing is not None:
            self.log.put(_TRIALS, "", repr(self._now()))

    # -- what the operator says ------------------------------------------------------------------------

    def announce(self, body: str) -> None:
        """Say it to everyone in the lobby, as the server."""
        self._stage(self.lobby, Batch(self.log.append(LOBBY, SERVER, [body], self._now()), True))

    def notify(self, text: str) -> None:
        """Tell everyone something that no log keeps."""
        self._stage(self.lobby, Batch([Notice(text)], False))

    def dismiss(self, members: Iterable[Member], farewell: Farewell) -> None:
        """End the sessions of these."""
        for member in tuple(members):
            member.peer.dismiss(farewell)

    def member(self, name: str) -> Member | None:
        """Return the member of that name, however it is written."""
        return self._members.get(name)

    def members(self) -> list[Member]:
        """Return all members."""
        return list(self._members)

    def is_operator(self, member: Member) -> bool:
        """Whether that member may give commands."""
        return name_key(member.name) in map(name_key, self._settings.operators)

    def owner(self, name: str) -> bytes | None:
        """Return the client whose name that is; None: nobody's."""
        return self._names.owner(name_key(clean_name(name, self._settings.name_length)))

    def banned(self, member: Member) -> bool:
        """Whether a ban keeps out someone who is here."""
        try:
            self.moderation.check_address(member.host)
            self.moderation.check_name(member.name, member.client)
        except BannedError:
            return True
        return False

    # -- the end of a tick -----------------------------------------------------------------------------

    def publish(self) -> Iterable[Feed[Any]]:
        """Make what is staged exist: commit the log, then append to the feeds; return those with news."""
        if not self._dirty and not self.log.staged:
            return ()
        try:
            self.log.commit()
        except NotStoredError as error:
            self._not_stored(error)
        else:
            if self.not_storing is not None:
                self.not_storing = None
                self._observer.storing(None)
        dirty, self._dirty = self._dirty, []
        feeds: list[Feed[Any]] = []
        happened = self._observer.happened
        for room in dirty:
            staged = room.staged
            for batch in reversed(staged):
                if batch.logged:
                    newest = batch.events[-1].seq
                    self.messages += newest - room.seq
                    room.seq = newest
                    break
            feeds += room.publish()  # first: an observer's error must not leave anything staged
            self.deliveries += room.deliveries
            for events, logged, author, _ in staged:
                if logged and author is not None and author.client is not None:
                    self._stored(author, author.client, events)  # type: ignore[arg-type]
                happened(events)
        if self._whispers:
            self._publish_whispers()
        return feeds

    # ----------------------------------------------------------------------------------------------------

    def _check_own(self, wanted: str, client: bytes) -> tuple[str, str]:
        """Return the name that a client may have as its own, cleaned, and its key.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name = clean_name(wanted, self._settings.name_length)
        key = name_key(name)
        if not name:
            raise EmptyNameError
        self.moderation.check_name(name, client)
        owner = self._names.owner(key)
        if key == _SERVER_KEY or (owner is not None and owner != client):
            raise NameTakenError(name)
        self._check_looks(name, key, client)
        present = self._members.get(name)
        if present is not None and present.client != client:
            raise NameTakenError(name)
        return name, key

    def _use(self, name: str, key: str, client: bytes) -> None:
        """Note that the client uses that name, which is its own from now on if it was nobody's."""
        if self._names.owner(key) is None:
            self._inboxes.change_owner(key)
        self._names.use(key, name, client)

    def _depart(self, name: str, client: bytes) -> None:
        key = name_key(name)
        if self._names.owner(key) == client:
            self._names.use(key, name, client)
        self._sent.depart(client)

    def _check_looks(self, name: str, key: str, client: bytes) -> None:
        """Raise `MixedScriptsError` or `ConfusableNameError` for what looks like another's name, or might.

        Not for a name that the client has, as it was written before: it may be older than these rules.
        """
        if key in self._names:
            if self._names.name(key) == name:
                return
        else:
            check_scripts(name)
        for other, owner in self._names.alike(name):
            if owner != client:
                raise ConfusableNameError(name, other)
        for other, member in self._members.alike(name):
            if member is None or member.client != client:
                raise ConfusableNameError(name, other)

    def _welcome(self, member: Member) -> None:
        self._members.add(member)
        self._observer.joined(member)

    def _stage(self, room: Room, batch: Batch) -> None:
        if not room.staged:
            self._dirty.append(room)
        if not room.seq and batch.logged:
            # With its first message, in one commit: the numbers go on under this spelling for ever.
            self.rooms.remember(room)
        room.staged.append(batch)

    def _stored(self, author: Member, client: bytes, messages: Sequence[Said]) -> None:
        self._sent.stored(client, messages)
        author.peer.stored(messages)

    def _not_stored(self, error: NotStoredError) -> None:
        """Tell the authors; whatever else has happened goes on."""
        self.commits_failed += 1
        was_storing, self.not_storing = self.not_storing is None, error
        if was_storing:
            self._observer.storing(error)
        for room in self._dirty:
            lost = [batch for batch in room.staged if batch.logged]
            room.staged = [batch for batch in room.staged if not batch.logged]
            for batch in lost:
                if batch.author is not None:
                    self._refused(batch.author, batch.events, error)  # type: ignore[arg-type]
                else:
                    self._observer.unsaid(batch.events, error)
        whispers, self._whispers = self._whispers, []
        for whisper in whispers:
            self._refused(whisper.author, [whisper.message], error)

    def _refused(self, author: Member, messages: Sequence[Said], error: NotStoredError) -> None:
        if author.client is not None:
            self._sent.not_stored(author.client, messages)
        author.peer.refused(error, [message.id for message in messages])

    def _publish_whispers(self) -> None:
        whispers, self._whispers = self._whispers, []
        self.messages += len(whispers)
        for message, key, author in whispers:
            assert author.client is not None
            self._stored(author, author.client, [message])
            name = self._names.name(key)
            present = self._members.get(name)
            if present is not None:
                present.peer.whispered(message, name)

    def _roster_changed(self, room: Room) -> None:
        """Have the changes told at the end of this tick, or an interval after the last ones."""
        if not self._settings.roster:
            return
        self._changed[room] = None
        if not self._roster_due:
            self._roster_due = True
            wait = self._last_roster + self._settings.roster_interval - self._clock.now
            self._clock.call_later(max(0.0, wait), self._send_roster)

    def _send_roster(self) -> None:
        self._roster_due = False
        self._last_roster = self._clock.now
        changed, self._changed = self._changed, {}
        for room in changed:
            events = room.changes()
            if room.members:
                events.append(room.roster(self._settings.roster_limit // 3))
                self._stage(room, Batch(events, False))
