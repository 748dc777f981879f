"""An enumerator of its own, in plain Python: no code shared with the package but the definition of the problem.

Iterated two-player matrix games with two actions, memory-one policies for both, and a REINFORCE co-player with plain
SGD. Slow, and meant to be read.
"""

import itertools

import numpy as np


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def learn(logits, batch_of_steps, rate):
    """`batch_of_steps[b]` lists (observation, action, reward); ascend (1/B) Σ_b Σ_t log π(a|o) · reward-to-go."""
    gradient = np.zeros_like(logits)
    for steps in batch_of_steps:
        for t, (observation, action, _) in enumerate(steps):
            to_go = sum(reward for _, _, reward in steps[t:])
            gradient[observation] += (np.eye(2)[action] - softmax(logits[observation])) * to_go / len(batch_of_steps)
    return logits + rate * gradient


def updates(logits, batch_of_steps, rate):
    """All that the learner may become, with probabilities; this one has no randomness."""
    return [(1.0, learn(logits, batch_of_steps, rate))]


def outcomes(payoffs, ego, co_player, *, batch, episodes, steps, rate, updates=updates, ways=1):
    """Yield (probability, ego's steps, scores) of every meta-episode; `ways` is the length of what `updates` returns.

    `steps[b][m][t]` is (observation, action, reward) of the ego agent, and `scores` the gradient of its
    log-probability at every step, `[batch, episodes, steps, 5, 2]`.
    """
    joint_actions = list(itertools.product(range(2), repeat=2))
    inner = list(itertools.product(joint_actions, repeat=steps))
    played_and_drawn = [[*itertools.product(inner, repeat=batch)]] * episodes + [range(ways)] * (episodes - 1)
    for played_all in itertools.product(*played_and_drawn):
        meta, drawn = played_all[:episodes], played_all[episodes:]
        probability, other = 1.0, co_player
        record = [[[] for _ in range(episodes)] for _ in range(batch)]
        scores = np.zeros((batch, episodes, steps, 5, 2))
        for m, played in enumerate(meta):
            seen = []
            for b, trajectory in enumerate(played):
                mine, theirs, others_steps = 0, 0, []
                for t, (a, c) in enumerate(trajectory):
                    p, q = softmax(ego[mine]), softmax(other[theirs])
                    probability *= p[a] * q[c]
                    scores[b, m, t, mine] = np.eye(2)[a] - p
                    record[b][m].append((mine, a, payoffs[0][a][c]))
                    others_steps.append((theirs, c, payoffs[1][a][c]))
                    mine, theirs = 1 + 2 * a + c, 1 + 2 * c + a
                seen.append(others_steps)
            if m + 1 < episodes:
                chance, other = updates(other, seen, rate)[drawn[m]]
                probability *= chance
        yield probability, record, scores


def expected_return(payoffs, ego, co_player, **sizes):
    """J̄, or with `last_only=True` the return of the last inner episode."""
    last_only = sizes.pop("last_only", False)
    value = 0.0
    for probability, record, _ in outcomes(payoffs, ego, co_player, **sizes):
        counted = [trajectory[-1:] if last_only else trajectory for trajectory in record]
        value += probability * sum(r for t in counted for m in t for _, _, r in m) / len(record)
    return value


def moments(coefficient, payoffs, ego, co_player, **sizes):
    """E[ĝ] and E‖ĝ − E[ĝ]‖² for ĝ = Σ score · coefficient(rewards)."""
    first, second = np.zeros((5, 2)), 0.0
    for probability, record, scores in outcomes(payoffs, ego, co_player, **sizes):
        rewards = np.array([[[r for _, _, r in m] for m in trajectory] for trajectory in record])
        estimate = np.tensordot(coefficient(rewards), scores, axes=3)
        first += probability * estimate
        second += probability * (estimate**2).sum()
    return first, second - (first**2).sum()


def learn_by_ppo(
    logits, critic, steps, rows, *, rate, clip, value_clip=None, coefficient=0.5, discount=1.0, lam=1.0, scale=1.0,
    normalise=False,
):  # fmt: skip
    """Loops over `steps[b][t]` = (observation, action, reward), and gradient steps over `rows` of trajectories."""
    old, old_values, batch, times = np.stack([*map(softmax, logits)]), critic.copy(), len(steps), len(steps[0])
    advantages = np.zeros((batch, times))
    for b, trajectory in enumerate(steps):
        values = [old_values[o] for o, _, _ in trajectory] + [0.0]
        for t in range(times):
            for k in range(t, times):
                error = scale * trajectory[k][2] + discount * values[k + 1] - values[k]
                advantages[b, t] += (discount * lam) ** (k - t) * error
    targets = advantages + np.array([[old_values[o] for o, _, _ in trajectory] for trajectory in steps])
    if normalise:
        advantages = (advantages - advantages.mean()) / advantages.std()
    clipped = 0
    for row in rows:
        slope, value_slope, now = np.zeros_like(logits), np.zeros_like(critic), np.stack([*map(softmax, logits)])
        for b in row:
            for t, (o, a, _) in enumerate(steps[b]):
                ratio, advantage = now[o, a] / old[o, a], advantages[b, t]
                if ratio * advantage <= np.clip(ratio, 1 - clip, 1 + clip) * advantage:
                    slope[o] += advantage * ratio * (np.eye(2)[a] - now[o])
                else:
                    clipped += 1
                error, near = critic[o] - targets[b, t], critic[o]
                if value_clip is not None:
                    near = old_values[o] + np.clip(critic[o] - old_values[o], -value_clip, value_clip)
                if value_clip is None or error**2 >= (near - targets[b, t]) ** 2:
                    value_slope[o] -= coefficient * 2 * error
                elif near == critic[o]:  # pragma: no cover (equal errors are the branch above)
                    raise AssertionError
        logits, critic = logits + rate * slope / len(row), critic + rate * value_slope / len(row)
    return logits, critic, clipped
