"""The hub: sign-in, rooms and messages.

Sessions call it; it knows no socket and no wire format. It checks what a member may do and hands the result
to the `Publisher`, which publishes it at the end of the tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from selchat.addresses import host_of, source_of
from selchat.chat.confusables import ConfusableNameError, check_scripts, imitates_server
from selchat.chat.inboxes import Inboxes
from selchat.chat.member import Member
from selchat.chat.moderation import Moderation
from selchat.chat.observer import Observer
from selchat.chat.operators import Operators
from selchat.chat.peer import Farewell, Peer
from selchat.chat.people import Names, NewNames, SentMessages
from selchat.chat.publisher import Publisher, StagedDirect
from selchat.chat.room import Batch, Room
from selchat.chat.rooms import Creator, Rooms, TooManyRoomsError
from selchat.chat.roster import Roster
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import BannedError, NamedRefusalError, NameTakenError, NotInRoomError, RefusalError
from selchat.events import LOBBY, SERVER, Notice, Said, Topic
from selchat.log.port import Log, NotReadableError, NotStoredError
from selchat.text import clean_line, clean_name, name_key


class EmptyNameError(RefusalError):
    code = "bad-name"
    text = "the name has no visible characters"


class NoSuchNameError(NamedRefusalError):
    code = "no-such-name"
    template = "there is no one named {name}"


_REPLACED = Farewell("replaced", "You signed in from another window.", "replaced by a newer connection")
_CLAIMED = Farewell("kicked", "An operator has claimed your name.", "an operator has claimed the name")
_SERVER_KEY = name_key(SERVER)
_PROBE = "trial"  # the kind of the record that `Hub.probe_log` writes


def _raise(_where: str, error: Exception) -> None:
    raise error


class Hub:
    """Members and rooms, and the messages between them.

    ``now`` returns Unix time in seconds. ``on_error``: see `Publisher`; by default, `publish` raises.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        clock: Clock,
        observer: Observer,
        now: Callable[[], float] = time.time,
        on_error: Callable[[str, Exception], object] = _raise,
    ) -> None:
        self._settings = settings
        self.log = log  # for readers; only the hub writes
        self._clock = clock
        self._observer = observer
        self._now = now
        self.operators = Operators(log, clock, settings.operators)
        self._inboxes = Inboxes(log)
        self._names = Names(log, now, self.operators.is_permanent, self._inboxes.forget)
        self._inboxes.forget_unowned(lambda key: key in self._names)
        self._new_names = NewNames(self._names, settings, clock)
        self._members: Roster[Member] = Roster(settings.name_length, self._names.is_reserved)
        self._send_only: set[str] = set()  # keys of the names of members who are in no roster
        self._sent = SentMessages(log)
        self.moderation = Moderation(log, now)
        self.rooms = Rooms(log, settings, clock)
        self.lobby = self.rooms.lobby
        self._changed: dict[Room, None] = {}  # rooms with changes of the member list that nobody has got yet
        self._changes_due = False
        self._last_changes = float("-inf")
        self.publisher = Publisher(log, self._sent, observer, self.rooms.save, self._deliver_direct, on_error)
        self.publish = self.publisher.publish  # here and below: bound once, because every tick calls them
        self._stage = self.publisher.stage

    def reconfigure(self, settings: Settings) -> None:
        """Apply new settings, except lengths and limits that existing rooms and names depend on."""
        self._settings = settings
        self.rooms.reconfigure(settings)
        self._new_names.reconfigure(settings)
        self.operators.set_names(settings.operators)

    # -- signing in and out ----------------------------------------------------------------------------

    def sign_in_guest(self, requested_name: str, address: str, peer: Peer) -> Member:
        """Sign in a member who cannot prove that they own a name; they get the name or a similar free one.

        If the name mixes scripts or could pass for the server's, they get a guest name and a notice.

        Raises `BannedError`.
        """
        name = clean_name(requested_name, self._settings.name_length)
        self._check_banned(name, address, None)
        refusal: RefusalError | None = None
        try:
            check_scripts(name)
            if imitates_server(requested_name):
                raise NameTakenError(name)  # even with a number appended it could pass for the server's
        except RefusalError as error:
            refusal = error
            name = ""
        member = Member(self._members.assign(name), address, peer)
        self._add_member(member)
        if refusal is not None:
            peer.send_notice(Notice(f"Your name is {member.name}, because {refusal}."))
        return member

    def sign_in(
        self, requested_name: str, address: str, peer: Peer, client_id: bytes, *, alongside: bool = False
    ) -> Member:
        """Sign in the owner of a name; a free name becomes the client's own. The member is in no room yet.

        An older session of the same owner ends. With ``alongside`` it stays, and the new one gets the next
        free name.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError`, `TooManyNamesError` and `BannedError`.
        """
        name, key = self._check_owner(requested_name, address, client_id)
        present = self._members.get(name)
        if present is not None and not alongside:
            present.peer.disconnect(_REPLACED)
        self._sent.open_session(client_id)
        self._record_use(name, key, client_id)
        member = Member(self._members.assign(name, owned=True), address, peer, client_id)
        self._add_member(member)
        return member

    def sign_out(self, member: Member, reason: str | None = None) -> None:
        """Sign out a member; the session itself ends its subscriptions."""
        for room in tuple(member.rooms):
            self.leave_room(member, room)
        self._members.remove(member)
        if member.client_id is not None:
            self._close_session(member.name, member.client_id)
        self.publisher.report(self._observer.on_sign_out, member, reason)

    def sign_in_send_only(self, requested_name: str, address: str, peer: Peer, client_id: bytes) -> Member:
        """Sign in the owner of a name, as `sign_in` does, to send messages only.

        The member joins no room, is in no roster and receives nothing. The session calls
        `sign_out_send_only` at the end.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError`, `TooManyNamesError` and `BannedError`.
        """
        name, key = self._check_owner(requested_name, address, client_id)
        self._sent.open_session(client_id)
        self._record_use(name, key, client_id)
        self._send_only.add(key)
        return Member(name, address, peer, client_id)

    def sign_out_send_only(self, member: Member) -> None:
        """Sign out a member of `sign_in_send_only`."""
        assert member.client_id is not None
        self._send_only.remove(name_key(member.name))
        self._close_session(member.name, member.client_id)

    # -- rooms -----------------------------------------------------------------------------------------

    def joined_room(self, member: Member, name: str) -> Room:
        """Return the room of that name, which the member has joined. Raises `NotInRoomError`."""
        room = self.rooms.find(name)
        if room is None or room not in member.rooms:
            raise NotInRoomError(name)
        return room

    def join_room(self, member: Member, name: str) -> Room:
        """Add a member to a room, creating it if necessary. The session decides whether it replays or
        subscribes.

        Raises `BadRoomError`, `TooManyRoomsError` and `RoomRateError`.
        """
        room = self.rooms.find(name)
        if room is not None and room in member.rooms:
            return room
        if len(member.rooms) >= self._settings.rooms_per_member:
            raise TooManyRoomsError(self._settings.rooms_per_member)
        room = self.rooms.get_or_create(name, Creator(member.client_id, member.host))
        member.rooms[room] = None
        room.add(member)
        self.rooms.joined(room)
        self._schedule_changes(room)
        return room

    def leave_room(self, member: Member, room: Room) -> None:
        """Remove a member from a room; the session itself ends its subscription."""
        room.remove(member)
        del member.rooms[room]
        self._schedule_changes(room)
        self.rooms.left(room)

    def set_topic(self, member: Member, room: Room, topic: str) -> None:
        """Set the topic of a room, without control characters. Raises `MutedError`."""
        self.moderation.check_muted(member.name, member.client_id)
        topic = clean_line(topic)
        room.topic = topic
        self.rooms.save(room)
        self._stage(room, Batch([Topic(room.name, topic, member.name, self._now())], False))

    # -- messages --------------------------------------------------------------------------------------

    def send(
        self,
        member: Member,
        room: Room,
        bodies: Sequence[str],
        ids: Sequence[str] = (),
        ciphers: Sequence[str | None] = (),
    ) -> None:
        """Send messages to everyone in a room except their author, whose session gets acknowledgements.

        ``ids`` and ``ciphers`` are as many as the bodies, or empty for a member without a ``client_id``.
        """
        client_id = member.client_id
        if self.moderation.muted:
            try:
                self.moderation.check_muted(member.name, client_id)
            except RefusalError as error:
                member.peer.reject(error, ids)
                return
        if client_id is not None and ids:
            try:
                new, repeated = self._sent.register(client_id, ids)
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
            try:
                messages = self.log.append(
                    room.name, member.name, bodies, self._now(), ids, ciphers, client_id
                )
            except NotReadableError as error:
                if client_id is not None and ids:
                    self._sent.mark_failed(client_id, ids)
                member.peer.reject(NotStoredError(error.why), ids)
                return
            # Batch's own constructor does the same in twice the time.
            self._stage(room, tuple.__new__(Batch, (messages, True, member, member.rooms.get(room))))

    def send_direct(self, member: Member, to: str, body: str, id: str, cipher: str | None) -> None:
        """Send a direct message; the author's session gets an acknowledgement.

        The log keeps it only if someone owns the name ``to``. Raises `NoSuchNameError` and `MutedError`.
        """
        client_id = member.client_id
        assert client_id is not None  # only protocols in which members own their names have direct messages
        self.moderation.check_muted(member.name, client_id)
        key = name_key(clean_name(to, self._settings.name_length))
        new, repeated = self._sent.register(client_id, [id])
        if repeated:
            member.peer.acknowledge_repeated(repeated)
        if not new:
            return
        present = self._members.get(to)
        if key in self._names:
            try:
                messages = self.log.append(
                    self._inboxes.log_room(key), member.name, [body], self._now(), [id], [cipher], client_id
                )
            except NotReadableError as error:
                self._sent.mark_failed(client_id, [id])
                raise NotStoredError(error.why) from error
            self.publisher.stage_direct(StagedDirect(messages[0], key, member))
            return
        message = Said(self._inboxes.log_room(key), 0, member.name, body, self._now(), id, cipher)
        self._sent.mark_failed(client_id, [id])
        if present is None:
            raise NoSuchNameError(to)
        present.peer.deliver_direct(message, present.name)
        member.peer.acknowledge([message])

    def inbox(self, member: Member) -> tuple[str, int, int]:
        """Return the log's room for the member's direct messages, the last confirmed ``seq``, and the number
        of messages since.
        """
        key = name_key(member.name)
        is_owner = self._names.owner(key) == member.client_id  # else of a numbered name, without an inbox
        confirmed, count = self._inboxes.unconfirmed(key) if is_owner else (0, 0)
        return self._inboxes.log_room(key), confirmed, count

    def inbox_owner(self, log_room: str) -> str | None:
        """Return the name that owns the inbox which the log calls ``log_room``; None: it is a chat room."""
        key = self._inboxes.owner_key(log_room)
        return key if key is None or key not in self._names else self._names.name(key)

    def confirm_direct(self, member: Member, seq: int) -> None:
        """Record that the member has received all direct messages up to ``seq``."""
        key = name_key(member.name)
        if self._names.owner(key) == member.client_id:
            self._inboxes.confirm(key, seq)

    @property
    def direct_salt(self) -> str:
        """The salt for members who encrypt direct messages."""
        return self._inboxes.salt

    # -- the operator ----------------------------------------------------------------------------------

    def announce(self, body: str) -> None:
        """Send a message from the server to everyone in the lobby."""
        self._stage(self.lobby, Batch(self.log.append(LOBBY, SERVER, [body], self._now()), True))

    def broadcast_notice(self, text: str) -> None:
        """Send everyone a notice, which the log does not keep."""
        self._stage(self.lobby, Batch([Notice(text)], False))

    def disconnect(self, members: Iterable[Member], farewell: Farewell) -> None:
        """End the sessions of these members."""
        for member in tuple(members):
            member.peer.disconnect(farewell)

    def find_member(self, name: str) -> Member | None:
        """Return the member whose name counts as the same as ``name``."""
        return self._members.get(name)

    def members(self) -> list[Member]:
        """Return all members."""
        return list(self._members)

    def is_operator(self, member: Member) -> bool:
        """Return whether the console has confirmed the member as an operator."""
        return member.client_id in self.operators

    def claim_operator(self, member: Member, code: str) -> str:
        """Make the member the operator whose name has this one-time code, and the owner of that name, which
        is returned. Another user of the name is disconnected.

        Raises `WrongCodeError` and `TooManyAttemptsError`.
        """
        client_id = member.client_id
        assert client_id is not None  # only protocols in which members own their names have commands
        name = self.operators.claim(code, client_id, source_of(host_of(member.address)))
        key = name_key(name)
        present = self._members.get(name)
        if present is not None and present.client_id != client_id:
            present.peer.disconnect(_CLAIMED)
        if self._names.owner(key) != client_id:
            self._inboxes.change_owner(key)
            self._names.record_use(key, name, client_id)
        return name

    def knows_name(self, name: str) -> bool:
        """Return whether someone owns the name or is online with it."""
        key = name_key(clean_name(name, self._settings.name_length))
        return key in self._names or key in self._members

    def name_owner(self, name: str) -> bytes | None:
        """Return the ``client_id`` of the owner of a name; None: nobody owns it."""
        return self._names.owner(name_key(clean_name(name, self._settings.name_length)))

    def check_banned(self, member: Member) -> None:
        """Raise `BannedError` if a ban applies to a member who is signed in."""
        self._check_banned(member.name, member.address, member.client_id)

    def is_banned(self, member: Member) -> bool:
        """Return whether a ban applies to a member who is signed in."""
        try:
            self.check_banned(member)
        except BannedError:
            return True
        return False

    # -- housekeeping ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Return Unix time in seconds."""
        return self._now()

    def collect_garbage(self) -> None:
        """Forget rooms without members and messages, and names that have expired; call this now and then."""
        self.rooms.collect_garbage()
        self._names.expire(lambda key: key in self._members or key in self._send_only)

    def probe_log(self) -> None:
        """If the last commit failed or the next one would, stage a record.

        This tick's commit then shows whether the log works.
        """
        if self.publisher.log_error is not None or not self.log.can_write:
            self.log.put(_PROBE, "", repr(self._now()))

    # ----------------------------------------------------------------------------------------------------

    def _check_owner(self, requested_name: str, address: str, client_id: bytes) -> tuple[str, str]:
        """Return the cleaned name and its key, if the client owns the name or may become its owner.

        Raises `EmptyNameError`, `MixedScriptsError`, `NameTakenError`, `TooManyNamesError` and `BannedError`.
        """
        name = clean_name(requested_name, self._settings.name_length)
        key = name_key(name)
        if not name:
            raise EmptyNameError
        self._check_banned(name, address, client_id)
        owner = self._names.owner(key)
        if key == _SERVER_KEY or (owner is not None and owner != client_id):
            raise NameTakenError(name)
        self._check_confusable(requested_name, name, key, client_id)
        present = self._members.get(name)
        if present is not None and present.client_id != client_id:
            raise NameTakenError(name)
        if owner is None:
            self._new_names.admit(client_id, host_of(address), self._is_needed)
        return name, key

    def _is_needed(self, key: str) -> bool:
        """Return whether a name is online or has direct messages that its owner has not read."""
        return key in self._members or key in self._send_only or self._inboxes.unconfirmed(key)[1] > 0

    def _check_banned(self, name: str, address: str, client_id: bytes | None) -> None:
        self.moderation.check_address(host_of(address))
        self.moderation.check_name(name, client_id)

    def _check_confusable(self, requested_name: str, name: str, key: str, client_id: bytes) -> None:
        """Raise `MixedScriptsError` or `ConfusableNameError` if the name could pass for someone else's.

        Accept a name that the client owns in the same spelling: it may be older than these rules.
        """
        if key in self._names:
            if self._names.name(key) == name:
                return
        else:
            check_scripts(name)
            if imitates_server(requested_name):
                raise ConfusableNameError(name, SERVER)
        for other, owner in self._names.confusable_with(name):
            if owner != client_id:
                raise ConfusableNameError(name, other)
        for other, member in self._members.confusable_with(name):
            if member is None or member.client_id != client_id:
                raise ConfusableNameError(name, other)

    def _record_use(self, name: str, key: str, client_id: bytes) -> None:
        """Record that the client uses the name; if nobody owned it, the client now does."""
        if self._names.owner(key) is None:
            self._inboxes.change_owner(key)
        self._names.record_use(key, name, client_id)

    def _close_session(self, name: str, client_id: bytes) -> None:
        key = name_key(name)
        if self._names.owner(key) == client_id:
            self._names.record_use(key, name, client_id)
        self._sent.close_session(client_id)

    def _add_member(self, member: Member) -> None:
        self._members.add(member)
        self.publisher.report(self._observer.on_sign_in, member)

    def _deliver_direct(self, direct: StagedDirect) -> None:
        name = self._names.name(direct.recipient)
        present = self._members.get(name)
        if present is not None:
            present.peer.deliver_direct(direct.message, name)

    def _schedule_changes(self, room: Room) -> None:
        """Send the changed member list at the end of this tick, or one interval after the last changes."""
        if not self._settings.roster or not room.members:
            room.take_changes()  # nobody is told
            return
        self._changed[room] = None
        if not self._changes_due:
            self._changes_due = True
            wait = self._last_changes + self._settings.roster_interval - self._clock.now
            self._clock.call_later(max(0.0, wait), self._send_changes)

    def _send_changes(self) -> None:
        self._changes_due = False
        self._last_changes = self._clock.now
        changed, self._changed = self._changed, {}
        for room in changed:
            events = room.take_changes()
            if room.members:
                events.append(room.roster(self._settings.roster_limit // 3))
                self._stage(room, Batch(events, False))
