"""The shaping return of a linear-quadratic game in closed form."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx._checks import check_finite, check_whole
from coala_eqx.games import LinearQuadratic
from coala_eqx.policies import LinearGaussian


def quadratic_shaping_return(
    game: LinearQuadratic,
    policies: Sequence[LinearGaussian],
    *,
    rate: float,
    batch: int,
    seen: LinearGaussian | None = None,
) -> Float[Array, ""]:
    """J̄ of two inner episodes of one step, between which all co-players learn by a policy gradient.

    The learner is `PolicyGradient(optimiser=optax.sgd(rate))`, without baseline. The result is exact to rounding, and
    differentiable: its gradient in the ego agent's policy is the one that estimators of `"shaping_return"` estimate.

    **Derivation.** Let a ~ N(m, S) be the joint action at the first observations, with diagonal S, and
    r_j = c_j + g_jᵀa + ½ aᵀH_j a the rewards. Let v_j = H_j m + g_j. Then

    - ρ_j = E r_j = c_j + g_jᵀm + ½ mᵀH_j m + ½ tr(H_j S), and ∂ρ_j/∂m = v_j;
    - E r_j r_k = ρ_j ρ_k + v_jᵀ S v_k + ½ tr(H_j S H_k S).

    Co-player j has the mean W x + b at its observation x. The slope of its log-density in this mean is e = S⁻¹(a − m),
    in its own components. One update moves the mean by Δ_j = κ_j · (1/B) Σ_b e_j^b r_j^b with
    κ_j = rate · (1 + |x|²). Stein's identities are E[e f(a)] = ∂ E f and E[e eᵀ f(a)] = ∂∂ᵀ E f + S⁻¹ E f, with
    derivatives in the mean. They give

    - E Δ_j = κ_j v_jj, where v_jj are the components of player j of v_j;
    - E Δ_j Δ_kᵀ = κ_j κ_k [(1/B) Q_jk + (1 − 1/B) v_jj v_kkᵀ], Q_jk = ∂_j ∂_kᵀ E r_j r_k + [j = k] S_jj⁻¹ E r_j².

    The factor 1/B is the share of pairs of trajectories that are one and the same; all others are independent. The
    second inner episode pays the ego agent ρ_0(m + Δ) in expectation, which is quadratic in Δ. Hence
    J̄ = 2ρ_0 + v_0ᵀ E Δ + ½ tr(H_0 E ΔΔᵀ).

    **Arguments:**

    - `policies`: one for each player, the ego agent's first.
    - `rate`: the learners' rate.
    - `batch`: B.
    - `seen`: the ego agent's policy in the episode from which the co-players learn; the first of `policies` unless
      given. The derivative in `seen` is the part of ∇J̄ that comes from shaping. The derivative in the first policy,
      with `seen` fixed, is the part in which actions act on their own inner episode.

    **Raises** `ValueError` if the game or a policy is of another kind or size, a co-player learns its standard
    deviation (the expectation does not exist then), `rate` is not finite, or `batch` is not a whole number, at least 1.
    """
    check_finite("rate", rate)
    check_whole("batch", batch, 1)
    _check(game, policies)
    acting, players = _Moments(game, policies), game.num_players
    taught = acting if seen is None else _Moments(game, (seen, *policies[1:]))
    components = game.action_spaces[0].n
    owner = np.repeat(np.arange(players), components)
    factors = rate * (1 + (taught.observed**2).sum(axis=1))[owner]
    learns = jnp.where(jnp.asarray(owner > 0), factors, jnp.zeros_like(factors))
    mean = learns * taught.own(owner)
    same = taught.own(owner)[:, None] * taught.own(owner)[None, :]
    square = learns[:, None] * learns[None, :] * (taught.products(owner) + (batch - 1) * same) / batch
    return 2 * acting.rewards()[0] + jnp.dot(acting.slopes()[0], mean) + jnp.sum(acting.quadratic[0] * square) / 2


class _Moments:
    """Moments of the rewards at the first observations."""

    def __init__(self, game: LinearQuadratic, policies: Sequence[LinearGaussian]):
        states = 0 if game.dynamics is None else len(game.start)
        self.observed = game.observe(game.start)
        means = [one.weight @ x + one.bias for one, x in zip(policies, self.observed, strict=True)]
        self.mean = jnp.concatenate(means)
        self.variance = jnp.exp(2 * jnp.concatenate([one.log_std for one in policies]))
        start, mixed = game.start[:states], game.quadratic[:, states:, :states]
        self.quadratic = game.quadratic[:, states:, states:]
        self.linear = game.linear[:, states:] + mixed @ start
        self.constant = game.pay(jnp.concatenate([start, jnp.zeros_like(self.mean)]))

    def slopes(self) -> Float[Array, "players actions"]:
        """V."""
        return self.quadratic @ self.mean + self.linear

    def rewards(self) -> Float[Array, " players"]:
        """ρ."""
        spread = jnp.einsum("pii,i->p", self.quadratic, self.variance) / 2
        return self.constant + (self.linear + self.slopes()) @ self.mean / 2 + spread

    def own(self, owner: np.ndarray) -> Float[Array, " actions"]:
        """v_jj of all players j, one after the other."""
        return self.slopes()[owner, np.arange(len(owner))]

    def products(self, owner: np.ndarray) -> Float[Array, "actions actions"]:
        """Q_jk of all pairs of players, as blocks."""
        slopes, rewards, every = self.slopes(), self.rewards(), np.arange(len(owner))
        by_row = self.quadratic[owner]  # [l, ·, ·]: H_j of the player j to whom l belongs
        rows = by_row[every, every]  # [l, x]: H_j[l, x]
        entries = by_row.swapaxes(0, 1)  # [l, q, x]: H_k[l, x] of the player k to whom q belongs
        crossed = slopes[owner]
        found = jnp.outer(self.own(owner), self.own(owner)) + crossed * crossed.T
        weighted = rewards[owner][:, None] * entries[every[:, None], every[None, :], every[None, :]]
        found += weighted + weighted.T
        found += jnp.einsum("lx,x,qx->lq", rows, self.variance, rows)
        found += jnp.einsum("lqx,x,lxq->lq", entries, self.variance, by_row)
        traces = jnp.einsum("pij,j,pji,i->p", self.quadratic, self.variance, self.quadratic, self.variance) / 2
        squares = rewards**2 + slopes**2 @ self.variance + traces
        return found + jnp.diag(squares[owner] / self.variance)


def _check(game: LinearQuadratic, policies: Sequence[LinearGaussian]) -> None:
    if not isinstance(game, LinearQuadratic):
        raise ValueError(f"`game` must be a LinearQuadratic, but is a {type(game).__name__}.")
    if len(policies) != game.num_players:
        raise ValueError(f"The game has {game.num_players} players, but `policies` has {len(policies)} entries.")
    for player, policy in enumerate(policies):
        if not isinstance(policy, LinearGaussian):
            raise ValueError(f"`policies[{player}]` must be a LinearGaussian, but is a {type(policy).__name__}.")
        fits = (policy.observation_space, policy.action_space)
        if fits != (needs := (game.observation_spaces[player], game.action_spaces[player])):
            raise ValueError(f"`policies[{player}]` is made for {fits}, but the game has {needs} for this player.")
        if player and policy.learns_std:
            raise ValueError(
                f"`policies[{player}]` learns its standard deviation, so that the expectation after an update does not "
                f"exist: make it with learns_std=False."
            )
