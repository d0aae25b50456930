from __future__ import annotations

import pytest

from selchat.client.bot.inbox import Connected, Inbox, Lost
from selchat.client.bot.questions import Question, RefusedError
from selchat.client.bot.reception import BotInterface, DisconnectedError, Standing
from selchat.client.connection.link import Link
from selchat.client.events import Bye, Event, Heard, Message, Refused, RoomSummary, Users, Welcomed
from selchat.errors import BannedError, NameTakenError
from selchat.events import Joined, Left
from selchat.net.reactor import Reactor
from tests.client.support import fail, settings

WELCOMED = Welcomed(
    "Michael", "selchat", (RoomSummary("lobby", 2, "", 41),), 0, again=False, renumbered=False
)


class Desk:
    """A reception with an inbox, and a link that is never opened."""

    def __init__(self, wire: str = "selchat", *, own: bool = False, reconnect: bool = True) -> None:
        self.inbox = Inbox()
        self.reception = BotInterface(self.inbox, "Michael", own=own, reconnect=reconnect)
        reactor = Reactor(fail)
        self.reception.attach(Link(reactor, settings(wire=wire), self.reception))
        reactor.close()

    def taken(self) -> list[object]:
        return list(iter(self.inbox.get, None))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Refused("name-taken", "the name Michael is someone else's"), NameTakenError),
        (Refused("banned", str(BannedError("Friday"))), BannedError),
        (Refused("version", "only version 2 is spoken here"), RefusedError),
        (Bye("banned", None), BannedError),
    ],
)
def test_who_is_not_let_in(event: Event, kind: type[Exception]) -> None:
    desk = Desk()
    desk.reception.received([event])
    desk.reception.finished("the server said something")
    assert desk.reception.standing is Standing.OVER
    assert type(desk.reception.problem) is kind
    assert desk.taken() == []


def test_coming_and_going() -> None:
    desk = Desk()
    reception = desk.reception
    states = [reception.standing]
    for step in (
        lambda: reception.received([WELCOMED]),
        lambda: reception.lost("shutdown", 0.5),
        lambda: reception.received([WELCOMED._replace(again=True)]),
        lambda: reception.finished("kicked"),
        lambda: reception.finished(None),
    ):
        step()
        states.append(reception.standing)
    assert states == [
        Standing.AWAITED,
        Standing.UP,
        Standing.DOWN,
        Standing.UP,
        Standing.OVER,
        Standing.OVER,
    ]
    assert isinstance(reception.problem, DisconnectedError)
    assert str(reception.problem) == "kicked"
    assert desk.taken() == [
        Connected("selchat", again=False),
        Lost("shutdown", 0.5),
        Connected("selchat", again=True),
    ]
    assert reception.seqs == {"lobby": 41}


@pytest.mark.parametrize("reconnect", [False, True])
def test_the_first_time_lost_is_over(reconnect: bool) -> None:
    desk = Desk(reconnect=reconnect)
    if not reconnect:
        desk.reception.received([WELCOMED])
    desk.reception.lost("the server is full", 10)
    assert desk.reception.standing is Standing.OVER
    assert str(desk.reception.problem) == "the server is full"


def test_on_the_papers_wire_connected_is_all_there_is() -> None:
    desk = Desk("classic")
    desk.reception.connected("127.0.0.1")
    desk.reception.lost("", 1)
    desk.reception.connected("127.0.0.1")
    assert desk.taken() == [Connected("", again=False), Lost("", 1), Connected("", again=True)]
    desk.reception.received([Message("Michael", "a namesake")])
    assert desk.taken() == [Message("Michael", "a namesake")]


def test_on_the_rich_wire_connected_is_not_all() -> None:
    desk = Desk()
    desk.reception.connected("127.0.0.1")
    assert desk.reception.standing is Standing.AWAITED


def test_ones_own_name_is_left_out() -> None:
    desk = Desk()
    desk.reception.received(
        [WELCOMED, Joined("lobby", ("MICHAEL", "Venkat"), 2), Left("lobby", ("Michael",), 1)]
    )
    assert desk.taken()[1:] == [Joined("lobby", ("Venkat",), 2)]


def test_who_was_heard_is_an_answer_too() -> None:
    desk = Desk("classic")
    question = Question(Users, "lobby")
    desk.reception.questions.add(question)
    desk.reception.received([Heard(("Venkat",))])
    assert question.answer is not None
    assert question.answer.names == ("Venkat",)


def test_only_the_first_refusal_of_what_was_said_is_kept_for_the_next_flush() -> None:
    desk = Desk()
    desk.reception.received([WELCOMED, Refused("bad-json", "nothing that was said")])
    assert desk.reception.refusal is None
    desk.reception.received([Refused(code, "", "x-1", "lobby", "", "hey") for code in ("muted", "too-long")])
    assert desk.reception.refusal is not None
    assert desk.reception.refusal.code == "muted"
    assert len(desk.taken()) == 4
