"""A naive learner with randomness: PPO, which draws its minibatches. Certify COALA-PG against it, then train."""

import jax
import matplotlib.pyplot as plt
import optax

import coala_eqx as ce
from coala_eqx.learners import PPO
from coala_eqx.policies import GRU, MemoryOne
from coala_eqx.training import Agent, NaiveLearners, Pool

GAME, NETWORK = ce.games.iterated_prisoners_dilemma(), lambda key: GRU(5, 2, width=16, key=key)


def certify() -> None:
    """Two trajectories have two orders in each of two epochs: each update has four draws, and all are enumerated."""
    learner, keys = PPO(optax.sgd(1.0), epochs=2, minibatches=2), jax.random.split(jax.random.key(0))
    policy, co_player = (MemoryOne.random(GAME, key, player=player) for player, key in enumerate(keys))
    problem = ce.ShapingProblem(game=GAME, co_players=co_player, learner=learner, batch=2, episodes=2, steps=1)
    certificate = ce.verification.certify(ce.estimators.CoalaPG(), problem, policy)
    print(f"{certificate.verdict}: relative bias {certificate.relative_bias:.0e}, {certificate.outcomes} outcomes")


def train(iterations: int = 200, meta_batch: int = 16) -> None:
    """Some minutes on two cores. The picture shows the rewards per step."""
    learner = PPO(optax.adam(1e-2), epochs=2, minibatches=2, discount=0.99, normalise_advantages=True)
    agent = Agent(ce.estimators.CoalaPG(), ce.training.PPO(optax.adam(1e-3), reward_scale=0.05), NETWORK)
    pool = Pool(GAME, (agent,), NaiveLearners(learner, NETWORK), batch=8, episodes=5, steps=5, meta_batch=meta_batch)
    history = ce.training.train(pool, key=jax.random.key(1), iterations=iterations, every=1).history
    for who in ("reward", "naive"):
        plt.plot(history["iteration"], history[who], label=who)
    plt.legend()
    plt.savefig("random_learner.png")


if __name__ == "__main__":
    certify()
    train()
