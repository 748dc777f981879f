"""A run while a process works on it: parts, records, checkpoints, signals, and who made it."""

import dataclasses
import json
import signal
import threading

import numpy as np
import polars as pl
import pytest

from coala_eqx.runs import Part, Run, Silent, Stopped
from coala_eqx.runs.writers import AbstractWriter


@dataclasses.dataclass(frozen=True)
class Settings:
    size: int = 3


class Killed(BaseException):
    """As if the process had been killed there."""


def part_of(name, told, *, until=None, records=2):
    """A part of four steps that keeps each of them; it is killed after `until` of them."""

    def work(progress):
        checkpoint = progress.checkpoint()
        done, state = checkpoint.load({"sum": np.zeros(())})
        progress.begin(done)
        for step in range(done, 4):
            state = {"sum": state["sum"] + step}
            checkpoint.save(step + 1, state, always=True)
            told.append((name, step))
            if step + 1 == until:
                raise Killed
            progress(1)
        progress.log([{"seed": 0, "agent": 0, "iteration": 4, "value": 1.0}])
        return [{"value": float(state["sum"]) + number} for number in range(records)]

    return Part(name, 4, work)


def make_run(path, *parts, **options):
    return Run(path, "mine", Settings(), parts, interval=0.0, **options)


def test_parts_that_are_missing_are_done_and_recorded(tmp_path):
    """Killed in the second one it goes on there; checkpoints go when records are there."""
    told = []
    with pytest.raises(Killed), make_run(tmp_path, part_of("A", told), part_of("B", told, until=2)) as run:
        run.work(Silent(), ["one"], "1 × cpu")
    assert told == [("A", 0), ("A", 1), ("A", 2), ("A", 3), ("B", 0), ("B", 1)]
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-b-1"}
    (tmp_path / "checkpoint-a-1").mkdir()  # as if it had been killed before it removed them
    told.clear()
    with make_run(tmp_path, part_of("A", told), part_of("B", told)) as run:
        assert [part.name for part in run.missing] == ["B"]
        run.work(Silent(), ["two", "three four"], "1 × cpu")
        assert run.missing == []
    assert told == [("B", 2), ("B", 3)]
    assert list(tmp_path.glob("checkpoint-*")) == []
    records = [{"part": part, "value": 6.0 + number} for part in ("A", "B") for number in range(2)]
    assert run.records == pl.read_parquet(tmp_path / "records.parquet").to_dicts() == records
    origins = json.loads((tmp_path / "origin.json").read_text())
    assert [origin["command"] for origin in origins] == ["one", "two 'three four'"]
    assert all(origin["seconds"] >= 0 and origin["layout"] == "1 × cpu" for origin in origins)


def test_the_last_state_can_be_kept_and_read_back(tmp_path):
    told = []
    for expected in ([("A", step) for step in range(4)], []):
        told.clear()
        with make_run(tmp_path, part_of("A", told), keep_last=True) as run:
            run.work(Silent(), [])
        assert told == expected
        assert [path.name for path in (tmp_path / "checkpoint-a-1").iterdir()] == ["4"]
    assert len(run.records) == 2
    assert len(json.loads((tmp_path / "origin.json").read_text())) == 1


def test_another_layout_is_said(tmp_path, capsys):
    told = []
    with pytest.raises(Killed), make_run(tmp_path, part_of("A", told, until=1)) as run:
        run.work(Silent(), [], "1 × cpu")
    assert "Begun on" not in capsys.readouterr().err
    with make_run(tmp_path, part_of("A", told)) as run:
        run.work(Silent(), [], "8 × gpu")
    assert "Begun on 1 × cpu, it goes on on 8 × gpu: the same to rounding, not to the bit" in capsys.readouterr().err


def test_a_signal_stops_it_with_all_kept_and_handlers_come_back(tmp_path):
    told, before = [], signal.getsignal(signal.SIGTERM)

    def work(progress):
        signal.raise_signal(signal.SIGTERM)
        return part_of("A", told).run(progress)

    with pytest.raises(Stopped) as stopped, make_run(tmp_path, Part("A", 4, work)) as run:
        run.work(Silent(), [])
    assert (stopped.value.signal, stopped.value.lost) == (signal.SIGTERM, False)
    assert signal.getsignal(signal.SIGTERM) is before
    with make_run(tmp_path, part_of("A", told)) as run:
        run.work(Silent(), [])
    assert told == [("A", step) for step in range(4)]


def test_in_another_thread_it_works_without_signals(tmp_path):
    told, found = [], []

    def go():
        with make_run(tmp_path, part_of("A", told)) as run:
            run.work(Silent(), [])
            found.extend(run.records)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert [record["value"] for record in found] == [6.0, 7.0]


def test_writers_are_told_beside_tensorboard_and_closed(tmp_path):
    told = []

    class Mine(AbstractWriter):
        def log(self, records):
            told.extend(records)

        def close(self):
            told.append("closed")

    with make_run(tmp_path, part_of("A b", told), writers=[Mine()]) as run:
        run.work(Silent(), [])
    assert told[-2:] == [{"seed": 0, "agent": 0, "iteration": 4, "value": 1.0}, "closed"]
    assert (tmp_path / "tensorboard" / "a-b" / "seed-0" / "events.out.tfevents.training").exists()


def test_it_is_a_context_and_holds_its_folder(tmp_path):
    run = make_run(tmp_path / "run", part_of("A", []))
    with pytest.raises(RuntimeError, match="A run is a context: `with Run"):
        _ = run.directory
    assert not (tmp_path / "run").exists()
    with run, pytest.raises(ValueError, match="is in use by another process"), make_run(tmp_path / "run"):
        pass
    with make_run(tmp_path / "run"):
        pass
    with pytest.raises(ValueError, match="would have the same files"):
        make_run(tmp_path / "other", part_of("A", []), part_of("a", []))
    with pytest.raises(ValueError, match="its size is 3, not 4"), Run(tmp_path / "run", "mine", Settings(4), []):
        pass
