"""Whispers that are kept: each owned name has a room of its own in the log, which only its owner reads."""

from __future__ import annotations

from selchat.chat.room import new_salt
from selchat.log.port import Log, NotReadableError

_CONFIRMED = "whispers"  # the kind of the records of what has arrived for good
_SALT = "salt"  # and that of the one record of the salt


class Inboxes:
    """How far the owner of each name, by its key, has got their whispers.

    ``salt`` is for those who encrypt them: the same for all, as they are in no room of their own.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._confirmed = {key: int(seq) for key, seq in log.records(_CONFIRMED).items()}
        known = log.records(_SALT).get(_CONFIRMED)
        self.salt = known or new_salt()
        if known is None:
            log.put(_SALT, _CONFIRMED, self.salt)

    def log_room(self, key: str) -> str:
        """Return what the log calls the whispers to the owner of that name."""
        return f"@{key}"

    def owner_key(self, room: str) -> str | None:
        """Return the key of the name whose whispers the log calls that; None: it is a room of the chat."""
        return room[1:] if room.startswith("@") else None

    def confirm(self, key: str, seq: int) -> None:
        """Note that all up to ``seq`` have arrived for good."""
        seq = min(seq, self._log.last_seq(self.log_room(key)))
        if seq > self._confirmed.get(key, 0):
            self._confirmed[key] = seq
            self._log.put(_CONFIRMED, key, str(seq))

    def change_owner(self, key: str) -> None:
        """Keep what was whispered to an earlier owner of the name from the next one."""
        self.confirm(key, self._log.last_seq(self.log_room(key)))

    def unconfirmed(self, key: str) -> tuple[int, int]:
        """Return the ``seq`` of the last whisper that was confirmed, and how many there are since."""
        room, confirmed = self.log_room(key), self._confirmed.get(key, 0)
        newest = self._log.last_seq(room)
        try:
            oldest = self._log.after(room, confirmed, 1, 1)  # some may be forgotten
        except NotReadableError:
            return confirmed, newest - confirmed  # nobody is kept out for want of an exact number
        return confirmed, newest - oldest[0].seq + 1 if oldest else 0
