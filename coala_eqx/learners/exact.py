"""Learners that know their opponent and ascend their own exact return, in steps or in continuous time."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from coala_eqx._checks import check_not_negative, check_positive, check_whole
from coala_eqx.policies import AbstractPolicy

Returns = Callable[[Any, Any], tuple[Array, Array]]
"""(own policy, opponent) → (own return, the quantity that is collected on the way, such as the opponent's return)."""


class LearningPath(eqx.Module):
    """The path of a learner: its policies, and the returns of both players."""

    times: Float[Array, " points"]
    """Times of the points: rate · steps so far, or the time of the flow."""

    policies: AbstractPolicy
    """The learner's policies at these times; leaves `[points, …]`."""

    own: Float[Array, " points"]
    """The learner's return at these times."""

    other: Float[Array, "points ..."]
    """The collected quantity at these times."""

    collected: Float[Array, "..."]
    """The sum of the collected quantity over all policies of the path (Eq. 17), or its integral over time."""

    finite: Bool[Array, ""]
    """Whether the learner stayed finite (and a flow was solved to its end)."""


class AbstractExactLearner(eqx.Module):
    """A learner that ascends ∂J^{-i}/∂ψ of its own exact return against a fixed opponent.

    Unlike an `AbstractLearner` it needs no sampled batch, and has no randomness.
    """

    @abc.abstractmethod
    def learn(self, returns: Returns, policy: AbstractPolicy, opponent: Any) -> LearningPath:
        """Learn, starting from `policy`.

        **Arguments:**

        - `returns`: a function to the return that is ascended and the quantity that is collected; a module if it has
          arrays of its own.
        - `policy`: the learner's policy at the start.
        - `opponent`: the second argument of `returns`, such as the ego agent's policy.

        The path is differentiable in `policy`, `opponent` and the arrays of `returns`.
        """


def _climb(returns: Returns, policy: AbstractPolicy, opponent: Any) -> tuple[AbstractPolicy, Array, Array]:
    """The gradient of the own return, and both returns, from one evaluation."""
    (own, other), gradient = eqx.filter_value_and_grad(returns, has_aux=True)(policy, opponent)
    return gradient, own, other


class ExactAscent(AbstractExactLearner):
    """ψ_{m+1} = ψ_m + rate · ∂J^{-i}/∂ψ at ψ_m, for m = 0, …, steps − 1.

    The collected quantity is summed over m = 0, …, steps.

    **Arguments:**

    - `rate`: η_naive, the step size on logits; the paper's is for normalised returns.
    - `steps`: number of steps.

    **Raises** `ValueError` for a negative rate or number of steps, steps that are not whole, or an infinite rate.

    Source: Meulemans et al. (2025), Eq. 17 and Appendix C; with its own return J^{-i}, see `docs/errata.md`.
    """

    rate: float | Array = 5.0
    steps: int = eqx.field(default=20, static=True)

    def __check_init__(self) -> None:
        check_whole("steps", self.steps, 0)
        check_not_negative("rate", self.rate)

    def learn(self, returns: Returns, policy: AbstractPolicy, opponent: Any) -> LearningPath:
        arrays, rest = eqx.partition(policy, eqx.is_inexact_array)

        def step(arrays: Any, _: None) -> tuple[Any, tuple[Any, Array, Array]]:
            gradient, own, other = _climb(returns, eqx.combine(arrays, rest), opponent)
            return jax.tree.map(lambda leaf, slope: leaf + self.rate * slope, arrays, gradient), (arrays, own, other)

        last, path = jax.lax.scan(step, arrays, length=self.steps)
        at_end = (last, *returns(eqx.combine(last, rest), opponent))
        arrays, own, other = jax.tree.map(lambda along, end: jnp.concatenate([along, end[None]]), path, at_end)
        return LearningPath(
            times=self.rate * jnp.arange(self.steps + 1.0),
            policies=eqx.combine(arrays, rest),
            own=own,
            other=other,
            collected=other.sum(axis=0),
            finite=_all_finite((last, own)),
        )


class GradientFlow(AbstractExactLearner):
    """dψ/dt = ∂J^{-i}/∂ψ for 0 ≤ t ≤ duration: `ExactAscent` with duration/rate steps, as its rate goes to 0.

    The collected quantity is integrated over time, along with the flow. `rate` times the sum of `ExactAscent` tends to
    this integral.

    **Arguments:**

    - `duration`: the end time, in units of rate · steps. 100 is the paper's η_naive = 5 for 20 steps.
    - `points`: number of policies of the path that are returned, from t = 0 to t = duration; at least 2.
    - `tolerance`: relative and absolute tolerance of the adaptive steps.
    - `solver`, `adjoint`: diffrax's. `RecursiveCheckpointAdjoint()` differentiates the solver's own steps;
      `DirectAdjoint()` does, too, and also takes forward mode, for more memory; `BacksolveAdjoint()` solves the adjoint
      equation backwards, in constant memory, to within the tolerance only.
    - `max_steps`: the largest number of steps; a flow that needs more is flagged in `finite`.

    **Raises** `ValueError` for a duration that is negative or not finite, fewer than 2 points, a tolerance that is not
    positive, a solver or adjoint that is none of diffrax's, or `max_steps` below 1.
    """

    duration: float | Array = 100.0
    points: int = eqx.field(default=21, static=True)
    tolerance: float = 1e-6
    solver: diffrax.AbstractAdaptiveSolver = diffrax.Tsit5()
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint()
    max_steps: int = eqx.field(default=4096, static=True)

    def __check_init__(self) -> None:
        check_not_negative("duration", self.duration)
        check_whole("points", self.points, 2, "for the start and the end")
        check_positive("tolerance", self.tolerance)
        check_whole("max_steps", self.max_steps, 1)
        for name, kind in (("solver", diffrax.AbstractAdaptiveSolver), ("adjoint", diffrax.AbstractAdjoint)):
            if not isinstance(value := getattr(self, name), kind):
                raise ValueError(f"`{name}` must be one of diffrax's (a diffrax.{kind.__name__}), but is {value!r}.")

    def learn(self, returns: Returns, policy: AbstractPolicy, opponent: Any) -> LearningPath:
        arrays, rest = eqx.partition(policy, eqx.is_inexact_array)

        def slope(time: Any, state: Any, args: Any) -> Any:
            del time
            gradient, _, other = _climb(args[0], eqx.combine(state[0], rest), args[1])
            return gradient, other

        nothing = jnp.zeros_like(returns(policy, opponent)[1])
        times = jnp.linspace(0.0, self.duration, self.points)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            self.solver,
            t0=0.0,
            t1=self.duration,
            dt0=None,
            y0=(arrays, nothing),
            args=(returns, opponent),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        assert solution.ys is not None
        along, integral = solution.ys
        own, other = jax.vmap(lambda arrays: returns(eqx.combine(arrays, rest), opponent))(along)
        return LearningPath(
            times=times,
            policies=eqx.combine(along, rest),
            own=own,
            other=other,
            collected=integral[-1],
            finite=(solution.result == diffrax.RESULTS.successful) & _all_finite((along, own)),
        )


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
