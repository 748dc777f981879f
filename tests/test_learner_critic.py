"""Critics that see the learner: probes, counterfactual updates, coefficients, and training."""

import dataclasses
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaHybrid, CoalaPG, Reinforce, ShapingValues
from coala_eqx.estimators.critics import fitting_critic
from coala_eqx.learners import PPO, AbstractLearner, Experience, PolicyGradient, updates_without
from coala_eqx.learners.counterfactual import others, replaced
from coala_eqx.runs import Silent
from coala_eqx.shaping import OutputProbe, probe_game, replay_features
from coala_eqx.training import A2C, Agent, CriticTraining, KappaByCosine, Moment, NaiveLearners, Pool, gradient_noise
from coala_eqx.training.claims import broken_claims
from coala_eqx.verification.problems import LearnsFromOne

GAME = ce.games.iterated_prisoners_dilemma()
ADAM = optax.chain(ce.learners.clip_by_global_norm(1.0), optax.adam(0.3))
A2C_LEARNER = PolicyGradient(optimiser=ADAM, discount=0.9, baseline="critic", normalise_advantages=True)
LEARNERS = {
    "sgd": PolicyGradient(optimiser=optax.sgd(1.0)),
    "a2c": A2C_LEARNER,
    "critic": PolicyGradient(optimiser=ADAM, baseline="critic"),
    "batch mean": PolicyGradient(optimiser=ADAM, baseline="batch_mean", normalise_advantages=True),
    "ppo": PPO(ADAM, epochs=2, minibatches=1, discount=0.9, normalise_advantages=True),
    "minibatches": PPO(ADAM, epochs=2, minibatches=2),
    "from one": LearnsFromOne(1, A2C_LEARNER),
    "static": ce.learners.Static(),
}


def network(seed):
    return ce.policies.MLP(5, 2, width=3, head_scale=1.0, key=jax.random.key(seed))


def make_problem(learner="a2c", batch=6, episodes=3, steps=2):
    return ce.ShapingProblem(
        game=GAME, co_players=network(1), learner=LEARNERS[learner], batch=batch, episodes=episodes, steps=steps
    )


def ego():
    return network(9)


def arrays(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))


