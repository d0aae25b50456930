"""The client: a core without I/O, its link to a server, and the interfaces that people and programs use.

What programs need is here: `Client`, what it gives, and what it raises. docs/bots.rst is the guide.
"""

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.client.bot.blocking import NoAnswerError, StoppedError
from selchat.client.bot.client import Client, PhaseError
from selchat.client.bot.inbox import Connected, Event, Lost
from selchat.client.bot.questions import RefusedError
from selchat.client.bot.reception import DisconnectedError
from selchat.client.connection.link import CannotConnectError
from selchat.client.connection.secret import SecretError
from selchat.client.events import Gap, Message, NotStored, Parted, Refused, RoomSummary, Seal, Whispered
from selchat.client.protocol.conversation import UnsupportedError
from selchat.client.protocol.outgoing import QueueFullError
from selchat.errors import BannedError, NameTakenError, RefusalError, SelchatError, SettingError
from selchat.events import Joined, Left, Topic
from selchat.wire.frames import FrameTooLongError

__all__ = [
    "BannedError",
    "CannotConnectError",
    "Client",
    "Connected",
    "DisconnectedError",
    "Event",
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
    "Seal",
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
