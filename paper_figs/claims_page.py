"""The page of claims: how many of the paper's hold, at which size, and against which thresholds."""

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

What of the paper these runs show, at their size, and what not: written by `python -m paper_figs.reference` from what
is kept of each run.

{summary}

A claim is a number held against a threshold. Each threshold stands in `claims` of the figure's
[module](../experiments), in the commit that made the run; the number alone decides, and "within two errors" says that
it lies nearer to the threshold than two standard errors. Settings of small size were searched for before, mostly on
COALA-PG ([what was tried](small_size.md)). All seeds of a kept run count, and further seeds at the same settings,
where they are known.

`tensorboard --logdir runs` (after `pip install tensorboard`) shows training live, while it runs.

## The paper's figures

Each by its command, which goes on where it was stopped; several figures may stand in one. Minutes are those of two
cores; where it says "over", not all of an interrupted run is timed.

"""

_BEYOND = """
## Beyond the paper

"""

_OTHER_GAMES = """
## The paper's claims in other games

They are claims about the prisoner's dilemma, and need not hold there ([what is seen instead](iterated.md#other-games)).

"""

_EACH = """
## Each claim of the paper

| figure | claim | measured | seeds | threshold | holds |
| --- | --- | ---: | ---: | ---: | --- |
"""


def page(folders: Sequence[Path]) -> str:
    """Of what is kept in these folders."""
    others = [folder for folder in folders if game_of(folder) != DILEMMA]
    ours = [folder for folder in folders if made(folder)["figure"] in BEYOND and folder not in others]
    paper = [folder for folder in folders if folder not in others + ours]
    text = _HEAD.format(summary=_summary(paper)) + _table(paper)
    text += _BEYOND + _table(ours) if ours else ""
    text += _OTHER_GAMES + _table(others) if others else ""
    rows = (f"| {_name(folder)} {row(claim)}\n" for folder in paper for claim in claims_of(folder))
    return text + _EACH + "".join(rows)


def row(claim: dict[str, Any]) -> str:
    """Of a table of claims."""
    threshold, holds = f"{claim['relation']} {claim['threshold']:g}", verdict(claim)
    holds = re.sub("^no(?!t)", "**no**", holds)
    seeds = "" if claim.get("seeds") is None else claim["seeds"]
    return f"| {claim['claim']} | {in_words(claim)} | {seeds} | {threshold} | {holds} |"


def _summary(folders: Iterable[Path]) -> str:
    claims = [claim for folder in folders for claim in claims_of(folder)]
    count = Counter((claim["holds"], within_two_errors(claim)) for claim in claims if claim["applicable"])
    held, failed = (count[word, True] + count[word, False] for word in (True, False))
    return (
        f"**Of {held + failed} claims about the paper's figures {held} hold, {count[True, True]} of them within two "
        f"errors only; {failed} do not, {count[False, True]} of them within two errors.**"
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
    """Of a run that made records of its own."""
    if made(folder)["figure"] not in shlex.split(origins(folder)[-1]["command"]):
        return ""
    seconds = [origin.get("seconds") for origin in origins(folder)]
    known = sum(number for number in seconds if number is not None) / 60
    return ("over " if None in seconds else "") + f"{known:.1f}"


def _link(folder: Path) -> str:
    """To the figure's section."""
    title = heading(folder)
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{_name(folder)}](figures.md#{anchor})"


def _name(folder: Path) -> str:
    """Short: that of the paper's, or the command's."""
    title = heading(folder)
    short = re.match(r"(Figure \w+|Section \S+?)(?=:| in another game)", title)
    if not short:
        return made(folder)["figure"]
    game = title.partition(" in another game: ")[2]
    return f"{short[0]}, {game}" if game else short[0]
