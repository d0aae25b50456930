"""The screen, with prompt_toolkit's pipe input and its output on a pyte screen."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Coroutine, Iterator

import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from selchat.client.terminal import style
from selchat.client.terminal.screen import WAITING, Live, PendingRow, Screen, is_capable
from tests.client.support import DEADLINE

COLUMNS, ROWS = 40, 18
PROMPT = Live("You >> ")


class Output(io.StringIO):
    """The complete output, and the pyte screen that shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return super().write(text)

    def lines(self) -> list[str]:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def keys(output: Output) -> Iterator[PipeInput]:
    with create_pipe_input() as source:
        vt100 = Vt100_Output(output, lambda: Size(rows=ROWS, columns=COLUMNS), term="xterm")
        with create_app_session(input=source, output=vt100):
            yield source


Script = Callable[[Screen], Coroutine[object, object, object]]


def play(
    script: Script, live: Live = PROMPT, on_line: Callable[[str], object] = lambda _: None, **more: float
) -> None:
    """Run a screen while the script runs, then close it."""

    async def run() -> None:
        shown = Screen(asyncio.get_running_loop(), live, on_line, **more)  # type: ignore[arg-type]
        running = asyncio.ensure_future(shown.run())
        try:
            await script(shown)
        finally:
            shown.close()
            await running
            shown.flush()

    asyncio.run(asyncio.wait_for(run(), DEADLINE))


async def until(condition: Callable[[], object]) -> None:
    """Poll; `play` has the deadline."""
    while not condition():
        await asyncio.sleep(0.01)


def pending(text: str, age: float) -> PendingRow:
    return PendingRow(f"You >> {text}", f"… {text}", time.monotonic() - age)


def test_lines_go_above_the_prompt(keys: PipeInput, output: Output) -> None:
    async def script(shown: Screen) -> None:
        keys.send_text("half")
        await until(lambda: output.lines() == ["You >> half"])
        shown.show([style.plain("one"), ((style.PLAIN, "two "), (style.BOLD, "three")), style.dim("four")])
        await until(lambda: output.lines() == ["one", "two three", "four", "You >> half"])
        assert output.screen.buffer[1][4].bold
        assert not output.screen.buffer[1][2].bold
        assert "\x1b[0;2mfour\x1b[0m" in output.getvalue()

    play(script)
    assert output.lines() == ["one", "two three", "four"]  # close() erases the prompt
    assert output.getvalue().endswith("\x1b[?2004l")


def test_lines_of_each_thread_stay_whole_and_in_order(keys: PipeInput, output: Output) -> None:
    def show(shown: Screen, name: str) -> None:
        for number in range(100):
            shown.show([style.plain(f"{name} {number}")])

    async def script(shown: Screen) -> None:
        threads = [threading.Thread(target=show, args=(shown, name)) for name in "abc"]
        for thread in threads:
            thread.start()
        await until(lambda: all(not thread.is_alive() for thread in threads))

    play(script)
    rows = [row for row in output.getvalue().replace("\x1b[0m", "").split("\r\n") if row[-3:].strip()]
    for name in "abc":
        found = [row for row in rows if row.rpartition("\x1b[?7h")[2].startswith(f"{name} ")]
        assert len(found) == 100
        assert [int(row.split()[-1]) for row in found] == list(range(100))


def test_pending_messages_are_between_the_lines_and_the_prompt(keys: PipeInput, output: Output) -> None:
    async def script(shown: Screen) -> None:
        keys.send_text("half")
        shown.show([style.plain("said")], Live("You >> ", (pending("x", 1.0),), 1, time.monotonic()))
        await until(lambda: output.lines() == ["said", "… x", "You >> half"])
        shown.show([style.plain("You >> x")], PROMPT)
        await until(lambda: output.lines() == ["said", "You >> x", "You >> half"])
        shown.show([], Live("You in #engine >> "))
        await until(lambda: output.lines()[-1] == "You in #engine >> half")

    play(script)


def test_a_final_line_and_its_pending_row_never_appear_together(keys: PipeInput, output: Output) -> None:
    seen: list[list[str]] = []

    async def script(shown: Screen) -> None:
        shown.show([], Live("You >> ", (pending("x", 1.0),), 1, time.monotonic()))
        await until(lambda: output.lines() == ["… x", "You >>"])
        shown.show([style.plain("You >> x")], PROMPT)
        while output.lines() != ["You >> x", "You >>"]:
            seen.append(output.lines())
            await asyncio.sleep(0)
        assert not [lines for lines in seen if "… x" in lines and "You >> x" in lines]

    play(script)


