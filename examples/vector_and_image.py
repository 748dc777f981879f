"""Train on images and on vectors: players earn 1 for naming the column of a lamp, and lose half if the other does."""

import jax
import jax.numpy as jnp
import optax

import coala_eqx as ce
from coala_eqx.games import AbstractGame, Discrete, Image, Vector


class Lamp(AbstractGame):
    """A lamp at a random place of a picture of 4 × 3 pixels, which may be shown as a vector. The state is the place."""

    observation_spaces: tuple
    action_spaces: tuple = (Discrete(3), Discrete(3))
    num_players: int = 2

    def reset(self, key):
        place = jax.random.randint(key, (), 0, 12)
        return place, jnp.zeros((2, 12)).at[:, place].set(1.0).reshape(2, *self.observation_spaces[0].shape)

    def step(self, state, actions, key):
        right = (actions == state % 3).astype(float)
        return *self.reset(key), right - right[::-1] / 2


def main(iterations: int = 30, every: int = 10, meta_batch: int = 8) -> None:
    for space in (Image(4, 3, 1), Vector(12)):
        make = lambda key, space=space: ce.policies.MLP(space, Discrete(3), key=key)  # noqa: E731
        agent = ce.training.Agent(ce.estimators.CoalaPG(), ce.training.PPO(optax.adam(1e-2)), make)
        naive = ce.training.NaiveLearners(ce.learners.PolicyGradient(optimiser=optax.sgd(0.5)), make)
        game = Lamp(observation_spaces=(space, space))
        pool = ce.training.Pool(game, (agent,), naive, batch=8, episodes=4, steps=8, meta_batch=meta_batch)
        trained = ce.training.train(pool, key=jax.random.key(0), iterations=iterations, every=every)
        print(f"{space}: rewards per step {trained.history['reward'].round(2).to_list()}")


if __name__ == "__main__":
    main()
