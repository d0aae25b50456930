"""Messages to frames: the counterpart of `selchat.client.reading`.

It knows the form of a frame and of text that can be in one, and no type of message.
"""

from __future__ import annotations

import json

from selchat.client.reading import Fields
from selchat.errors import FrameTooLongError
from selchat.settings import ClientSettings
from selchat.wire.frames import encode_frame


class Writer:
    """Writes frames within the limits of the settings."""

    def __init__(self, settings: ClientSettings) -> None:
        self._header_length = settings.header_length
        self._limit = settings.payload_limit

    def frame(self, fields: Fields) -> bytes:
        """Return the frame. Raises `FrameTooLongError`."""
        payload = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        if len(payload) > self._limit:
            raise FrameTooLongError(len(payload), self._limit)
        return encode_frame(payload, self._header_length)


def scalar_values(text: str) -> str:
    """Return ``text`` with U+FFFD for lone surrogates, as which Python keeps input that is not UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
