"""The client: a core without I/O, its link to a server, and the interfaces that people and programs use.

What programs need is here: `Client`, what it gives, and what it raises. docs/bots.rst is the guide.
"""

from selchat.client.api import Client, PhaseError
from selchat.client.blocking import NoAnswerError, StoppedError
from selchat.client.conversation import NotOnThisWireError
from selchat.client.events import Gap, Message, NotStored, Parted, Refused, RoomSummary, Seal, Whispered
from selchat.client.identity import SecretError
from selchat.client.inbox import Connected, Event, Lost
from selchat.client.link import CannotConnectError
from selchat.client.outgoing import QueueFullError
from selchat.client.questions import RefusedError
from selchat.client.reception import DisconnectedError
from selchat.errors import (
    BannedError,
    FrameTooLongError,
    NameTakenError,
    PasswordNeededError,
    RefusalError,
    SelchatError,
    SettingError,
    TriesError,
    WrongPasswordError,
)
from selchat.events import Joined, Left, Topic

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
    "NotOnThisWireError",
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
    "Topic",
    "TriesError",
    "Whispered",
    "WrongPasswordError",
]
