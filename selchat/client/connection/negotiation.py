"""The choice of protocol: selchat first, classic for servers that do not know it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from selchat.client.connection.secret import client_secret
from selchat.client.events import ClientEvent, Refused
from selchat.client.protocol.classic import ClassicClient
from selchat.client.protocol.interface import ProtocolClient
from selchat.client.protocol.selchat import SelchatClient
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError
from selchat.events import LOBBY
from selchat.limits import SELCHAT_HEADER_LENGTH


class Wire(Enum):
    """The protocol of a link: ``GUESSED`` is selchat until the server shows which protocol it speaks."""

    GUESSED = auto()
    SELCHAT = auto()
    CLASSIC = auto()


class ProtocolChoice:
    """The current ``client`` and its ``wire``, and the change from one protocol to the other.

    Unsent messages move to the new client. Raises `SecretError` and the errors of both clients.
    """

    def __init__(
        self, settings: ClientSettings, *, members: bool, request_key: Callable[[bytes], object]
    ) -> None:
        self._settings = settings
        self._selchat: SelchatClient | None = None
        # Too short a header cannot announce a frame with a hello.
        if settings.wire != "classic" and settings.header_length >= SELCHAT_HEADER_LENGTH:
            secret = settings.secret or client_secret()
            self._selchat = SelchatClient(settings, secret, members=members, request_key=request_key)
            if settings.room != LOBBY:
                self._selchat.join(settings.room)
        self.wire = Wire.CLASSIC if self._selchat is None else Wire.GUESSED
        self.client: ProtocolClient = self._selchat or ClassicClient(settings)

    def set_password(self, password: str) -> None:
        """Sign in with this password from the next connection on; the classic protocol has none."""
        if self._selchat is not None:
            self._selchat.set_password(password)

    def confirm_selchat(self) -> None:
        """Record that the server speaks the selchat protocol."""
        self.wire = Wire.SELCHAT

    def use_classic(self) -> list[ClientEvent]:
        """Change to the classic protocol; return refusals of messages that it cannot express."""
        self.wire = Wire.CLASSIC
        return self._change(ClassicClient(self._settings))

    def guess_again(self) -> list[ClientEvent] | None:
        """Change back to the selchat protocol; return None if this link is classic for good."""
        if self._selchat is None or self.wire is not Wire.CLASSIC:
            return None
        self.wire = Wire.GUESSED
        return self._change(self._selchat)

    def _change(self, client: ProtocolClient) -> list[ClientEvent]:
        unsent, self.client = self.client.take_unsent(), client
        refused: list[ClientEvent] = []
        for message in unsent:
            try:
                if message.to:
                    client.whisper(message.to, message.body)
                else:
                    client.say(message.body, message.room)
            except SelchatError as error:
                refused.append(Refused("", str(error), "", message.room, message.to, message.body))
        return refused
