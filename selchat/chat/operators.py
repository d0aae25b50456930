"""Operators: the people whom the server's console has confirmed, and one-time codes for the others.

A name in the settings alone gives no rights, because anyone can be the first to use it. It gets a code, which
the server prints at its start. The person who sends the code from a selchat client gets the rights and the
name. The rights belong to the client and not to the spelling of a name.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from selchat.auth.login import LoginThrottle
from selchat.clock import Clock
from selchat.errors import RefusalError
from selchat.limits import MAX_CODE_LENGTH
from selchat.log.port import Log
from selchat.text import clean_name, name_key


class NotOperatorError(RefusalError):
    code = "not-operator"
    text = "only operators can send commands to the server"


class WrongCodeError(RefusalError):
    code = "not-operator"
    text = (
        "this is no operator code: codes are valid once, and until the server's next start. "
        "Look for a newer one in the server's terminal"
    )


_RECORDS = "operator"  # the kind of these records
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no letter looks like a digit
_LOOK_ALIKES = str.maketrans("OIL", "011")
_PUNCTUATION = re.compile("[^0-9A-Z]")  # between the groups, and what people copy with a code
_GROUPS, _GROUP_LENGTH = 4, 4  # of a code: 80 random bits


class Operator(NamedTuple):
    """A confirmed operator. ``claimed``: with the code of a name in the settings, and while it is there."""

    name: str
    client_id: bytes
    claimed: bool


class Operators:
    """The operators by the keys of their names. They survive a restart.

    ``names``: the names in the settings.
    """

    def __init__(self, log: Log, clock: Clock, names: Iterable[str]) -> None:
        self._log = log
        self._throttle = LoginThrottle(clock)
        self._by_key: dict[str, Operator] = {}
        self._codes: dict[str, str] = {}  # of the unclaimed names, by key
        for key, text in log.records(_RECORDS).items():
            record = json.loads(text)
            self._by_key[key] = Operator(record["name"], bytes.fromhex(record["client"]), record["claimed"])
        self.set_names(names)

    def set_names(self, names: Iterable[str]) -> None:
        """Set the names in the settings. A person who claimed a name that is gone loses the rights."""
        cleaned = filter(None, map(clean_name, names))
        self._names = {name_key(name): name for name in cleaned}
        self._clients = {
            one.client_id for key, one in self._by_key.items() if not one.claimed or key in self._names
        }
        self._codes = {
            key: self._codes.get(key) or _new_code() for key in self._names if key not in self._by_key
        }

    def __contains__(self, client_id: bytes | None) -> bool:
        return client_id in self._clients

    def is_permanent(self, key: str) -> bool:
        """Return whether the name with this key is an operator's, so that it never becomes free."""
        return key in self._by_key

    def current(self) -> list[Operator]:
        """Return the operators who have rights now."""
        return [one for key, one in self._by_key.items() if not one.claimed or key in self._names]

    def unclaimed(self) -> list[tuple[str, str]]:
        """Return the names in the settings that nobody has claimed, each with its code."""
        return [(self._names[key], code) for key, code in self._codes.items()]

    def confirm(self, name: str, client_id: bytes, *, claimed: bool = False) -> None:
        """Give the client the rights, under this name."""
        key = name_key(name)
        self._by_key[key] = Operator(name, client_id, claimed)
        self._log.put(
            _RECORDS, key, json.dumps({"name": name, "client": client_id.hex(), "claimed": claimed})
        )
        self.set_names(self._names.values())

    def remove(self, name: str) -> bool:
        """Take the rights away; return whether there were any."""
        key = name_key(name)
        if key not in self._by_key:
            return False
        del self._by_key[key]
        self._log.put(_RECORDS, key, None)
        self.set_names(self._names.values())
        return True

    def claim(self, code: str, client_id: bytes, source: str) -> str:
        """Give the client the rights of the name that has this code; return the name.

        ``source``: see `LoginThrottle`. Raises `WrongCodeError` and `TooManyAttemptsError`.
        """
        self._throttle.check(source)
        given = _PUNCTUATION.sub("", code[:MAX_CODE_LENGTH].upper().translate(_LOOK_ALIKES)).encode()
        found = ""
        for key, expected in self._codes.items():  # all of them: the time must not tell which one is close
            if hmac.compare_digest(expected.replace("-", "").encode(), given):
                found = key
        if not found:
            self._throttle.fail(source)
            raise WrongCodeError
        name = self._names[found]
        self.confirm(name, client_id, claimed=True)
        return name


def _new_code() -> str:
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)
