"""Name ownership and duplicate detection, per client.

There is no registration. The first client to use a name owns it until it has not used the name for 90 days.
If a client resends a message because it got no acknowledgement, the server recognizes the message by its id.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from selchat.addresses import limited_source
from selchat.chat.confusables import ConfusableIndex
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import RefusalError
from selchat.events import Said
from selchat.limits import (
    MAX_ALL_REMEMBERED_IDS,
    MAX_BUCKETS,
    MAX_REMEMBERED_IDS,
    MIN_REMEMBERED_IDS,
    NAME_KEPT_SECONDS,
    NAME_OWNED_SECONDS,
    NAMES_EXAMINED,
)
from selchat.log.port import Log, Sent
from selchat.ratelimit import BucketTable, hourly
from selchat.text import clean_name, name_key

_NAMES = "name"  # the kind of these records


def hash_client_secret(secret: str) -> bytes:
    """Return the ``client_id`` of a client: the hash of its secret, which the server stores instead of it.

    It is SHA-256, cut to 16 bytes. The secret is long and random, so that no slow hash is needed.
    """
    return hashlib.sha256(b"selchat client\0" + secret.encode()).digest()[:16]


def hash_api_name(name: str) -> bytes:
    """Return the ``client_id`` of all scripts that send under this name, with whichever token.

    It does not depend on the token, so that a replacement token has the same name and detects the same
    duplicates. It is no secret, but no client can claim it: `hash_client_secret` hashes with another prefix.
    """
    return hashlib.sha256(b"selchat speaker\0" + name_key(name).encode()).digest()[:16]


class TooManyNamesError(RefusalError):
    """``who`` has taken too many names; ``limit``, in words."""

    code = "too-many-names"

    def __init__(self, who: str, limit: str) -> None:
        super().__init__(who, limit)
        self.who = who
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.who} took {self.limit}; sign in with a name that you own"


class Names:
    """The owner of each name, by the key of the name. ``now`` returns Unix time in seconds. A name whose key
    ``is_permanent`` never becomes free, and neither does the name of an API token. ``on_freed(key)`` is
    called for a name that becomes free.

    Names of different owners may be confusable if the history is older than the rule against it.
    """

    def __init__(
        self,
        log: Log,
        now: Callable[[], float],
        is_permanent: Callable[[str], bool] = lambda key: False,
        on_freed: Callable[[str], object] = lambda key: None,
    ) -> None:
        self._log = log
        self._now = now
        self._is_permanent = is_permanent
        self._on_freed = on_freed
        self._owners: dict[str, tuple[str, bytes, float]] = {}  # name, owner, time of last use
        self._keys: dict[bytes, tuple[str, ...]] = {}  # of the names of each owner
        # Names to free, the one that was unused for longest first; without those that were needed when
        # `free_oldest` looked at them: their next use adds them again.
        self._unused: OrderedDict[str, None] = OrderedDict()
        self._confusables = ConfusableIndex()
        for key, text in log.records(_NAMES).items():
            record = json.loads(text)
            self._add(key, record["name"], bytes.fromhex(record["owner"]), record["used"])
        self._clean()
        self._unused = OrderedDict.fromkeys(sorted(self._owners, key=lambda key: self._owners[key][2]))
        self.expire()

    def __len__(self) -> int:
        return len(self._owners)

    def __contains__(self, key: str) -> bool:
        return key in self._owners

    def owner(self, key: str) -> bytes | None:
        """Return the ``client_id`` of the owner; None: nobody owns the name."""
        found = self._owners.get(key)
        return None if found is None else found[1]

    def name(self, key: str) -> str:
        """Return the name as its owner spells it."""
        return self._owners[key][0]

    def confusable_with(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield other owned names that are confusable with a clean name, and their owners."""
        return ((other, self._owners[name_key(other)][1]) for other in self._confusables.find(name))

    def is_reserved(self, key: str, name: str) -> bool:
        """Return whether someone owns a clean name or one that is confusable with it."""
        return key in self._owners or next(self._confusables.find(name), None) is not None

    def record_use(self, key: str, name: str, owner: bytes) -> None:
        """Record that the owner uses the name now, in this spelling."""
        now = self._now()
        before = self._owners.get(key)
        if before is not None and before[:2] == (name, owner):
            self._owners[key] = (name, owner, now)
            self._unused[key] = None
            self._unused.move_to_end(key)
        else:
            if before is not None:
                self._forget(key)
            self._add(key, name, owner, now)
        self._store(key)

    def free_one(self, owner: bytes, limit: int, is_needed: Callable[[str], bool]) -> bool:
        """Free the name that the owner has not used for longest, if they own ``limit`` names or more.

        It never frees one that ``is_needed(key)``. Return False if all of them are needed.
        """
        keys = self._keys.get(owner, ())
        if len(keys) < limit:
            return True
        for key in sorted(keys, key=lambda key: self._owners[key][2]):
            if not self._is_permanent(key) and not is_needed(key):
                self._free(key)
                return True
        return False

    def free_oldest(self, is_needed: Callable[[str], bool]) -> bool:
        """Free the name that has been unused for longest, if that is at least a day; see `free_one`.

        It looks at a few names only. If it returns False because all of them are needed, the next call
        looks at others.
        """
        newest = self._now() - NAME_KEPT_SECONDS
        for key in list(islice(self._unused, NAMES_EXAMINED)):
            _, owner, used = self._owners[key]
            if used > newest:
                return False
            if self._is_permanent(key) or owner == hash_api_name(key) or is_needed(key):
                del self._unused[key]
            else:
                self._free(key)
                return True
        return False

    def expire(self, is_present: Callable[[str], bool] = lambda key: False) -> None:
        """Free the names that nobody has used for 90 days, unless their owner is present."""
        oldest = self._now() - NAME_OWNED_SECONDS
        for key in [key for key, (_, _, used) in self._owners.items() if used < oldest]:
            if not is_present(key) and not self._is_permanent(key):
                self._free(key)

    def _clean(self) -> None:
        """Clean the names of an older history, as the server now cleans them when their owners sign in."""
        for key, (name, owner, used) in tuple(self._owners.items()):
            cleaned = clean_name(name, len(name))
            if cleaned == name:
                continue
            self._remove(key)
            if cleaned and name_key(cleaned) not in self._owners:
                self._add(name_key(cleaned), cleaned, owner, used)
                self._store(name_key(cleaned))

    def _add(self, key: str, name: str, owner: bytes, used: float) -> None:
        self._owners[key] = (name, owner, used)
        self._unused[key] = None
        self._keys[owner] = (*self._keys.get(owner, ()), key)
        self._confusables.add(name)

    def _free(self, key: str) -> None:
        self._remove(key)
        self._on_freed(key)

    def _remove(self, key: str) -> None:
        self._forget(key)
        self._log.put(_NAMES, key, None)

    def _forget(self, key: str) -> None:
        name, owner, _ = self._owners.pop(key)
        self._unused.pop(key, None)
        self._confusables.remove(name)
        keys = tuple(other for other in self._keys.pop(owner) if other != key)
        if keys:
            self._keys[owner] = keys

    def _store(self, key: str) -> None:
        name, owner, used = self._owners[key]
        record = {"name": name, "owner": owner.hex(), "used": round(used)}
        self._log.put(_NAMES, key, json.dumps(record))


