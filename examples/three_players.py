"""Two agents and a naive learner in a public-goods game of three: trained in a pool, and certified where they stand."""

from typing import Any

import jax
import optax

import coala_eqx as ce
from coala_eqx.estimators import MFOS, CoalaPG
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.training import PPO, Agent, NaiveLearners, Pool, members


def network(key: Any) -> ce.policies.GRU:
    return ce.policies.GRU(9, 2, width=8, key=key)  # 9 observations: the start, and 8 joint actions


def main(iterations: int = 100, every: int = 10, **sizes: Any) -> None:
    sizes = {"batch": 8, "episodes": 10, "steps": 5, "meta_batch": 16} | sizes
    game, learner = ce.games.public_goods(players=3), PolicyGradient(optimiser=optax.sgd(0.3))
    # Half of an agent's meetings are with two naive learners, half with the other agent and one naive learner.
    agents = tuple(Agent(CoalaPG(), PPO(optimiser=optax.adam(1e-2)), network, seats=(seat,)) for seat in (0, 1))
    pool = Pool(game, agents, NaiveLearners(learner, network), p_naive=0.5, **sizes)
    trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, every=every)
    print(trained.history.select("agent", "iteration", "reward", "naive", "together"))

    ego, other = trained.agents
    problem = ce.ShapingProblem(
        game=game, co_players=(other, members(trained.state.populations[0], 0)),
        learner=(Static(), learner),
        co_players_remember=(True, False),  # the other agent does, and learns no more within a meta-episode
        batch=2, episodes=2, steps=1,
    )  # fmt: skip
    for estimator in (CoalaPG(), MFOS()):
        certificate = ce.verification.certify(estimator, problem, ego)
        print(f"{certificate.estimator}: {certificate.verdict}, relative bias {certificate.relative_bias:.1e}")


if __name__ == "__main__":
    main()
