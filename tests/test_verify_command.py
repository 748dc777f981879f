"""`coala-eqx verify` as a whole: its files, its tables, its exit status, and sizes that nobody chose."""

import io
import json
import math
import os
import re
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import coala_eqx as ce
from coala_eqx.cli import main
from coala_eqx.estimators import Inapplicable
from coala_eqx.exact import count_outcomes
from coala_eqx.structure.findings import Finding
from coala_eqx.verification.counterexample import Counterexample
from coala_eqx.verification.files import check_outputs, write_json, write_safely
from coala_eqx.verification.sizes import default_sizes
from coala_eqx.verification.structural import StructuralCertificate
from coala_eqx.verification.table import CertificateTable, print_certificates, print_structures
from coala_eqx.verification.verdict import Findings, summary
from tests.certificates import certificate

ROOT = Path(__file__).parent.parent
SMALL = ["--batch", "2", "--episodes", "2", "--steps", "1"]


def structure(
    estimator: str, verdict: Any = "unbiased", *, claim: str | None = "shaping_return", wrong: int = 0
) -> StructuralCertificate:
    """A structural certificate."""
    return StructuralCertificate(
        estimator, claim, "shaping_return", verdict, verdict, ((1, 2, 3), (3, 2, 1)), downstream=297, wrong=wrong,
        free_in_use=0, forbidden_values=0, note="", source=ce.estimators.CoalaPG(),
        finding=Finding.at((1, 2, 3), (0,) * 6, 0.5, 1.0) if verdict == "biased" else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("certificates", "structures", "status"),
    [
        ([certificate()], [structure("Mine")], 0),
        ([certificate(), certificate(problem="two", verdict="inapplicable")], [], 0),
        ([certificate(claim=None, verdict="biased")], [structure("Mine", "biased", claim=None)], 0),
        ([certificate(claim=None, verdict="inapplicable")], [], 0),
        ([certificate(verdict="inapplicable")], [], 1),
        ([certificate(verdict="inapplicable"), certificate(estimator="Other")], [structure("Mine")], 1),
        ([certificate(verdict="fails")], [], 1),
        ([certificate()], [structure("Mine", "biased")], 1),
        ([certificate(verdict="fails"), certificate(problem="two", verdict="error")], [], 1),
        ([certificate(), certificate(problem="two", verdict="error")], [], 2),
        ([certificate(), certificate(problem="two", verdict="not resolved")], [], 2),
        ([certificate(claim=None, verdict="not resolved")], [], 2),
    ],
)
def test_the_exit_status_is_0_only_if_every_claim_holds_and_was_judged(certificates, structures, status):
    assert Findings(certificates, structures).status() == status


def test_an_estimator_that_nobody_named_may_decline():
    findings = Findings([certificate(verdict="inapplicable"), certificate(estimator="Other")])
    assert findings.nowhere() == ["Mine"]
    assert (findings.status(), findings.status({"Mine"}), findings.status({"Other"})) == (1, 0, 1)
    assert Findings([certificate()], broken={"Mine": "ValueError"}).status() == 2


def test_the_summary_counts_what_was_declined_and_what_was_not_resolved():
    declined = [certificate(problem=name, verdict="inapplicable") for name in ("two", "three")]
    unresolved = certificate(estimator="Other", verdict="not resolved")
    words = summary([certificate(), *declined, unresolved, certificate(claim=None, verdict="inapplicable")])
    assert words == (
        "The claim holds. 2 claims declined: Mine on 'two', 'three'. 1 claim not resolved: Other on 'one'."
    )
    assert summary(declined).startswith(
        "No claim was judged. 2 claims declined: Mine on 'two', 'three'. Judged nowhere: Mine."
    )
    refuted = Findings([certificate()], [structure("Loud", "biased")], {"Odd": "TypeError"})
    assert refuted.words().endswith("Refuted for all games by structure: Loud. Structure not examined: Odd.")


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        ("raise Inapplicable('not today')", SMALL, 1),
        ("raise Inapplicable('B > 1') if problem.batch > 1 else None", SMALL, 1),
        ("pass", SMALL, 0),
    ],
)
def test_an_estimator_that_declines_is_no_success(text, options, status, tmp_path, capsys):
    text = text.replace("raise Inapplicable('B > 1') if", "if").replace(" else None", ": raise Inapplicable('B > 1')")
    (tmp_path / "mine.py").write_text(
        "from coala_eqx.estimators import CoalaPG, Inapplicable\nclass Shy(CoalaPG):\n"
        f"    def check_problem(self, problem):\n        {text}\n"
    )
    assert main(["verify", "--estimator", f"{tmp_path / 'mine.py'}:Shy", *options]) == status
    assert ("1 claim declined: Shy on 'prisoners-dilemma'." in capsys.readouterr().out) == bool(status)