class NewNames:
    """Limits of new names: how many one person may own, one address may take within an hour, and all people
    own.
    """

    def __init__(self, names: Names, settings: Settings, clock: Clock) -> None:
        self._names = names
        self._clock = clock
        self._by_address = BucketTable(*hourly(settings.address_names), MAX_BUCKETS)
        self._settings = settings

    def reconfigure(self, settings: Settings) -> None:
        """Apply the new limits to new names."""
        self._by_address.set_limits(*hourly(settings.address_names))
        self._settings = settings

    def admit(self, owner: bytes, host: str, is_needed: Callable[[str], bool]) -> None:
        """Let the owner take a new name from this address; it may cost them the oldest one they have, or
        others one that they have not used for longest.

        ``is_needed``: see `Names.free_one`. Raises `TooManyNamesError`.
        """
        now, settings = self._clock.now, self._settings
        source = limited_source(host)
        if source and not self._by_address.get(source, now).take(now):
            limit = f"{settings.address_names} new names within an hour"
            raise TooManyNamesError("users of your address", limit)
        if not self._names.free_one(owner, settings.person_names, is_needed):
            raise TooManyNamesError("you", f"{settings.person_names} names")
        if len(self._names) >= settings.names_limit and not self._names.free_oldest(is_needed):
            raise TooManyNamesError("users of this server", f"{settings.names_limit:,} names")


