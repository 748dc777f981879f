"""Is it bias or variance? Exact bias, variance and signal-to-noise as B, M and T grow, with three critics.

**Claims.** The first holds for every game. The others are measured in one game, a stag hunt in which the
current-episode part of ∇J̄ and the future part are equally large and point apart.

1. COALA-PG and batch-level REINFORCE are unbiased at every size: without a critic, with the critic of Eq. 8, V(h) =
   E[C_l^b | h_l^b = h], and with the critic of Eqs 13–14.
2. The mean gradients of M-FOS and batch-unaware turn away from ∇J̄ as B grows (`COSINES`). M-FOS turns away less with
   the critic of Eqs 13–14, which changes its expectation (`m_fos_bias.py`).
3. The mean of N meta-episodes has the squared error bias² + variance/N. `DOMINATES` has the N from which bias² is the
   larger part: some dozens, and fewer with a larger B or a critic. More data does not remove the bias, and a small
   batch of meta-episodes hides it.
4. Batch-unaware has the least noise of the four, with and without a critic. Noise is √variance / ‖∇J̄‖.
5. COALA-PG has less noise than REINFORCE. A critic halves its noise at B = 2 and lowers it further at B = 4. There it
   makes larger batches pay: they add scores that are multiplied by the same noisy future return.
6. The critics of Eq. 8 and of Eqs 13–14 leave COALA-PG nearly the same noise.

**Why.** Claim 1 is Theorem 3.1 with baselines; the baseline of Eq. 8 is a function of the own past. The other claims
are measurements.

**How it is checked.** The experiment `experiments/bias_variance.py` enumerates a stag hunt against an SGD learner,
with an ego policy that has separate parameters for every history. The checks run its smaller sizes again and hold the
claims against the numbers. The figure shows the larger sizes (`python -m experiments bias-variance`).
"""

import functools
import itertools
from typing import Any

import numpy as np
import pytest

import coala_eqx as ce
from experiments.bias_variance import CRITICS, ESTIMATORS, Point, Settings, make_problem, measure
from proofs_checks.common.cases import is_deep
from proofs_checks.common.ledger import as_printed, holds
from proofs_checks.common.rounding import rounding

UNBIASED = "Bias or variance: COALA-PG and REINFORCE are unbiased with every critic (relative)"
DIRECTION = "Bias or variance: cosines of the table (last digit)"
USELESS = "Bias or variance: meta-episodes of the table, from which bias exceeds noise (last digit)"
LEAST = "Bias or variance: batch-unaware's noise over that of the next least noisy estimator"
LESS = "Bias or variance: COALA-PG's noise over REINFORCE's, B = 2 and 4"
HALF = "Bias or variance: COALA-PG's noise with the critic of Eqs 13–14 over without, B = 2"
WORTH = "Bias or variance: the same at B = 4 over that at B = 2"
ALIKE = "Bias or variance: relative difference in noise between the critics of Eq. 8 and Eqs 13–14"

BATCHES = (1, 2, 3, 4)
COSINES = {
    ("MFOS", "none"): "1 0.711 0.425 0.267",
    ("BatchUnaware", "none"): "1 0.756 0.506 0.360",
    ("MFOS", "Eqs 13–14"): "1 0.958 0.824 0.675",
    ("BatchUnaware", "Eqs 13–14"): "1 0.756 0.506 0.360",
}
"""Cosine of E[ĝ] and ∇J̄ by growing B (M = 2, T = 1), keyed by estimator and critic."""

DOMINATES = {
    ("MFOS", "none"): "452 164 95",
    ("BatchUnaware", "none"): "259 87 49",
    ("MFOS", "Eqs 13–14"): "209 70 36",
    ("BatchUnaware", "Eqs 13–14"): "69 23 13",
}
"""Number of meta-episodes from which bias exceeds noise, for B = 2, 3, 4, keyed by estimator and critic."""

SEED = Settings().seed
SIZES = [(2, 1, 1), (2, 2, 1), (4, 2, 1)] + [(1, 2, 1), (2, 3, 1), (2, 2, 2), (6, 2, 1)] * is_deep()


@functools.cache
def records_of(batch: int, episodes: int, steps: int) -> dict[tuple[str, str], dict[str, Any]]:
    """One record from the experiment for each estimator and critic."""
    point = Point("B", "FullHistory", batch, episodes, steps)
    return {(record["estimator"], record["critic"]): record for record in measure(point, SEED)}


def check_records(records: dict[tuple[str, str], dict[str, Any]], problem: ce.ShapingProblem) -> None:
    """Check that the unbiased estimators are unbiased with every critic."""
    assert set(records) == set(itertools.product(ESTIMATORS, CRITICS))
    for name, critic in itertools.product(("CoalaPG", "Reinforce"), CRITICS):
        record = records[name, critic]
        condition = np.hypot(record["relative_noise"], 1.0) + 1
        holds(UNBIASED, record["relative_bias"], rounding(problem, record["outcomes"], condition))


@pytest.mark.parametrize("sizes", SIZES)
def test_who_is_unbiased_with_which_critic(sizes):
    check_records(records_of(*sizes), make_problem(Point("B", "FullHistory", *sizes), SEED)[0])


@pytest.mark.parametrize("row", COSINES, ids=" ".join)
def test_who_loses_the_direction(row):
    found = [records_of(batch, 2, 1)[row] for batch in BATCHES]
    as_printed(DIRECTION, [record["cosine"] for record in found], COSINES[row].split())
    as_printed(USELESS, [record["bias_dominates_from"] for record in found[1:]], DOMINATES[row].split())


def _noise(name: str, critic: str, batch: int) -> float:
    return records_of(batch, 2, 1)[name, critic]["relative_noise"]


@pytest.mark.parametrize("batch", [2, 4])
def test_who_is_noisy(batch):
    for critic in CRITICS:
        least = min(_noise(name, critic, batch) for name in ESTIMATORS if name != "BatchUnaware")
        holds(LEAST, _noise("BatchUnaware", critic, batch) / least, 1)
        holds(LESS, _noise("CoalaPG", critic, batch) / _noise("Reinforce", critic, batch), 1)


def test_what_a_critic_is_worth():
    two, four = (_noise("CoalaPG", "Eqs 13–14", batch) / _noise("CoalaPG", "none", batch) for batch in (2, 4))
    holds(HALF, two, 0.5)
    holds(WORTH, four / two, 0.9)
    holds(ALIKE, abs(_noise("CoalaPG", "Eq. 8", 4) / _noise("CoalaPG", "Eqs 13–14", 4) - 1), 0.03)
