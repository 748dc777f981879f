"""Read a trained agent back, play it against two co-players of one's own, and draw the result: after `train.py`."""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import optax
import polars as pl

import coala_eqx as ce
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import MemoryOne

RUN = Path("runs/dilemma")
TIT_FOR_TAT = MemoryOne([[5, -5], [5, -5], [-5, 5], [5, -5], [-5, 5]])  # at the start, and after CC, CD, DC, DD
LEARNER = PolicyGradient(optimiser=optax.sgd(0.3), baseline="batch_mean")
CO_PLAYERS = {"tit for tat": (TIT_FOR_TAT, Static()), "a beginner that learns": (MemoryOne([[0, 0]] * 5), LEARNER)}


def main(batch: int = 64, episodes: int = 20, steps: int = 10) -> None:
    (agent,) = ce.runs.load_agents(RUN)
    history = pl.read_parquet(RUN / "records.parquet")
    settings = {"game": ce.games.iterated_prisoners_dilemma(), "batch": batch, "episodes": episodes, "steps": steps}
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    left.plot(history["iteration"], history["reward"], label="agent")
    left.plot(history["iteration"], history["naive"], "--", label="naive learner")
    left.set(title="Training in the prisoner's dilemma", xlabel="iteration", ylabel="reward per step")
    for number, (name, (co_player, learner)) in enumerate(CO_PLAYERS.items()):
        problem = ce.ShapingProblem(co_players=co_player, learner=learner, **settings)
        played = problem.play(agent, jax.random.key(number))
        right.plot(range(1, episodes + 1), played.rewards.mean((0, 2)), f"C{number}", label=f"agent, against {name}")
        right.plot(range(1, episodes + 1), played.co_players[0].rewards.mean((0, 2)), f"C{number}--", label=name)
    right.set(title="The trained agent", xlabel="inner episode", xticks=range(1, episodes + 1, 1 + episodes // 10))
    for side in (left, right):
        side.legend()
    plt.savefig(RUN / "evaluation.png", dpi=150)


if __name__ == "__main__":
    main()
