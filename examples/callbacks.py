"""Measure something of one's own, change a learning rate, and stop early."""

from typing import Any

import jax
import optax

import coala_eqx as ce
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.training import PPO, STOP, Agent, Moment, NaiveLearners, Pool, PoolState, Trained

DEFECTOR, LEARNER = ce.policies.MemoryOne([[-9, 9]] * 5), PolicyGradient(optimiser=optax.adam(5e-3))


def make_pool(rate: float, **sizes: Any) -> Pool:
    sizes = {"batch": 8, "episodes": 10, "steps": 10, "meta_batch": 16} | sizes
    agent = Agent(ce.estimators.CoalaPG(), PPO(optimiser=optax.adam(rate), reward_scale=0.05))
    return Pool(ce.games.iterated_prisoners_dilemma(), (agent,), NaiveLearners(LEARNER), **sizes)


def watch(pool: Pool, state: PoolState) -> dict[str, Any]:
    """Becomes a column of the history: the reward per step against one who always defects."""
    problem = ce.ShapingProblem(game=pool.game, co_players=DEFECTOR, learner=Static(), batch=64, episodes=1, steps=10)
    return {"against_defector": problem.play(pool.agent(state, 0), jax.random.key(1)).rewards.mean()}


def main(iterations: int = 200, every: int = 10, slow_after: int = 100, good: float = 0.8, **sizes: Any) -> Trained:
    def change(moment: Moment) -> Pool | str | None:
        """Called with each record; what it decides must follow from the history, so that a resumed run goes alike."""
        last = [record["reward"] for record in moment.history[-3:]]
        if len(last) == 3 and min(last) > good:
            return STOP
        return make_pool(1e-4, **sizes) if moment.iteration == slow_after else None

    settings = {"key": jax.random.key(0), "iterations": iterations, "every": every}
    return ce.training.train(make_pool(1e-3, **sizes), watch=watch, callbacks=[change], **settings)


if __name__ == "__main__":
    print(main().history.select("iteration", "reward", "against_defector"))
