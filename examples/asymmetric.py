"""Games that differ from seat to seat: one agent that learns both seats, and one agent for each."""

from typing import Any

import jax
import optax

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG
from coala_eqx.learners import PolicyGradient
from coala_eqx.training import PPO, Agent, NaiveLearners, Pool


def main(iterations: int = 100, every: int = 10, **sizes: Any) -> None:
    sizes = {"batch": 8, "episodes": 10, "steps": 5, "meta_batch": 16} | sizes
    naive, ppo = NaiveLearners(PolicyGradient(optimiser=optax.adam(5e-3))), PPO(optimiser=optax.adam(1e-3))

    # Half of its meetings in either seat: it must do well where its favourite comes first, and where it does not.
    both = Agent(CoalaPG(), ppo, seats=(0, 1))
    sexes = Pool(ce.games.battle_of_the_sexes(), (both,), naive, **sizes)

    # A proposer and a responder, who have different numbers of actions; half of their meetings are with each other.
    proposer, responder = (Agent(CoalaPG(), ppo, seats=(seat,)) for seat in (0, 1))
    ultimatum = Pool(ce.games.ultimatum(), (proposer, responder), naive, p_naive=0.5, **sizes)

    for name, pool in (("battle of the sexes", sexes), ("ultimatum game", ultimatum)):
        trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, every=every)
        last = trained.history.filter(trained.history["iteration"] == iterations)
        print(name, last.select("agent", "reward", "naive", "together"), sep="\n")


if __name__ == "__main__":
    main()