@pytest.fixture(scope="module")
def experience():
    """A batch of six trajectories, and a co-player with its learner's state after one update from it."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(3), 3)
        return Experience(
            jax.random.randint(keys[0], (6, 4), 0, 5),
            jax.random.randint(keys[1], (6, 4), 0, 2),
            jax.random.normal(keys[2], (6, 4)),
        )


@pytest.mark.parametrize(
    ("name", "groups"), [*((name, 3) for name in LEARNERS), ("a2c", 6), ("sgd", 6), ("minibatches", 2)]
)
def test_nothing_is_left_of_the_trajectories_that_are_left_out(name, groups, experience):
    """Whatever they were: the entry of a group stays the same to rounding, and those of the other groups change."""
    with jax.enable_x64(True):
        learner, policy, key = LEARNERS[name], ego(), jax.random.key(5)
        state = ce.learners.init_rule(learner, policy, key)
        if name != "static":
            policy, state = ce.learners.update_rule(learner, policy, state, experience, key)
        without = eqx.filter_jit(lambda *given: updates_without(learner, *given, groups, key=key))
        before = without(policy, state, experience)
        for group in range(groups):
            out = np.arange(6).reshape(groups, -1)[group]
            changed = Experience(
                experience.observations.at[out].set(4 - experience.observations[out]),
                experience.actions.at[out].set(1 - experience.actions[out]),
                experience.rewards.at[out].multiply(-3.0),
            )
            after = without(policy, state, changed)
            for one, other in zip(arrays(before), arrays(after), strict=True):
                np.testing.assert_allclose(one[group], other[group], rtol=1e-9, atol=1e-12)
            rest = np.delete(np.arange(groups), group)
            moved = max(
                float(jnp.abs(a[rest] - b[rest]).max()) for a, b in zip(arrays(before), arrays(after), strict=True)
            )
            assert moved > 1e-6 or name == "static" or (name == "from one" and 1 not in out)


@pytest.mark.parametrize("name", ["sgd", "a2c", "critic"])
@pytest.mark.parametrize("groups", [6, 5])
def test_shared_passes_give_the_updates_on_the_others(name, groups, experience):
    with jax.enable_x64(True):
        experience = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf, leaf[:4]])[: 6 if groups == 6 else 10], experience
        )
        learner, policy = LEARNERS[name], ego()
        policy, state = learner.update(policy, learner.init(policy), experience)
        plain = updates_without.dispatch(AbstractLearner)
        made, expected = (
            eqx.filter_jit(lambda *given, each=each: each(learner, *given, groups))(policy, state, experience)
            for each in (updates_without, plain)
        )
        for one, other in zip(arrays(made), arrays(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_a_learner_with_an_update_of_its_own_is_asked_for_it(experience):
    class Slower(PolicyGradient):
        def update(self, policy, state, experience, key=None):
            halved = dataclasses.replace(experience, rewards=experience.rewards / 2)
            return super().update(policy, state, halved, key)

    learner, policy = Slower(optimiser=optax.sgd(1.0)), ego()
    given = learner, policy, learner.init(policy), experience, 6
    made, expected = updates_without(*given), updates_without.dispatch(AbstractLearner)(*given)
    for one, other in zip(arrays(made), arrays(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_who_is_left_out_and_who_stands_in():
    np.testing.assert_array_equal(others(4, 2), [[2, 3], [0, 1]])
    np.testing.assert_array_equal(others(3, 3), [[1, 2], [0, 2], [0, 1]])
    np.testing.assert_array_equal(replaced(4, 2), [[2, 3, 2, 3], [0, 1, 0, 1]])
    np.testing.assert_array_equal(replaced(3, 3), [[1, 1, 2], [0, 2, 2], [0, 1, 0]])


@pytest.mark.parametrize(("name", "groups"), [("a2c", None), ("a2c", 1), ("minibatches", 3), ("static", 3)])
def test_play_with_a_probe_is_play(name, groups):
    """To the last bit. What it shows is what a replay shows."""
    with jax.enable_x64(True):
        problem, policy, probe = make_problem(name), ego(), probe_game(GAME, groups=groups)
        if groups == 3:
            policy = ce.policies.GRU(5, 2, width=3, key=jax.random.key(9))
        plain = problem.play(policy, jax.random.key(1))
        episode = problem.play(policy, jax.random.key(1), probe)
        assert plain.features is None
        assert eqx.tree_equal(plain, dataclasses.replace(episode, features=None))
        features = episode.features
        numbers = 30 if name != "static" else 15
        assert features.before.shape == (3, numbers)
        assert features.without.shape == (groups or 6, 3, numbers)
        assert features.memories.shape == (6, 3, 15)
        np.testing.assert_array_equal(features.without[:, -1], 0)
        if groups == 1 or name == "static":
            np.testing.assert_allclose(features.without[0, :-1, :15], features.before[:-1, :15], atol=1e-12)
        if name == "minibatches":  # a meta-episode does not tell what was drawn
            return
        own = Experience(episode.observations, episode.actions, episode.rewards)
        again = eqx.filter_jit(replay_features)(
            problem, policy, problem.co_players, (own, *episode.co_players), (None,), probe
        )
        for one, other in zip(arrays(features), arrays(again), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_features_are_outputs_momentum_and_memories():
    with jax.enable_x64(True):
        problem, policy = make_problem(episodes=2), ego()
        episode = problem.play(policy, jax.random.key(1), probe_game(GAME))
        learner, (co_player,) = problem.learner, problem.co_players
        first = jax.tree.map(lambda leaf: leaf[:, 0], episode.co_players[0])
        policy_after, state = learner.update(co_player, learner.init(co_player), first)
        nothing = jax.tree.map(jnp.zeros_like, eqx.filter(co_player, eqx.is_inexact_array))
        coasted, _ = learner.ascend(policy_after, state, nothing)

        def outputs(policy):
            seen = jnp.arange(5)[:, None]
            output = jax.vmap(policy.unroll, in_axes=(None, 0, None))(policy.initial_memory(), seen, jnp.array([-1]))[1]
            log_probs = jax.nn.log_softmax(output.logits[:, 0])
            return jnp.concatenate([log_probs - log_probs.mean(1, keepdims=True), output.values], axis=1).ravel()

        shown = outputs(policy_after)
        np.testing.assert_allclose(episode.features.before[1, :15], shown, atol=1e-12)
        np.testing.assert_allclose(episode.features.before[1, 15:], outputs(coasted) - shown, atol=1e-12)


def test_a_masked_action_and_a_table_without_a_row_are_finite_numbers():
    policy = ce.policies.MemoryOne(np.array([[0, -np.inf]] * 5))
    shown = probe_game(GAME).co_player(1, policy, ce.learners.Static(), None)
    assert jnp.isfinite(shown).all()
    table = ce.policies.FullHistory.random(GAME, 4, jax.random.key(0))
    problem = dataclasses.replace(make_problem(episodes=2), batch=2)
    assert jnp.isfinite(problem.play(table, jax.random.key(0), probe_game(GAME)).features.memories).all()


def test_a_game_with_many_observations_is_probed_by_what_is_seen_in_random_play():
    game = ce.games.CoinGame()
    probe = probe_game(game, probes=8)
    assert [one.shape for one in probe.observations] == [(8, *game.observation_spaces[0].shape)] * 2
    assert eqx.tree_equal(probe, probe_game(game, probes=8))
    assert len(np.unique(np.asarray(probe.observations[0]), axis=0)) > 4
    probe.check(game)


def loops(rewards, values, shaping, kappas, discount, own_weight):
    """The formulas of `docs/learner_critic.md`, by loops."""
    episodes, steps = rewards.shape[1:]
    per = discount**steps
    mean = [sum(discount**t * rewards[:, m, t].mean() for t in range(steps)) for m in range(episodes)]
    futures = np.zeros(episodes)
    for m in range(episodes - 1):
        # F̂_m = W_{m+1} + Σ_{k>m} (Π κ) Γ^(k−m−1) δ_k
        futures[m], weight = shaping.after[m], 1.0
        for k in range(m + 1, episodes):
            weight *= kappas[k]
            futures[m] += weight * per ** (k - m - 1) * (mean[k] + per * shaping.after[k] - shaping.after[k - 1])
    made = np.zeros_like(rewards)
    for b, m, t in np.ndindex(*rewards.shape):
        own = sum(discount ** (k - t) * rewards[b, m, k] for k in range(t, steps)) - values[b, m, t]
        made[b, m, t] = own_weight * own + discount ** (steps - t) * (futures[m] - shaping.without[b, m])
    return made


def drawn_values(generator, batch, episodes):
    """Random values; 0 after the last inner episode."""
    sizes = ((episodes,), (episodes,), (batch, episodes), (batch, episodes))
    some = [generator.normal(size=size) for size in sizes]
    for one in some:
        one[..., -1] = 0
    return ShapingValues(*map(jnp.asarray, some))


@pytest.mark.parametrize(
    ("size", "kappa", "discount"),
    [
        ((3, 4, 2), 1.0, 1.0),
        ((3, 4, 2), 0.0, 0.9),
        ((3, 4, 2), "each", 0.9),
        ((2, 1, 3), 0.3, 1.0),
        ((1, 3, 1), 0.3, 0.9),
        ((2, 6, 1), "each", 1.0),
    ],
)
def test_coefficients_are_those_of_the_formula(size, kappa, discount):
    with jax.enable_x64(True):
        generator = np.random.default_rng(4)
        rewards, values = generator.normal(size=(2, *size))
        shaping = drawn_values(generator, *size[:2])
        kappa = generator.random(size[1]) if kappa == "each" else kappa
        kappas = np.broadcast_to(kappa, size[1:2])
        for kind, weight in ((CoalaPG, 1 / size[0]), (MFOS, 1.0)):
            made = kind(discount=discount, kappa=kappa).coefficients(rewards, values, shaping)
            np.testing.assert_allclose(made, loops(rewards, values, shaping, kappas, discount, weight), atol=1e-12)
        own = np.array([
            [[rewards[b, m, t:].sum() - values[b, m, t] + rewards[b, m + 1 :].sum() - shaping.without[b, m]
              for t in range(size[2])] for m in range(size[1])] for b in range(size[0])
        ]) / size[0]  # fmt: skip
        np.testing.assert_allclose(BatchUnaware().coefficients(rewards, values, shaping), own, atol=1e-12)
        learned = (size[0] - 1) / size[0] * (shaping.others - shaping.without)[..., None]
        np.testing.assert_allclose(CoalaHybrid().coefficients(rewards, values, shaping), own + learned, atol=1e-12)


def test_lambda_works_within_the_inner_episode_only():
    with jax.enable_x64(True):
        generator = np.random.default_rng(5)
        rewards, values = generator.normal(size=(2, 2, 3, 4))
        shaping = drawn_values(generator, 2, 3)
        whole, less = (CoalaPG(gae_lambda=each).coefficients(rewards, values, shaping) for each in (1.0, 0.5))
        np.testing.assert_allclose(whole[..., -1], less[..., -1], atol=1e-12)
        plain = [CoalaPG(gae_lambda=each).coefficients(0 * rewards, None, shaping) for each in (1.0, 0.5)]
        np.testing.assert_allclose(*plain, atol=1e-12)


def test_at_kappa_one_no_prediction_enters_but_the_counterfactual_one():
    with jax.enable_x64(True):
        rewards, shaping = np.zeros((2, 3, 2)), drawn_values(np.random.default_rng(6), 2, 3)
        made = CoalaPG().coefficients(rewards, None, shaping)
        np.testing.assert_array_equal(made, np.broadcast_to(-shaping.without[..., None], made.shape))


def random_critic(problem, policy, probe):
    return fitting_critic(problem, policy, probe, width=8, last=2.0, key=jax.random.key(1))


def test_values_without_counterfactual_updates_are_those_before():
    """For a batch of one, and where all trajectories make one group."""
    for batch, groups in ((1, None), (4, 1)):
        problem, policy = make_problem(batch=batch), ego()
        probe = probe_game(GAME, groups=groups)
        values = random_critic(problem, policy, probe).values(problem.play(policy, jax.random.key(2), probe).features)
        np.testing.assert_array_equal(values.without, np.broadcast_to(values.before, (batch, 3)))
        assert values.before[0] != 0
        for one in (values.before, values.after, values.without[0], values.others[0]):
            assert one[-1] == 0


@pytest.mark.parametrize("groups", [None, 2])
def test_values_without_a_trajectory_know_nothing_of_it(groups):
    """Neither its memory nor what co-players learned from it; `others` knows the latter."""
    problem, policy, probe = make_problem(batch=4), ego(), probe_game(GAME, groups=groups)
    critic = random_critic(problem, policy, probe)
    features = problem.play(policy, jax.random.key(2), probe).features
    expected = critic.values(features)
    out = slice(0, 4 // (groups or 4))
    changed = dataclasses.replace(
        features,
        memories=features.memories.at[out].add(1.0),
        before=features.before.at[1:].add(1.0),
        without=features.without.at[1:].add(1.0),
    )
    values = critic.values(changed)
    np.testing.assert_array_equal(values.without[out, :-1], expected.without[out, :-1])
    assert (values.without[out.stop :, :-1] != expected.without[out.stop :, :-1]).all()
    assert (values.others[out, :-1] != expected.others[out, :-1]).all()
    only_memories = critic.values(dataclasses.replace(features, memories=features.memories.at[out].add(1.0)))
    np.testing.assert_array_equal(only_memories.others[out, :-1], expected.others[out, :-1])
    assert (only_memories.after[:-1] != expected.after[:-1]).all()


@pytest.mark.parametrize("estimator", [CoalaPG(), CoalaHybrid()])
def test_the_critic_of_an_estimator_is_used_in_play_and_in_certificates(estimator):
    with jax.enable_x64(True):
        problem, policy = make_problem("sgd", batch=2, episodes=2, steps=1), ce.policies.MemoryOne(np.eye(5, 2))
        critic = random_critic(problem, policy, probe_game(GAME))
        estimator = dataclasses.replace(estimator, critic=critic)
        gradient, info = estimator(problem, policy, jax.random.key(0))
        shaping = critic.values(info.episode.features)
        coefficients = estimator.coefficients(info.episode.rewards, info.episode.values, shaping)
        expected = ce.estimators.base.weigh_scores(policy, info.episode, coefficients)
        for one, other in zip(arrays(gradient), arrays(expected), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)
        certificate = ce.verification.certify(estimator, problem, policy, plays=1)  # and play agrees with it
        assert (certificate.relative_bias < 1e-12) == isinstance(estimator, CoalaPG)


def bad(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_input_is_named():
    probe = probe_game(GAME)
    rewards = np.zeros((2, 3, 2))
    for kappa in (-0.1, 1.1, np.nan, "half", [0.5, 2.0], True):
        bad("`kappa` must lie between 0 and 1", lambda kappa=kappa: CoalaPG(kappa=kappa))
        bad("`kappa` must lie between 0 and 1", lambda kappa=kappa: MFOS(kappa=kappa))
    shaping = tuple(np.zeros(shape) for shape in ((3,), (3,), (2, 3)))
    bad(
        re.escape("`kappa` must be a number or have one entry for each of 3"),
        lambda: CoalaPG(kappa=np.ones(2)).coefficients(rewards, None, shaping),
    )
    bad(
        "a schedule, which has a value in training only",
        lambda: CoalaPG(kappa=lambda updates: 0.5).coefficients(rewards, None, shaping),
    )
    bad(r"CoalaPG\(kappa=0.5\) puts predictions .*CriticTraining", lambda: CoalaPG(kappa=0.5).coefficients(rewards))
    bad("CoalaHybrid needs a critic", lambda: CoalaHybrid().coefficients(rewards))
    bad(
        r"`shaping.without` must have shape \[batch, episodes\] = \(2, 3\), but has \(3, 2\)",
        lambda: CoalaPG().coefficients(rewards, None, (*shaping[:2], np.zeros((3, 2)))),
    )
    bad("`shaping` must be .*but has 2 entries", lambda: CoalaPG().coefficients(rewards, None, shaping[:2]))
    bad("`shaping` must be the ShapingValues", lambda: CoalaPG().coefficients(rewards, None, 0.5))
    bad(
        "Reinforce has no use for a critic",
        lambda: Reinforce().checked_coefficients(
            jnp.asarray(rewards), None, drawn_values(np.random.default_rng(0), 2, 3)
        ),
    )
    problem, policy = make_problem(batch=6), ego()
    key = jax.random.key(0)
    bad("`groups` must divide batch = 6, but is 4", lambda: problem.play(policy, key, probe_game(GAME, groups=4)))
    bad("`groups` must be at least 1", lambda: probe_game(GAME, groups=0))
    bad(
        "an array for each of 2 players, but has 1",
        lambda: problem.play(policy, key, OutputProbe(probe.observations[:1])),
    )
    bad("must be numbers from 0 to 4", lambda: OutputProbe((jnp.arange(6),) * 2).check(GAME))
    bad(r"must have shape \[probes, \*\[\]\]", lambda: problem.play(policy, key, OutputProbe((jnp.ones((5, 2)),) * 2)))
    bad("one probe or more", lambda: OutputProbe((jnp.arange(0),) * 2))
    bad("`steps` must be at least 16, as many as there are probes", lambda: probe_game(GAME, steps=2))
    critic = random_critic(problem, policy, probe)
    bad(
        "the meta-episode has no features: play it by",
        lambda: CoalaPG(critic=critic).from_episode(problem, policy, problem.play(policy, key)),
    )


def make(key):
    return ce.policies.MLP(5, 2, width=3, key=key)


def make_pool(estimator, critic=None, algorithm=None, agents=1, **changes):
    algorithm = algorithm or A2C(optax.adam(1e-2), leave_one_out=True)
    sizes = {"batch": 4, "episodes": 3, "steps": 2, "meta_batch": 4} | changes
    naive = NaiveLearners(PolicyGradient(optimiser=optax.adam(0.1), baseline="critic"), make, population=2)
    return Pool(GAME, (Agent(estimator, algorithm, make, critic=critic),) * agents, naive, **sizes)


SMALL = CriticTraining(width=6, depth=1, steps=5, minibatch=3, replay=3)


def test_agents_and_critics_that_do_not_fit_are_refused():
    bad("CoalaPG needs a critic that sees the learner", lambda: make_pool(CoalaPG(kappa=0.5)))
    bad("CoalaPG needs a critic that sees the learner", lambda: make_pool(CoalaPG(kappa=lambda updates: 1.0)))
    bad("CoalaHybrid needs a critic", lambda: make_pool(CoalaHybrid()))
    bad("`critic` gives `shaping` to an estimator, and Reinforce", lambda: make_pool(Reinforce(), SMALL))
    critic = random_critic(make_problem(), ego(), probe_game(GAME))
    bad("The critic of CoalaPG in a pool is trained with the agent", lambda: make_pool(CoalaPG(critic=critic), SMALL))
    bad("`steps` must be at least 1", lambda: CriticTraining(steps=0))
    bad("`rate` must be positive", lambda: CriticTraining(rate=0.0))


def trained(pool, iterations, seed=0):
    state = pool.init(jax.random.key(seed))
    step = eqx.filter_jit(pool.iterate)
    states = [state]
    for _ in range(iterations):
        state, info = step(state)
        states.append(state)
        assert bool(info.finite.all())
    return states


@pytest.fixture(scope="module")
def half():
    """A pool whose agent has a critic, and its states in four iterations."""
    pool = make_pool(CoalaPG(kappa=0.5), SMALL)
    return pool, trained(pool, 4)


def critic_of(state):
    return jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, state.critics[0].critic)


def test_what_was_played_is_kept(half):
    """The oldest is replaced first."""
    critics = [state.critics[0] for state in half[1]]
    assert [int(one.updates[0]) for one in critics] == [0, 1, 2, 3, 4]
    kept = [one.targets[0] for one in critics]
    np.testing.assert_array_equal(kept[1][1:], 0)
    np.testing.assert_array_equal(kept[3][:2], kept[2][:2])
    assert (kept[4][0] != kept[3][0]).any()
    np.testing.assert_array_equal(kept[4][1:], kept[3][1:])
    # What comes from an inner episode on, and after it.
    np.testing.assert_allclose(kept[4][:, :, :-1, 1], kept[4][:, :, 1:, 0], atol=1e-5)
    np.testing.assert_array_equal(kept[4][:, :, -1, 1], 0)


def test_a_critic_is_used_before_it_learns():
    """One that has seen nothing predicts 0, so that with κ = 0 the first step is along the own inner episodes alone."""
    algorithm = A2C(optax.sgd(1.0), value_coefficient=0.0)
    first = trained(make_pool(CoalaPG(kappa=0.0), SMALL, algorithm), 1)
    assert float(jnp.abs(first[0].critics[0].critic.network.layers[-1].weight).max()) == 0
    assert float(jnp.abs(first[1].critics[0].critic.network.layers[-1].weight).max()) > 0

    class Own(Reinforce):
        def coefficients(self, rewards, values=None):
            shaping = tuple(jnp.zeros(shape) for shape in ((3,), (3,), (4, 3)))
            return CoalaPG(kappa=0.0).coefficients(rewards, values, shaping)

    alone = trained(make_pool(Own(), None, algorithm), 1)
    assert alone[0].critics == (None,)
    for one, other in zip(arrays(first[-1].groups), arrays(alone[-1].groups), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_critic_learns_what_can_be_learned():
    """Returns that follow from the inner episode and the learner's features are predicted better than by their mean."""
    training = CriticTraining(width=16, depth=1, steps=300, minibatch=8, replay=2, rate=1e-2)
    pool = make_pool(CoalaPG(), training, meta_batch=32, episodes=4)
    states = trained(pool, 2)
    state = states[-1].critics[0]
    critic = critic_of(states[-1])
    shown, targets = state.shown[0], state.targets[0]
    predict = jax.vmap(jax.vmap(critic.network, in_axes=0))
    numbers = jnp.arange(4)
    inputs = jax.vmap(jax.vmap(lambda x, m: critic.inputs(x, m, 4), in_axes=(0, 0)), in_axes=(0, None))
    made = jnp.stack([predict(inputs(one, numbers)) for one in shown])
    wanted = (targets - critic.means) / critic.deviations
    assert float(((made - wanted) ** 2).mean()) < 0.7 * float((wanted**2).mean())


