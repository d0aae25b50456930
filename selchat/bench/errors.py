"""What can end a run early. The text is the one line that the user sees."""

from __future__ import annotations

from selchat.errors import SelchatError, UsageError


class BenchError(SelchatError):
    """The run cannot go on: the server refuses, or is gone, or this machine has too little of something."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class PlanError(BenchError, UsageError):
    """The options ask for something that cannot be measured."""


class HandshakeError(BenchError):
    """The server does not open a WebSocket as it should; the text says what it does instead."""
