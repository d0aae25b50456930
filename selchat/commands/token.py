"""``selchat token``: make, list and revoke API tokens for scripts.

The command only changes the file of tokens. A running server notices the change itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from selchat.auth.tokens import ANY_ROOM, TokenFile, new_token
from selchat.chat.confusables import MixedScriptsError, check_scripts, resembles_server
from selchat.errors import SettingError, UsageError
from selchat.text import NAME_RULE, ROOM_RULE, clean_name, clean_room, escape_controls


class NoTokenError(UsageError):
    """There is no token with this ``name``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no token for {self.name}; selchat token --list shows all tokens"


def main(options: Mapping[str, Any]) -> int:
    """Run ``selchat token`` with docopt's options, and return the exit status.

    Raises `SettingError`, `TokenFileError` and `NoTokenError`.
    """
    file = TokenFile()
    if options["--list"]:
        return _list(file)
    if options["--revoke"] is not None:
        return _revoke(file, options["--revoke"])
    return _make(file, options["NAME"], options["--room"])


def _make(file: TokenFile, name: str, room: str | None) -> int:
    cleaned = clean_name(name)
    if not cleaned or cleaned != name or resembles_server(name):
        raise SettingError("NAME", name, f"a name: {NAME_RULE}, and do not use Server")
    try:
        check_scripts(name)
    except MixedScriptsError as error:
        raise SettingError("NAME", name, f"allowed: {error}") from error
    secret, token = new_token(name, ANY_ROOM if room is None else _room(room))
    file.add(token)
    try:
        sys.stdout.write(f"{secret}\n")  # only the token, so that TOKEN=$(selchat token NAME) works
        sys.stdout.flush()
    except BaseException:  # nobody has seen the token
        file.remove(token)
        raise
    where = "any room" if token.room == ANY_ROOM else f"the room {token.room}"
    _explain(
        f"Anyone who has this token can send messages to {where} as {name}. "
        "Save it now: selchat does not store it."
    )
    _explain(f"It works at once, even on a running server. To revoke: selchat token --revoke={_quoted(name)}")
    return 0


def _list(file: TokenFile) -> int:
    tokens = file.tokens()
    if not tokens:
        _explain("There are no tokens. To make one, run: selchat token NAME")
    for token in tokens:
        room = "any room" if token.room == ANY_ROOM else f"#{token.room}"
        sys.stdout.write(escape_controls(f"{token.made}  {token.name}  ({room})") + "\n")
    return 0


def _revoke(file: TokenFile, name: str) -> int:
    revoked = file.revoke(name)
    if not revoked:
        raise NoTokenError(name)
    _explain(f"Revoked: {len(revoked)} {'token' if len(revoked) == 1 else 'tokens'} of {revoked[0].name}.")
    return 0


def _room(room: str) -> str:
    name = clean_room(room)
    if not name or name != room.removeprefix("#"):
        raise SettingError("--room", room, f"a room's name: {ROOM_RULE}")
    return name


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _explain(text: str) -> None:
    sys.stderr.write(f"{escape_controls(text)}\n")
