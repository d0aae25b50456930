"""How a bot's link sorts events into responses and inbox, without a server."""

from __future__ import annotations

import pytest

from selchat.client.bot.blocking import BotInterface, ConnectionState, DisconnectedError
from selchat.client.bot.inbox import Connected, Inbox, Lost
from selchat.client.bot.requests import PendingRequest, RefusedError
from selchat.client.connection.link import Link
from selchat.client.events import (
    Bye,
    ClientEvent,
    Message,
    Refused,
    RoomSummary,
    SeenAuthors,
    Users,
    Welcomed,
)
from selchat.errors import BannedError, NameTakenError
from selchat.events import Joined, Left
from selchat.net.reactor import Reactor
from tests.client.support import fail, settings

WELCOMED = Welcomed(
    "Michael", "selchat", (RoomSummary("lobby", 2, "", 41),), 0, again=False, renumbered=False
)


class Bot:
    """A `BotInterface` with its inbox, and a link that never opens."""

    def __init__(self, wire: str = "selchat", *, own: bool = False, reconnect: bool = True) -> None:
        self.inbox = Inbox()
        self.interface = BotInterface(self.inbox, "Michael", own=own, reconnect=reconnect)
        reactor = Reactor(fail)
        self.interface.attach(Link(reactor, settings(wire=wire), self.interface))
        reactor.close()

    def read(self) -> list[object]:
        return list(iter(self.inbox.get, None))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Refused("name-taken", "the name Michael is taken"), NameTakenError),
        (Refused("banned", str(BannedError("Friday"))), BannedError),
        (Refused("version", "only version 2 is spoken here"), RefusedError),
        (Bye("banned", None), BannedError),
    ],
)
def test_a_rejected_login_closes_the_connection_with_its_error(
    event: ClientEvent, kind: type[Exception]
) -> None:
    bot = Bot()
    bot.interface.received([event])
    bot.interface.finished("the server said something")
    assert bot.interface.state is ConnectionState.CLOSED
    assert type(bot.interface.error) is kind
    assert bot.read() == []


def test_the_states_from_connecting_to_closed() -> None:
    bot = Bot()
    interface = bot.interface
    states = [interface.state]
    for step in (
        lambda: interface.received([WELCOMED]),
        lambda: interface.lost("shutdown", 0.5),
        lambda: interface.received([WELCOMED._replace(again=True)]),
        lambda: interface.finished("kicked"),
        lambda: interface.finished(None),
    ):
        step()
        states.append(interface.state)
    assert states == [
        ConnectionState.CONNECTING,
        ConnectionState.ONLINE,
        ConnectionState.RETRYING,
        ConnectionState.ONLINE,
        ConnectionState.CLOSED,
        ConnectionState.CLOSED,
    ]
    assert isinstance(interface.error, DisconnectedError)
    assert str(interface.error) == "kicked"
    assert bot.read() == [
        Connected("selchat", again=False),
        Lost("shutdown", 0.5),
        Connected("selchat", again=True),
    ]
    assert interface.last_seqs == {"lobby": 41}


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_loss_closes_unless_the_link_was_online_and_may_reconnect(reconnect: bool) -> None:
    bot = Bot(reconnect=reconnect)
    if not reconnect:
        bot.interface.received([WELCOMED])
    bot.interface.lost("the server is full", 10)
    assert bot.interface.state is ConnectionState.CLOSED
    assert str(bot.interface.error) == "the server is full"


def test_on_the_classic_protocol_a_connected_link_is_online() -> None:
    bot = Bot("classic")
    bot.interface.connected("127.0.0.1")
    bot.interface.lost("", 1)
    bot.interface.connected("127.0.0.1")
    assert bot.read() == [Connected("", again=False), Lost("", 1), Connected("", again=True)]
    bot.interface.received([Message("Michael", "a namesake")])
    assert bot.read() == [Message("Michael", "a namesake")]


def test_on_the_selchat_protocol_a_connected_link_still_has_to_log_in() -> None:
    bot = Bot()
    bot.interface.connected("127.0.0.1")
    assert bot.interface.state is ConnectionState.CONNECTING


def test_joined_and_left_events_omit_the_bots_own_name() -> None:
    bot = Bot()
    bot.interface.received(
        [WELCOMED, Joined("lobby", ("MICHAEL", "Venkat"), 2), Left("lobby", ("Michael",), 1)]
    )
    assert bot.read()[1:] == [Joined("lobby", ("Venkat",), 2)]


def test_classic_users_request_returns_the_names_seen_so_far() -> None:
    bot = Bot("classic")
    request = PendingRequest(Users, "lobby")
    bot.interface.requests.add(request)
    bot.interface.received([SeenAuthors(("Venkat",))])
    assert request.response is not None
    assert request.response.names == ("Venkat",)


def test_the_next_flush_reports_only_the_first_refused_message() -> None:
    bot = Bot()
    bot.interface.received([WELCOMED, Refused("bad-json", "about no message")])
    assert bot.interface.refusal is None
    bot.interface.received([Refused(code, "", "x-1", "lobby", "", "hey") for code in ("muted", "too-long")])
    assert bot.interface.refusal is not None
    assert bot.interface.refusal.code == "muted"
    assert len(bot.read()) == 4
