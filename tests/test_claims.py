"""Claims: how they are judged, by which records, and that the references are judged as they would be today."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from experiments import fig6
from experiments.__main__ import judged
from experiments.records import (
    DILEMMA,
    Estimate,
    claim,
    final,
    flagged,
    in_words,
    kept,
    largest_of,
    over_seeds,
    smallest_of,
    table_of,
    verdict,
)
from paper_figs import reference


def test_claims_are_judged_by_numbers():
    assert claim("small", 1.0, "≤", 2.0)["holds"]
    assert not claim("large", 1.0, "≥", 2.0)["holds"]


def test_means_over_seeds_have_the_error_of_their_differences():
    """Of each seed first: seed 0 has two agents, of which each counts half."""
    rows = [(0, 1.0, 4.0), (0, 3.0, 4.0), (1, 5.0, 4.0), (2, 8.0, 1.0)]
    table = pl.DataFrame(rows, ["seed", "now", "then"], orient="row")
    now, then = over_seeds(table, "now"), over_seeds(table, "then")
    assert (now.value, now.error) == (5.0, pytest.approx(np.std([2, 5, 8], ddof=1) / 3**0.5))
    change = over_seeds(table, pl.col("now") - pl.col("then"))
    assert (change.value, change.error) == (2.0, pytest.approx(np.std([-2, 1, 7], ddof=1) / 3**0.5))
    assert now - then == change, "seeds are pairs"
    less = now - over_seeds(table.filter(pl.col("seed") > 0).reverse(), "then")
    assert less == Estimate({1: 1.0, 2: 7.0}), "those that both have"
    alone, none = over_seeds(table.filter(pl.col("seed") == 2), "now"), over_seeds(table.clear(), "now")
    assert (float(alone), in_words(claim("", alone, "≥", 0))) == (8.0, "8")
    assert np.isnan([alone.error, none.value, none.error, (alone - none).value]).all()


def test_means_over_seeds_are_the_same_each_time():
    generator = np.random.default_rng(0)
    table = pl.DataFrame({"seed": np.tile(np.arange(5), 20), "now": generator.normal(size=100)})
    found = [over_seeds(table, "now") for _ in range(50)]
    assert len({(one.value, one.error) for one in found}) == 1


def test_a_claim_has_the_error_of_what_was_measured():
    entry = claim("more", Estimate({0: 0.03, 1: 0.05}), "≥", 0.01)
    assert (entry["measured"], entry["error"], entry["holds"]) == (0.04, pytest.approx(0.01), True)
    assert in_words(entry) == "0.04 ± 0.01"
    assert in_words({**entry, "measured": 0.03648, "error": 0.01178}) == "0.0365 ± 0.012"
    assert not claim("more", Estimate({0: 0.005, 1: 0.006}), "≥", 0.01)["holds"]
    assert not claim("more", Estimate({0: -1.0, 1: 1.0}), "≥", 0.01)["holds"], "judged by the mean alone"
    nothing = claim("none", Estimate({}), "≥", 0)
    assert (in_words(nothing), nothing["holds"]) == ("not finite", False)
    assert claim("a number", 2.0, "≥", 1)["error"] is None
    assert in_words({"claim": "of an older version", "measured": 2.0}) == "2"


def test_a_verdict_says_where_errors_leave_it_open():
    near, far = Estimate({0: 0.0, 1: 0.1}), Estimate({0: 0.2, 1: 0.21})
    assert verdict(claim("", near, "≥", 0.01)) == "yes, but within two errors"
    assert verdict(claim("", near, "≥", 0.1)) == "no, but within two errors"
    assert (verdict(claim("", far, "≥", 0.01)), verdict(claim("", far, "≤", 0.01))) == ("yes", "no")
    assert (verdict(claim("", 1.0, "≥", 1.0)), verdict(claim("", Estimate({}), "≥", 0))) == ("yes", "no")


def test_the_page_says_how_long_a_run_took():
    """What was killed has no time; what was stopped, or went on by another command, was interrupted all the same."""

    def told(*sessions):
        same = dict.fromkeys(("machine", "date", "version", "commit", "python", "jax"), "")
        origins = [same | {"command": f"python -m experiments {words}"} | time for words, time in sessions]
        return [line.partition(": ")[2] for line in reference._made_by("fig6", origins)]

    killed, short, longer = {}, {"seconds": 60.0}, {"seconds": 90.0}
    assert told(("fig6", short)) == ["1.0 minutes."]
    assert told(("fig6", short), ("fig6", longer)) == ["2.5 minutes, interrupted once."]
    assert told(*[("fig6", killed)] * 2, ("fig6", longer)) == [
        "1.5 minutes, interrupted 2 times, not all of which is timed."
    ]
    assert told(("fig6", short), ("fig6 --devices 2", longer)) == ["1.0 minutes, interrupted once.", "1.5 minutes."]
    assert told(("fig6", killed), ("fig6 --devices 2", killed), ("fig6", longer)) == [
        "1.5 minutes, interrupted once, not all of which is timed.",
        "interrupted once.",
    ]


def test_the_page_says_whose_records_a_figure_shows():
    origin = json.loads((reference.REFERENCE / "fig6" / "origin.json").read_text())
    assert len(reference._made_by("fig13", origin)) == len(reference._made_by("fig6", origin)) + 1


def test_the_page_says_what_the_presets_are_today(tmp_path):
    """But for what the command gave, and only of a run of that preset."""
    settings = dataclasses.asdict(fig6.PRESETS["cpu"]) | {"seeds": 7, "m_fos_balance": 2.0, "steps": 11}
    del settings["entropy_until"]  # as of a version that did not know it: it had the default, 0.5
    (tmp_path / "settings.json").write_text(json.dumps({"settings": settings}))
    given = "--seeds 7 --set 'actions=(1, 2)' --set m_fos_balance=2"
    for preset, expected in (("cpu", ["steps 11 (10)", "entropy_until 0.5 (0.45)"]), ("paper", None)):
        command = f"python -m experiments fig6 --preset {preset} {given}"
        (tmp_path / "origin.json").write_text(json.dumps([{"command": command}]))
        lines = reference._other_settings(tmp_path, "fig6")
        assert "seeds 7 (5)" in lines[0]
        today = [line.partition(": ")[2].rstrip(".").split(", ") for line in lines[1:] if line]
        assert today == ([expected] if expected else [])


def test_the_largest_and_the_smallest_are_nan_if_one_is():
    estimates = [Estimate({0: 1.0}), Estimate({0: 3.0}), Estimate({0: 2.0})]
    assert largest_of(estimates) is estimates[1]
    assert smallest_of(iter(estimates)) is estimates[0]
    assert (largest_of([1, 3, 2]), smallest_of([2, 1])) == (3, 1)
    for place in range(3):
        values = [1.0, float("inf"), -float("inf")]
        values.insert(place, float("nan"))
        assert np.isnan([largest_of(values), smallest_of(values)]).all()


def test_of_a_seed_that_goes_wrong_nothing_is_kept_in_that_part():
    records = [
        {"part": part, "seed": seed, "iteration": iteration, "finite": float((part, seed, iteration) != ("a", 1, 1))}
        for part in "ab"
        for seed in range(2)
        for iteration in range(3)
    ]
    table = kept(table_of(records))
    assert set(table.select("part", "seed").rows()) == {("a", 0), ("b", 0), ("b", 1)}
    assert len(final(records)) == 3
    assert flagged(records) == [1]


def test_the_page_of_figures_is_that_of_the_references():
    assert reference.PAGE.read_text() == reference.page()


REFERENCES = sorted(folder.parent for folder in reference.REFERENCE.glob("*/records.parquet"))


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_references_are_judged_as_their_records_are_today(folder):
    made = json.loads((folder / "settings.json").read_text())
    figure, game = made["figure"], made["settings"].get("payoffs", DILEMMA)
    held = json.loads((folder / f"{figure}.json").read_text())
    today = judged(figure, pl.read_parquet(folder / "records.parquet").to_dicts(), game)
    numbers = ("measured", "error")
    assert [entry | dict.fromkeys(numbers) for entry in today] == [entry | dict.fromkeys(numbers) for entry in held]
    for number in numbers:
        now, then = (np.array([entry[number] for entry in of], float) for of in (today, held))
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=1e-6)  # records are kept in single precision