@pytest.mark.parametrize("estimator", [MFOS(kappa=0.5), CoalaHybrid()])
def test_other_estimators_train_with_a_critic(estimator):
    assert len(trained(make_pool(estimator, SMALL), 2)) == 3


def test_kappa_follows_its_schedule():
    """The first step with a schedule from 0 to 1 is that of κ = 0, and the second is not."""
    algorithm = A2C(optax.sgd(1.0))

    def schedule(updates):
        return jnp.minimum(updates, 1.0)

    def same(one, other):
        pairs = zip(arrays(one.groups), arrays(other.groups), strict=True)
        return all(bool(jnp.allclose(a, b, atol=1e-6)) for a, b in pairs)

    pools = [make_pool(CoalaPG(kappa=kappa), SMALL, algorithm) for kappa in (schedule, 0.0)]
    scheduled, none = (trained(pool, 2) for pool in pools)
    assert same(scheduled[1], none[1])
    assert not same(scheduled[2], none[2])


def drive(driver, start, *cosines):
    """The values of κ that are followed with these cosines with κ = 1, `[records, kappas]`."""
    pool, history, followed = make_pool(CoalaPG(kappa=start), SMALL), [], []
    for number, given in enumerate(cosines):
        kappa = pool.agents[0].estimator.kappa
        row = {"agent": 0, "iteration": 10 * (number + 1), "kappa": np.float32(kappa)}
        for one, cosine in zip(driver.kappas, given, strict=True):
            row |= {f"square_kappa_{one:g}": 4.0, f"product_kappa_{one:g}": 4.0 * cosine}
        history.append(row)
        pool = driver(Moment(row["iteration"], history, pool, None)) or pool
        followed.append(pool.agents[0].estimator.kappa)
    return followed


