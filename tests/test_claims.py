"""Claims: how they are judged, by which records, and that the references are judged as they would be today."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from coala_eqx.runs.directory import table_of
from coala_eqx.runs.settings import named
from experiments import fig6
from experiments.__main__ import judged
from experiments.claims import (
    DILEMMA,
    Estimate,
    Ran,
    claim,
    final,
    flagged,
    in_words,
    largest_of,
    not_applicable,
    of_means,
    over_seeds,
    smallest_of,
    verdict,
)
from experiments.claims import kept as of_finite_seeds
from experiments.errors import Measured, bootstrapped, jackknifed, median_of
from paper_figs import claims_page, kept, reference


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


def test_a_ratio_has_an_error_by_the_jackknife():
    """That of a mean is its standard error; that of a ratio agrees with the delta method in a large sample."""
    numbers = np.random.default_rng(0).normal(1.0, 0.5, size=7)
    mean = jackknifed(float, numbers)
    assert (mean.value, mean.error) == pytest.approx((numbers.mean(), numbers.std(ddof=1) / 7**0.5))
    ours, theirs = np.random.default_rng(1).normal([[3.0], [2.0]], [[0.3], [0.2]], size=(2, 4000))
    ratio = of_means(
        lambda a, b: a / b, Estimate(dict(enumerate(ours))), Estimate({**dict(enumerate(theirs)), 9999: 0.0})
    )
    slope = (ours / theirs.mean() - ours.mean() / theirs.mean() ** 2 * theirs).std(ddof=1) / 4000**0.5
    assert (ratio.value, ratio.seeds) == (pytest.approx(ours.mean() / theirs.mean()), 4000), "of seeds that both have"
    assert ratio.error == pytest.approx(slope, rel=1e-3)
    assert np.isnan(jackknifed(float, [2.0]).error)
    assert np.isnan(jackknifed(float, []).value)


def test_a_median_has_an_error_by_the_bootstrap():
    """Of a normal sample it is 1.25 times that of the mean; the same each time; pairs stay together."""
    numbers = np.random.default_rng(0).normal(size=2001)
    median = median_of(numbers)
    assert median.value == np.median(numbers)
    assert median.error == pytest.approx((np.pi / 2 / 2001) ** 0.5, rel=0.1)
    assert median == median_of(list(numbers))
    pairs = np.stack([numbers[:50], numbers[:50] + 3], axis=1)
    gap = bootstrapped(lambda drawn: np.median(drawn[:, 1]) - np.median(drawn[:, 0]), pairs)
    assert (gap.value, gap.error) == pytest.approx((3.0, 0.0), abs=1e-12)
    apart = bootstrapped(lambda one, other: np.median(other) - np.median(one), *pairs.T)
    assert apart.error > 0.1
    assert [median_of([1.0]).value, median_of([1.0]).seeds] == [1.0, 1]
    assert np.isnan([median_of([1.0]).error, median_of([]).value]).all()
    assert np.isnan([median_of([1.0, np.nan, 2.0]).value, median_of([np.inf, np.inf]).error]).all()


def test_an_error_that_is_not_known_leaves_a_claim_open():
    """An infinite ratio without one of the seeds; a single seed has no error, and says so; what is exact needs none."""
    near = of_means(
        lambda a, b: a / b if b > 0 else float("inf"), Estimate({0: 1.0, 1: 1.0}), Estimate({0: 1, 1: -0.5})
    )
    assert np.isnan(near.error)
    assert verdict(claim("", near, "≥", 2)) == "yes, but within two errors"
    assert verdict(claim("", Estimate({0: 3.0}), "≥", 2)) == "yes, of one seed"
    assert verdict(claim("", 3.0, "≥", 2)) == "yes"


@pytest.mark.parametrize(
    ("relation", "value", "expected"),
    [("≤", 0.7, "yes"), ("≤", 0.9, "no, but within two errors"), ("≤", 1.3, "no"),
     ("≥", 0.9, "yes"), ("≥", 0.7, "no, but within two errors"), ("≥", 0.3, "no")],
)  # fmt: skip
def test_a_claim_with_errors_in_it_is_held_against_what_lies_behind_them(relation, value, expected):
    """Two errors of 0.1 are added on the unfavourable side: of a number 0.5 for 0.7 where it is to be small."""
    entry = claim("", Measured(value, 0.1, None, margin=2), relation, 0.8)
    assert verdict(entry) == expected
    assert in_words(entry) == f"{value:.3g}, with 2 errors of 0.1"


def test_a_claim_about_what_was_not_run_is_not_judged():
    table = pl.DataFrame({"estimator": ["CoalaPG"]})
    entry = Ran(table).claim(("CoalaPG", "MFOS", "LolaDice"), "more", float("nan"), "≥", 2)
    assert (entry["applicable"], entry["holds"], entry["measured"]) == (False, None, None)
    assert verdict(entry) == "not applicable: MFOS and LolaDice not run"
    assert in_words(entry) == "not run"
    json.dumps(entry, allow_nan=False)
    judged = Ran(table).claim(("CoalaPG",), "more", 3.0, "≥", 2)
    assert judged == claim("more", 3.0, "≥", 2)
    assert (judged["applicable"], judged["holds"]) == (True, True)


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
        "1.5 minutes, interrupted 2 times, not timed completely."
    ]
    assert told(("fig6", short), ("fig6 --devices 2", longer)) == ["1.0 minutes, interrupted once.", "1.5 minutes."]
    assert told(("fig6", killed), ("fig6 --devices 2", killed), ("fig6", longer)) == [
        "1.5 minutes, interrupted once, not timed completely.",
        "interrupted once.",
    ]


def test_the_page_says_whose_records_a_figure_shows():
    origin = json.loads((reference.REFERENCE / "fig6" / "origin.json").read_text())
    assert len(reference._made_by("fig13", origin)) == len(reference._made_by("fig6", origin)) + 1


def test_the_page_says_what_the_presets_are_today(tmp_path):
    """But for what the command gave, and only of a run of that preset."""
    settings = named(fig6.PRESETS["cpu"]) | {"seeds": 7, "m_fos_balance": 2.0, "steps": 11}
    del settings["agent.entropy_until"]  # as of a version that did not know it: it had the default, 0.5
    settings["naive_rate"] = settings.pop("learner.rate") / 2  # its name in an earlier version
    (tmp_path / "settings.json").write_text(json.dumps({"settings": settings}))
    given = "--seeds 7 --set 'actions=(1, 2)' --m-fos-balance 2"
    differing = {"steps 11 (10)", "agent.entropy_until 0.5 (0.45)", "learner.rate 0.01 (0.02)"}
    for preset, expected in (("cpu", differing), ("paper", None)):
        command = f"python -m experiments fig6 --preset {preset} {given}"
        (tmp_path / "origin.json").write_text(json.dumps([{"command": command}]))
        lines = reference._other_settings(tmp_path, "fig6")
        assert "seeds 7 (5)" in lines[0]
        today = [{*line.partition(": ")[2].rstrip(".").split(", ")} for line in lines[1:] if line]
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
    table = of_finite_seeds(table_of(records))
    assert set(table.select("part", "seed").rows()) == {("a", 0), ("b", 0), ("b", 1)}
    assert len(final(records)) == 3
    assert flagged(records) == [1]


def test_the_pages_are_those_of_the_references():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()
    page = claims_page.page(kept.kept_folders(reference.REFERENCE))
    assert reference.PAGE.with_name("claims.md").read_text(encoding="utf-8") == page


def test_the_page_of_claims_counts_them(tmp_path, monkeypatch):
    """By hand: of the paper's two figures here three claims hold, and one does not; other games are told apart."""
    sure, near = (claim("", Estimate({0: value, 1: 1.0}), "≥", 0.5) for value in (0.9, -0.6))
    folders = {
        "fig6": (DILEMMA, [sure, near | {"holds": True}]),
        "fig7": (DILEMMA, [sure, near, not_applicable("", "MFOS not run", "≥", 1)]),
        "fig3a": ("chicken", [near]),
        "scripted": (DILEMMA, [near]),
    }
    for figure, (game, claims) in folders.items():
        folder = tmp_path / figure
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps({"figure": figure, "settings": {"payoffs": game, "seeds": 2}}))
        origin = {"command": f"python -m experiments {figure} --preset cpu", "seconds": 90.0}
        (folder / "origin.json").write_text(json.dumps([origin]))
        (folder / f"{figure}.json").write_text(json.dumps(claims))
    page = claims_page.page(kept.kept_folders(tmp_path))
    assert "**3 of 4 claims about the paper's figures hold, 1 of them within two errors. 1 do not hold, 1 of " in page
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    assert [row.split(" | ")[1:] for row in rows] == [
        ["`python -m experiments fig6`", "1.5", "cpu, 2", "2 of 2", "1 held |"],
        ["`python -m experiments fig7`", "1.5", "cpu, 2", "1 of 3", "1 not held |"],
        ["`python -m experiments scripted`", "1.5", "cpu, 2", "0 of 1", "1 not held |"],
        ["`python -m experiments fig3a`", "1.5", "cpu, 2", "0 of 1", "1 not held |"],
    ]
    assert rows[0].startswith("| [Figure 6](figures.md#figure-6-agents-in-cleanup-lite-that-shape-naive-learners-")


