"""Check that the estimators of a pool keep their claims at the size of the run."""

from coala_eqx.structure import remark
from coala_eqx.training.algorithms import Follow
from coala_eqx.training.pool import Pool


def broken_claims(pool: Pool) -> list[str]:
    """A sentence for each estimator that claims to be unbiased but is not, or cannot be judged, at this B, M and T.

    Some columns of each estimator's matrix are compared with Theorem 3.1 (`coala_eqx.structure.find_wrong`).
    """
    words: dict[str, None] = {}
    for agent in pool.agents:
        algorithm = agent.algorithm
        for estimator in (agent.estimator, agent.against_meta) if agent.by_advantages else (agent.estimator,):
            episodes = algorithm.length(estimator, pool.episodes) if isinstance(algorithm, Follow) else pool.episodes
            words[remark(estimator, pool.batch, episodes, pool.steps)] = None
    return [line for line in words if line]
