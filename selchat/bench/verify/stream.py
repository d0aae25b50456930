"""Parser and checker for the stream of a single reader."""

from __future__ import annotations

from collections.abc import Callable

from selchat.bench.verify.sequences import SeqChecker, SequenceChecker
from selchat.bench.wires.framing import ignore_ping
from selchat.bench.wires.messages import Message
from selchat.bench.wires.wire import Wire


class BrokenFramingError(Exception):
    """The server sent bytes that are not a frame."""


class StreamParser:
    """Parses every message of one reader's stream.

    ``own``: the reader's own name, whose messages do not count. ``on_ping`` gets the payload of each ping.
    """

    def __init__(
        self,
        run: bytes,
        wire: Wire,
        sequences: SequenceChecker,
        own: bytes | None = None,
        on_ping: Callable[[bytes], object] = ignore_ping,
    ) -> None:
        self.sequences = sequences
        self.seqs = SeqChecker(gaps=own is not None)
        self._wire = wire
        self._run = run
        self._own = own
        self._decoder = wire.framing.decoder(on_ping)

    def receive(self, data: bytes) -> list[Message]:
        """Add the next bytes of the stream, and return the messages that they complete."""
        messages = []
        # User frames and body frames need no distinction: a username is too short to parse as a message.
        for payload in self._decoder.receive_data(data):
            message = self._wire.parse(payload, self._run)
            if message is not None and message.name != self._own:
                self.sequences.record(message.name, message.sequence)
                if message.seq:
                    self.seqs.record(message.name, message.room, message.seq)
                messages.append(message)
        if self._decoder.error is not None:
            raise BrokenFramingError(str(self._decoder.error))
        return messages
