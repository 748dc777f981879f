"""What is shown while an experiment runs."""

import io

import pytest
from rich.console import Console

from experiments.display import Display


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set by hand."""
    now = [0.0]
    monkeypatch.setattr("experiments.display.time.monotonic", lambda: now[0])
    return now


def test_elsewhere_than_on_a_terminal_there_is_a_line_each_minute(clock):
    """The first piece of work, which is compiled, or was done before, does not count for the time that is left."""
    stream = io.StringIO()
    with Display(Console(file=stream), "fig5a", 100) as display:
        display.begin("CoalaPG")
        for second, done in ((50, 10), (100, 10), (109, 10), (160, 10), (165, 10)):
            clock[0] = second
            display.advance(done, "reward 0.50, 2e+04 steps per second")
    assert stream.getvalue().splitlines() == [
        "fig5a: CoalaPG 20/100, 0:06:40 left, reward 0.50, 2e+04 steps per second",
        "fig5a: CoalaPG 40/100, 0:03:40 left, reward 0.50, 2e+04 steps per second",
    ]


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
    assert "reward 0.75" in shown
    assert "left" not in shown
