from __future__ import annotations

from selchat.client.commands import Trigger
from selchat.client.events import History, Message, Refused
from selchat.client.terminal import style
from selchat.client.terminal.history import HistoryView


class FakeLink:
    def __init__(self) -> None:
        self.requests: list[tuple[str, int, int | None]] = []
        self.tags: list[object] = []

    def get_history(self, room: str, limit: int, *, before: int | None = None, tag: object = None) -> None:
        self.requests.append((room, limit, before))
        self.tags.append(tag)


def _format(message: Message) -> style.Line:
    return style.plain(f"{message.seq} {message.body}")


class Setup:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.shown: list[style.Line] = []
        self.view = HistoryView(self.link, self.shown.append, _format)  # type: ignore[arg-type]

    def answer(self, first: int, *bodies: str, room: str = "lobby", more: bool = False) -> None:
        """Answer the newest request."""
        messages = tuple(Message("Venkat", body, room, first + number) for number, body in enumerate(bodies))
        self.view.receive(History(room, messages, more, self.link.tags.pop()))

    def lines(self) -> list[str]:
        shown = list(map(style.text, self.shown))
        self.shown.clear()
        return shown


def test_joining_a_room_shows_its_last_messages_dim() -> None:
    setup = Setup()
    setup.view.join("lobby", 41)
    assert setup.link.requests == [("lobby", 20, 42)]
    assert setup.link.tags == [Trigger.JOIN]
    setup.answer(40, "a", "b")
    assert setup.shown == [style.dim("40 a"), style.dim("41 b")]


def test_an_empty_history_has_a_line_only_after_the_command() -> None:
    setup = Setup()
    setup.view.join("lobby", 41)
    setup.answer(40)
    assert setup.lines() == []
    setup.view.show_last("lobby", 5)
    assert setup.link.tags == [Trigger.COMMAND]
    setup.answer(40)
    assert setup.lines() == ["There are no messages in lobby"]


def test_a_request_has_at_most_one_page() -> None:
    setup = Setup()
    setup.view.show_last("lobby", 5)
    setup.view.show_last("lobby", 50_000)
    assert setup.link.requests == [("lobby", 5, None), ("lobby", 1000, None)]


def test_a_refused_page_ends_a_search_with_its_matches() -> None:
    setup = Setup()
    setup.view.search("lobby", "oil")
    refused = Refused("not-readable", "no", room="lobby", request="history")
    setup.view.receive_refusal(refused._replace(tag=setup.link.tags[-1]))
    assert setup.lines() == []
    setup.answer(21, "oil", more=True)
    setup.view.receive_refusal(refused)  # of another request
    setup.view.receive_refusal(refused._replace(tag=setup.link.tags[-1]))
    assert setup.lines() == ["21 oil", "1 message with oil among the last 1 message of lobby"]


def test_a_search_continues_to_the_first_message() -> None:
    setup = Setup()
    setup.view.search("lobby", "OIL pressure")
    setup.answer(21, "the pressure of the oil", "oil", "Pressure, oil", more=True)
    assert setup.lines() == []
    assert setup.link.requests == [("lobby", 1000, None), ("lobby", 1000, 21)]
    setup.answer(1, "oil pressure", "nothing")
    assert setup.lines() == [
        "1 oil pressure",
        "21 the pressure of the oil",
        "23 Pressure, oil",
        "3 messages with OIL pressure among the last 5 messages of lobby",
    ]


def test_a_search_reads_a_bounded_number_of_messages() -> None:
    setup = Setup()
    setup.view.search("lobby", "oil")
    first = 1_000_000
    for _ in range(5):
        first -= 1000
        setup.answer(first, *["x"] * 1000, more=True)
    assert setup.lines() == ["0 messages with oil among the last 5000 messages of lobby"]
    assert len(setup.link.requests) == 5


def test_a_search_shows_the_newest_matches() -> None:
    setup = Setup()
    setup.view.search("lobby", "oil")
    setup.answer(1001, *["oil"] * 300, more=True)
    shown = setup.lines()
    assert len(setup.link.requests) == 1
    assert shown[0] == "1101 oil" and shown[-2] == "1300 oil" and len(shown) == 201


def test_an_empty_page_ends_a_search() -> None:
    setup = Setup()
    setup.view.search("lobby", "oil")
    setup.answer(1, more=True)
    assert setup.lines() == ["0 messages with oil among the last 0 messages of lobby"]