def test_a_pending_message_changes_its_look_with_its_age(keys: PipeInput, output: Output) -> None:
    async def script(shown: Screen) -> None:
        since = time.monotonic()
        shown.show([], Live("You >> ", (pending("x", 0.0),), 1, since))
        await until(lambda: output.lines() == ["You >> x", "You >>"])
        await until(lambda: output.lines() == ["… x", "You >>"])
        await until(lambda: output.lines() == ["… x", f"({WAITING})", "You >>"])
        assert time.monotonic() - since >= 0.6

    play(script, late_seconds=0.6)


def test_a_note_is_shown_at_once(keys: PipeInput, output: Output) -> None:
    async def script(shown: Screen) -> None:
        shown.show([], Live("You >> ", (pending("x", 1.0),), 1, time.monotonic(), "the disk is full"))
        await until(lambda: output.lines() == ["… x", "(the disk is full)", "You >>"])

    play(script)


def test_many_pending_messages_share_a_few_rows(keys: PipeInput, output: Output) -> None:
    async def script(shown: Screen) -> None:
        some = tuple(pending(f"{number} {'long ' * 20}", 1.0) for number in range(10))
        shown.show([], Live("You >> ", some, 100, time.monotonic(), "note " * 20))
        await until(lambda: output.lines()[-1] == "You >>" and len(output.lines()) > 1)
        assert len(output.lines()) == 8
        assert output.lines()[0] == "… 95 more before these"
        assert [line[:4] for line in output.lines()[1:6]] == [f"… {number} " for number in range(5, 10)]
        assert all(len(line) == COLUMNS and line.endswith("…") for line in output.lines()[1:7])

    play(script)


def test_typed_lines_leave_nothing_behind(keys: PipeInput, output: Output) -> None:
    typed: list[str] = []

    async def script(shown: Screen) -> None:
        keys.send_text("one\r\x1b[200~two\rlines\x1b[201~\r")
        await until(lambda: typed == ["one", "two\nlines"])
        await until(lambda: output.lines() == ["You >>"])
        keys.send_text("\x1b[A\x1b[A\x1b[A\r")  # up: through the lines of the last input, to the one before
        await until(lambda: typed[2:] == ["one"])

    play(script, on_line=typed.append)


def test_screen_closed_before_run_ends_at_once(keys: PipeInput, output: Output) -> None:
    async def run() -> None:
        shown = Screen(asyncio.get_running_loop(), PROMPT, lambda _: None)
        shown.close()
        await shown.run()

    asyncio.run(asyncio.wait_for(run(), DEADLINE))
    assert output.lines() == [""]


@pytest.mark.parametrize("leave", ["\x04", "\x03", "half\x03\x03"])
def test_ctrl_d_and_ctrl_c_end_run(keys: PipeInput, output: Output, leave: str) -> None:
    async def run() -> None:
        shown = Screen(asyncio.get_running_loop(), PROMPT, lambda _: None)
        keys.send_text(leave)
        assert await shown.run() is ("\x03" in leave)
        shown.close()  # a second call has no effect

    asyncio.run(asyncio.wait_for(run(), DEADLINE))
    assert output.lines() == [""]


def test_incoming_lines_do_not_split_a_paste(keys: PipeInput, output: Output) -> None:
    """A redraw that turns bracketed paste off and on would split a paste at that moment."""

    async def script(shown: Screen) -> None:
        await until(lambda: output.lines() == ["You >>"])
        for number in range(5):
            shown.show([style.plain(str(number))])
            await until(lambda: str(number) in output.lines() and output.lines()[-1] == "You >>")  # noqa: B023
        assert "\x1b[?2004l" not in output.getvalue()

    play(script)


def test_a_blocked_terminal_has_a_bounded_queue(keys: PipeInput, output: Output) -> None:
    async def show() -> None:
        shown = Screen(asyncio.get_running_loop(), PROMPT, lambda _: None, max_queued=10)
        for number in range(20):
            shown.show([style.plain(f"line {number}")])
        shown.flush()
        shown.flush()

    asyncio.run(show())
    assert output.lines()[:2] == ["line 0", "line 1"]
    assert "".join(output.lines()[2:]) == "(18 lines are not shown, because the terminal was blocked)"


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_color_and_dumb_terminals_have_no_attributes(
    keys: PipeInput, output: Output, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "dumb")

    async def show() -> None:
        shown = Screen(asyncio.get_running_loop(), PROMPT, lambda _: None)
        shown.show([((style.BOLD, "bold "), (style.DIM, "dim"))])
        shown.flush()

    asyncio.run(show())
    assert output.lines() == ["bold dim"]
    assert ";2m" not in output.getvalue() and ";1m" not in output.getvalue()


@pytest.mark.parametrize(("term", "capable"), [("xterm", True), ("", True), ("dumb", False), ("DUMB", False)])
def test_a_dumb_terminal_is_not_capable(term: str, capable: bool) -> None:
    assert is_capable({"TERM": term}) is capable
    assert is_capable({})
