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
from selchat.chat.member import Member
from selchat.chat.moderation import Moderation
from selchat.chat.peer import Farewell, Peer
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
_PROBE = "trial"  # the kind of the record that is written to see whether one can be


class Observer(Protocol):
    """Who watches the chat from outside, such as the operator's console."""

    def on_sign_in(self, member: Member) -> None:
        """Someone has come."""

    def on_published(self, events: Sequence[Event]) -> None:
        """A room was told these; the messages among them are in the log."""

    def on_sign_out(self, member: Member, reason: str | None) -> None:
        """Someone has gone, of their own will if there is no ``reason``."""

    def on_announcement_lost(self, messages: Sequence[Event], error: NotStoredError) -> None:
        """The server's own words could not be stored, and nobody has heard them."""

    def on_log_state(self, error: NotStoredError | None) -> None:
        """The log cannot be written from now on, or (None) it can again."""


class _StagedDirect(NamedTuple):
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
        self._send_only: set[str] = set()  # keys of the names of those who speak without being here
        self._sent = SentMessages(log)
        self.moderation = Moderation(log, now)
        self._inboxes = Inboxes(log)
        self.rooms = Rooms(log, settings.feed_limit, settings.rooms_limit)
        self.lobby = self.rooms.lobby
        self._dirty: list[Room] = []  # rooms with something staged
        self._staged_direct: list[_StagedDirect] = []
        self._changed: dict[Room, None] = {}  # rooms that someone has entered or left
        self._roster_due = False
        self._last_roster = float("-inf")
        self.log_error: NotStoredError | None = None  # why the last commit failed; None: it did not
        self.message_count = 0  # that are stored, in all
        self.delivery_count = 0  # messages times their readers, in all; whispers are not among them
        self.failed_commits = 0

    def reconfigure(self, settings: Settings) -> None:
        """Go by these from now on, but for lengths and limits that rooms and names were made with."""
        self._settings = settings

    # -- who comes and goes ----------------------------------------------------------------------------

    def sign_in_guest(self, requested_name: str, address: str, peer: Peer) -> Member:
        """Let someone into the lobby, under the name ``wanted`` or one like it that is free.

        A name that mixes scripts, or is the server's, is as good as none, and they are told.

        Raises `BannedError`.
        """
        name = clean_name(requested_name, self._settings.name_length)
        self.moderation.check_name(name, None)
        refusal: RefusalError | None = None
        try:
            check_scripts(name)
            others = {name_key(other) for other, _ in self._members.confusable_with(name)}
            if _SERVER_KEY in {name_key(name), *others}:
                raise NameTakenError(name)  # with a number behind it, it would still be taken for the server
        except RefusalError as error:
            refusal = error
            name = ""
        member = Member(self._members.assign(name), address, peer)
        self._add_member(member)
        if refusal is not None:
            peer.send_notice(Notice(f"You are called {member.name} here: {refusal}."))
        return member

    def sign_in(
        self, requested_name: str, address: str, peer: Peer, client: bytes, *, alongside: bool = False
    ) -> Member:
        """Let the owner of a name in, or whoever becomes it; they are in no room yet.

        If they are here already, the older session ends, or ``beside`` it they get the next free name.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name, key = self._check_owner(requested_name, client)
        present = self._members.get(name)
        if present is not None and not alongside:
            present.peer.disconnect(_REPLACED)
        self._sent.open_session(client)
        self._record_use(name, key, client)
        member = Member(self._members.assign(name, owned=True), address, peer, client)
        self._add_member(member)
        return member

    def sign_out(self, member: Member, reason: str | None = None) -> None:
        """Let someone go; their session ends its subscriptions."""
        for room in tuple(member.rooms):
            self.leave_room(member, room)
        self._members.remove(member)
        if member.client_id is not None:
            self._close_session(member.name, member.client_id)
        self._observer.on_sign_out(member, reason)

    def sign_in_send_only(self, requested_name: str, address: str, peer: Peer, client: bytes) -> Member:
        """Let the owner of a name speak, or whoever becomes it, without coming in: they are in no room and no
        roster, and hear nothing. The session calls `leave` at the end.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name, key = self._check_owner(requested_name, client)
        self._sent.open_session(client)
        self._record_use(name, key, client)
        self._send_only.add(key)
        return Member(name, address, peer, client)

    def sign_out_send_only(self, member: Member) -> None:
        """Let someone go who has spoken without coming in."""
        assert member.client_id is not None
        self._send_only.remove(name_key(member.name))
        self._close_session(member.name, member.client_id)

    # -- rooms -----------------------------------------------------------------------------------------

    def joined_room(self, member: Member, name: str) -> Room:
        """Return the room of that name that the member is in. Raises `NotInRoomError`."""
        room = self.rooms.find(name)
        if room is None or room not in member.rooms:
            raise NotInRoomError(name)
        return room

    def join_room(self, member: Member, name: str) -> Room:
        """Let a member into a room, which is made if there is none; the session says what it reads of it.

        Raises `BadRoomError` and `TooManyRoomsError`.
        """
        room = self.rooms.find(name)
        if room is not None and room in member.rooms:
            return room
        if len(member.rooms) >= self._settings.rooms_per_member:
            raise TooManyRoomsError(self._settings.rooms_per_member)
        room = self.rooms.get_or_create(name)
        member.rooms[room] = None
        room.add(member)
        self._schedule_roster(room)
        return room

    def leave_room(self, member: Member, room: Room) -> None:
        """Let a member out of a room; the session ends its subscription."""
        room.remove(member)
        del member.rooms[room]
        self._schedule_roster(room)
        if not room.members and not room.seq and not room.staged:
            self.rooms.remove(room)

    def set_topic(self, member: Member, room: Room, topic: str) -> None:
        """Give the room a topic. Raises `MutedError`."""
        self.moderation.check_muted(member.name, member.client_id)
        room.topic = topic
        self.rooms.save(room)
        self._stage(room, Batch([Topic(room.name, topic, member.name, self._now())], False))

    # -- what is said ----------------------------------------------------------------------------------

    def send(
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
        client = member.client_id
        if self.moderation.muted:
            try:
                self.moderation.check_muted(member.name, client)
            except RefusalError as error:
                member.peer.reject(error, ids)
                return
        if client is not None and ids:
            try:
                new, repeated = self._sent.register(client, ids)
            except NotReadableError as error:
                member.peer.reject(NotStoredError(error.why), ids)
                return
            if repeated:
                member.peer.acknowledge_repeated(repeated)
            if len(new) < len(ids):
                bodies = [bodies[place] for place in new]
                ciphers = [ciphers[place] for place in new]
                ids = [ids[place] for place in new]
        if bodies:
            messages = self.log.append(room.name, member.name, bodies, self._now(), ids, ciphers, client)
            # Batch's own constructor calls just this, in twice the time.
            self._stage(room, tuple.__new__(Batch, (messages, True, member, member.rooms.get(room))))

    def send_direct(self, member: Member, to: str, body: str, id: str, cipher: str | None) -> None:
        """Say something to one person alone; the session is told when it is stored.

        Raises `NoSuchNameError` and `MutedError`.
        """
        client = member.client_id
        assert client is not None  # only those wires have whispers where a name is its owner's
        self.moderation.check_muted(member.name, client)
        key = name_key(clean_name(to, self._settings.name_length))
        new, repeated = self._sent.register(client, [id])
        if repeated:
            member.peer.acknowledge_repeated(repeated)
        if not new:
            return
        present = self._members.get(to)
        if key in self._names:
            messages = self.log.append(
                self._inboxes.log_room(key), member.name, [body], self._now(), [id], [cipher], client
            )
            self._staged_direct.append(_StagedDirect(messages[0], key, member))
            return
        message = Said(self._inboxes.log_room(key), 0, member.name, body, self._now(), id, cipher)
        self._sent.mark_failed(client, [message])
        if present is None:
            raise NoSuchNameError(to)
        present.peer.deliver_direct(message, present.name)
        member.peer.acknowledge([message])

    def inbox_owner(self, room: str) -> str | None:
        """Return whose whispers the log calls that; None: it is a room of the chat."""
        key = self._inboxes.owner_key(room)
        return key if key is None or key not in self._names else self._names.name(key)

    def confirm_direct(self, member: Member, seq: int) -> None:
        """Note that the member has all whispers up to ``seq`` for good."""
        self._inboxes.confirm(name_key(member.name), seq)

    def inbox(self, member: Member) -> tuple[str, int, int]:
        """Return the log's room of the member's whispers, the last one confirmed, and how many came since."""
        key = name_key(member.name)
        return self._inboxes.log_room(key), *self._inboxes.unconfirmed(key)

    @property
    def direct_salt(self) -> str:
        """For those who encrypt their whispers."""
        return self._inboxes.salt

    def time(self) -> float:
        """Return Unix time in seconds."""
        return self._now()

    def collect_garbage(self) -> None:
        """Forget rooms of which nothing is left, and names that nobody uses; now and then."""
        self.rooms.collect_garbage()
        self._names.expire(lambda key: key in self._members or key in self._send_only)

    def probe_log(self) -> None:
        """Have the end of this tick find out whether the log can be written again, if it could not."""
        if self.log_error is not None:
            self.log.put(_PROBE, "", repr(self._now()))

    # -- what the operator says ------------------------------------------------------------------------

    def announce(self, body: str) -> None:
        """Say it to everyone in the lobby, as the server."""
        self._stage(self.lobby, Batch(self.log.append(LOBBY, SERVER, [body], self._now()), True))

    def broadcast_notice(self, text: str) -> None:
        """Tell everyone something that no log keeps."""
        self._stage(self.lobby, Batch([Notice(text)], False))

    def disconnect(self, members: Iterable[Member], farewell: Farewell) -> None:
        """End the sessions of these."""
        for member in tuple(members):
            member.peer.disconnect(farewell)

    def find_member(self, name: str) -> Member | None:
        """Return the member of that name, however it is written."""
        return self._members.get(name)

    def members(self) -> list[Member]:
        """Return all members."""
        return list(self._members)

    def is_operator(self, member: Member) -> bool:
        """Whether that member may give commands."""
        return name_key(member.name) in map(name_key, self._settings.operators)

    def name_owner(self, name: str) -> bytes | None:
        """Return the client whose name that is; None: nobody's."""
        return self._names.owner(name_key(clean_name(name, self._settings.name_length)))

    def is_banned(self, member: Member) -> bool:
        """Whether a ban keeps out someone who is here."""
        try:
            self.moderation.check_address(member.host)
            self.moderation.check_name(member.name, member.client_id)
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
            self._on_commit_failed(error)
        else:
            if self.log_error is not None:
                self.log_error = None
                self._observer.on_log_state(None)
        dirty, self._dirty = self._dirty, []
        feeds: list[Feed[Any]] = []
        on_published = self._observer.on_published
        for room in dirty:
            staged = room.staged
            for batch in reversed(staged):
                if batch.logged:
                    newest = batch.events[-1].seq
                    self.message_count += newest - room.seq
                    room.seq = newest
                    break
            feeds += room.publish()  # first: an observer's error must not leave anything staged
            self.delivery_count += room.deliveries
            for events, logged, author, _ in staged:
                if logged and author is not None and author.client_id is not None:
                    self._acknowledge(author, author.client_id, events)  # type: ignore[arg-type]
                on_published(events)
        if self._staged_direct:
            self._publish_direct()
        return feeds

    # ----------------------------------------------------------------------------------------------------

    def _check_owner(self, requested_name: str, client: bytes) -> tuple[str, str]:
        """Return the name that a client may have as its own, cleaned, and its key.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError` and `BannedError`.
        """
        name = clean_name(requested_name, self._settings.name_length)
        key = name_key(name)
        if not name:
            raise EmptyNameError
        self.moderation.check_name(name, client)
        owner = self._names.owner(key)
        if key == _SERVER_KEY or (owner is not None and owner != client):
            raise NameTakenError(name)
        self._check_confusable(name, key, client)
        present = self._members.get(name)
        if present is not None and present.client_id != client:
            raise NameTakenError(name)
        return name, key

    def _record_use(self, name: str, key: str, client: bytes) -> None:
        """Note that the client uses that name, which is its own from now on if it was nobody's."""
        if self._names.owner(key) is None:
            self._inboxes.change_owner(key)
        self._names.record_use(key, name, client)

    def _close_session(self, name: str, client: bytes) -> None:
        key = name_key(name)
        if self._names.owner(key) == client:
            self._names.record_use(key, name, client)
        self._sent.close_session(client)

    def _check_confusable(self, name: str, key: str, client: bytes) -> None:
        """Raise `MixedScriptsError` or `ConfusableNameError` for what looks like another's name, or might.

        Not for a name that the client has, as it was written before: it may be older than these rules.
        """
        if key in self._names:
            if self._names.name(key) == name:
                return
        else:
            check_scripts(name)
        for other, owner in self._names.confusable_with(name):
            if owner != client:
                raise ConfusableNameError(name, other)
        for other, member in self._members.confusable_with(name):
            if member is None or member.client_id != client:
                raise ConfusableNameError(name, other)

    def _add_member(self, member: Member) -> None:
        self._members.add(member)
        self._observer.on_sign_in(member)

    def _stage(self, room: Room, batch: Batch) -> None:
        if not room.staged:
            self._dirty.append(room)
        if not room.seq and batch.logged:
            # With its first message, in one commit: the numbers go on under this spelling for ever.
            self.rooms.save(room)
        room.staged.append(batch)

    def _acknowledge(self, author: Member, client: bytes, messages: Sequence[Said]) -> None:
        self._sent.mark_stored(client, messages)
        author.peer.acknowledge(messages)

    def _on_commit_failed(self, error: NotStoredError) -> None:
        """Tell the authors; whatever else has happened goes on."""
        self.failed_commits += 1
        was_storing, self.log_error = self.log_error is None, error
        if was_storing:
            self._observer.on_log_state(error)
        for room in self._dirty:
            lost = [batch for batch in room.staged if batch.logged]
            room.staged = [batch for batch in room.staged if not batch.logged]
            for batch in lost:
                if batch.author is not None:
                    self._reject(batch.author, batch.events, error)  # type: ignore[arg-type]
                else:
                    self._observer.on_announcement_lost(batch.events, error)
        whispers, self._staged_direct = self._staged_direct, []
        for whisper in whispers:
            self._reject(whisper.author, [whisper.message], error)

    def _reject(self, author: Member, messages: Sequence[Said], error: NotStoredError) -> None:
        if author.client_id is not None:
            self._sent.mark_failed(author.client_id, messages)
        author.peer.reject(error, [message.id for message in messages])

    def _publish_direct(self) -> None:
        whispers, self._staged_direct = self._staged_direct, []
        self.message_count += len(whispers)
        for message, key, author in whispers:
            assert author.client_id is not None
            self._acknowledge(author, author.client_id, [message])
            name = self._names.name(key)
            present = self._members.get(name)
            if present is not None:
                present.peer.deliver_direct(message, name)

    def _schedule_roster(self, room: Room) -> None:
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
            events = room.take_changes()
            if room.members:
                events.append(room.roster(self._settings.roster_limit // 3))
                self._stage(room, Batch(events, False))