def test_kappa_is_driven_by_cosines_with_hysteresis():
    driver = KappaByCosine((0.5, 0.8, 1.0), low=0.8, high=0.95, records=1)
    assert drive(driver, 0.5, [0.9, 1, 1], [0.79, 1, 1], [0.9, 0.9, 1], [0.96, 0.9, 1]) == [0.5, 0.8, 0.8, 0.5]
    assert drive(driver, 0.8, [0.2, 0.7, 1], [0.2, 0.94, 1], [0.2, 0.96, 1]) == [1.0, 1.0, 0.8]
    # Means over two records, both after the last change.
    slower = dataclasses.replace(driver, records=2)
    assert drive(slower, 0.5, *[[0.7, 1, 1]] * 3, [0.99, 1, 1], [0.99, 1, 1]) == [0.5, 0.8, 0.8, 0.8, 0.5]
    assert drive(slower, 0.5, [0.95, 1, 1], [0.7, 1, 1], [0.7, 1, 1]) == [0.5, 0.5, 0.8]
    # Of a gradient that is not seen no angle is known.
    row = {"agent": 0, "iteration": 10, "kappa": 0.5}
    row |= {f"{kind}_kappa_{one:g}": -1.0 for one in driver.kappas for kind in ("square", "product")}
    assert driver(Moment(10, [row], make_pool(CoalaPG(kappa=0.5), SMALL), None)) is None


