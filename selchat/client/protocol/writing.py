"""Messages to frames: the counterpart of `selchat.client.protocol.reading`.

It knows the form of a frame and of text that can be in one, and no type of message.
"""

from __future__ import annotations

import json

from selchat.client.protocol.reading import Fields
from selchat.config.settings import ClientSettings
from selchat.wire.frames import FrameTooLongError, encode_frame


class Writer:
    """Writes frames within the limits of the settings."""

    def __init__(self, settings: ClientSettings) -> None:
        self._header_length = settings.header_length
        self._limit = settings.payload_limit

    def frame(self, fields: Fields, limit: int | None = None) -> bytes:
        """Return the frame, whose payload may have ``limit`` bytes too. Raises `FrameTooLongError`."""
        payload = _payload(fields)
        most = self._limit if limit is None else min(self._limit, limit)
        if len(payload) > most:
            raise FrameTooLongError(len(payload), most)
        return encode_frame(payload, self._header_length)

    def size(self, fields: Fields) -> int:
        """Return how many bytes of payload these are."""
        return len(_payload(fields))


def _payload(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def scalar_values(text: str) -> str:
    """Return ``text`` with U+FFFD for lone surrogates, as which Python keeps input that is not UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
