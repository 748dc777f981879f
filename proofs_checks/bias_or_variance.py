"""Is it bias or variance? Exact bias, variance and signal-to-noise as B, M and T grow, with three critics.

**Claims.**

1. COALA-PG and batch-level REINFORCE are unbiased at every size, without a critic, with that of Eq. 8, V(h) = E[C_l^b
   | h_l^b = h], and with that of Eqs 13–14. M-FOS's bias grows as B − 1.
2. The mean of N meta-episodes has the squared error bias² + variance/N. M-FOS's bias exceeds its noise from a few
   meta-episodes on: more data does not mend it. (In this game it is a bias of scale; for one of direction see
   `m_fos_bias.py`.) Batch-unaware is the least noisy of the four, and on games this small its bias shows from a
   thousand to a hundred thousand meta-episodes on only.
3. COALA-PG's noise relative to ∇J̄ grows with B without a critic (∇J̄ hardly changes, but each of B scores is
   multiplied with the same noisy future return), and falls with one: a critic is worth the more the larger B. At M =
   1 it is harmful here.
4. Eq. 8's critic and that of Eqs 13–14 leave COALA-PG nearly the same noise.

**Why.** 1 is Theorem 3.1 with baselines; what is subtracted in Eq. 8 is a function of the own past. For the rest, see
the numbers.

**How it is checked.** The experiment `experiments/bias_variance.py` enumerates a stag hunt against an SGD learner
with an ego policy that has parameters of its own for every history; here its smaller sizes are run again, and the
claims above are held against the numbers. The figure is drawn from the larger ones (`python -m experiments
bias-variance`).
"""

import functools
from typing import Any

import numpy as np
import pytest

from experiments.bias_variance import CRITICS, ESTIMATORS, Point, make_problem, measure
from proofs_checks.common.cases import is_deep
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.rounding import rounding

UNBIASED = "Bias or variance: COALA-PG and REINFORCE are unbiased with every critic (relative)"
GROWS = "Bias or variance: M-FOS's relative bias over (B − 1), stag hunt: |change from B = 2|"
USELESS = "Bias or variance: meta-episodes from which M-FOS's bias exceeds its noise"
PATIENT = "Bias or variance: the same for batch-unaware"
NOISE_GROWS = "Bias or variance: COALA-PG's relative noise, B = 4 over B = 2, no critic"
NOISE_FALLS = "Bias or variance: COALA-PG's relative noise, B = 4 over B = 2, critic of Eqs 13–14"
HARMFUL = "Bias or variance: COALA-PG's relative noise at M = 1, with over without a critic"
ALIKE = "Bias or variance: relative difference in noise between the critics of Eq. 8 and Eqs 13–14"


SIZES = [(2, 1, 1), (2, 2, 1), (4, 2, 1)] + [(1, 2, 1), (2, 3, 1), (2, 2, 2), (6, 2, 1)] * is_deep()


@functools.cache
def records_of(batch: int, episodes: int, steps: int) -> dict[tuple[str, str], dict[str, Any]]:
    """One record for each estimator and critic, from the experiment."""
    point = Point("B", "FullHistory", batch, episodes, steps)
    return {(record["estimator"], record["critic"]): record for record in measure(point, seed=0)}


@pytest.mark.parametrize("sizes", SIZES)
def test_who_is_unbiased_with_which_critic(sizes):
    point = Point("B", "FullHistory", *sizes)
    problem, _ = make_problem(point, seed=0)
    assert set(records_of(*sizes)) == {(name, critic) for name in ESTIMATORS for critic in CRITICS}
    for (name, _), record in records_of(*sizes).items():
        if name in ("CoalaPG", "Reinforce"):
            condition = np.hypot(record["relative_noise"], 1.0) + 1
            holds(UNBIASED, record["relative_bias"], rounding(problem, record["outcomes"], condition))


def test_m_fos_is_a_matter_of_bias():
    biases = {batch: records_of(batch, 2, 1)["MFOS", "none"] for batch in (2, 4)}
    slopes = [record["relative_bias"] / (batch - 1) for batch, record in biases.items()]
    holds(GROWS, abs(slopes[1] / slopes[0] - 1), 0.01)
    for record in biases.values():
        holds(USELESS, record["bias_dominates_from"], 16)


def test_batch_unaware_is_patient():
    for batch in (2, 4):
        differs(PATIENT, records_of(batch, 2, 1)["BatchUnaware", "none"]["bias_dominates_from"], 1e4)
        noises = {name: records_of(batch, 2, 1)[name, "none"]["relative_noise"] for name in ESTIMATORS}
        assert min(noises, key=lambda name: noises[name]) == "BatchUnaware"


def test_what_a_critic_is_worth():
    def noise(critic: str, *sizes: int) -> float:
        return records_of(*sizes)["CoalaPG", critic]["relative_noise"]

    differs(NOISE_GROWS, noise("none", 4, 2, 1) / noise("none", 2, 2, 1), 1.2)
    holds(NOISE_FALLS, noise("Eqs 13–14", 4, 2, 1) / noise("Eqs 13–14", 2, 2, 1), 0.9)
    differs(HARMFUL, noise("Eqs 13–14", 2, 1, 1) / noise("none", 2, 1, 1), 2)
    holds(ALIKE, abs(noise("Eq. 8", 4, 2, 1) / noise("Eqs 13–14", 4, 2, 1) - 1), 0.01)
