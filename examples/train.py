"""Train an agent that shapes naive learners. Kill it and start it again: it goes on where it was.

Then the agent is read back, plays tit for tat, and its rewards over training are drawn.
"""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import optax

import coala_eqx as ce
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.training import PPO, Agent, NaiveLearners, Pool

RUN, SIZES = Path("runs/dilemma"), {"batch": 16, "episodes": 20, "steps": 10}


def main(iterations: int = 300, meta_batch: int = 16) -> None:
    """As in Figure 5A, of small size: some forty minutes on two cores."""
    learner = PolicyGradient(optimiser=optax.adam(5e-3), baseline="critic", normalise_advantages=True, discount=0.99)
    agent = Agent(ce.estimators.CoalaPG(), PPO(optimiser=optax.adam(1e-3), reward_scale=0.05))
    game = ce.games.iterated_prisoners_dilemma()
    pool = Pool(game, (agent,), NaiveLearners(learner), meta_batch=meta_batch, **SIZES)
    trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, run=RUN)

    (policy,) = ce.runs.load_agents(RUN)
    tit_for_tat = ce.policies.MemoryOne([[5, -5], [5, -5], [-5, 5], [5, -5], [-5, 5]])
    problem = ce.ShapingProblem(game=game, co_players=tit_for_tat, learner=Static(), batch=16, episodes=20, steps=10)
    print("against tit for tat:", problem.play(policy, jax.random.key(1)).rewards.mean())
    plt.plot(trained.history["iteration"], trained.history["reward"], label="agent")
    plt.plot(trained.history["iteration"], trained.history["naive"], label="naive learner")
    plt.xlabel("iteration")
    plt.ylabel("reward per step")
    plt.legend()
    plt.savefig(RUN / "rewards.png")


if __name__ == "__main__":
    main()
