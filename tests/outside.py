"""Small environments that follow the protocols of JaxMARL 0.2.0 and Gymnax 1.0.1: calls, results, and ends."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp


class Coins:
    """As JaxMARL's coin game: `step_env` starts anew by itself after `num_inner_steps`, pays nothing in that step, and
    says so in `infos` only. The clock of what it calls its outer episodes goes on.

    Players see the step, the outer clock, and where they began, which is drawn; an action earns its number.
    """

    def __init__(self, num_inner_steps=3, num_outer_steps=10):
        self.agents = ["0", "1"]
        self.num_agents = 2
        self.num_inner_steps, self.num_outer_steps = num_inner_steps, num_outer_steps

    def action_space(self, agent):
        return SimpleNamespace(n=5)

    def reset(self, key):
        start = jax.random.uniform(key, minval=1.0, maxval=2.0)
        state = {"step": jnp.zeros((), jnp.int32), "outer": jnp.zeros((), jnp.int32), "start": start}
        return self.observe(state), state

    def observe(self, state):
        seen = jnp.stack([state["step"], state["outer"], state["start"]])
        return {"0": seen, "1": -seen}

    def step(self, key, state, actions):
        raise AssertionError("`step` starts anew by itself")

    def step_env(self, key, state, actions):
        inner = state["step"] + 1 == self.num_inner_steps
        outer = state["outer"] + inner.astype(jnp.int32)
        _, fresh = self.reset(key)
        state = {
            "step": jnp.where(inner, 0, state["step"] + 1),
            "outer": outer,
            "start": jnp.where(inner, fresh["start"], state["start"]),
        }
        rewards = {agent: jnp.where(inner, 0.0, actions[agent]) for agent in self.agents}
        done = outer == self.num_outer_steps
        dones = {"0": done, "1": done, "__all__": done}
        return self.observe(state), state, rewards, dones, {"inner_episode_done": inner}


class Spread:
    """As JaxMARL's MPE: any number of players; after `max_steps` it is done for all of them, and goes on if asked.

    Each earns the number of its action. The first player sees two numbers, the others one.
    """

    def __init__(self, players=3, max_steps=3):
        self.agents = [f"agent_{number}" for number in range(players)]
        self.num_agents, self.max_steps = players, max_steps
        self.action_spaces = {agent: SimpleNamespace(n=2) for agent in self.agents}

    def action_space(self, agent):
        return self.action_spaces[agent]

    def reset(self, key):
        return self.observe(state := jnp.zeros((), jnp.int32)), state

    def observe(self, state):
        seen = 1.0 + state[None]
        return {agent: jnp.tile(seen, 2 if number == 0 else 1) for number, agent in enumerate(self.agents)}

    def step_env(self, key, state, actions):
        done = state >= self.max_steps
        rewards = {agent: actions[agent].astype(jnp.float32) for agent in self.agents}
        dones = dict.fromkeys([*self.agents, "__all__"], done)
        return self.observe(state + 1), state + 1, rewards, dones, {}


class Pole:
    """As Gymnax's: one player, bare values, parameters; terminated where it has gone `far`, and cut off by a limit.

    It moves by its action, 0 or 1, and sees where it is; each step pays 1.
    """

    num_actions = 2

    def __init__(self, far=3, max_steps_in_episode=100):
        self.default_params = {"far": far, "max_steps_in_episode": max_steps_in_episode}

    def action_space(self, params=None):
        return SimpleNamespace(n=2)

    def observation_space(self, params):
        return SimpleNamespace(n=params["far"] + 9)

    def reset(self, key, params=None):
        state = {"where": jnp.zeros((), jnp.int32), "time": jnp.zeros((), jnp.int32)}
        return self.observe(state), state

    def observe(self, state):
        return jnp.stack([1.0 + state["where"], 1.0 + state["time"]])

    def step_env(self, key, state, action, params):
        state = {"where": state["where"] + action.astype(jnp.int32), "time": state["time"] + 1}
        terminated = state["where"] >= params["far"]
        return self.observe(state), state, jnp.ones(()), terminated, {"discount": jnp.where(terminated, 0.0, 1.0)}

    def is_truncated(self, state, params):
        return state["time"] >= params["max_steps_in_episode"]

    def step(self, key, state, action, params=None):
        params = self.default_params if params is None else params
        seen, after, reward, terminated, info = self.step_env(key, state, action, params)
        truncated = self.is_truncated(after, params)
        first, fresh = self.reset(key, params)
        seen, after = jax.tree.map(lambda a, b: jnp.where(terminated | truncated, a, b), (first, fresh), (seen, after))
        return seen, after, reward, terminated, truncated, info


class Lake(Pole):
    """As Gymnax's FrozenLake: the one player sees an integer."""

    def observe(self, state):
        return state["where"]


class OnlySteps:
    """Another one of which only `reset` and `step` are there, which starts anew after an end or the limit."""

    num_actions = 2

    def __init__(self, *arguments):
        self.inside = Pole(*arguments)
        self.reset, self.step = self.inside.reset, self.inside.step