def test_structures_come_first_and_refute(monkeypatch, capsys, tmp_path):
    """Of an estimator that is no score function there is none; arrays are not written."""

    def certify_structure(estimator):
        name = type(estimator).__name__
        if name == "LolaExact":
            raise Inapplicable("no score function")
        if name == "Reinforce":
            raise SystemExit(0)
        if name == "MFOS":
            return structure(name, "biased", wrong=54)
        return structure(name)

    monkeypatch.setattr("coala_eqx.verification.command.certify_structure", certify_structure)
    example = Counterexample((1, 2, 3), "In this game it is off by 1.", None, None, None)
    monkeypatch.setattr("coala_eqx.verification.structural.find_counterexample", lambda *_, **__: example)
    names = ["CoalaPG", "MFOS", "LolaExact"]
    path = tmp_path / "out.json"
    assert main(["verify", "--estimator", *names, *SMALL, "--json", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    titles = [lines.index(title) for title in ("Structural certificates", "Problems", "Certificates")]
    assert titles == sorted(titles)
    rows = {line.split()[0]: line for line in lines[titles[0] : titles[1]] if line.startswith("  ")}
    assert rows["MFOS"].split() == [
        "MFOS",
        "shaping",
        "2,",
        "up",
        "to",
        "(3,",
        "2,",
        "3)",
        "54",
        "of",
        "297",
        "0",
        "0",
        "BIASED",
    ]
    assert rows["CoalaPG"].endswith("unbiased")
    assert "MFOS: In this game it is off by 1." in lines
    assert "LolaExact: not score-function estimators, judged by enumeration only." in lines
    assert "Refuted for all games by structure: MFOS." in lines[-2]
    first, second = json.loads(path.read_text())["structural"]
    assert (first["estimator"], first["kept"], first["wrong"], first["sizes"]) == (
        "CoalaPG",
        True,
        0,
        [[1, 2, 3], [3, 2, 1]],
    )
    assert (second["kept"], second["counterexample"]) == (False, "In this game it is off by 1.")
    assert "kernel" not in second
    assert main(["verify", "--estimator", "CoalaPG", "Reinforce", *SMALL]) == 2
    assert "Reinforce: its structure cannot be examined: SystemExit: 0" in capsys.readouterr().out


def test_rows_are_printed_as_they_are_made_in_columns(monkeypatch):
    stream = io.StringIO()
    table = CertificateTable(
        Console(file=stream, width=20), ["Mine", "A_very_long_name_of_an_estimator"], ["one", "two"]
    )
    table.head()
    heads = stream.getvalue().splitlines()[1]
    for number, changes in enumerate(({}, {"estimator": "A_very_long_name_of_an_estimator"}, {"problem": "two"})):
        before = stream.getvalue()
        table.row(certificate(**changes))
        *empty, line = stream.getvalue().removeprefix(before).splitlines()
        assert empty == ([""] if number == 2 else []), "an empty line separates problems"
        assert line.split()[0] == changes.get("estimator", "Mine")
        assert line.index("holds") == heads.index("verdict")
        assert line.index("1.0000") + 6 == heads.index("cosine") + 6


def test_bounds_of_rounding_have_a_column_where_there_are_any():
    stream = io.StringIO()
    rows = [certificate(), certificate(verdict="not resolved", note="try\nthis")]
    print_certificates(Console(file=stream), rows)
    _, heads, _, first, *_ = stream.getvalue().splitlines()
    assert first[: heads.index("rounding") + 8].endswith(" 3.0e-13")
    assert "Mine on 'one', not resolved: try this" in stream.getvalue()


def test_structures_without_any_row_are_printed():
    stream = io.StringIO()
    print_structures(Console(file=stream), [], ["LolaExact"])
    assert "LolaExact: not score-function estimators" in stream.getvalue()


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--json", "no/such/folder.json", "--json cannot write"),
        ("--figure", "no/such/folder.png", "--figure cannot write"),
        ("--figure", "x.bmp", "--figure must end with one of .png, .pdf, .svg, but is"),
        ("--figure", "x", "--figure must end with one of"),
        ("--json", "", "--json must name a file, but"),
        ("--figure", "", "--figure must name a file, but"),
        ("--json", "x" * 300, "File name too long"),
        ("--json", "mine.py", "which is read; name another file"),
        ("--json", "game.json", "which is read; name another file"),
        ("--json", "file/x.json", "there is no folder"),
        ("--json", "/dev/stdout", "is where tables are printed"),
        ("--json", "/proc/self/x.json", "--json cannot write"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_anything_is_computed(
    option, name, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("coala_eqx.verification.command.certify_all", lambda *_, **__: pytest.fail("it computes"))
    (tmp_path / "mine.py").write_text("from coala_eqx.estimators import CoalaPG as Mine")
    (tmp_path / "game.json").write_text("[[[1, 0], [2, 3]], [[1, 2], [0, 3]]]")
    (tmp_path / "file").write_text("")
    mine = ["--estimator", f"{tmp_path / 'mine.py'}:Mine", "--payoffs", str(tmp_path / "game.json")]
    before = sorted(tmp_path.iterdir())
    assert main(["verify", *mine, *SMALL, option, str(tmp_path / name)]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_replace_each_other_or_what_is_printed_are_refused(tmp_path):
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match="--figure would overwrite what --json writes"):
        check_outputs({"--json": path, "--figure": tmp_path / "." / "x.png"})
    with path.open("w") as stream, pytest.raises(ValueError, match="is where tables are printed"):
        check_outputs({"--json": path}, (), [stream])
    path.chmod(0o400)
    if not os.access(path, os.W_OK):
        with pytest.raises(ValueError, match="may only be read"):
            check_outputs({"--json": path})


def test_without_matplotlib_a_figure_is_refused_and_the_hint_works_anywhere(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["verify", *SMALL, "--figure", str(tmp_path / "x.png")]) == 2
    message = capsys.readouterr().err
    assert "--figure needs matplotlib: pip install matplotlib (in a clone: pip install -e '.[figures]')" in message


def test_files_are_whole_or_as_before(tmp_path):
    """With the permissions they had; a link is followed; what is no file is written to."""
    path, link = tmp_path / "out.json", tmp_path / "link.json"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)

    def fail(place):
        place.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_safely(link, fail)
    assert path.read_text() == "before"
    write_safely(link, lambda place: place.write_text("after"))
    assert link.is_symlink()
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [link, path]
    write_safely(Path(os.devnull), lambda place: place.write_text("gone"))
    assert not Path(os.devnull).is_file()


def test_json_takes_what_there_is(tmp_path):
    """Names that are no Unicode, numbers of NumPy, and infinities in tuples."""
    path = tmp_path / "out.json"
    odd = structure("Odd")
    vars(odd).update(sizes=((1, 2, math.inf),), note="\udcff", downstream=np.int64(3))
    write_json(path, [certificate(snr=math.inf)], [], {"json": "a\udcff"}, [odd], complete=False)
    content = json.loads(path.read_bytes())
    assert content["settings"] == {"json": "a\udcff"}
    assert content["structural"][0]["sizes"] == [[1, 2, None]]
    assert content["structural"][0]["downstream"] == 3
    assert content["certificates"][0]["snr"] is None
    assert content["complete"] is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_certified_before_an_interruption_is_written(number, tmp_path, monkeypatch, capsys):
    path = tmp_path / "out.json"
    made = iter([[certificate()], None])

    def certify_all(*_, **__):
        yield from next(made) or interrupt()

    def interrupt():
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr("coala_eqx.verification.command.certify_all", certify_all)
    assert main(["verify", "--estimator", "CoalaPG", "--json", str(path)]) == 128 + number
    content = json.loads(path.read_text())
    assert [entry["verdict"] for entry in content["certificates"]] == ["holds"]
    assert not content["complete"]
    captured = capsys.readouterr()
    assert captured.err.endswith("coala-eqx: interrupted\n")
    assert "The claim holds." in captured.out


@pytest.mark.parametrize(
    ("actions", "players", "given", "expected"),
    [
        (2, 2, {}, (2, 2, 2)),
        (3, 2, {}, (2, 2, 1)),
        (2, 3, {}, (2, 2, 1)),
        (5, 2, {}, (1, 2, 1)),
        (20, 2, {}, (2, 1, 1)),
        (3, 2, {"steps": 2}, (2, 2, 2)),
        (3, 2, {"batch": 3}, (3, 2, 1)),
        (2, 2, {"batch": 1, "steps": 3}, (1, 2, 3)),
        (3, 2, {"batch": 5, "episodes": 5, "steps": 5}, (5, 5, 5)),
    ],
)
def test_sizes_that_nobody_chose_make_no_more_outcomes_than_can_be_enumerated(actions, players, given, expected):
    """Those that are given stay, and where they are many the others are not made trivial."""
    game = ce.games.MatrixGame(np.random.default_rng(0).normal(size=(players, *(actions,) * players)))
    sizes = default_sizes(game, **given)
    assert sizes == expected
    if not given:
        policies = [ce.policies.MemoryOne(np.zeros((1 + actions**players, actions)))] * (players - 1)
        chosen = dict(zip(("batch", "episodes", "steps"), sizes, strict=True))
        problem = ce.ShapingProblem(game=game, co_players=policies, learner=ce.learners.Static(), **chosen)
        assert count_outcomes(problem) <= 100_000


def test_sizes_that_were_chosen_for_a_large_game_are_said(capsys):
    arguments = ["--payoffs", str(ROOT / "examples/rock_paper_scissors.toml"), "--estimator", "LolaExact"]
    assert main(["verify", *arguments]) == 0
    captured = capsys.readouterr()
    assert "Chosen for this large game: --steps 1, with 3,321 outcomes; 2 would give more than 100,000." in captured.out
    assert captured.err.startswith(
        "1 of 1, rock-paper-scissors, with a bonus on rock: 3,321 outcomes, 1 estimator, about "
    )


def test_a_policy_of_ones_own_is_verified(tmp_path, capsys):
    """At the name's own class, drawn by the seed."""
    (tmp_path / "mine.py").write_text(
        "import coala_eqx as ce\ndef make(problem, key):\n    return ce.policies.MemoryOne.random(problem.game, key)\n"
    )
    results = []
    for policy in (f"{tmp_path / 'mine.py'}:make", "coala_eqx.policies:MemoryOne"):
        assert (
            main(["verify", "--estimator", "CoalaPG", *SMALL, "--policy", policy, "--json", str(tmp_path / "x.json")])
            == 0
        )
        content = json.loads((tmp_path / "x.json").read_text())
        assert content["problems"][0]["policy"] == "MemoryOne"
        results.append(content["certificates"][0]["gradient_norm"])
    assert len(set(results)) == 1
    assert main(["verify", "--estimator", "CoalaPG", *SMALL, "--policy", "coala_eqx.policies:FullHistory"]) == 2
    assert "makes no policy for this problem: TypeError" in capsys.readouterr().err


def test_the_count_comes_before_the_computing(monkeypatch, capsys):
    monkeypatch.setattr("coala_eqx.verification.command.certify_all", lambda *_, **__: pytest.fail("stop"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coala_eqx.verification.command.certify_all", lambda *_, **__: iter([certificate()]))
        assert main(["verify", "--estimator", "CoalaPG", *SMALL]) == 0
    assert capsys.readouterr().err == "1 of 1, prisoners-dilemma: 136 outcomes, 1 estimator, about 2 s\n"


def test_a_learner_that_draws_minibatches_is_enumerated_by_name(capsys):
    """COALA-PG is unbiased against it, and M-FOS is not."""
    assert main(["verify", "--estimator", "CoalaPG", "MFOS", *SMALL, "--learner", "ppo"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"CoalaPG .* holds", out)
    assert re.search(r"MFOS .* biased", out)
    assert (
        main(
            ["verify", "--estimator", "CoalaPG", "--batch", "3", "--episodes", "2", "--steps", "1", "--learner", "ppo"]
        )
        == 2
    )
    assert "`minibatches`" in capsys.readouterr().err
