"""What is shown while an experiment runs."""

import io
import time

import pytest
from rich.console import Console

from experiments.display import Display


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set by hand."""
    now = [0.0]
    monkeypatch.setattr("experiments.display.time.monotonic", lambda: now[0])
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


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then_whatever_takes_long(monkeypatch):
    monkeypatch.setattr("experiments.display.EVERY", 0.02)
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
