"""Bans and mutes by the operator, which survive a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from selchat.addresses import Network, parse_network
from selchat.errors import BannedError, SanctionError
from selchat.limits import MAX_DURATION
from selchat.log.port import Log
from selchat.text import name_key


class MutedError(SanctionError):
    code = "muted"
    action = "muted"


class Sanction(NamedTuple):
    """A ban or a mute. ``target``: the name, address or network, as the operator typed it.

    ``until``: Unix time; None: without end. ``client_id``: the owner of the name at that time, so that the
    owner cannot evade it with another name.
    """

    target: str
    until: float | None
    client_id: bytes | None = None

    @property
    def end(self) -> str:
        """The end as text for people; empty: without end."""
        if self.until is None:
            return ""
        return datetime.fromtimestamp(self.until).astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()


class Moderation:
    """Bans and mutes. ``now`` returns Unix time in seconds.

    ``muted`` is empty while nobody is muted; that is cheaper to test than to call `check_muted`. ``on_ban()``
    is called after each new ban, so that its owner can close the connections that the ban affects.
    """

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._now = now
        self._bans = _SanctionList(log, "ban", now)
        self._mutes = _SanctionList(log, "mute", now)
        self.muted: Mapping[str, Sanction] = self._mutes.by_key
        self.on_ban: Callable[[], object] = lambda: None

    def ban(self, target: str, until: float | None, client_id: bytes | None = None) -> None:
        """Ban a name, an address or a network."""
        self._bans.add(Sanction(target, until, client_id))
        self.on_ban()

    def unban(self, target: str) -> bool:
        """Lift a ban; return whether there was one."""
        return self._bans.remove(target)

    def is_banned(self, target: str) -> bool:
        """Return whether there is a ban with exactly this target."""
        return _key(target) in self._bans.by_key

    def is_muted(self, name: str) -> bool:
        """Return whether there is a mute with exactly this name."""
        return _key(name) in self._mutes.by_key

    def mute(self, name: str, until: float | None, client_id: bytes | None = None) -> None:
        """Mute a name."""
        self._mutes.add(Sanction(name, until, client_id))

    def unmute(self, name: str) -> bool:
        """Lift a mute; return whether there was one."""
        return self._mutes.remove(name)

    def bans(self) -> list[Sanction]:
        """Return the current bans."""
        return list(self._bans)

    def mutes(self) -> list[Sanction]:
        """Return the current mutes."""
        return list(self._mutes)

    def check_address(self, host: str) -> None:
        """Raise `BannedError` if the address is banned."""
        ban = self._bans.find_address(host)
        if ban is not None:
            raise BannedError(ban.end, ban.until)

    def check_name(self, name: str, client_id: bytes | None) -> None:
        """Raise `BannedError` if the name is banned, or the client under any name."""
        ban = self._bans.find(name, client_id)
        if ban is not None:
            raise BannedError(ban.end, ban.until)

    def check_muted(self, name: str, client_id: bytes | None) -> None:
        """Raise `MutedError` if the name is muted, or the client under any name."""
        mute = self._mutes.find(name, client_id)
        if mute is not None:
            raise MutedError(mute.end, mute.until)


class _SanctionList:
    """All bans or all mutes, by the key of the name, or by the network."""

    def __init__(self, log: Log, kind: str, now: Callable[[], float]) -> None:
        self._log = log
        self._kind = kind
        self._now = now
        self.by_key: dict[str, Sanction] = {}
        self._networks: dict[str, Network] = {}
        for key, text in log.records(kind).items():
            record = json.loads(text)
            client_id = bytes.fromhex(record["client"]) if record["client"] else None
            sanction = Sanction(record["word"], _bounded(record["until"], now()), client_id)
            if key != _key(sanction.target):  # an older version's key, for example of a mapped address
                log.put(kind, key, None)
                self.add(sanction)
            else:
                self._insert(sanction)

    def __iter__(self) -> Iterator[Sanction]:
        self._expire()
        return iter(tuple(self.by_key.values()))

    def add(self, sanction: Sanction) -> None:
        key = self._insert(sanction)
        record = {
            "word": sanction.target,
            "until": sanction.until,
            "client": sanction.client_id.hex() if sanction.client_id else None,
        }
        self._log.put(self._kind, key, json.dumps(record))

    def remove(self, target: str) -> bool:
        key = _key(target)
        if key not in self.by_key:
            return False
        del self.by_key[key]
        self._networks.pop(key, None)
        self._log.put(self._kind, key, None)
        return True

    def find(self, name: str, client_id: bytes | None) -> Sanction | None:
        if not self.by_key:
            return None  # the usual case, checked for every message
        self._expire()
        key = name_key(name)
        found = None if key in self._networks else self.by_key.get(key)
        if found is None and client_id is not None:
            found = next((one for one in self.by_key.values() if one.client_id == client_id), None)
        return found

    def find_address(self, host: str) -> Sanction | None:
        if not self._networks:
            return None
        self._expire()
        return next(
            (self.by_key[key] for key, network in self._networks.items() if network.contains(host)), None
        )

    def _insert(self, sanction: Sanction) -> str:
        key = _key(sanction.target)
        self.by_key[key] = sanction
        network = parse_network(sanction.target)
        if network is not None:
            self._networks[key] = network
        return key

    def _expire(self) -> None:
        now = self._now()
        ended = [one.target for one in self.by_key.values() if one.until is not None and one.until <= now]
        for target in ended:
            self.remove(target)


def _bounded(until: Any, now: float) -> float | None:
    """Return the end of a stored ban or mute, at most ten years from now: older versions had no limit."""
    if until is None:
        return None
    latest = now + MAX_DURATION
    # In this order, min() returns ``latest`` for NaN too.
    return float(min(latest, until)) if isinstance(until, int | float) else latest


def _key(target: str) -> str:
    network = parse_network(target)
    return name_key(target) if network is None else str(network)