def test_training_with_a_driven_kappa():
    """Whatever is measured, κ changes where it must, and the run goes on with another κ."""
    driver = KappaByCosine((0.5, 1.0), low=0.999, high=1.0, records=1, measured=2)
    pool = make_pool(CoalaPG(kappa=0.5), SMALL, meta_batch=2)
    trained = ce.training.train(
        pool, key=jax.random.key(0), iterations=4, every=1, watch=driver.watch, callbacks=[driver], meter=Silent()
    )
    history = trained.history
    ratio = history["product_kappa_0.5"] / (history["square_kappa_0.5"] * history["square_kappa_1"]).sqrt()
    expected = [0.5]
    for squares, cosine in zip(history.select("square_kappa_0.5", "square_kappa_1").rows(), ratio, strict=True):
        seen = min(squares) > 0
        up, down = expected[-1] == 0.5 and seen and cosine < 0.999, expected[-1] == 1.0 and seen and cosine > 1.0
        expected.append(1.0 if up else 0.5 if down else expected[-1])
    assert history["kappa"].to_list() == expected[:-1]
    assert trained.pool.agents[0].estimator.kappa == expected[-1]


def test_kappas_that_cannot_be_driven_are_refused():
    bad(r"`kappas` must rise to 1.*\(0.5, 0.8\)", lambda: KappaByCosine((0.5, 0.8)))
    bad("`kappas` must rise to 1", lambda: KappaByCosine((0.8, 0.5, 1.0)))
    bad("`kappas` must lie between 0 and 1", lambda: KappaByCosine((-0.5, 1.0)))
    bad("`low` must lie below `high`", lambda: KappaByCosine(low=0.9, high=0.9))
    bad("`records` must be at least 1", lambda: KappaByCosine(records=0))
    pool = make_pool(CoalaPG(), None)
    bad("κ is driven for an agent with `critic=", lambda: KappaByCosine().watch(pool, pool.init(jax.random.key(0))))
    other = make_pool(CoalaPG(kappa=0.7), SMALL)
    bad("`kappa` is one of 0.5, 0.8, 1, such as", lambda: KappaByCosine()(Moment(1, [], other, None)))
    bad("`index` must be that of one of 1 agents", lambda: KappaByCosine(index=1)(Moment(1, [], other, None)))


