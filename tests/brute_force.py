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
