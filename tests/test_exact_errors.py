"""What the exact functions refuse, and what they say."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.policies import FullHistory, MemoryOne
from tests.makers import SGD, make_policy, make_problem


def test_too_many_outcomes_are_counted_and_a_remedy_is_named(getkey):
    problem = make_problem(getkey(), batch=3, episodes=3, steps=3)
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(
        ValueError, match=r"has about 10\^15 outcomes.*limit of 20,000,000.*With batch=1 there are 262,144"
    ) as info:
        ce.exact.gradient(problem, policy)
    assert "With episodes=1 there are 45,760." in str(info.value)
    with pytest.raises(ValueError, match="more than the limit of 10;"):
        ce.exact.moments(ce.estimators.CoalaPG(), make_problem(getkey(), steps=1), policy, limit=10)
    with pytest.raises(ValueError, match="One inner episode of 3 steps has 64 outcomes"):
        ce.exact.gradient(problem, policy, "lookahead_return", limit=10)


def test_what_cannot_be_enumerated_is_named(getkey):
    game = ce.games.chicken()
    maker = ce.ShapingProblem(
        game=game,
        co_players=(lambda key: MemoryOne.random(game, key, player=1),),
        learner=SGD,
        batch=1,
        episodes=1,
        steps=1,
    )
    policy = MemoryOne.random(game, getkey())
    for function in (ce.exact.gradient, ce.exact.expected_return):
        with pytest.raises(ValueError, match=r"co_players\[0\] is a function of a key.*Population"):
            function(maker, policy)

    class Endless(ce.games.AbstractGame):
        num_players: int = 1
        num_actions: tuple[int, ...] = (2,)
        num_observations: tuple[int, ...] = (1,)

        def reset(self, key):
            return None, jnp.zeros(1, dtype=int)

        def step(self, state, actions, key):
            return None, jnp.zeros(1, dtype=int), jnp.ones(1)

    endless = ce.ShapingProblem(game=Endless(), co_players=(), learner=SGD, batch=1, episodes=1, steps=1)
    with pytest.raises(ValueError, match="Endless cannot be enumerated.*TabularGame"):
        ce.exact.gradient(endless, MemoryOne(np.zeros((1, 2))))


def test_unknown_objectives_are_named(getkey):
    problem = make_problem(getkey())
    with pytest.raises(ValueError, match="Unknown objective 'regret'; known are 'shaping_return'"):
        ce.exact.gradient(problem, make_policy("MemoryOne", problem, getkey()), "regret")


class WrongTree(ce.estimators.AbstractEstimator):
    def from_episode(self, problem, policy, episode):
        return policy.logits


class WrongLeaf(ce.estimators.AbstractEstimator):
    def from_episode(self, problem, policy, episode):
        return MemoryOne(policy.logits[:2])


class NotANumber(ce.estimators.AbstractScoreFunctionEstimator):
    def coefficients(self, rewards, values=None):
        return jnp.log(-jnp.abs(jnp.asarray(rewards)) - 1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (WrongTree(), "WrongTree.from_episode must return a pytree like the policy"),
        (WrongLeaf(), r"WrongLeaf.*\.logits should be \(5, 2\), but is \(2, 2\)"),
        (NotANumber(), "NotANumber.from_episode returned NaN or infinity"),
    ],
)
def test_estimators_that_break_their_contract_are_named(estimator, message, getkey):
    problem = make_problem(getkey(), steps=1)
    with pytest.raises(ValueError, match=message):
        ce.exact.moments(estimator, problem, make_policy("MemoryOne", problem, getkey()))


def test_a_policy_that_says_nan_is_named(getkey):
    problem = make_problem(getkey(), steps=1)
    policy = eqx.tree_at(lambda p: p.logits, make_policy("MemoryOne", problem, getkey()), jnp.full((5, 2), jnp.nan))
    with pytest.raises(ValueError, match="add up to nan instead of 1"):
        ce.exact.expected_return(problem, policy)


def test_tracing_without_64_bit_types_is_refused_with_the_remedy(getkey):
    problem = make_problem(getkey(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        jax.grad(lambda logits: ce.exact.expected_return(problem, MemoryOne(logits)))(policy.logits)


def test_traced_transitions_do_not_make_silent_nans(getkey):
    """Where the transition is traced every move counts as possible; a table of histories must know them all."""
    game = ce.games.chicken().table()
    problem = make_problem(getkey(), game=game, batch=1, episodes=1)
    policy = FullHistory.random(game, 2, getkey())

    def value(transition):
        changed = ce.games.TabularGame(game.initial, transition, game.rewards, game.observations)
        traced = ce.ShapingProblem(
            game=changed, co_players=problem.co_players, learner=SGD, batch=1, episodes=1, steps=2
        )
        return ce.exact.expected_return(traced, policy)

    with pytest.raises(ValueError, match="histories occur that it has no row for.*traced"):
        jax.grad(value)(game.transition)


def test_sums_by_history_need_a_table(getkey):
    problem = make_problem(getkey(), batch=1, episodes=1)
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(ValueError, match=r"the policy is a MemoryOne; make one by `FullHistory\.tabulate"):
        ce.exact.sums_by_history(problem, policy, ce.exact.own_return)
