"""Errors that end a run early. Their text is the one line that the user sees."""

from __future__ import annotations

from selchat.errors import SelchatError, UsageError


class BenchError(SelchatError):
    """The run cannot continue: the server refuses or is gone, or this machine lacks a resource."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class PlanError(BenchError, UsageError):
    """The options do not describe a possible measurement."""


class HandshakeError(BenchError):
    """The server rejected the WebSocket handshake. The text quotes its answer."""
