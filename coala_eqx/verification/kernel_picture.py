"""The picture of kernels: one matrix of weights of rewards and one of values for each estimator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.estimators.objectives import objective_of
from coala_eqx.structure.findings import WEIGHTS
from coala_eqx.structure.kernel import FREE, OWN, Kernel, relations
from coala_eqx.verification.structural import kernel_of

SIZE = (2, 3, 2)
"""Default (B, M, T) of the drawing."""

_UNUSED, _OWN, _FUTURE, _IN_USE, _WRONG = range(5)
_COLOURS = ("#FFFFFF", "#56B4E9", "#009E73", "#DDDDDD", "#D55E00")
_NAMES = (
    "no influence on the action's return: free, not used",
    "own inner episode, weight as it must be",
    "later inner episodes, weight as it must be",
    "free or admissible, and used: more or less noise, no bias",
    "wrong: makes a bias",
)


def draw_kernels(
    path: Path, estimators: Sequence[AbstractScoreFunctionEstimator], size: tuple[int, int, int] = SIZE
) -> None:
    """Write a figure with one column for each estimator: weights of rewards above, weights of values below.

    A row of a matrix is an action. A column is the step of a reward or value. Trajectories form blocks, and inner
    episodes form blocks within them. The numbers are weights times B.

    **Raises** `ImportError` if matplotlib is missing; `NotLinear`, a `ValueError`, if coefficients have no matrix;
    `OSError` if the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (an optional dependency)
        from matplotlib.patches import Patch  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f"{error}; figures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(0.9 + 3.0 * len(estimators), 7.6), layout="constrained", dpi=150)
    axes = figure.subplots(2, len(estimators), squeeze=False)
    for column, estimator in enumerate(estimators):
        kernel = kernel_of(estimator, size)
        by_episode = WEIGHTS[objective_of(estimator)](size[1])
        _panel(axes[0, column], _kinds_of_rewards(kernel, by_episode), kernel.rewards, size)
        _panel(axes[1, column], _kinds_of_values(kernel), kernel.values, size)
        axes[0, column].set_title(type(estimator).__name__, fontsize=12)
        axes[1, column].set_xlabel("step of the reward or value", fontsize=9)
    axes[0, 0].set_ylabel("weight of rewards\n\naction", fontsize=9)
    axes[1, 0].set_ylabel("weight of the critic's values\n\naction", fontsize=9)
    handles = [Patch(facecolor=colour, edgecolor="#888888") for colour in _COLOURS]
    figure.legend(handles, _NAMES, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    batch, episodes, steps = size
    figure.suptitle(
        f"B = {batch} trajectories, M = {episodes} inner episodes, T = {steps} steps. Numbers: weight times B.",
        fontsize=10,
    )
    figure.savefig(path)


def _kinds_of_rewards(kernel: Kernel, by_episode: Any) -> np.ndarray:
    relation = relations(*kernel.size)
    used = np.abs(kernel.rewards) > kernel.tolerance
    kinds = np.where(used, _IN_USE, _UNUSED)
    kinds[relation != FREE] = _FUTURE
    kinds[relation == OWN] = _OWN
    kinds[(relation != FREE) & ~used & (np.asarray(by_episode)[:, None] == 0)] = _UNUSED
    kinds[kernel.wrong(by_episode)] = _WRONG
    return kinds


def _kinds_of_values(kernel: Kernel) -> np.ndarray:
    kinds = np.where(np.abs(kernel.values) > kernel.tolerance, _IN_USE, _UNUSED)
    kinds[kernel.forbidden_values()] = _WRONG
    return kinds


def _panel(axis: Any, kinds: np.ndarray, weights: np.ndarray, size: tuple[int, int, int]) -> None:
    from matplotlib.colors import ListedColormap  # noqa: PLC0415

    batch, episodes, steps = size
    number = int(np.prod(size))
    kinds, weights = kinds.reshape(number, number), batch * weights.reshape(number, number)
    axis.imshow(kinds, cmap=ListedColormap(_COLOURS), vmin=-0.5, vmax=len(_COLOURS) - 0.5)
    for row, column in np.argwhere((np.abs(weights) > 1e-12) | (kinds == _WRONG)):
        colour = "white" if kinds[row, column] in (_WRONG, _FUTURE) else "black"
        text = f"{weights[row, column]:.2g}".replace("-", "−")
        axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    for place in range(steps, number, steps):
        heavy = place % (episodes * steps) == 0
        for line in (axis.axhline, axis.axvline):
            line(place - 0.5, color="black" if heavy else "#888888", lw=2.0 if heavy else 0.6)
    middles = [episodes * steps * b + (episodes * steps - 1) / 2 for b in range(batch)]
    labels = [f"trajectory {1 + b}" for b in range(batch)]
    axis.set_xticks(middles, labels, fontsize=8)
    axis.set_yticks(middles, labels, fontsize=8, rotation=90, va="center")
    axis.tick_params(length=0)