EXACT = ("bias-variance", "continuous-time", "critics")
"""Figures that enumerate, or solve: numbers without errors."""


@pytest.mark.parametrize("folder", kept.kept_folders(reference.REFERENCE), ids=lambda folder: folder.name)
def test_every_number_that_is_measured_over_seeds_has_an_error(folder):
    for entry in kept.claims_of(folder):
        bare = entry["error"] is None and entry["measured"] is not None
        assert not bare or (folder.name in EXACT and entry["seeds"] is None), entry


def test_links_of_the_page_of_claims_lead_somewhere():
    headings = [line[3:] for line in reference.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = re.findall(r"figures\.md#([^)]*)", reference.PAGE.with_name("claims.md").read_text(encoding="utf-8"))
    assert len(linked) == len(headings)
    assert set(linked) == anchors


AGAIN = {"CoalaPG": [0.2, 0.205, 0.233, 0.203], "MFOS": [0.221, 0.206, 0.208, 0.1]}
"""Final rewards of seeds of which no records are kept."""


@pytest.fixture
def figure_6(tmp_path, monkeypatch):
    """A reference of four seeds, and final rewards of four more."""
    folder = tmp_path / "reference" / "fig6"
    shutil.copytree(reference.REFERENCE / "fig6", folder)
    table = pl.read_parquet(folder / "records.parquet")
    table.filter(pl.col("seed") < 4).write_parquet(folder / "records.parquet")
    made = kept.made(folder)
    (folder / "settings.json").write_text(json.dumps(made | {"settings": made["settings"] | {"seeds": 4, "seed": 0}}))
    lines = [f"300,{n},{name},{of[n]},a command,a commit" for name, of in AGAIN.items() for n in range(4)]
    (folder / kept.AGAIN).write_text("\n".join(["# a remark", "seed,number,estimator,reward,command,commit", *lines]))
    monkeypatch.setattr(reference, "REFERENCE", folder.parent)
    return folder


def test_figure_6_is_judged_over_all_seeds_that_are_known(figure_6):
    """The lead over M-FOS over both runs, as pairs; all else over the kept one."""
    (lead, *others), (alone, *same) = (
        fig6.claims(records)
        for records in (kept.records_of(figure_6), pl.read_parquet(figure_6 / "records.parquet").to_dicts())
    )
    pairs = np.subtract(AGAIN["CoalaPG"], AGAIN["MFOS"])
    assert (lead["seeds"], alone["seeds"]) == (8, 4)
    assert lead["measured"] == pytest.approx((alone["measured"] + pairs.mean()) / 2, rel=1e-6)
    total = 7 * 8 * lead["error"] ** 2  # of squares
    parts = 3 * 4 * alone["error"] ** 2 + 3 * pairs.var(ddof=1) + 2 * (alone["measured"] - pairs.mean()) ** 2
    assert total == pytest.approx(parts, rel=1e-5)
    assert others == same
    assert {entry["seeds"] for entry in others} == {4}
    reference.judge(figure_6)
    assert kept.claims_of(figure_6)[0] == lead
    page = reference.page()
    assert (
        "CoalaPG and MFOS were also trained from 4 more seeds at the same settings (`a command`, commit a commit)"
        in page
    )


def test_more_seeds_take_the_place_of_what_only_final_rewards_were_kept_of(figure_6, tmp_path):
    """A run of fewer than are known would hide some, unless it has other settings."""
    folder, known = figure_6, (figure_6 / kept.AGAIN).read_text()

    def run(seeds, **changes):
        path = tmp_path / f"run-{seeds}-{len(changes)}"
        shutil.copytree(folder, path, ignore=shutil.ignore_patterns("*.csv"))
        settings = kept.made(folder)
        settings["settings"] |= {"seeds": seeds, **changes}
        (path / "settings.json").write_text(json.dumps(settings))
        table = pl.read_parquet(path / "records.parquet")
        more = table.with_columns(pl.col("seed") + 4).filter(pl.col("seed") < seeds)
        pl.concat([table, more]).write_parquet(path / "records.parquet")
        return path

    for seeds in (4, 7):
        with pytest.raises(ValueError, match=f"it has {seeds} seeds, but 8 are known at its settings"):
            reference.keep(run(seeds))
        assert (folder / kept.AGAIN).exists()
    assert len(kept.again(folder)) == 8
    reference.keep(run(8))
    assert not (folder / kept.AGAIN).exists()
    assert kept.again(folder) == []
    assert fig6.claims(kept.records_of(folder))[0]["seeds"] == 8
    (folder / kept.AGAIN).write_text(known)
    reference.keep(run(4, steps=20))
    assert not (folder / kept.AGAIN).exists()


def test_the_page_says_that_learners_of_lola_dice_have_another_adam():
    sections = reference.PAGE.read_text(encoding="utf-8").split("\n## ")
    smoothed = "1e-06 (`learner.smoothing`) is added under its root"
    said = {section.partition(":")[0] for section in sections if smoothed in section}
    assert said == {"Figure 5A", "Figure 5B", "Figure 6", "Figure 13", "The Coin Game, beyond the paper"}


REFERENCES = sorted(folder.parent for folder in reference.REFERENCE.glob("*/records.parquet"))


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_references_are_judged_as_their_records_are_today(folder):
    made = json.loads((folder / "settings.json").read_text())
    figure, game = made["figure"], made["settings"].get("payoffs", DILEMMA)
    held = json.loads((folder / f"{figure}.json").read_text())
    today = judged(figure, kept.records_of(folder), game)
    numbers = ("measured", "error")
    assert [entry | dict.fromkeys(numbers) for entry in today] == [entry | dict.fromkeys(numbers) for entry in held]
    for number in numbers:
        now, then = (np.array([entry[number] for entry in of], float) for of in (today, held))
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=1e-6)  # records are kept in single precision
