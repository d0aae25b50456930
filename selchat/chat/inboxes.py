"""Inboxes: the stored direct messages to each owned name.

The log keeps each inbox as a separate room, which only the owner of the name reads.
"""

from __future__ import annotations

from collections.abc import Callable

from selchat.chat.room import new_salt
from selchat.log.port import Log, NotReadableError

_CONFIRMED = "whispers"  # the kind of the records of confirmed ``seq`` numbers
_SALT = "salt"  # the kind of the single record of the salt


class Inboxes:
    """The last confirmed direct message of each inbox, by the key of the owner's name.

    ``salt`` is for clients that encrypt direct messages. All inboxes share it, because a direct message
    belongs to no room that could have its own.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._confirmed = {key: int(seq) for key, seq in log.records(_CONFIRMED).items()}
        known = log.records(_SALT).get(_CONFIRMED)
        self.salt = known or new_salt()
        if known is None:
            log.put(_SALT, _CONFIRMED, self.salt)

    def log_room(self, key: str) -> str:
        """Return the log's room for the inbox of the name with this key."""
        return f"@{key}"

    def owner_key(self, log_room: str) -> str | None:
        """Return the key of the name whose inbox ``log_room`` is; None: it is a chat room."""
        return log_room[1:] if log_room.startswith("@") else None

    def confirm(self, key: str, seq: int) -> None:
        """Record that the owner has received all messages up to ``seq``."""
        seq = min(seq, self._log.last_seq(self.log_room(key)))
        if seq > self._confirmed.get(key, 0):
            self._confirmed[key] = seq
            self._log.put(_CONFIRMED, key, str(seq))

    def change_owner(self, key: str) -> None:
        """Hide the messages to the name's previous owner from the next one."""
        self.confirm(key, self._log.last_seq(self.log_room(key)))

    def forget(self, key: str) -> None:
        """Free the memory of a name that nobody owns any more; `change_owner` hides its messages later."""
        if self._confirmed.pop(key, None) is not None:
            self._log.put(_CONFIRMED, key, None)

    def forget_unowned(self, is_owned: Callable[[str], bool]) -> None:
        """Free the memory of all names that nobody owns."""
        for key in [key for key in self._confirmed if not is_owned(key)]:
            self.forget(key)

    def unconfirmed(self, key: str) -> tuple[int, int]:
        """Return the last confirmed ``seq``, and the number of messages since."""
        room, confirmed = self.log_room(key), self._confirmed.get(key, 0)
        last_seq = confirmed + 1  # an approximate number is better than a failed sign-in
        try:
            last_seq = self._log.last_seq(room)
            oldest = self._log.after(room, confirmed, 1, 1)  # some messages may have expired
        except NotReadableError:
            return confirmed, last_seq - confirmed
        return confirmed, last_seq - oldest[0].seq + 1 if oldest else 0
