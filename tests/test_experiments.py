"""Experiments: what a run writes, that it resumes, and bad input."""

import json

import polars as pl
import pytest

from experiments.__main__ import main, run
from experiments.bias_variance import CRITICS, ESTIMATORS, Settings, measure
from experiments.records import RunDirectory, claim

SETTINGS = Settings(batches=(1, 2), episodes=(1,), steps=(1,), memory_one_steps=(1,))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    run(path, SETTINGS)
    return path


def test_a_run_writes_records_claims_and_a_picture(directory):
    records = pl.read_parquet(directory / "records.parquet")
    assert len(records) == len(ESTIMATORS) * (4 * len(CRITICS) + 1)
    assert set(records["axis"]) == {"B", "M", "T"}
    assert records.filter(pl.col("estimator") == "CoalaPG")["relative_bias"].max() < 1e-9
    claims = json.loads((directory / "bias-variance.json").read_text())
    assert all(set(entry) == {"claim", "measured", "relation", "threshold", "holds"} for entry in claims)
    assert (directory / "bias-variance.png").read_bytes().startswith(b"\x89PNG")
    assert len((directory / "bias-variance.md").read_text().splitlines()) == 2 + len(records)
    assert {file.name for file in directory.iterdir()} == {
        "settings.json", "records.parquet", "bias-variance.json", "bias-variance.png", "bias-variance.md"
    }  # fmt: skip


def test_a_run_resumes_where_it_stopped(directory, tmp_path, monkeypatch):
    whole = pl.read_parquet(directory / "records.parquet")
    kept = whole.head(2 * len(ESTIMATORS) * len(CRITICS))
    RunDirectory(tmp_path, "bias-variance", SETTINGS).save(kept.to_dicts())
    measured = []
    monkeypatch.setattr(
        "experiments.bias_variance.measure", lambda point, seed: measured.append(point) or measure(point, seed)
    )
    run(tmp_path, SETTINGS)
    assert [point.axis for point in measured] == ["M", "T", "T"]
    resumed = pl.read_parquet(tmp_path / "records.parquet")
    assert resumed.drop("seconds").equals(whole.drop("seconds"))


def test_other_settings_are_refused(directory, capsys):
    assert main(["bias-variance", "--run-dir", str(directory), "--preset", "smoke"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_an_unknown_figure_is_refused(capsys):
    with pytest.raises(SystemExit) as error:
        main(["fig99"])
    assert error.value.code == 2
    assert "bias-variance" in capsys.readouterr().err


def test_claims_are_judged_by_numbers():
    assert claim("small", 1.0, "≤", 2.0)["holds"]
    assert not claim("large", 1.0, "≥", 2.0)["holds"]
