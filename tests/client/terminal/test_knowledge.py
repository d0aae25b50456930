from __future__ import annotations

from concurrent.futures import Future

from selchat.client.connection.link import LinkState
from selchat.client.events import Rooms, RoomSummary
from selchat.client.protocol.interface import UnsupportedError
from selchat.client.terminal.completion import Known
from selchat.client.terminal.knowledge import RoomNames

ROOMS = Rooms((RoomSummary("engine", 1, "", 1), RoomSummary("lobby", 1, "", 1)), 2)


class FakeLink:
    state = LinkState.ONLINE
    rooms = ("lobby",)
    names = ("Michael", "Venkat")
    asked = 0
    is_classic = False

    def get_rooms(self) -> None:
        if self.is_classic:
            raise UnsupportedError("rooms")
        self.asked += 1


class Bench:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.knowledge = RoomNames(self.link)  # type: ignore[arg-type]

    def look_up(self, *, rooms: bool = True) -> Future[Known]:
        answer: Future[Known] = Future()
        self.knowledge.look_up(rooms, answer)
        return answer


def test_names_are_known_at_once() -> None:
    bench = Bench()
    assert bench.look_up(rooms=False).result(0) == Known(("Michael", "Venkat"), ("lobby",))
    assert bench.link.asked == 0


def test_the_server_is_asked_for_rooms() -> None:
    bench = Bench()
    bench.knowledge.asked()
    answer = bench.look_up()
    assert bench.link.asked == 1
    assert bench.knowledge.take(ROOMS)  # for the user, who has asked first
    assert not answer.done()
    assert not bench.knowledge.take(ROOMS)
    assert answer.result(0).rooms == ("lobby", "engine")
    assert bench.knowledge.take(ROOMS)
    assert bench.look_up(rooms=False).result(0).rooms == ("lobby", "engine")


def test_without_a_connection_what_is_known_has_to_do() -> None:
    bench = Bench()
    answer = bench.look_up()
    bench.knowledge.asked()
    bench.knowledge.lost()
    assert answer.result(0).rooms == ("lobby",)
    bench.link.state = LinkState.WAITING
    assert bench.look_up().result(0).rooms == ("lobby",)
    assert bench.link.asked == 1


def test_the_papers_wire_has_no_rooms() -> None:
    bench = Bench()
    bench.link.is_classic = True
    assert bench.look_up().result(0).rooms == ("lobby",)


def test_nobody_waits_any_more() -> None:
    bench = Bench()
    answer = bench.look_up()
    answer.cancel()
    assert not bench.knowledge.take(ROOMS)
    assert answer.cancelled()
