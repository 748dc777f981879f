"""Figures of games on grids, from end to end: killed and resumed, and on several devices."""

import json
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import coala_eqx as ce
from coala_eqx.games.clean_up_lite import CleanUpState
from experiments import coin_game, fig6, fig7, fig13, fig14, noise, noise_clean_up
from experiments.__main__ import run
from experiments.agents import load_agents
from experiments.experiment import settings_of
from experiments.scripted import ACTIONS, Scripted
from experiments.tables import SCRIPTS, SHAPING, noise_ratios
from tests.runs import MEMORYLESS, finish, first_part, set_to, start
from tests.test_devices import assert_close
from tests.test_training_runs import Killed, written

EVEN = {"meta_batch": 8, "p_naive": 0.5}
"""As many opponents of each kind as some devices can share."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fig7")
    run("fig7", folder, settings_of("fig7", "smoke", {"devices": 1, **MEMORYLESS, **EVEN}))
    return folder


@pytest.mark.slow
def test_figure_7_goes_on_from_its_checkpoint(whole, tmp_path, monkeypatch):
    """Killed while the second pool trains: optimisers by SGD, critics, learners that go on over meetings, and all."""
    settings, reports = settings_of("fig7", "smoke", {"devices": 1, **MEMORYLESS, **EVEN}), []

    def advance(progress, done, note=""):
        reports.append(done)
        if sum(reports) == settings.run.iterations + settings.run.every:
            written(progress)
            raise Killed

    monkeypatch.setattr("coala_eqx.runs.progress.Progress.__call__", advance)
    with pytest.raises(Killed):
        run("fig7", tmp_path, settings, interval=0.0)
    reports.clear()
    monkeypatch.setattr(
        "coala_eqx.runs.progress.Progress.__call__", lambda progress, done, note="": reports.append(done)
    )
    run("fig7", tmp_path, settings)
    assert reports == [2, 2, 0, 2, 2, 0, 2, 2]  # each part says first how much of it is done: of the second pool half
    for name in ("records.parquet", "fig7.json", *(file.name for file in whole.glob("*.npz"))):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_figure_7_on_eight_devices(whole, tmp_path):
    """Its first pool is enough."""
    figure = "fig7", *set_to(EVEN | MEMORYLESS)
    finish(start(tmp_path, "--devices", "8", figure=figure, command=first_part("fig7"), JAX_NUM_CPU_DEVICES="8"))
    records = pl.read_parquet(whole / "records.parquet")
    assert_close(tmp_path, records.filter(pl.col("part") == records["part"][0]))


def test_figure_7_is_judged_and_drawn(whole):
    records = pl.read_parquet(whole / "records.parquet")
    assert len(records) == 3 * 2 * 2 * 2 + 2 * 2  # pools, records, seeds, agents; and one agent alone
    records = records.filter(pl.col("estimator") != SHAPING)
    assert (records["zaps_together"].is_between(0, 1) & records["cleaning_discrepancy_together"].is_between(0, 1)).all()
    assert records["pollution_together"].is_between(0, 5).all()
    assert_judged_and_drawn(whole, "fig7", 8)


def test_figure_14_shows_more_of_figure_7(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "fig7")
    monkeypatch.delattr("experiments.training.train")
    run("fig14", tmp_path / "fig14", settings_of("fig14", "smoke", {"devices": 1, **MEMORYLESS, **EVEN}))
    assert_judged_and_drawn(tmp_path / "fig14", "fig14", 2)


def test_figures_6_and_13_are_judged_and_drawn(tmp_path, monkeypatch):
    """The second one shows more of the first one's records. Its measures are of all inner episodes.

    Of the smallest map, and some of the actions; the game of its agents who are read back is that, too.
    """
    map_ = {"rows": 1, "columns": 2, "initial_dirt": 1, "actions": ["right", "left", "zap"]}
    few = {"seeds": 1, "devices": 1, **MEMORYLESS, **map_}
    run("fig6", tmp_path / "fig6", settings_of("fig6", "smoke", few))
    read, pool, (agent,) = load_agents(tmp_path / "fig6", "CoalaPG")
    assert read.game.actions == tuple(map_["actions"])
    assert pool.game == read.game.make() == ce.games.CleanUpLite(**map_)
    assert agent.num_actions == 3
    records = pl.read_parquet(tmp_path / "fig6" / "records.parquet")
    training, episodes = (records.filter(pl.col("panel") == panel) for panel in ("training", "episodes"))
    assert len(training) == 4 * 2
    assert len(episodes) == 4 * 3
    assert episodes.select(pl.col("zaps", "cleaning_discrepancy").is_between(0, 1).all()).row(0) == (True, True)
    for column in ("reward", "naive", "zaps", "pollution", "apples"):
        whole = training.filter(pl.col("iteration") == 4).sort("estimator")[column]
        means = episodes.group_by("estimator").agg(pl.mean(column)).sort("estimator")[column]
        np.testing.assert_allclose(means, whole, rtol=1e-5, atol=1e-6)
    assert_judged_and_drawn(tmp_path / "fig6", "fig6", 9)
    monkeypatch.delattr("experiments.training.train")
    run("fig13", tmp_path / "fig13", settings_of("fig13", "smoke", few))
    assert_judged_and_drawn(tmp_path / "fig13", "fig13", 3)


def test_agents_of_figure_7_are_read_back(whole):
    """All seeds and agents, with the critics and the game that they were trained with."""
    settings, pool, agents = load_agents(whole, "MFOS")
    assert pool.game == settings.game.make()
    assert len(agents) == len(pool.agents) == 2
    assert {leaf.shape[0] for leaf in jax.tree.leaves(eqx.filter(agents, eqx.is_array))} == {settings.run.seeds} == {2}
    assert any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(eqx.filter(agents, eqx.is_inexact_array)))


def test_baselines_of_figure_6_have_settings_of_their_own():
    own = {"rate": 1e-3, "value_coefficient": 0.5, "entropy_coefficient": 0.01, "reward_scale": 0.1}
    own = {f"agent.{name}": value for name, value in own.items()} | {"seeds": 1}
    theirs = {"m_fos_rate": 2e-3, "m_fos_balance": 8.0, "baseline_reward_scale": 0.3, "lola_rate": 0.2}
    trained = {name: one for name, (one, _) in settings_of("fig6", "smoke", own | theirs).trainings().items()}
    expected = {
        "CoalaPG": (1e-3, 0.5, 0.01, 0.1, "adam"),
        "MFOS": (2e-3, 4.0, 0.08, 0.3, "adam"),
        "BatchUnaware": (1e-3, 0.5, 0.01, 0.3, "adam"),
        "LolaDice": (0.2, 0.5, 0.01, 0.1, "sgd"),
    }
    names = ("rate", "value_coefficient", "entropy_coefficient", "reward_scale", "optimiser")
    assert {name: tuple(getattr(one.agent, each) for each in names) for name, one in trained.items()} == expected


def test_actions_are_a_choice_of_all():
    with pytest.raises(ValueError, match="`actions` must be different ones of right, left, up, down, zap, nothing"):
        settings_of("fig6", "smoke", {"actions": ["left", "jump"]})
    with pytest.raises(ValueError, match=r"all of which the scripts know, but is \('left', 'zap'\)"):
        settings_of("scripted", "smoke", {"actions": ["left", "zap"]})


@pytest.mark.slow
def test_the_coin_game_is_judged_and_drawn(tmp_path):
    run("coin-game", tmp_path, settings_of("coin-game", "smoke", {"seeds": 1, "devices": 1, **MEMORYLESS}))
    records = pl.read_parquet(tmp_path / "records.parquet")
    training, episodes = (records.filter(pl.col("panel") == panel) for panel in ("training", "episodes"))
    assert set(training["estimator"]) == set(episodes["estimator"]) == {"CoalaPG", "MFOS", "BatchUnaware", "LolaDice"}
    assert len(training) == 4 * 2
    assert len(episodes) == 4 * 3
    earned = pl.col("own_coins") + pl.col("others_coins") - 2 * pl.col("other_others_coins")
    assert records.select((earned - pl.col("reward")).abs().max()).item() < 1e-5
    assert_judged_and_drawn(tmp_path, "coin-game", 2)


@pytest.mark.parametrize(("cells", "apples", "dirt", "actions"), [
    ((4, 8), [], [0], ("right", "right", "left", "left")),
    ((4, 8), [2], [0], ("left", "left", "left", "left")),
    ((3, 8), [2], [0], ("down", "down", "down", "up")),
    ((3, 8), [1], [0], ("nothing", "nothing", "nothing", "up")),
    ((5, 0), [], [0, 2], ("up", "up", "left", "left")),
    ((5, 8), [], [2], ("down", "zap", "left", "left")),
    ((3, 8), [], [], ("nothing", "nothing", "nothing", "up")),
])  # fmt: skip
def test_scripts_do_what_they_are_called(cells, apples, dirt, actions):
    """On a map of 3×3, whose cells are numbered row by row: the river is at the right."""
    game = ce.games.CleanUpLite(rows=3, columns=3, zap_distance=1)
    column = jnp.arange(3)
    state = CleanUpState(
        cells=jnp.array(cells),
        apples=jnp.isin(column, jnp.array(apples)),
        dirt=jnp.isin(column, jnp.array(dirt)),
        frozen=jnp.zeros(2, int),
    )
    for number, action in enumerate(actions):
        agent = Scripted(game=game, script=jnp.array(number), num_observations=game.num_observations[0])
        _, output = agent(agent.initial_memory(), game.observe(state)[0], jnp.array(-1))
        assert ACTIONS[int(output.logits.argmax())] == action, SCRIPTS[number]


def test_scripted_agents_are_judged_and_drawn(tmp_path):
    run("scripted", tmp_path, settings_of("scripted", "smoke", {"devices": 1, "learner.network": "mlp"}))
    records = pl.read_parquet(tmp_path / "records.parquet")
    assert len(records) == len(SCRIPTS) * 2 * 3  # seeds, inner episodes
    assert records.filter(pl.col("script").str.starts_with("waits"))["zaps"].max() == 0
    assert_judged_and_drawn(tmp_path, "scripted", 3)


def test_noise_is_judged_and_drawn(tmp_path):
    run("noise", tmp_path, settings_of("noise", "smoke", {"seeds": 1, "devices": 1, **MEMORYLESS}))
    assert_noise(tmp_path, "noise", 1)


@pytest.mark.slow
def test_noise_in_clean_up_on_eight_devices(tmp_path):
    """Two along the seeds, four along the meta-batch, in chunks; beside what one device does."""
    run("noise-clean-up", tmp_path / "one", settings_of("noise-clean-up", "smoke", {"devices": 1, **MEMORYLESS}))
    several = "--devices", "8", *set_to(MEMORYLESS | {"chunk": 4})
    finish(start(tmp_path / "eight", *several, figure=("noise-clean-up",), JAX_NUM_CPU_DEVICES="8"))
    one, eight = (assert_noise(tmp_path / folder, "noise-clean-up", 2) for folder in ("one", "eight"))
    for name in ("reward", "variance"):
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-3, err_msg=name)
    for name in ("square", "true", "with_true", "with_coala"):
        np.testing.assert_allclose(eight[name], one[name], atol=1e-4 * one["variance"].max(), err_msg=name)


def assert_noise(folder, figure, seeds):
    """All rows are there, and COALA-PG with λ = 1 is what the others are compared with."""
    records = pl.read_parquet(folder / "records.parquet")
    assert len(records) == seeds * 2 * 4 * 2 * 3 * 2  # baselines, those left out, λ, estimators, records
    assert set(records["left_out"]) == {0, 1, 2, 3}
    true = records.filter((pl.col("estimator") == "CoalaPG") & (pl.col("lambda") == 1))
    assert len(true) == seeds * 2 * 4 * 2
    near = {"rtol": 1e-4, "atol": 1e-5 * true["variance"].max()}
    for column in ("true", "with_true", "with_coala"):
        np.testing.assert_allclose(true[column], true["square"], **near)
    other = records.filter((pl.col("estimator") == "CoalaPG") & (pl.col("lambda") < 1))
    np.testing.assert_allclose(other["true"], true["square"], **near)
    np.testing.assert_allclose(other["with_coala"], other["square"], rtol=1e-6)
    for table in (true, other):
        whole = table.filter(pl.col("left_out") == 0)
        np.testing.assert_allclose(whole["true"], true.filter(pl.col("left_out") == 0)["square"], rtol=1e-4)
    assert (records["variance"] > 0).all()
    judged = json.loads((folder / f"{figure}.json").read_text())
    assert all(isinstance(claim["measured"], float) for claim in judged if "signal" in claim["claim"])
    number = 4 if figure == "noise-clean-up" else 3
    assert_judged_and_drawn(folder, figure, number, measured=float | None)  # three meta-batches may show nothing
    return records


def noise_record(name, left_out, square, product, variance, **others):
    of_all = {"baseline": "critic", "lambda": 1.0, "true": 4.0, "seed": 0, "iteration": 10, "finite": 1.0}
    measured = {"square": square, "with_true": product, "with_coala": product, "variance": variance}
    return of_all | {"estimator": name, "left_out": left_out} | measured | others


def test_ratios_of_noise_are_of_means_with_errors():
    """By hand: M-FOS's square is within two errors of 0, batch-unaware's below it."""
    rows = [  # those of all meta-batches, and without each of two
        ("CoalaPG", [(1.0, 4.0, 8.0), (3.0, 4.0, 16.0)], [(1.5, 4.0, 8.0), (2.5, 4.0, 8.0)]),
        ("MFOS", [(9.0, 3.0, 18.0)], [(4.0, 3.0, 18.0), (14.0, 3.0, 18.0)]),
        ("BatchUnaware", [(-1.0, 2.0, 1.0)], [(-1.0, 2.0, 1.0), (-1.0, 2.0, 1.0)]),
        ("Mine", [(9.0, 3.0, 18.0)], [(8.0, 3.0, 18.0), (10.0, 3.0, 20.0)]),
    ]
    records = [
        noise_record(name, left_out, *measured)
        for name, whole, left in rows
        for left_out, several in ((0, whole), (1, left[:1]), (2, left[1:]))
        for measured in several
    ]
    by_name = {row["estimator"]: row for row in noise_ratios(pl.DataFrame(records)).iter_rows(named=True)}
    coala, mine = by_name["CoalaPG"], by_name["Mine"]
    assert coala["square"] == pytest.approx(2)
    assert coala["square_error"] == pytest.approx(0.5)
    assert coala["critical"] == pytest.approx(12 / 2)
    assert coala["critical_error"] == pytest.approx((8 / 1.5 - 8 / 2.5) / 2)
    assert coala["signal"] == pytest.approx(2 / 12)
    assert coala["cosine"] == pytest.approx(4 / (2 * 4) ** 0.5)
    assert mine["critical"] == pytest.approx(2)
    assert mine["critical_error"] == pytest.approx((18 / 8 - 20 / 10) / 2)
    assert mine["cosine"] == pytest.approx(0.5)
    assert mine["cosine_coala"] == pytest.approx(3 / (9 * 2) ** 0.5)
    assert mine["cosine_coala_error"] == pytest.approx((3 / (8 * 1.5) ** 0.5 - 3 / (10 * 2.5) ** 0.5) / 2)
    assert by_name["MFOS"]["square_error"] == pytest.approx(5)
    assert by_name["BatchUnaware"]["square_error"] == pytest.approx(0)
    for name in ("MFOS", "BatchUnaware"):
        for ratio in ("critical", "cosine", "cosine_coala"):
            assert by_name[name][ratio] is by_name[name][f"{ratio}_error"] is None


def test_angles_with_a_true_gradient_that_is_not_seen_are_left_out():
    """In one of two records its square is within two errors of 0; that of COALA-PG with the same λ is seen."""
    records = [
        noise_record(name, left_out, 8.0 + left_out, 3.0, 18.0, true=5.0 + scatter * left_out, iteration=iteration)
        for name in ("CoalaPG", "MFOS")
        for iteration, scatter in ((10, 0.5), (20, 6.0))
        for left_out in (0, 1, 2)
    ]
    seen, unseen = noise_ratios(pl.DataFrame(records), "iteration").sort("iteration").rows(named=True)[::2]
    assert seen["cosine"] == pytest.approx(3 / (8 * 5) ** 0.5)
    assert seen["cosine_error"] == pytest.approx((3 / (9 * 5.5) ** 0.5 - 3 / (10 * 6) ** 0.5) / 2)
    assert unseen["cosine"] is unseen["cosine_error"] is None
    assert unseen["cosine_coala"] == pytest.approx(3 / 8)


def test_noise_is_judged_two_errors_away():
    """By hand, from what all show, and what is left without each of two: the error is half the difference of these."""
    both = "critic and other meta-episodes"

    def claims_of(figure, *rows):
        records = [
            noise_record(name, left_out, square, product, variance, baseline=baseline, **{"lambda": gae_lambda})
            for name, baseline, gae_lambda, several in rows
            for left_out, (square, product, variance) in enumerate(several)
        ]
        return [claim["measured"] for claim in figure.claims(records)]

    same = [(4.0, 4.0, 400.0)] * 3
    measured = claims_of(
        noise,
        ("CoalaPG", both, 1.0, same),
        ("CoalaPG", "critic", 1.0, [(2.0, 4.0, 400.0)] * 3),
        ("MFOS", both, 1.0, [(4.0, 1.0, 16.0), (4.0, 0.6, 8.0), (4.0, 1.4, 16.0)]),
    )
    # cosines of M-FOS: 1, 0.6 and 1.4 over √(4·4); ratios of signals: 0.01 over 0.25, 0.5 and 0.25
    assert measured == pytest.approx([(1 + 2 * 0.4) / 4, 0.04 + 2 * 0.01, 0.5])
    measured = claims_of(
        noise_clean_up,
        ("CoalaPG", both, 1.0, [(4.0, 4.0, 400.0), (3.0, 4.0, 400.0), (5.0, 4.0, 400.0)]),
        ("CoalaPG", both, 0.98, [(4.0, 2.0, 40.0), (4.0, 1.6, 40.0), (4.0, 2.4, 40.0)]),
        ("MFOS", both, 1.0, [(4.0, 1.0, 16.0), (4.0, 0.6, 8.0), (4.0, 1.4, 16.0)]),
        ("MFOS", both, 0.98, [(4.0, 3.0, 18.0), (4.0, 2.6, 18.0), (4.0, 3.4, 18.0)]),
    )
    assert measured == pytest.approx([(4 - 2 * 1) / 400, (1 + 2 * 0.4) / 4, (3 - 2 * 0.4) / 4, (2 + 2 * 0.4) / 4])
    assert claims_of(noise, ("CoalaPG", both, 0.98, same)) == [None, None, None]


VALUES = {
    "CoalaPG": {"reward": 0.50, "naive": 0.30, "together": 0.40, "cleaning_discrepancy": 0.10, "zaps": 0.05,
                "pollution": 1.0, "apples": 2.0, "naive_own_share": 0.70},
    "MFOS": {"reward": 0.20, "naive": 0.10, "together": 0.10, "cleaning_discrepancy": 0.30, "zaps": 0.20,
             "pollution": 2.5, "apples": 0.5, "naive_own_share": 0.40},
    "BatchUnaware": {"reward": 0.30, "naive": 0.15, "together": 0.20, "cleaning_discrepancy": 0.25, "zaps": 0.10,
                     "pollution": 3.0, "apples": 1.2, "naive_own_share": 0.60},
    "LolaDice": {"reward": 0.10, "naive": 0.05, "together": 0.15, "cleaning_discrepancy": 0.15, "zaps": 0.15,
                 "pollution": 2.0, "apples": 0.1, "naive_own_share": 0.30},
    SHAPING: {"reward": 0.45, "naive": 0.20, "together": 0.00, "cleaning_discrepancy": 0.20, "zaps": 0.30,
                   "pollution": 1.5, "apples": 1.5, "naive_own_share": 0.50},
}  # fmt: skip


@pytest.mark.parametrize(("figure", "expected"), [
    (fig6, [0.30, 0.20, 0.40, 0.20, 0.15, 0.15, 0.05, 0.05, 0.10]),
    (fig13, [0.15, 1.0, 0.8]),
    (fig7, [0.30, 0.20, 0.20, 0.15, 0.15, 0.05, 9.0, 0.25]),
    (fig14, [1.5, 0.8]),
    (coin_game, [0.20, 0.10]),
])  # fmt: skip
def test_figures_on_grids_are_judged_by_means_at_the_end(figure, expected):
    """COALA-PG less the others or the best of them, or the other way round; earlier and spoilt seeds do not count."""
    records = [
        {"panel": panel, "part": name, "seed": seed, "estimator": name, "iteration": iteration, "finite": finite}
        | {column: value + shift for column, value in values.items()}
        | {f"{column}_together": value + shift for column, value in values.items()}
        for name, values in VALUES.items()
        for seed, shift, finite in ((0, 0.01, 1.0), (1, -0.01, 1.0), (2, 5.0, 0.5))
        for panel, iterations in (("training", (10, 20)), ("episodes", (1, 2)))[: 1 if figure in {fig7, fig14} else 2]
        for iteration, shift in zip(iterations, ((9.0, shift) if panel == "training" else (shift, shift)), strict=True)
    ]
    measured = [claim["measured"] for claim in figure.claims(records)]
    assert measured == pytest.approx(expected)


def assert_judged_and_drawn(folder, figure, claims, measured=float):
    judged = json.loads((folder / f"{figure}.json").read_text())
    assert len(judged) == claims
    assert all(isinstance(claim["measured"], measured) for claim in judged)
    assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
