"""Clients, by the hash of their secret: which names are theirs, and what they have sent already.

Nobody registers. Whoever is the first to use a name owns it, for as long as it is used now and then; and a
message that a client sends again, because it has not heard that it arrived, is known by its id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from selchat.chat.confusables import ConfusableIndex
from selchat.events import Said
from selchat.log.port import Log, Sent
from selchat.text import name_key

REMEMBERED = 4096  # ids of one client, in the log
_MANY = 4096  # ids of one client, here
_FEW = 256
_MAX_IN_ALL = 500_000  # ids of all clients
_DAY = 86_400.0
_OWNED_SECONDS = 90 * _DAY
_NAMES = "name"  # the kind of these records


def hash_client_secret(secret: str) -> bytes:
    """Return what the server keeps of a client's secret.

    SHA-256, cut to 16 bytes; the secret is random and long, so that nothing slower is needed.
    """
    return hashlib.sha256(b"selchat client\0" + secret.encode()).digest()[:16]


def hash_api_name(name: str) -> bytes:
    """Return whose that name is when scripts speak under it, with whichever token: the client of all of them.

    Not the hash of a token: one that is made in the place of a lost one must have the name, and know what was
    sent with the other. It is no secret. No client can say it, since what they say is hashed first, as above.
    """
    return hashlib.sha256(b"selchat speaker\0" + name_key(name).encode()).digest()[:16]


class Names:
    """Who owns which name, by the name's key. ``now`` gives Unix time in seconds.

    Names of several owners may look alike: those of a history that is older than the rule against it.
    """

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._owners: dict[str, tuple[str, bytes, float]] = {}  # name, owner, when it was last used
        self._confusables = ConfusableIndex()
        for key, text in log.records(_NAMES).items():
            record = json.loads(text)
            self._owners[key] = (record["name"], bytes.fromhex(record["owner"]), record["used"])
            self._confusables.add(record["name"])
        self.expire()

    def __contains__(self, key: str) -> bool:
        return key in self._owners

    def owner(self, key: str) -> bytes | None:
        """Return whose name it is; None: nobody's."""
        found = self._owners.get(key)
        return None if found is None else found[1]

    def name(self, key: str) -> str:
        """Return the name as its owner writes it."""
        return self._owners[key][0]

    def confusable_with(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Find other owned names for which that clean one could be taken, and whose they are."""
        return ((other, self._owners[name_key(other)][1]) for other in self._confusables.find(name))

    def is_reserved(self, key: str, name: str) -> bool:
        """Whether someone owns that clean name, or one that it could be taken for."""
        return key in self._owners or next(self._confusables.find(name), None) is not None

    def record_use(self, key: str, name: str, owner: bytes) -> None:
        """Note that the name is used by its owner now."""
        now = self._now()
        before = self._owners.get(key)
        if before is None or before[0] != name:
            if before is not None:
                self._confusables.remove(before[0])
            self._confusables.add(name)
        self._owners[key] = (name, owner, now)
        record = {"name": name, "owner": owner.hex(), "used": round(now)}
        self._log.put(_NAMES, key, json.dumps(record))

    def expire(self, is_here: Callable[[str], bool] = lambda key: False) -> None:
        """Forget the names that nobody has used for 90 days."""
        oldest = self._now() - _OWNED_SECONDS
        for key, name in [(key, name) for key, (name, _, used) in self._owners.items() if used < oldest]:
            if not is_here(key):
                del self._owners[key]
                self._confusables.remove(name)
                self._log.put(_NAMES, key, None)


class SentMessages:
    """What clients have sent lately, to know it when it comes again.

    The log knows `REMEMBERED` messages of each client, and is asked when one that has come says something for
    the first time. From then on a client's own are kept here: `_MANY` of each, or `_FEW` while there are
    `_MAX_IN_ALL` of all clients; one takes about 300 bytes.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._clients: dict[bytes, _Client] = {}
        self._total = 0

    def open_session(self, client: bytes) -> None:
        """Note that a client has come; it may be here several times."""
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = _Client()
        elif not known.staged:
            self._keep(known, None)  # what another session of it has sent may be longer ago than is kept here
        known.sessions += 1

    def close_session(self, client: bytes) -> None:
        """Forget a client when the last of it has gone and all is in the log."""
        self._clients[client].sessions -= 1
        self._forget(client)

    def register(self, client: bytes, ids: Sequence[str]) -> tuple[list[int], list[Sent]]:
        """Return the places in ``ids`` of those that are new, and note them; and what is in the log already.

        One that is staged since this tick is neither: it is confirmed when the tick ends. Raises
        `NotReadableError`.
        """
        known = self._clients[client]
        if known.sent is None:
            self._keep(known, {sent.id: sent for sent in self._log.sent(client, REMEMBERED)})
        sent, staged = known.sent or {}, known.staged
        new: list[int] = []
        repeated: list[Sent] = []
        for place, id in enumerate(ids):
            if id in sent:
                repeated.append(sent[id])
            elif id not in staged:
                staged.add(id)
                new.append(place)
        return new, repeated

    def mark_stored(self, client: bytes, messages: Sequence[Said]) -> None:
        """Note that these are in the log now."""
        known = self._clients[client]
        sent, staged = known.sent, known.staged
        if sent is not None:
            self._total -= len(sent)
            for message in messages:
                sent[message.id] = Sent(message.id, message.room, message.seq, message.at)
            self._total += len(sent)
            most = _MANY if self._total < _MAX_IN_ALL else _FEW
            if len(sent) > 2 * most:
                # Not one by one: a dictionary looks for its first item from where that once was.
                self._keep(known, dict(islice(sent.items(), len(sent) - most, None)))
        staged.difference_update([message.id for message in messages])
        self._forget(client)

    def mark_failed(self, client: bytes, messages: Iterable[Said]) -> None:
        """Note that these are not."""
        self._clients[client].staged.difference_update(message.id for message in messages)
        self._forget(client)

    def _keep(self, known: _Client, sent: dict[str, Sent] | None) -> None:
        self._total += len(sent or ()) - len(known.sent or ())
        known.sent = sent

    def _forget(self, client: bytes) -> None:
        known = self._clients[client]
        if not known.sessions and not known.staged:
            self._keep(known, None)
            del self._clients[client]


class _Client:
    __slots__ = ("sent", "sessions", "staged")

    def __init__(self) -> None:
        self.sessions = 0
        self.sent: dict[str, Sent] | None = None  # in the log, oldest first; None: not asked for yet
        self.staged: set[str] = set()  # since the last commit
