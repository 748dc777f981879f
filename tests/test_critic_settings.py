"""Settings of critics that see the learner, in all sampled figures."""

import json
import re

import numpy as np
import polars as pl
import pytest

from coala_eqx.estimators import CoalaPG
from experiments import noise
from experiments.__main__ import run
from experiments.experiment import settings_of
from experiments.tables import BASELINES, SEES_LEARNER, WITH_ADVANTAGES, WITHOUT_NAIVE, noise_ratios
from tests.runs import MEMORYLESS
from tests.test_grid_runs import assert_judged_and_drawn

USED = {"critic.use": True, "critic.groups": 2}


def agents_of(figure, **changes):
    trainings = settings_of(figure, "smoke", {"devices": 1, **MEMORYLESS} | changes).trainings()
    return {name: pool.agents for name, (_, pool) in trainings.items()}


def test_by_default_no_agent_has_one():
    assert all(
        agent.critic is None for figure in ("fig5a", "fig5c") for of in agents_of(figure).values() for agent in of
    )


def test_agents_whose_estimators_take_one_have_it():
    agents = agents_of("fig5a", **USED, **{"critic.kappa": 0.5, "critic.replay": 7})
    assert {name: one.critic is not None for name, (one,) in agents.items()} == {
        "CoalaPG": True, "MFOS": True, "BatchUnaware": True, "LolaDice": False
    }  # fmt: skip
    assert [agents[name][0].estimator.kappa for name in ("CoalaPG", "MFOS")] == [0.5, 0.5]
    assert agents["CoalaPG"][0].critic.replay == 7


def test_without_naive_learners_there_is_nothing_to_see():
    for name, agents in agents_of("fig5c", **USED, **{"p_naive": 0.5, "critic.kappa": 0.5}).items():
        for agent in agents:
            assert (agent.critic is None) == (name == WITHOUT_NAIVE)
            assert not isinstance(agent.estimator, CoalaPG) or agent.estimator.kappa == (
                1 if agent.critic is None else 0.5
            )


@pytest.mark.parametrize(("changes", "message"), [
    ({"critic.kappa": 0.5}, "`critic.kappa` must be 1 without `critic.use`, but is 0.5"),
    (USED | {"critic.kappa": 1.5}, "`critic.kappa` must lie between 0 and 1, but is 1.5"),
    (USED | {"critic.groups": 3}, "`critic.groups` must divide batch = 4, but is 3"),
    (USED | {"critic.steps": 0}, "`critic.steps` must be at least 1, but is 0"),
    (USED | {"kappas": (0.5, 1.0)}, "`kappas` must be different numbers from 0 to below 1, but are (0.5, 1.0)"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        settings_of("noise", "smoke", changes)


def test_noise_of_gradients_with_a_critic(tmp_path):
    """Further rows, whose true gradient is that of κ = 1, claims of their own, and a row of the picture."""
    changes = {"seeds": 1, "devices": 1, **MEMORYLESS, "kappas": (0.5,)}
    run("noise-learner-critic", tmp_path, settings_of("noise-learner-critic", "smoke", changes))
    records = pl.read_parquet(tmp_path / "records.parquet")
    shaped = records.filter(pl.col("baseline") == SEES_LEARNER)
    names = ["CoalaPG", "kappa 0.5", "hybrid", *WITH_ADVANTAGES[1:]]
    assert shaped["estimator"].unique(maintain_order=True).to_list() == names
    assert len(shaped) == len(names) * 4 * 2  # those left out, records
    assert len(records) - len(shaped) == len(BASELINES) * 3 * 4 * 2
    true = shaped.filter(pl.col("estimator") == "CoalaPG")
    for column in ("true", "with_true", "with_coala"):
        np.testing.assert_allclose(true[column], true["square"], rtol=1e-5)
    half = shaped.filter(pl.col("estimator") == "kappa 0.5")
    assert (half["variance"] != true["variance"]).all()
    assert len(noise_ratios(shaped, "iteration")) == len(names) * 2
    judged = json.loads((tmp_path / "noise-learner-critic.json").read_text())
    assert [claim["claim"].split(":")[0] for claim in judged] == [
        "A critic that sees the learner improves the baseline, unbiased",
        "κ = 0.5 needs far fewer meta-episodes",
        "κ = 0.5 keeps the direction",
    ]
    assert_judged_and_drawn(tmp_path, "noise-learner-critic", 3, measured=float | None)


def test_gradients_with_a_critic_are_judged():
    """By hand: signals 0.01 with other meta-episodes, 0.04 with κ = 1 and 0.4 with κ = 0.5, whose cosine is 0.9."""
    both = list(BASELINES)[-1]
    rows = [(both, "CoalaPG", 4.0, 4.0, 400.0), (SEES_LEARNER, "CoalaPG", 4.0, 4.0, 100.0)]
    rows += [(SEES_LEARNER, "kappa 0.5", 4.0, 3.6, 10.0), (both, "MFOS", 4.0, 4.0, 4.0), ("critic", *rows[0][1:])]
    common = {"lambda": 1.0, "true": 4.0, "seed": 0, "iteration": 10, "finite": 1.0}
    records = [
        common | {"baseline": baseline, "estimator": name, "square": square, "with_true": product,
                  "with_coala": product, "variance": variance, "left_out": left_out}
        for baseline, name, square, product, variance in rows
        for left_out in range(3)
    ]  # fmt: skip
    measured = [claim["measured"] for claim in noise.claims(records)[3:]]
    assert measured == pytest.approx([0.25, 0.1, 0.9])
