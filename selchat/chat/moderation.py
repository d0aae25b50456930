"""Who may not come in, and who may not speak. What an operator decides here survives a restart."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from selchat.config.units import parse_duration
from selchat.errors import BannedError, RefusalError, SettingError
from selchat.log.port import Log
from selchat.text import name_key


class MutedError(RefusalError):
    """``until``: when that ends, in words; empty: when the operator ends it."""

    code = "muted"

    def __init__(self, until: str = "") -> None:
        super().__init__(until)
        self.until = until

    def __str__(self) -> str:
        return "the operator does not let you speak" + (f" until {self.until}" if self.until else "")


_MAX_SECONDS = 2_000_000 * 86_400  # so that a ban ends before datetime's last year, 9999

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Sanction(NamedTuple):
    """A ban or a mute. ``word``: the name or the network, as the operator has put it.

    ``until``: Unix time, or None for good. ``client``: whose name it was, so that another name is no way out.
    """

    word: str
    until: float | None
    client: bytes | None = None

    @property
    def end(self) -> str:
        """When it ends, in words; empty if it does not."""
        if self.until is None:
            return ""
        return datetime.fromtimestamp(self.until).astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()


class Moderation:
    """Bans and mutes. ``now`` gives Unix time in seconds.

    ``muted`` is empty while everyone may speak, which is quicker to see than `check_muted` is called.
    """

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._now = now
        self._bans = _Sanctions(log, "ban", now)
        self._mutes = _Sanctions(log, "mute", now)
        self.muted: Mapping[str, Sanction] = self._mutes.by_key

    def ban(self, word: str, until: float | None, client: bytes | None = None) -> None:
        """Ban a name, or an address or network."""
        self._bans.add(Sanction(word, until, client))

    def unban(self, word: str) -> bool:
        """Lift a ban; return whether there was one."""
        return self._bans.remove(word)

    def mute(self, word: str, until: float | None, client: bytes | None = None) -> None:
        """Do not let someone of that name speak."""
        self._mutes.add(Sanction(word, until, client))

    def unmute(self, word: str) -> bool:
        """Let them speak again; return whether they could not."""
        return self._mutes.remove(word)

    def bans(self) -> list[Sanction]:
        """Return the bans that are in force."""
        return list(self._bans)

    def mutes(self) -> list[Sanction]:
        """Return the mutes that are in force."""
        return list(self._mutes)

    def check_address(self, host: str) -> None:
        """Raise `BannedError` if nobody may come in from there."""
        ban = self._bans.of_address(host)
        if ban is not None:
            raise BannedError(ban.end)

    def check_name(self, name: str, client: bytes | None) -> None:
        """Raise `BannedError` if nobody may come in under that name, or that client under no name."""
        ban = self._bans.of(name, client)
        if ban is not None:
            raise BannedError(ban.end)

    def check_muted(self, name: str, client: bytes | None) -> None:
        """Raise `MutedError` if they may not speak."""
        mute = self._mutes.of(name, client)
        if mute is not None:
            raise MutedError(mute.end)


class _Sanctions:
    """The measures of one kind, by key: that of a name, or the network."""

    def __init__(self, log: Log, kind: str, now: Callable[[], float]) -> None:
        self._log = log
        self._kind = kind
        self._now = now
        self.by_key: dict[str, Sanction] = {}
        self._networks: dict[str, Network] = {}
        for text in log.records(kind).values():
            record = json.loads(text)
            client = bytes.fromhex(record["client"]) if record["client"] else None
            self._keep(Sanction(record["word"], record["until"], client))

    def __iter__(self) -> Iterator[Sanction]:
        self._expire()
        return iter(tuple(self.by_key.values()))

    def add(self, measure: Sanction) -> None:
        key = self._keep(measure)
        record = {
            "word": measure.word,
            "until": measure.until,
            "client": measure.client.hex() if measure.client else None,
        }
        self._log.put(self._kind, key, json.dumps(record))

    def remove(self, word: str) -> bool:
        key = _key(word)
        if key not in self.by_key:
            return False
        del self.by_key[key]
        self._networks.pop(key, None)
        self._log.put(self._kind, key, None)
        return True

    def of(self, name: str, client: bytes | None) -> Sanction | None:
        if not self.by_key:
            return None  # the usual case, for everything that is said
        self._expire()
        key = name_key(name)
        found = None if key in self._networks else self.by_key.get(key)
        if found is None and client is not None:
            found = next((one for one in self.by_key.values() if one.client == client), None)
        return found

    def of_address(self, host: str) -> Sanction | None:
        if not self._networks:
            return None
        self._expire()
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return next((self.by_key[key] for key, network in self._networks.items() if address in network), None)

    def _keep(self, measure: Sanction) -> str:
        key = _key(measure.word)
        self.by_key[key] = measure
        network = parse_network(measure.word)
        if network is not None:
            self._networks[key] = network
        return key

    def _expire(self) -> None:
        now = self._now()
        ended = [one.word for one in self.by_key.values() if one.until is not None and one.until <= now]
        for word in ended:
            self.remove(word)


def parse_network(word: str) -> Network | None:
    """Return the network that a word such as ``192.168.1.7`` or ``fd00::/64`` means; None: it is a name."""
    try:
        return ipaddress.ip_network(word, strict=False)
    except ValueError:
        return None


def parse_sanction_duration(text: str) -> float:
    """Return the seconds of ``1h10m``, ``2 days`` or ``90s``. Raises `SettingError`."""
    seconds = parse_duration(text, any_suffix=True)
    if not seconds or seconds > _MAX_SECONDS:
        raise SettingError("for", text, "a time such as 1h10m, 30m or 7d")
    return seconds


def _key(word: str) -> str:
    network = parse_network(word)
    return name_key(word) if network is None else str(network)
