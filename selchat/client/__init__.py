"""The client: protocol, connection, terminal and bot.

This package exports the API for bots: `Client`, its events and its exceptions. docs/bots.rst is the guide.
"""

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.client.bot.blocking import DisconnectedError, NoAnswerError, StoppedError
from selchat.client.bot.client import Client, PhaseError
from selchat.client.bot.inbox import BotEvent, Connected, Lost
from selchat.client.bot.requests import RefusedError
from selchat.client.connection.link import CannotConnectError
from selchat.client.connection.secret import SecretError
from selchat.client.events import Encryption, Gap, Message, NotStored, Parted, Refused, RoomSummary, Whispered
from selchat.client.protocol.interface import UnsupportedError
from selchat.client.protocol.outbox import QueueFullError
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError, SettingError
from selchat.events import Joined, Left, Topic
from selchat.wire.frames import FrameTooLongError

__all__ = [
    "BannedError",
    "BotEvent",
    "CannotConnectError",
    "Client",
    "Connected",
    "DisconnectedError",
    "Encryption",
    "FrameTooLongError",
    "Gap",
    "Joined",
    "Left",
    "Lost",
    "Message",
    "NameTakenError",
    "NoAnswerError",
    "NotStored",
    "Parted",
    "PasswordNeededError",
    "PhaseError",
    "QueueFullError",
    "RefusalError",
    "Refused",
    "RefusedError",
    "RoomSummary",
    "SecretError",
    "SelchatError",
    "SettingError",
    "StoppedError",
    "TooManyAttemptsError",
    "Topic",
    "UnsupportedError",
    "Whispered",
    "WrongPasswordError",
]
