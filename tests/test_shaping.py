"""The shaping problem: who remembers what, who learns when, sampling against replaying, and bad input."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.learners import Experience, PolicyGradient, Static
from coala_eqx.policies import GRU, FullHistory, Hawk, MemoryOne, replay_actions
from coala_eqx.shaping import learn_independently, replay, replay_ego
from tests.makers import SGD, make_policy, make_problem, random_game

DILEMMA = ce.games.iterated_prisoners_dilemma()


def _experiences(episode):
    return (Experience(episode.observations, episode.actions, episode.rewards), *episode.co_players)


def test_a_meta_episode_has_the_shapes_it_promises(getkey):
    game = ce.games.public_goods()
    problem = make_problem(getkey(), game=game, batch=4, episodes=3, steps=2)
    episode = problem.play(make_policy("GRU", problem, getkey()), getkey())
    for name in ("observations", "actions", "rewards", "log_probs", "values"):
        assert getattr(episode, name).shape == (4, 3, 2)
    assert len(episode.co_players) == len(episode.co_player_policies) == 2
    for experience in episode.co_players:
        assert experience.observations.shape == experience.actions.shape == experience.rewards.shape == (4, 3, 2)
    np.testing.assert_allclose(episode.shaping_return, episode.rewards.sum() / 4)


def test_every_player_sees_and_earns_its_own(getkey):
    """Rewards and observations follow from the actions; every inner episode begins anew."""
    problem = make_problem(getkey(), batch=5, episodes=3, steps=4)
    episode = problem.play(make_policy("MemoryOne", problem, getkey()), getkey())
    own, other = episode.actions, episode.co_players[0].actions
    payoffs = np.asarray(DILEMMA.payoffs)
    np.testing.assert_array_equal(episode.rewards, payoffs[0][own, other])
    np.testing.assert_array_equal(episode.co_players[0].rewards, payoffs[1][own, other])
    np.testing.assert_array_equal(episode.observations[:, :, 0], 0)
    np.testing.assert_array_equal(episode.observations[:, :, 1:], (1 + 2 * own + other)[:, :, :-1])
    np.testing.assert_array_equal(episode.co_players[0].observations[:, :, 1:], (1 + 2 * other + own)[:, :, :-1])


@pytest.mark.parametrize("kind", ["MemoryOne", "FullHistory", "GRU"])
def test_the_ego_agent_remembers_across_inner_episodes(kind, getkey):
    problem = make_problem(getkey(), episodes=3)
    policy = make_policy(kind, problem, getkey())
    episode = problem.play(policy, getkey())
    log_probs, values = replay_ego(policy, episode.observations, episode.actions)
    np.testing.assert_allclose(log_probs, episode.log_probs, rtol=1e-12)
    np.testing.assert_allclose(values, episode.values, rtol=1e-12)
    if kind != "MemoryOne":
        forgetful, _ = replay_actions(policy, episode.observations[:, 1], episode.actions[:, 1])
        assert not np.allclose(forgetful, episode.log_probs[:, 1])


def test_co_players_learn_between_inner_episodes_and_forget(getkey):
    """The co-player acts in each inner episode by what its learner made of the ones before, with a fresh memory.

    Frequencies of its first action in each inner episode, over many meta-episodes, against the exact ones.
    """
    network = GRU(5, 2, width=3, head_scale=3.0, key=getkey())
    problem = ce.ShapingProblem(
        game=DILEMMA, co_players=(network,), learner=PolicyGradient(optax.sgd(2.0)), batch=2, episodes=2, steps=2
    )
    policy = make_policy("MemoryOne", problem, getkey())
    episodes = jax.vmap(lambda key: problem.play(policy, key))(jax.random.split(getkey(), 20_000))

    def first_defection(_, __, episode):
        return episode.co_players[0].actions[:, :, 0].mean(axis=0)

    expected = ce.exact.expectation(first_defection, problem, policy, exchangeable=True)
    measured = episodes.co_players[0].actions[:, :, :, 0].mean(axis=(0, 1))
    # Five standard errors of a mean of 20,000 independent numbers in [0, 1].
    np.testing.assert_allclose(measured, expected, atol=5 * 0.5 / np.sqrt(20_000))
    assert abs(float(expected[1] - expected[0])) > 0.05, "the learner must have moved for this test to mean anything"


def test_learners_among_themselves_all_learn_from_what_they_saw(getkey):
    """With one sharp policy each nothing is random, so that a loop by hand gives the same."""
    sharp = [MemoryOne(1e3 * jax.random.normal(getkey(), (5, 2))) for _ in range(2)]
    learner = PolicyGradient(optax.sgd(0.5, momentum=0.9), baseline="batch_mean")
    learned, rewards = learn_independently(DILEMMA, tuple(sharp), learner, batch=2, steps=4, updates=3, key=getkey())
    assert rewards.shape == (2, 4)

    expected, states = list(sharp), [learner.init(policy) for policy in sharp]
    for update in range(4):
        problem = ce.ShapingProblem(
            game=DILEMMA, co_players=(expected[1],), learner=Static(), batch=2, episodes=1, steps=4
        )
        experiences = [
            jax.tree.map(lambda leaf: leaf[:, 0], experience)
            for experience in _experiences(problem.play(expected[0], getkey()))
        ]
        np.testing.assert_allclose(rewards[:, update], [one.rewards.mean() for one in experiences])
        if update < 3:
            pairs = [learner.update(*three) for three in zip(expected, states, experiences, strict=True)]
            expected, states = [policy for policy, _ in pairs], [state for _, state in pairs]
    for one, other in zip(learned, expected, strict=True):
        np.testing.assert_allclose(one.logits, other.logits)


def test_naive_learners_among_themselves_come_to_defect(getkey):
    policies = tuple(GRU(5, 2, width=4, head_scale=0.0, key=getkey()) for _ in range(2))
    learner = PolicyGradient(optax.adam(2e-2), baseline="batch_mean", normalise_advantages=True)
    _, rewards = learn_independently(DILEMMA, policies, learner, batch=16, steps=5, updates=150, key=getkey())
    assert (rewards[:, 0] > 0.3).all()
    assert (rewards[:, -1] < 0.1).all()


def test_bad_input_to_learners_among_themselves(getkey):
    policy, learner = MemoryOne(jnp.zeros((5, 2))), PolicyGradient(optax.sgd(0.5))
    with pytest.raises(ValueError, match="has 2 players, but `policies` has 1"):
        learn_independently(DILEMMA, (policy,), learner, batch=2, steps=4, updates=3, key=getkey())
    with pytest.raises(ValueError, match="`updates` must be at least 0, but is -1"):
        learn_independently(DILEMMA, (policy,) * 2, learner, batch=2, steps=4, updates=-1, key=getkey())


@pytest.mark.parametrize("kind", ["MemoryOne", "GRU"])
def test_what_was_played_is_replayed(kind, getkey):
    """Sampling step by step and replaying whole sequences agree on what the ego agent thought."""
    problem = make_problem(getkey(), episodes=3, game=ce.games.public_goods())
    policy = make_policy(kind, problem, getkey())
    episode = problem.play(policy, getkey())
    again, log_prob = replay(problem, policy, episode.co_player_policies, _experiences(episode))
    for name in ("log_probs", "values"):
        np.testing.assert_allclose(getattr(again, name), getattr(episode, name), rtol=1e-12)
    assert log_prob < episode.log_probs.sum(), "the co-players' actions have probabilities, too"


def test_replay_uses_the_policy_that_has_learned(getkey):
    """log Π of a meta-episode, by hand, with the learner called by hand."""
    problem = make_problem(getkey(), batch=2, episodes=2, steps=2)
    policy = make_policy("MemoryOne", problem, getkey())
    episode = problem.play(policy, getkey())
    (co_player,), (experience,) = episode.co_player_policies, episode.co_players
    _, log_prob = replay(problem, policy, (co_player,), _experiences(episode))
    first, second = (jax.tree.map(lambda leaf, m=m: leaf[:, m], experience) for m in range(2))
    learned, _ = SGD.update(co_player, SGD.init(co_player), first)
    by_hand = episode.log_probs.sum()
    for one, seen in ((co_player, first), (learned, second)):
        probabilities = jax.nn.softmax(one.logits)
        by_hand += jnp.log(probabilities[seen.observations, seen.actions]).sum()
    np.testing.assert_allclose(log_prob, by_hand, rtol=1e-12)


@pytest.fixture(scope="module")
def against_meta():
    """Two networks that remember everything, and do not learn."""
    keys = jax.random.split(jax.random.key(7))
    policy, other = (Hawk(5, 2, width=4, head_scale=3.0, key=key) for key in keys)
    problem = ce.ShapingProblem(
        game=ce.games.iterated_prisoners_dilemma(), co_players=(other,), learner=Static(), batch=2, episodes=2, steps=1,
        co_players_remember=True,
    )  # fmt: skip
    return problem, policy, other


def test_meta_agents_remember_as_co_players(against_meta, getkey):
    problem, policy, other = against_meta
    episode = problem.play(policy, getkey())
    _, log_prob = replay(problem, policy, (other,), _experiences(episode))
    (seen,) = episode.co_players
    long, _ = replay_actions(other, seen.observations.reshape(2, -1), seen.actions.reshape(2, -1))
    forgetful = sum(replay_actions(other, seen.observations[:, m], seen.actions[:, m])[0].sum() for m in range(2))
    np.testing.assert_allclose(log_prob, episode.log_probs.sum() + long.sum(), rtol=1e-12)
    assert abs(long.sum() - forgetful) > 1e-3


def test_against_meta_agents_the_plain_gradient_is_exact(against_meta):
    """And how often they defect is as enumerated, given what they did before (five standard errors)."""
    problem, policy, _ = against_meta
    for estimator in (ce.estimators.BatchUnaware(), ce.estimators.CoalaPG()):
        assert ce.verification.certify(estimator, problem, policy).relative_bias < 1e-12
    assert ce.verification.certify(ce.estimators.MFOS(), problem, policy).relative_bias > 0.1

    def both_defect(_, __, episode):
        return episode.co_players[0].actions.prod(axis=(1, 2)).mean()

    expected = ce.exact.expectation(both_defect, problem, policy, exchangeable=True)
    episodes = jax.vmap(problem.play, in_axes=(None, 0))(policy, jax.random.split(jax.random.key(3), 10_000))
    measured = episodes.co_players[0].actions.prod(axis=(2, 3)).mean()
    np.testing.assert_allclose(measured, expected, atol=5 * 0.5 / np.sqrt(20_000))


def test_populations_are_drawn_by_their_probabilities(getkey):
    members = [MemoryOne(np.full((5, 2), float(i))) for i in range(3)]
    problem = ce.ShapingProblem(
        game=DILEMMA,
        co_players=(ce.Population(members, [0.2, 0.0, 0.8]),),
        learner=SGD,
        batch=1,
        episodes=1,
        steps=1,
    )
    policy = make_policy("MemoryOne", problem, getkey())
    episodes = jax.vmap(lambda key: problem.play(policy, key))(jax.random.split(getkey(), 10_000))
    drawn = episodes.co_player_policies[0].logits[:, 0, 0]
    assert (drawn != 1).all()
    # Five standard deviations of a binomial.
    assert abs(float((drawn == 0).mean()) - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 10_000)


def test_co_players_can_be_made_from_a_key(getkey):
    problem = ce.ShapingProblem(
        game=DILEMMA,
        co_players=(lambda key: MemoryOne.random(DILEMMA, key, player=1),),
        learner=SGD,
        batch=2,
        episodes=2,
        steps=1,
    )
    policy = make_policy("MemoryOne", problem, getkey())
    one, other = (problem.play(policy, getkey()).co_player_policies[0].logits for _ in range(2))
    assert not np.allclose(one, other)


def test_each_co_player_may_have_its_own_learner(getkey):
    game = ce.games.public_goods()
    problem = make_problem(getkey(), game=game, learner=(SGD, ce.learners.Static()))
    assert problem.play(make_policy("MemoryOne", problem, getkey()), getkey()).rewards.shape == (2, 2, 2)


def test_play_is_vmappable_over_keys_and_problems(getkey):
    keys, payoffs = jax.random.split(getkey(), 3), jax.random.normal(getkey(), (3, 2, 2, 2))
    problem = make_problem(getkey())
    policy = make_policy("FullHistory", problem, getkey())

    def play(payoffs, key):
        game = ce.games.MatrixGame(payoffs)
        return dataclasses.replace(problem.play(policy, key), co_player_policies=()), _with_game(problem, game).play(
            policy, key
        )

    together = jax.vmap(play)(payoffs, keys)
    for index in range(3):
        alone = play(payoffs[index], keys[index])
        for one, other in zip(
            jax.tree.leaves(jax.tree.map(lambda leaf, i=index: leaf[i], together)), jax.tree.leaves(alone), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_stack_of_problems_is_vmapped(getkey):
    """Problems with different payoffs and co-players, stacked leaf by leaf."""
    problems = [make_problem(getkey(), game=ce.games.MatrixGame(jax.random.normal(getkey(), (2, 2, 2)))) for _ in "ab"]
    policy, key = make_policy("MemoryOne", problems[0], getkey()), getkey()
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *problems)
    together = eqx.filter_vmap(lambda problem: problem.play(policy, key), in_axes=eqx.if_array(0))(stacked)
    for index, problem in enumerate(problems):
        np.testing.assert_allclose(together.rewards[index], problem.play(policy, key).rewards)


def test_play_does_not_retrace(getkey):
    traces = []

    class Counting(ce.learners.AbstractLearner):
        def init(self, policy, key):
            return None

        def update(self, policy, state, experience, key):
            traces.append(1)
            return policy, state

    problem = make_problem(getkey(), learner=Counting())
    policy = make_policy("MemoryOne", problem, getkey())
    problem.play(policy, getkey())
    count = len(traces)
    for _ in range(3):
        problem.play(policy, getkey())
        problem.play(make_policy("MemoryOne", problem, getkey()), getkey())
    assert count > 0
    assert len(traces) == count


def _with_game(problem, game):
    return ce.ShapingProblem(
        game=game,
        co_players=problem.co_players,
        learner=problem.learner,
        batch=problem.batch,
        episodes=problem.episodes,
        steps=problem.steps,
    )


CO_PLAYER = MemoryOne(np.zeros((5, 2)))
GOOD = {"game": DILEMMA, "co_players": (CO_PLAYER,), "learner": SGD, "batch": 2, "episodes": 2, "steps": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "`batch` must be an integer ≥ 1, but is 0"),
        ({"episodes": -1}, "`episodes` must be an integer ≥ 1, but is -1"),
        ({"steps": 0}, "`steps` must be an integer ≥ 1, but is 0"),
        ({"co_players": ()}, "2 players, so `co_players` must have 1 entries, but has 0"),
        ({"co_players": ("tit for tat",)}, "must be a policy, a Population or a function.*'tit for tat'"),
        ({"co_players": (MemoryOne(np.zeros((5, 3))),)}, "player 1, a MemoryOne, is made for 3 actions.*has 2"),
        ({"co_players": (MemoryOne(np.zeros((4, 2))),)}, "player 1, a MemoryOne, is made for 4 observations.*has 5"),
        ({"learner": (SGD, SGD)}, "`learner` is a tuple: it must have 1 entries"),
        ({"co_players_remember": True}, r"with `co_players_remember` the learner must be Static\(\), but is Policy"),
    ],
)
def test_bad_problems_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ce.ShapingProblem(**(GOOD | change))


def test_a_policy_that_does_not_fit_is_named(getkey):
    problem = ce.ShapingProblem(**GOOD)
    for policy, message in [
        (MemoryOne(np.zeros((5, 3))), "player 0, a MemoryOne, is made for 3 actions, but the game has 2"),
        (GRU(3, 2, key=getkey()), "player 0, a GRU, is made for 3 observations, but the game has 5"),
        (FullHistory.random(DILEMMA, 1, getkey()), "histories of 1 steps, but the problem asks for 2.*steps=2"),
        (
            FullHistory.random(random_game(0, actions=(2, 2)), 2, getkey()),
            "made for 2 observations, but the game has 5",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            problem.play(policy, getkey())


def test_a_maker_of_policies_that_do_not_fit_is_named(getkey):
    problem = ce.ShapingProblem(**(GOOD | {"co_players": (lambda key: MemoryOne(np.zeros((5, 4))),)}))
    with pytest.raises(ValueError, match="player 1, a MemoryOne, is made for 4 actions"):
        problem.play(CO_PLAYER, getkey())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "at least one policy"),
        (((CO_PLAYER, MemoryOne(np.zeros((5, 3)))),), r"policies\[1\].*differs from policies\[0\]"),
        (((CO_PLAYER,), [0.5]), "sum to one, but are"),
        (((CO_PLAYER,), [0.5, 0.5]), r"one entry for each of the 1 policies, but has shape \(2,\)"),
        ((("always defect",),), r"policies\[0\]` must be a policy, but is 'always defect'"),
    ],
)
def test_bad_populations_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ce.Population(*arguments)


def test_random_games_are_played_within_their_support(getkey):
    problem = make_problem(getkey(), game=random_game(5), episodes=2, steps=3, batch=3)
    policy = make_policy("FullHistory", problem, getkey())
    assert jnp.isfinite(problem.play(policy, getkey()).log_probs).all()