def test_a_batch_of_one_trains_without_counterfactuals():
    trained(make_pool(CoalaPG(kappa=0.5), SMALL, batch=1), 1)


def test_in_mixed_pools_only_learners_are_seen():
    pool = make_pool(CoalaPG(kappa=0.5), SMALL, A2C(optax.adam(1e-2)), agents=2, p_naive=0.5)
    state = trained(pool, 2)[-1]
    assert state.critics[0].shown.shape[:4] == (2, 3, 2, 3)  # agents, replay, meetings with naive learners, episodes


def test_noise_is_measured_with_the_agents_critic(half):
    pool, states = half
    estimators = (CoalaPG(), CoalaPG(), CoalaPG(kappa=0.0), MFOS())
    noise = gradient_noise(pool, states[-1], estimators, 4, by_critic=(False, True, True, False))
    assert bool(jnp.isfinite(noise.inner).all())
    lengths = jnp.diagonal(noise.inner, axis1=-2, axis2=-1)
    assert not np.allclose(lengths[..., 0], lengths[..., 1])
    plain = make_pool(CoalaPG())
    start = plain.init(jax.random.key(0))
    bad("but the agent has none: give it", lambda: gradient_noise(plain, start, (CoalaPG(kappa=0.5),), 4))
    bad(
        "`by_critic` must have a flag for each of 1", lambda: gradient_noise(pool, start, (CoalaPG(),), 4, by_critic=())
    )


