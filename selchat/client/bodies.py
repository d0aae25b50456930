"""The paper's cipher on the rich wire: which bodies it is for, with one key or with none.

It must not know where a body comes from or goes to, but for who its author is.
"""

from __future__ import annotations

from selchat.client.reading import Fields
from selchat.events import SERVER
from selchat.settings import ClientSettings
from selchat.text import name_key
from selchat.wire.cipher import CaesarCipher

CAESAR = "caesar"  # as ``cipher`` names it


class Bodies:
    """Encrypts and decrypts, if the settings have a key. Raises `SettingError` for a key that is none."""

    def __init__(self, settings: ClientSettings) -> None:
        self._cipher = CaesarCipher(settings.key) if settings.key else None

    def fields(self, body: str, to: str) -> Fields:
        """Return the fields that say ``body``. ``to``: whom it is for alone; empty: it is for a room."""
        # A command is for the server, which has no key.
        if self._cipher is None or name_key(to) == name_key(SERVER):
            return {"body": body}
        return {"body": self._cipher.encrypt(body), "cipher": CAESAR}

    def read(self, author: str, body: str, id: str, cipher: str | None) -> tuple[str, str | None]:
        """Return the body, and how it is still encrypted. Classic authors make no ids, and cannot say it."""
        is_classic = cipher is None and not id and author != SERVER
        if self._cipher is not None and (cipher == CAESAR or is_classic):
            return self._cipher.decrypt(body), None
        return body, cipher
