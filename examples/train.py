"""Train an agent that shapes naive learners in the iterated prisoner's dilemma: Figure 5A, of small size.

python train.py                # some forty minutes on two cores; kill it, start it again, and it goes on where it was
tensorboard --logdir runs      # watch it meanwhile
python evaluate.py             # then play its agent against co-players of one's own, and draw
"""

from pathlib import Path
from typing import Any

import jax
import optax

import coala_eqx as ce
from coala_eqx.learners import PolicyGradient
from coala_eqx.training import PPO, Agent, NaiveLearners, Pool, Trained

RUN = Path("runs/dilemma")


def main(iterations: int = 300, every: int = 10, **sizes: Any) -> Trained:
    sizes = {"batch": 16, "episodes": 20, "steps": 10, "meta_batch": 16} | sizes
    learner = PolicyGradient(optimiser=optax.adam(5e-3), baseline="critic", normalise_advantages=True, discount=0.99)
    agent = Agent(ce.estimators.CoalaPG(), PPO(optimiser=optax.adam(1e-3), reward_scale=0.05))
    pool = Pool(ce.games.iterated_prisoners_dilemma(), (agent,), NaiveLearners(learner), **sizes)
    trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, every=every, run=RUN)
    print(trained.history.select("iteration", "reward", "naive").tail(3))
    return trained


if __name__ == "__main__":
    main()
