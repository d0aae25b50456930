"""Who is silent is asked, and then given up: on a clock that goes when it is told to."""

from __future__ import annotations

import pytest

from selchat.heartbeat import Heartbeat
from tests.chat.fakes import FakeClock


class Watch:
    """A vigil, its clock, and what it has had done: when, in seconds from its beginning."""

    def __init__(self, silence: float = 20.0, patience: float = 14.0) -> None:
        self.clock = FakeClock()
        self.begun = self.clock.now
        self.told: list[tuple[str, float]] = []
        self.vigil = Heartbeat(self.clock, silence, patience, self)
        self.vigil.begin()

    def on_idle(self) -> None:
        self.told.append(("ask", self.clock.now - self.begun))

    def on_timeout(self) -> None:
        self.told.append(("gone", self.clock.now - self.begun))

    def waits(self, seconds: float) -> None:
        """Let the time pass, a second after the other."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)


def test_who_says_nothing_is_asked_and_given_up() -> None:
    watch = Watch()
    watch.waits(100)
    assert watch.told == [("ask", 20), ("gone", 34)]
    assert watch.clock.pending == 0


def test_who_answers_is_asked_again_after_as_long_a_silence() -> None:
    watch = Watch()
    watch.waits(21)
    watch.vigil.heard()  # at 21
    watch.waits(19)
    assert watch.told == [("ask", 20)]
    watch.waits(60)
    assert watch.told == [("ask", 20), ("ask", 41), ("gone", 55)]


def test_an_answer_in_the_tick_of_the_question_is_one() -> None:
    watch = Watch()
    watch.waits(20)
    watch.vigil.heard()
    watch.waits(14)
    assert watch.told == [("ask", 20)]


def test_what_came_before_the_question_is_no_answer() -> None:
    watch = Watch(silence=3.0, patience=10.0)
    watch.waits(1)
    watch.vigil.heard()
    watch.waits(100)
    assert watch.told == [("ask", 4), ("gone", 14)]


def test_who_talks_all_the_time_is_never_asked_and_costs_one_timer() -> None:
    watch = Watch()
    for _ in range(200):
        watch.waits(1)
        watch.vigil.heard()
        assert watch.clock.pending == 1
    assert watch.told == []


@pytest.mark.parametrize("when", [0, 25])
def test_it_can_be_begun_anew(when: int) -> None:
    watch = Watch()
    watch.waits(when)
    watch.vigil.begin()
    assert watch.clock.pending == 1
    watch.waits(19)
    assert [what for what, _ in watch.told] == ["ask"] * (when > 20)
    watch.waits(100)
    assert watch.told[-2:] == [("ask", when + 20), ("gone", when + 34)]


def test_it_begins_anew_from_inside_what_it_calls() -> None:
    class Patient(Watch):
        def on_idle(self) -> None:
            super().on_idle()
            self.vigil.begin()

    watch = Patient()
    watch.waits(70)
    assert watch.told == [("ask", 20), ("ask", 40), ("ask", 60)]
    assert watch.clock.pending == 1


def test_when_it_has_ended_nothing_happens_any_more() -> None:
    watch = Watch()
    watch.waits(25)
    watch.vigil.end()
    watch.vigil.end()
    watch.waits(100)
    assert watch.told == [("ask", 20)]