class SentMessages:
    """Index of recently sent messages, to detect duplicates.

    The log knows the last `MAX_REMEMBERED_IDS` messages of each client. This index queries it once, when a
    client sends its first message, and then keeps the ids of that client in memory until the client signs
    out: up to twice ``max_ids``. While there are more than ``max_total`` ids of all clients, it keeps up to
    twice ``min_ids`` of those that have not just signed in. One id takes about 250 bytes, and with 64
    characters outside of Latin-1 500.
    """

    def __init__(
        self,
        log: Log,
        max_ids: int = MAX_REMEMBERED_IDS,
        min_ids: int = MIN_REMEMBERED_IDS,
        max_total: int = MAX_ALL_REMEMBERED_IDS,
    ) -> None:
        self._log = log
        self._max_ids = max_ids
        self._min_ids = min_ids
        self._max_total = max_total
        self._clients: dict[bytes, _Client] = {}
        self._large: dict[_Client, None] = {}  # with more than twice ``min_ids``
        self.total = 0  # ids in memory

    def open_session(self, client_id: bytes) -> None:
        """Start a session of a client, which may have several at once."""
        client = self._clients.get(client_id)
        if client is None:
            client = self._clients[client_id] = _Client()
        elif not client.staged:
            # Query the log again: the new session may resend messages that are too old for this index.
            self._replace_ids(client, None)
        client.sessions += 1

    def close_session(self, client_id: bytes) -> None:
        """End a session; forget the client after its last one, once the log has its messages."""
        self._clients[client_id].sessions -= 1
        self._remove_if_unused(client_id)

    def register(self, client_id: bytes, ids: Sequence[str]) -> tuple[list[int], list[Sent]]:
        """Return the positions in ``ids`` of new messages, and the messages that the log already has.

        New ids count as staged until `mark_stored` or `mark_failed`. An id that is staged already is in
        neither list: its first copy gets the acknowledgement. Raises `NotReadableError`.
        """
        client = self._clients[client_id]
        if client.sent is None:
            self._replace_ids(
                client, {sent.id: sent for sent in self._log.sent(client_id, MAX_REMEMBERED_IDS)}
            )
            self._shrink_others(client)
        sent, staged = client.sent or {}, client.staged
        new: list[int] = []
        repeated: list[Sent] = []
        for place, id in enumerate(ids):
            if id in sent:
                repeated.append(sent[id])
            elif id not in staged:
                staged.add(id)
                new.append(place)
        return new, repeated

    def mark_stored(self, client_id: bytes, messages: Sequence[Said]) -> None:
        """Record that the log has stored these staged messages."""
        client = self._clients[client_id]
        sent, staged = client.sent, client.staged
        if sent is not None:
            self.total -= len(sent)
            for message in messages:
                sent[message.id] = Sent(message.id, message.room, message.seq, message.at)
            self.total += len(sent)
            if len(sent) > 2 * self._min_ids:
                self._large[client] = None
            limit = self._max_ids if self.total < self._max_total else self._min_ids
            if len(sent) > 2 * limit:
                # Trim rarely and in bulk: after deletions at its front, a dict is slow to find its first
                # item.
                self._replace_ids(client, dict(islice(sent.items(), len(sent) - limit, None)))
        staged.difference_update([message.id for message in messages])
        self._remove_if_unused(client_id)

    def mark_failed(self, client_id: bytes, ids: Iterable[str]) -> None:
        """Record that these staged messages are not in the log, so that the client may send them again."""
        self._clients[client_id].staged.difference_update(ids)
        self._remove_if_unused(client_id)

    def _replace_ids(self, client: _Client, sent: dict[str, Sent] | None) -> None:
        self.total += len(sent or ()) - len(client.sent or ())
        client.sent = sent
        if sent is not None and len(sent) > 2 * self._min_ids:
            self._large[client] = None
        else:
            self._large.pop(client, None)

    def _shrink_others(self, client: _Client) -> None:
        """Forget old ids of other clients if there are too many in all."""
        for other in list(self._large) if self.total > self._max_total else ():
            if self.total <= self._max_total:
                return
            if other is not client and other.sent is not None:
                newest = islice(other.sent.items(), len(other.sent) - self._min_ids, None)
                self._replace_ids(other, dict(newest))

    def _remove_if_unused(self, client_id: bytes) -> None:
        client = self._clients[client_id]
        if not client.sessions and not client.staged:
            self._replace_ids(client, None)
            del self._clients[client_id]


class _Client:
    __slots__ = ("sent", "sessions", "staged")

    def __init__(self) -> None:
        self.sessions = 0
        self.sent: dict[str, Sent] | None = None  # in the log, oldest first; None: not queried yet
        self.staged: set[str] = set()  # ids since the last commit
