from __future__ import annotations

from selchat.client.commands import Search
from selchat.client.events import History, Message
from selchat.client.terminal import style
from selchat.client.terminal.history import HistoryView, Trigger


class FakeLink:
    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int | None]] = []

    def get_history(self, room: str, limit: int, *, before: int | None = None) -> None:
        self.asked.append((room, limit, before))


class Bench:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.shown: list[style.Line] = []
        self.view = HistoryView(self.link, self.shown.append, lambda one: style.plain(f"{one.seq} {one.body}"))  # type: ignore[arg-type]

    def answer(self, first: int, *bodies: str, room: str = "lobby", more: bool = False) -> object:
        messages = tuple(Message("Venkat", body, room, first + number) for number, body in enumerate(bodies))
        return self.view.receive(History(room, messages, more))

    def lines(self) -> list[str]:
        shown = list(map(style.text, self.shown))
        self.shown.clear()
        return shown


def test_on_entering_the_last_messages_are_dim() -> None:
    bench = Bench()
    bench.view.join("lobby", 41)
    assert bench.link.asked == [("lobby", 20, 42)]
    assert bench.answer(40, "a", "b") is Trigger.JOIN
    assert bench.shown == [style.dim("40 a"), style.dim("41 b")]


def test_nothing_is_said_of_a_room_with_no_past_on_entering() -> None:
    bench = Bench()
    bench.view.join("lobby", 41)
    bench.answer(40)
    assert bench.lines() == []
    bench.view.show_last("lobby", 5)
    assert bench.answer(40) is Trigger.COMMAND
    assert bench.lines() == ["There are no messages in lobby"]


def test_no_more_than_a_page_is_asked_for() -> None:
    bench = Bench()
    bench.view.show_last("lobby", 5)
    bench.view.show_last("lobby", 50_000)
    assert bench.link.asked == [("lobby", 5, None), ("lobby", 1000, None)]


def test_answers_go_to_their_questions_in_order_room_by_room() -> None:
    bench = Bench()
    bench.view.join("lobby", 9)
    bench.view.search("lobby", "oil")
    bench.view.show_last("Engine", 3)
    assert bench.answer(1, "x", room="engine") is Trigger.COMMAND
    assert bench.answer(1, "y") is Trigger.JOIN
    assert isinstance(bench.answer(1, "oil"), Search)
    assert bench.lines() == ["1 x", "1 y", "1 oil", "1 message with oil among the last 1 message of lobby"]
    assert bench.answer(1, "z") is Trigger.COMMAND  # nobody has asked: it is shown all the same
    assert bench.lines() == ["1 z"]


def test_a_search_goes_on_until_the_beginning() -> None:
    bench = Bench()
    bench.view.search("lobby", "OIL pressure")
    bench.answer(21, "the pressure of the oil", "oil", "Pressure, oil", more=True)
    assert bench.lines() == []
    assert bench.link.asked == [("lobby", 1000, None), ("lobby", 1000, 21)]
    bench.answer(1, "oil pressure", "nothing")
    assert bench.lines() == [
        "1 oil pressure",
        "21 the pressure of the oil",
        "23 Pressure, oil",
        "3 messages with OIL pressure among the last 5 messages of lobby",
    ]


def test_a_search_ends_in_a_log_without_end() -> None:
    bench = Bench()
    bench.view.search("lobby", "oil")
    first = 1_000_000
    for _ in range(5):
        first -= 1000
        bench.answer(first, *["x"] * 1000, more=True)
    assert bench.lines() == ["0 messages with oil among the last 5000 messages of lobby"]
    assert len(bench.link.asked) == 5


def test_a_search_shows_the_newest_of_too_many() -> None:
    bench = Bench()
    bench.view.search("lobby", "oil")
    bench.answer(1001, *["oil"] * 300, more=True)
    shown = bench.lines()
    assert len(bench.link.asked) == 1
    assert shown[0] == "1101 oil" and shown[-2] == "1300 oil" and len(shown) == 201


def test_a_server_that_has_more_and_sends_nothing_is_not_asked_again() -> None:
    bench = Bench()
    bench.view.search("lobby", "oil")
    bench.answer(1, more=True)
    assert bench.lines() == ["0 messages with oil among the last 0 messages of lobby"]


def test_forgotten_questions() -> None:
    bench = Bench()
    bench.view.join("lobby", 9)
    bench.view.join("engine", 9)
    bench.view.forget("Lobby")
    bench.view.forget("unknown")
    assert bench.answer(1, "x") is Trigger.COMMAND
    assert bench.answer(1, "x", room="engine") is Trigger.JOIN
    bench.view.join("engine", 9)
    bench.view.clear()
    assert bench.answer(1, "x", room="engine") is Trigger.COMMAND
