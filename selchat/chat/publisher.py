"""Publisher: stage events during a tick, commit them to the log, then publish them to their rooms.

Nothing that is staged exists until the commit at the end of the tick. If the commit fails, the authors get an
error and everything else, such as a roster, is published all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from selchat.chat.member import Member
from selchat.chat.observer import Observer
from selchat.chat.peer import Author
from selchat.chat.people import SentMessages
from selchat.chat.room import Batch, Room
from selchat.events import Event, Said
from selchat.feed import Feed
from selchat.log.port import Log, NotStoredError


class StagedDirect(NamedTuple):
    """A staged direct message."""

    message: Said
    recipient: str  # the key of the name
    author: Member


class Publisher:
    """Publishes to the rooms and acknowledges to the authors.

    ``save_room`` writes a room's record, ``deliver_direct`` hands a stored direct message to its recipient.
    ``on_error(where, error)`` takes exceptions of sessions, formats and the observer, so that a failure of
    one does not affect the others.
    """

    def __init__(
        self,
        log: Log,
        sent: SentMessages,
        observer: Observer,
        save_room: Callable[[Room], object],
        deliver_direct: Callable[[StagedDirect], object],
        on_error: Callable[[str, Exception], object],
    ) -> None:
        self._log = log
        self._sent = sent
        self._observer = observer
        self._save_room = save_room
        self._deliver_direct = deliver_direct
        self._on_error = on_error
        self._dirty: list[Room] = []  # rooms with staged batches
        # The staged batches of all rooms, and the reports to the observer between them, in order.
        self._observed: list[Batch | Callable[[], object]] = []
        self._direct: list[StagedDirect] = []
        self.log_error: NotStoredError | None = None  # of the last commit; None: it succeeded
        self.message_count = 0  # stored messages
        self.delivery_count = 0  # messages times readers, without direct messages
        self.failed_commits = 0

    def stage(self, room: Room, batch: Batch) -> None:
        """Have `publish` publish the batch in the room."""
        if not room.staged:
            self._dirty.append(room)
        if not room.seq and batch.logged:
            # The first message and the room's record go into one commit: the log numbers the room's messages
            # under this spelling of its name forever.
            self._save_room(room)
        room.staged.append(batch)
        self._observed.append(batch)

    def report(self, report: Callable[..., object], *arguments: object) -> None:
        """Call a method of the observer, after all batches that are staged now are published."""
        if self._observed:
            self._observed.append(partial(self._report, report, *arguments))
        else:
            report(*arguments)

    def stage_direct(self, direct: StagedDirect) -> None:
        """Have `publish` deliver and acknowledge a direct message."""
        self._direct.append(direct)

    def publish(self) -> Iterable[Feed[Any]]:
        """Commit everything staged and append it to the feeds; return the feeds that may have new data."""
        if not self._dirty and not self._log.staged:
            return ()
        try:
            self._log.commit()
        except NotStoredError as error:
            self._on_commit_failed(error)
        else:
            if self.log_error is not None:
                self.log_error = None
                self._report(self._observer.on_log_state, None)
        dirty, self._dirty = self._dirty, []
        observed, self._observed = self._observed, []
        feeds: list[Feed[Any]] = []
        for room in dirty:
            for batch in reversed(room.staged):
                if batch.logged:
                    last_seq = batch.events[-1].seq
                    self.message_count += last_seq - room.seq
                    room.seq = last_seq
                    break
            try:
                feeds += room.publish()
            except Exception as error:
                self._on_error(f"room {room.name}", error)
            self.delivery_count += room.deliveries
        on_published = self._observer.on_published
        for batch in observed:
            if not isinstance(batch, Batch):
                batch()
                continue
            events, logged, author, _ = batch
            if logged and author is not None and author.client_id is not None:
                try:
                    self._acknowledge(author, author.client_id, events)  # type: ignore[arg-type]
                except Exception as error:
                    self._on_error(f"session of {author.name}", error)
            try:
                on_published(events)
            except Exception as error:
                self._on_error("observer", error)
        if self._direct:
            self._publish_direct()
        return feeds

    # ----------------------------------------------------------------------------------------------------

    def _publish_direct(self) -> None:
        published, self._direct = self._direct, []
        self.message_count += len(published)
        for direct in published:
            author = direct.author
            assert author.client_id is not None
            try:
                self._acknowledge(author, author.client_id, [direct.message])
            except Exception as error:
                self._on_error(f"session of {author.name}", error)
            try:
                self._deliver_direct(direct)
            except Exception as error:
                self._on_error(f"direct message from {author.name}", error)

    def _acknowledge(self, author: Author, client_id: bytes, messages: Sequence[Said]) -> None:
        self._sent.mark_stored(client_id, messages)
        author.peer.acknowledge(messages)

    def _on_commit_failed(self, error: NotStoredError) -> None:
        """Unstage the messages and reject them; all other events stay staged."""
        self.failed_commits += 1
        first, self.log_error = self.log_error is None, error
        if first:
            self._report(self._observer.on_log_state, error)
        for room in self._dirty:
            lost = [batch for batch in room.staged if batch.logged]
            room.staged = [batch for batch in room.staged if not batch.logged]
            for batch in lost:
                if batch.author is not None:
                    self._reject(batch.author, batch.events, error)
                else:
                    self._report(self._observer.on_announcement_lost, batch.events, error)
        self._observed = [each for each in self._observed if not isinstance(each, Batch) or not each.logged]
        lost_direct, self._direct = self._direct, []
        for direct in lost_direct:
            self._reject(direct.author, [direct.message], error)

    def _reject(self, author: Author, messages: Sequence[Event], error: NotStoredError) -> None:
        said = [message for message in messages if isinstance(message, Said)]
        try:
            if author.client_id is not None:
                self._sent.mark_failed(author.client_id, [message.id for message in said])
            author.peer.reject(error, [message.id for message in said])
        except Exception as failure:
            self._on_error(f"session of {author.name}", failure)

    def _report(self, report: Callable[..., object], *arguments: object) -> None:
        try:
            report(*arguments)
        except Exception as error:
            self._on_error("observer", error)
