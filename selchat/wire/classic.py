"""The wire of the paper: after its username a client sends messages, and reads pairs of user and message.

A pair is ``user header + user + message header + message``, and whatever the server says is such a pair
too, because clients in the wild can read nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from selchat.events import CIPHER_PREFIX, SERVER, Event, Notice, Roster, Said, Topic
from selchat.wire.cipher import CaesarCipher
from selchat.wire.frames import HEADER_LENGTH, encode_frame

_SEALED = "(encrypted; to read it, one needs selchat and the passphrase)"
_SHORT = 1024  # bytes: payloads below have their headers ready
_MAX_CACHED = 4096  # names' frames; encoding one again costs 0.5 microseconds


class ClassicFormat:
    """Events to pairs. ``cipher`` encrypts what the server itself says.

    ``roster_limit``: bytes of a roster's text; names that do not fit are counted at its end.
    """

    def __init__(
        self,
        header_length: int = HEADER_LENGTH,
        payload_limit: int = 64 * 1024,
        cipher: CaesarCipher | None = None,
        roster_limit: int = 1400,
    ) -> None:
        self._header_length = header_length
        self._payload_limit = payload_limit
        self._cipher = cipher
        self._roster_limit = min(roster_limit, payload_limit)
        self._user_frames: dict[str, bytes] = {}
        # The headers of the short payloads that are allowed, by length.
        lengths = range(min(payload_limit + 1, _SHORT))
        self._headers = [b"%-*d" % (header_length, length) for length in lengths]

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events as one pair each; nothing for those that this wire has no words for."""
        # The hot path: 0.2 microseconds a message; with a call or a formatting for each it took 1 to 2.
        parts: list[bytes] = []
        headers = self._headers
        user_frames = self._user_frames
        for event in events:
            if (
                isinstance(event, Said)
                and event.cipher is None
                and (user_frame := user_frames.get(event.author)) is not None
            ):
                payload = event.body.encode()
                if len(payload) < len(headers):
                    parts += (user_frame, headers[len(payload)], payload)
                    continue
            parts.append(self._encode_slowly(event))
        return b"".join(parts)

    def _encode_slowly(self, event: Event) -> bytes:
        if isinstance(event, Said):
            if event.cipher is not None and event.cipher.startswith(CIPHER_PREFIX):
                return self._pair(event.author, _SEALED)  # which nobody on this wire can open
            body = event.body if event.author != SERVER else self._encrypt(event.body)
            return self._pair(event.author, body)
        if isinstance(event, Notice):
            return self._pair(SERVER, self._encrypt(event.text))
        if isinstance(event, Topic):
            what = f"set the topic: {event.topic}" if event.topic else "removed the topic"
            return self._pair(SERVER, self._encrypt(f"{event.author} has {what}"))
        if isinstance(event, Roster):
            return self._pair(SERVER, self._roster(event))
        return b""  # who has come and gone is in the roster

    def _pair(self, user: str, body: str) -> bytes:
        user_frame = self._frame(user)
        if user != SERVER:  # whose words may have to be encrypted first
            if len(self._user_frames) >= _MAX_CACHED:
                self._user_frames.clear()
            self._user_frames[user] = user_frame
        return user_frame + self._frame(body)

    def _frame(self, text: str) -> bytes:
        payload = text.encode()
        if len(payload) > self._payload_limit:
            # A short header, or a body that grew where its broken UTF-8 was replaced.
            payload = payload[: self._payload_limit].decode(errors="ignore").encode()
        return encode_frame(payload, self._header_length)

    def _encrypt(self, text: str) -> str:
        return text if self._cipher is None else self._cipher.encrypt(text)

    def _roster(self, roster: Roster) -> str:
        """Return ``Users online (3): Michael, Narayan, Venkat``, with as many names as fit."""
        start = f"Users online ({roster.total}): "
        shown = len(roster.names)
        while True:
            missing = roster.total - shown
            text = start + ", ".join(roster.names[:shown]) + (f" and {missing} more" if missing else "")
            text = self._encrypt(text)
            over = len(text.encode()) - self._roster_limit
            if over <= 0 or not shown:
                return text
            shown -= min(shown, max(1, over // 136))  # the most that 32 characters and a comma take in UTF-8
