"""An environment by JaxMARL's protocol, trained in a pool: two players eat from a stock that grows by a tenth.

An installed one is given in the same way: FromEnvironment(jaxmarl.make("coin_game", num_inner_steps=100)).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import coala_eqx as ce
from coala_eqx.training import PPO, Agent, NaiveLearners, Pool


class Stock:
    """Action 1 eats a tenth of the stock, action 0 nothing; the end has come when less than a fifth is left."""

    agents, num_actions = ("left", "right"), 2  # or a method `action_space(agent)`, as JaxMARL's environments have

    def reset(self, key: Any) -> Any:
        return dict.fromkeys(self.agents, jnp.ones(1)), jnp.ones(())

    def step_env(self, key: Any, stock: Any, actions: Any) -> Any:
        rewards = {agent: stock * actions[agent] / 10 for agent in self.agents}
        stock = jnp.minimum(1.0, 1.1 * (stock - rewards["left"] - rewards["right"]))
        return dict.fromkeys(self.agents, stock[None]), stock, rewards, {"__all__": stock < 0.2}, {}


def main(iterations: int = 100, every: int = 10, **sizes: Any) -> None:
    sizes = {"batch": 8, "episodes": 10, "steps": 20, "meta_batch": 16} | sizes
    game = ce.games.FromEnvironment(Stock())  # after its end nothing is seen or earned until the next inner episode
    agent = Agent(ce.estimators.CoalaPG(), PPO(optimiser=optax.adam(1e-3)))
    pool = Pool(game, (agent,), NaiveLearners(ce.learners.PolicyGradient(optimiser=optax.adam(5e-3))), **sizes)
    trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, every=every)
    print(trained.history.select("iteration", "reward", "naive"))


if __name__ == "__main__":
    main()