def test_the_policys_own_critic_predicts_the_inner_episode(half):
    problem, policy = make_problem("sgd", batch=4), make(jax.random.key(0))
    critic = critic_of(half[1][-1])
    play = jax.vmap(lambda key: eqx.filter(problem.play(policy, key, critic.probe), eqx.is_array))
    critic = random_critic(problem, policy, critic.probe)
    batch = A2C(optax.sgd(1.0), reward_scale=0.5).batch(CoalaPG(), play(jax.random.split(jax.random.key(0), 4)), critic)
    episodes = play(jax.random.split(jax.random.key(0), 4))
    left = jnp.flip(jnp.cumsum(jnp.flip(0.5 * episodes.rewards, 3), axis=3), 3)
    np.testing.assert_allclose(batch.targets, left.reshape(batch.targets.shape), rtol=1e-5, atol=1e-6)


def test_a_run_says_what_its_estimators_promise(half):
    (line,) = broken_claims(half[0])
    assert line.startswith("CoalaPG puts predictions of its critic in the place of later rewards (κ below 1)")
    assert broken_claims(make_pool(CoalaPG(), SMALL)) == []
    (line,) = broken_claims(make_pool(CoalaPG(gae_lambda=0.9), SMALL))
    assert "is not unbiased for the shaping_return in this run" in line
