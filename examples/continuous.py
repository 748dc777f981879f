"""Shape a rival in Cournot competition, a game of continuous actions, and hold sampled gradients against the exact one.

A firm that learns answers a larger quantity with a smaller one. An estimator that knows this sells more than the
equilibrium quantity of 1.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import coala_eqx as ce
from coala_eqx.estimators import BatchUnaware, CoalaPG
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import LinearGaussian

RATE, BATCH = 0.3, 4


def main(samples: int = 100_000) -> None:
    """Mean estimates of the gradient in the own quantity, with two standard errors."""
    game = ce.games.cournot_competition(demand=3.0)
    policy, rival = (LinearGaussian([[0.0, 0.0]], [1.0], [-0.7], learns_std=learns) for learns in (True, False))
    learner = PolicyGradient(optimiser=optax.sgd(RATE))
    problem = ce.ShapingProblem(game=game, co_players=rival, learner=learner, batch=BATCH, episodes=2, steps=1)

    def shaping_return(policy: LinearGaussian) -> jax.Array:
        return ce.exact.quadratic_shaping_return(game, (policy, rival), rate=RATE, batch=BATCH)

    exact = eqx.filter_grad(shaping_return)(policy)
    print(f"closed form   {exact.bias[0]:+.3f}")
    for estimator in (CoalaPG(), BatchUnaware()):
        keys = jax.random.split(jax.random.key(0), samples)
        sampled = jax.vmap(lambda key, one=estimator: one(problem, policy, key)[0].bias[0])(keys)
        print(f"{type(estimator).__name__:13} {sampled.mean():+.3f} ± {2 * sampled.std() / jnp.sqrt(samples):.3f}")


if __name__ == "__main__":
    main()
