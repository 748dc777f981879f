"""The page of claims: how many of the paper's claims hold, at which size, and against which thresholds."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.arguments import today
from experiments.claims import DILEMMA, in_words, verdict, within_two_errors
from experiments.experiment import BEYOND
from paper_figs.kept import again, claims_of, game_of, heading, made, origins

_HEAD = """# Claims

This page lists the paper's claims, and whether the kept runs support them at their size. `python -m
paper_figs.reference` writes it from the kept runs.

{summary}

A claim compares a measured number with a threshold. The thresholds are in `claims` of the figure's
[module](../experiments), in the commit that made the run. The number alone decides. "Within two errors" means that it
is less than two standard errors away from the threshold. Settings of small size were searched for beforehand, mostly
with COALA-PG ([what was tried](small_size.md)). All seeds of a kept run count. Further seeds at the same settings count
where they are known.

`tensorboard --logdir runs` (after `pip install tensorboard`) shows the training curves while a run is going.

## The paper's figures

Each figure has its command. A command resumes a stopped run, and may name several figures. Minutes are for two cores.
"Over" marks an interrupted run that is not timed completely.

"""

_BEYOND = """
## Beyond the paper

"""

_OTHER_GAMES = """
## The paper's claims in other games

The paper's claims are about the prisoner's dilemma and need not hold in other games
([results there](iterated.md#other-games)).

"""

_EACH = """
## Each claim of the paper

| figure | claim | measured | seeds | threshold | holds |
| --- | --- | ---: | ---: | ---: | --- |
"""


def page(folders: Sequence[Path]) -> str:
    """The page for the kept runs in these folders."""
    others = [folder for folder in folders if game_of(folder) != DILEMMA]
    ours = [folder for folder in folders if made(folder)["figure"] in BEYOND and folder not in others]
    paper = [folder for folder in folders if folder not in others + ours]
    text = _HEAD.format(summary=_summary(paper)) + _table(paper)
    text += _BEYOND + _table(ours) if ours else ""
    text += _OTHER_GAMES + _table(others) if others else ""
    rows = (f"| {_name(folder)} {row(claim)}\n" for folder in paper for claim in claims_of(folder))
    return text + _EACH + "".join(rows)


def row(claim: dict[str, Any]) -> str:
    """One row of a table of claims."""
    threshold, holds = f"{claim['relation']} {claim['threshold']:g}", verdict(claim)
    holds = re.sub("^no(?!t)", "**no**", holds)
    seeds = "" if claim.get("seeds") is None else claim["seeds"]
    return f"| {claim['claim']} | {in_words(claim)} | {seeds} | {threshold} | {holds} |"


def _summary(folders: Iterable[Path]) -> str:
    claims = [claim for folder in folders for claim in claims_of(folder)]
    count = Counter((claim["holds"], within_two_errors(claim)) for claim in claims if claim["applicable"])
    held, failed = (count[word, True] + count[word, False] for word in (True, False))
    return (
        f"**{held} of {held + failed} claims about the paper's figures hold, {count[True, True]} of them within two "
        f"errors. {failed} do not hold, {count[False, True]} of them within two errors.**"
    )


def _table(folders: Iterable[Path]) -> str:
    lines = [
        "| figure | command | minutes | preset, seeds | claims held | within two errors |",
        "| --- | --- | ---: | --- | ---: | --- |",
        *map(_figure, folders),
    ]
    return "\n".join(lines) + "\n"


def _figure(folder: Path) -> str:
    made_by, claims = made(folder), claims_of(folder)
    words = shlex.split(origins(folder)[-1]["command"])
    preset = words[words.index("--preset") + 1] if "--preset" in words else "cpu"
    seeds, further = made_by["settings"].get("seeds"), {record["seed"] for record in again(folder)}
    size = preset if seeds is None else f"{preset}, {seeds}" + (f" (+ {len(further)})" if further else "")
    near = Counter(claim["holds"] for claim in claims if within_two_errors(claim))
    told = [f"{near[word]} {text}" for word, text in ((True, "held"), (False, "not held")) if near[word]]
    held = f"{sum(bool(claim['holds']) for claim in claims)} of {len(claims)}"
    command, minutes = _command(folder, words), _minutes(folder)
    return f"| {_link(folder)} | {command} | {minutes} | {size} | {held} | {', '.join(told)} |"


def _command(folder: Path, words: Sequence[str]) -> str:
    """The command, as it is typed today, without the default preset and the layout."""
    figure = made(folder)["figure"]
    if figure in words:
        command = shlex.join(today(words, figure)).replace(" --preset cpu", "").replace(" --devices 2", "")
        return f"`{command}`"
    if not words:
        return f"`python -m experiments {figure}`"
    return f"`python -m experiments {figure}`, after `{words[3]}`"


def _minutes(folder: Path) -> str:
    """Minutes of a run; empty if the run uses the records of another."""
    if made(folder)["figure"] not in shlex.split(origins(folder)[-1]["command"]):
        return ""
    seconds = [origin.get("seconds") for origin in origins(folder)]
    known = sum(number for number in seconds if number is not None) / 60
    return ("over " if None in seconds else "") + f"{known:.1f}"


def _link(folder: Path) -> str:
    """Link to the figure's section."""
    title = heading(folder)
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{_name(folder)}](figures.md#{anchor})"


def _name(folder: Path) -> str:
    """Short name: the paper's name of the figure, or the name of the command."""
    title = heading(folder)
    short = re.match(r"(Figure \w+|Section \S+?)(?=:| in another game)", title)
    if not short:
        return made(folder)["figure"]
    game = title.partition(" in another game: ")[2]
    return f"{short[0]}, {game}" if game else short[0]
