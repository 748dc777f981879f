"""What is shown while an experiment runs."""

import io
import re
import time

import pytest
from rich.console import Console

from coala_eqx.runs.display import Display


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set by hand."""
    now = [0.0]
    monkeypatch.setattr("coala_eqx.runs.display.time.monotonic", lambda: now[0])
    return now


def test_what_is_left_goes_on_at_the_pace_until_now(clock):
    """The first piece of work, which is compiled, or was done before, does not count."""
    display = Display(Console(file=io.StringIO()), "fig5a", 100)
    display.begin("CoalaPG")
    lines = [display.line()]
    for second, done in ((50, 10), (100, 10), (109, 10), (160, 10)):
        clock[0] = second
        display.advance(done, "reward 0.50, 2e+04 steps per second")
        lines.append(display.line())
    clock[0] = 190
    lines.append(display.line())
    clock[0] = 1000
    lines.append(display.line())
    note = "reward 0.50, 2e+04 steps per second"
    assert lines == [
        "fig5a: CoalaPG 0/100",
        f"fig5a: CoalaPG 10/100, {note}",
        f"fig5a: CoalaPG 20/100, 0:06:40 left, {note}",
        f"fig5a: CoalaPG 30/100, 0:03:26 left, {note}",
        f"fig5a: CoalaPG 40/100, 0:03:40 left, {note}",
        f"fig5a: CoalaPG 40/100, 0:03:10 left, {note}",
        f"fig5a: CoalaPG 40/100, 0:00:00 left, {note}",
    ]


def test_what_is_compiled_or_was_done_before_says_nothing_of_the_pace(clock):
    """Of two parts, the second of which goes on from where it was; nothing of the first part is shown with it."""
    stream = io.StringIO()
    display, steps = Display(Console(file=stream, width=80), "fig5a", 80), []

    def advance(second, done, note):
        clock[0] = second
        display.advance(done, note)
        steps.append(display.line())

    display.begin("CoalaPG")
    advance(0, 0, "compiling")
    advance(300, 10, "reward 0.50")
    advance(310, 10, "reward 0.60")
    advance(330, 20, "reward 0.70")
    display.begin("MFOS")
    steps.append(display.line())
    advance(340, 30, "resumed at iteration 30, compiling")
    advance(900, 5, "reward 0.10")
    advance(910, 5, "reward 0.10")
    assert steps == [
        "fig5a: CoalaPG 0/80, compiling",
        "fig5a: CoalaPG 10/80, reward 0.50",
        "fig5a: CoalaPG 20/80, 0:01:00 left, reward 0.60",
        "fig5a: CoalaPG 40/80, 0:00:40 left, reward 0.70",
        "fig5a: MFOS 40/80, 0:00:40 left",
        "fig5a: MFOS 70/80, 0:00:10 left, resumed at iteration 30, compiling",
        "fig5a: MFOS 75/80, 0:00:05 left, reward 0.10",
        "fig5a: MFOS 80/80, 0:00:00 left, reward 0.10",
    ]
    assert stream.getvalue() == "fig5a: MFOS: resumed at iteration 30\n", "it is said once, and stays"


def test_the_bar_is_a_single_line_of_eighty_columns(clock):
    stream = io.StringIO()
    with Display(Console(file=stream, force_terminal=True, width=80), "fig5c", 2000) as display:
        display.begin("CoalaPG without naive")
        display.advance(10, "reward 0.50, 0.25 together, 2.3e+04 steps/s")
        clock[0] = 1000.0
        display.advance(10, "reward 0.50, 0.25 together, 2.3e+04 steps/s")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, shown)) <= 80
    last = [line for line in shown if line][-1]
    for words in ("fig5c: CoalaPG", "20/2000", "55:00:00 left", "reward 0.50"):
        assert words in last


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then_whatever_takes_long(monkeypatch):
    monkeypatch.setattr("coala_eqx.runs.display.EVERY", 0.02)
    stream = io.StringIO()
    with Display(Console(file=stream), "fig5a", 100) as display:
        display.begin("CoalaPG")
        until = time.monotonic() + 30
        while stream.getvalue().count("\n") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert set(lines) == {"fig5a: CoalaPG 0/100"}
    assert len(lines) >= 3
    time.sleep(0.1)
    assert stream.getvalue().splitlines() == lines  # none after the end


def test_on_a_terminal_there_is_a_bar(clock):
    stream = io.StringIO()
    with Display(Console(file=stream, force_terminal=True, width=100), "fig5a", 4) as display:
        display.begin("MFOS")
        display.advance(2, "reward 0.25")
        clock[0] = 100.0
        display.advance(1, "reward 0.75")
    shown = stream.getvalue()
    assert "fig5a: MFOS" in shown
    assert "3/4" in shown
    assert "0:01:40 left" in shown
    assert "reward 0.75" in shown
    assert "3/4, " not in shown  # no lines
