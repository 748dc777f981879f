"""Certificates, the default problems, and what is read from files."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from typing import ClassVar

import jax
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.verification import Certificate, certify, certify_all, default_problems
from coala_eqx.verification.files import write_json
from coala_eqx.verification.game_files import GAMES, load_game
from coala_eqx.verification.loading import load_estimator
from coala_eqx.verification.picture import draw_certificates
from coala_eqx.verification.problems import LEARNERS, POLICIES, make_policy, make_problem
from coala_eqx.verification.verdict import summary
from examples.centred_wrongly import CentredWrongly
from examples.leave_one_out import LeaveOneOut
from tests import makers


def test_a_certificate_says_what_moments_and_gradient_say(getkey):
    problem = makers.make_problem(getkey(), steps=1)
    policy = makers.make_policy("FullHistory", problem, getkey())
    certificate = certify(ce.estimators.MFOS(), problem, policy, name="here")
    mean, variance = ce.exact.moments(ce.estimators.MFOS(), problem, policy)
    exact = ce.exact.gradient(problem, policy)
    inner = float((mean.logits * exact.logits).sum())
    expected = {
        "relative_bias": makers.distance(mean, exact),
        "cosine": inner / makers.norm(mean) / makers.norm(exact),
        "variance": float(variance),
        "snr": makers.norm(mean) / math.sqrt(variance),
        "gradient_norm": makers.norm(exact),
        "outcomes": 136,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(certificate, name), value, rtol=1e-9, err_msg=name)
    assert (certificate.estimator, certificate.problem, certificate.verdict) == ("MFOS", "here", "biased")
    assert certificate.claim is None
    assert certificate.kept


def test_verdicts(getkey):
    problem = makers.make_problem(getkey(), steps=1)
    alone = makers.make_problem(getkey(), steps=1, batch=1)
    policy = makers.make_policy("FullHistory", problem, getkey())
    assert certify(ce.estimators.CoalaPG(), problem, policy).verdict == "holds"
    assert certify(LeaveOneOut(), problem, policy).verdict == "holds"
    assert certify(ce.estimators.MFOS(), alone, policy).verdict == "unbiased"
    wrong = certify(CentredWrongly(), problem, policy)
    assert wrong.verdict == "fails"
    assert not wrong.kept
    assert "1 of 1 claims FAIL: CentredWrongly" in summary([wrong])


def test_a_discount_breaks_the_claim(getkey):
    problem = makers.make_problem(getkey())
    policy = makers.make_policy("FullHistory", problem, getkey())
    assert certify(ce.estimators.CoalaPG(discount=0.9), problem, policy).verdict == "fails"


class Unknown(ce.estimators.MFOS):
    unbiased_for: ClassVar[str | None] = "happiness"


def test_an_unknown_claim_is_named(getkey):
    problem = makers.make_problem(getkey(), steps=1)
    with pytest.raises(ValueError, match="Unknown.unbiased_for is 'happiness'.*known are 'shaping_return'"):
        certify(Unknown(), problem, makers.make_policy("MemoryOne", problem, getkey()))


def test_one_bad_estimator_does_not_lose_the_others(getkey):
    from tests.test_exact_errors import NotANumber

    problem = makers.make_problem(getkey(), steps=1)
    policy = makers.make_policy("MemoryOne", problem, getkey())
    verdicts = [c.verdict for c in certify_all((NotANumber(), ce.estimators.CoalaPG()), problem, policy)]
    assert verdicts == ["error", "holds"]
    with pytest.raises(ValueError, match="NotANumber"):
        certify(NotANumber(), problem, policy)


def test_the_default_problems_cover_what_they_should():
    problems = {named.name: named for named in default_problems(0)}
    sizes = [named.problem for named in problems.values()]
    assert any(p.batch > 2 for p in sizes)
    assert any(p.batch == 1 for p in sizes)
    assert any(p.episodes > 2 for p in sizes)
    assert any(p.steps > 1 for p in sizes)
    assert any(p.game.num_players == 3 for p in sizes)
    stochastic = problems["stochastic"].problem.game
    assert ((stochastic.transition > 0) & (stochastic.transition < 1)).any()
    payoffs = np.asarray(problems["chicken"].problem.game.payoffs[0])
    assert payoffs[0, 0] + payoffs[1, 1] != payoffs[0, 1] + payoffs[1, 0]
    assert isinstance(problems["chicken"].policy, ce.policies.FullHistory)
    assert isinstance(problems["stag hunt"].problem.co_players[0], ce.Population)
    total = sum(ce.exact.count_outcomes(p) for p in sizes)
    assert total < 1_000_000


def test_seeds_change_the_default_problems():
    for one, other in zip(default_problems(0), default_problems(1), strict=True):
        leaves = zip(jax.tree.leaves(one.policy), jax.tree.leaves(other.policy), strict=True)
        assert any(not np.array_equal(a, b) for a, b in leaves)


@pytest.mark.parametrize(("learner", "policy"), [*zip(LEARNERS, itertools.cycle(POLICIES))])
def test_every_named_learner_and_policy_makes_a_problem(learner, policy):
    """Each learner with each policy; with one of them COALA-PG is certified."""
    problems = {
        name: make_problem(
            ce.games.chicken(), LEARNERS[learner](), policy=name, batch=2, episodes=2, steps=1, seed=1,
            game_name="chicken", learner_name=learner,
        )
        for name in POLICIES
    }  # fmt: skip
    for named in problems.values():
        named.problem.check_policy(named.policy)
    certificate = certify(ce.estimators.CoalaPG(), problems[policy].problem, problems[policy].policy)
    assert certificate.verdict == "holds"


def test_an_unknown_policy_is_named(getkey):
    with pytest.raises(ValueError, match="There is no policy 'lstm'. Name one of memory-one"):
        make_policy("lstm", makers.make_problem(getkey()), getkey())


@pytest.mark.parametrize("name", GAMES)
def test_games_are_found_by_name(name):
    assert load_game(name)[0] == name


def test_games_are_read_from_files(tmp_path):
    payoffs = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    bare, table, toml = tmp_path / "bare.json", tmp_path / "table.json", tmp_path / "game.toml"
    bare.write_text(json.dumps(payoffs))
    table.write_text(json.dumps({"name": "mine", "payoffs": payoffs}))
    toml.write_text(
        "initial = [1.0, 0.0]\ntransition = [[[0.5, 0.5]], [[0.0, 1.0]]]\n"
        "rewards = [[[1.0], [2.0]]]\nobservations = [[0, 1]]\n"
    )
    assert load_game(str(bare))[0] == "bare"
    name, game = load_game(str(table))
    assert name == "mine"
    np.testing.assert_array_equal(game.payoffs, payoffs)
    name, game = load_game(str(toml))
    assert (name, game.num_players, game.num_actions) == ("game", 1, (1,))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "cannot be parsed"),
        ("a.toml", "payoffs = [", "cannot be parsed"),
        ("a.json", "7", "must hold a table or an array of payoffs, but holds 7"),
        ("a.json", '{"payoff": []}', "but found payoff"),
        ("a.json", "[[1, 2], [3, 4]]", r"a.json: `payoffs` must have shape.*but has \(2, 2\)"),
        ("a.json", "[[[1, NaN], [3, 4]], [[1, 2], [3, 4]]]", r"entry \[0, 0, 1\] is nan"),
        ("a.json", '[[["x", 2], [3, 4]], [[1, 2], [3, 4]]]', "numbers only, but holds 'x'"),
        ("a.yaml", "payoffs: 1", "must be a .json or .toml file, but ends with '.yaml'"),
    ],
)
def test_bad_game_files_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_game(str(tmp_path / name))


def test_a_missing_game_file_is_named():
    with pytest.raises(ValueError, match="neither a known game .*prisoners-dilemma.* nor a file"):
        load_game("prisoners-dilema")


@pytest.mark.parametrize(
    ("source", "content", "message"),
    [
        ("CoalaPg", None, "no estimator 'CoalaPg'. Name one of CoalaPG"),
        ("nowhere.py:Mine", None, "no file .*nowhere.py"),
        ("no_such_module_at_all:Mine", None, "no module 'no_such_module_at_all'"),
        ("coala_eqx.no_such_room:Mine", None, "no module 'coala_eqx.no_such_room'"),
        ("{}:Mine", "import nothing_of_the_kind", "fails on import: ModuleNotFoundError"),
        ("{}:Mine", "1 / 0", "fails on import: ZeroDivisionError"),
        ("{}:Mine", "def f(:", "fails on import: SyntaxError"),
        (
            "{}:Mine",
            "from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator as A\nclass Main(A):\n"
            "    def coefficients(self, rewards, values=None): ...",
            "has no 'Mine'; it defines Main\\.",
        ),
        ("{}:Mine", "x = 1", "has no 'Mine', and no other estimator"),
        ("{}:Mine", "class Mine: pass", "is not a valid estimator: it must be a subclass of AbstractEstimator"),
        (
            "{}:Mine",
            "from coala_eqx.estimators import AbstractScoreFunctionEstimator as A\nclass Mine(A):\n    n: int\n"
            "    def coefficients(self, rewards, values=None): ...",
            "cannot be made without arguments",
        ),
        (
            "{}:Mine",
            "from coala_eqx.estimators import AbstractScoreFunctionEstimator as A\nclass Mine(A): pass",
            "is abstract: it must define coefficients",
        ),
        (":Mine", None, "must be written FILE.py:NAME or module:NAME"),
    ],
)
def test_estimators_that_cannot_be_loaded_are_named(source, content, message, tmp_path):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_estimator(source.format(path))


def test_estimators_are_loaded_by_name_file_and_module():
    assert isinstance(load_estimator("MFOS"), ce.estimators.MFOS)
    assert isinstance(load_estimator("coala_eqx.estimators:MFOS"), ce.estimators.MFOS)
    assert type(load_estimator("examples/leave_one_out.py:LeaveOneOut")).__name__ == "LeaveOneOut"


def test_estimators_of_other_packages_are_found_by_their_entry_point(monkeypatch):
    from importlib.metadata import EntryPoint, entry_points

    point = EntryPoint("TheirPG", "examples.leave_one_out:LeaveOneOut", "coala_eqx.estimators")
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [point] if group == "coala_eqx.estimators" else entry_points(group=group),
    )
    assert isinstance(load_estimator("TheirPG"), LeaveOneOut)
    with pytest.raises(ValueError, match="Name one of CoalaPG.*TheirPG"):
        load_estimator("NobodysPG")


def test_a_file_does_not_replace_a_module_of_its_name(tmp_path):
    (tmp_path / "json.py").write_text("from coala_eqx.estimators import CoalaPG as Mine")
    load_estimator(f"{tmp_path / 'json.py'}:Mine")
    assert json.loads("1") == 1
    import json as again

    assert again is json


def _certificates() -> list[Certificate]:
    base = Certificate(
        "CoalaPG", "one", "shaping_return", "shaping_return", 1e-15, 1e-12, 1.0, 2.0, 0.5, 1.0, 100, 0.1, "holds"
    )
    return [
        base,
        dataclasses.replace(base, estimator="LolaExact", variance=0.0, snr=math.inf),
        dataclasses.replace(base, estimator="MFOS", relative_bias=1.5, verdict="biased", claim=None),
        dataclasses.replace(base, problem="two", relative_bias=math.inf, verdict="fails", gradient_norm=0.0),
        dataclasses.replace(base, problem="two", estimator="Odd", verdict="error", relative_bias=math.nan),
    ]


def test_json_is_valid_and_complete(tmp_path):
    path = tmp_path / "out.json"
    write_json(path, _certificates(), default_problems(0)[:1], {"seed": 0})
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [c["verdict"] for c in content["certificates"]] == ["holds", "holds", "biased", "fails", "error"]
    assert content["certificates"][1]["snr"] is None
    assert content["problems"][0]["batch"] == 2
    assert content["settings"] == {"seed": 0}


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_pictures_are_drawn(suffix, tmp_path):
    path = tmp_path / f"out.{suffix}"
    draw_certificates(path, _certificates())
    assert path.stat().st_size > 5000


def test_a_learner_without_gradient_makes_lola_inapplicable_and_no_more(getkey):
    from examples.win_stay import WinStay

    problem = makers.make_problem(getkey(), steps=1, learner=WinStay())
    policy = makers.make_policy("MemoryOne", problem, getkey())
    estimators = [load_estimator(name) for name in ("CoalaPG", "LolaExact", "LolaDice", "LolaCoala")]
    verdicts = [c.verdict for c in certify_all(estimators, problem, policy)]
    assert verdicts == ["holds", "inapplicable", "inapplicable", "holds"]


def test_any_exception_of_an_estimator_is_a_row(getkey):
    class Branching(ce.estimators.AbstractScoreFunctionEstimator):
        def coefficients(self, rewards, values=None):
            return rewards if rewards.sum() > 0 else -rewards

    problem = makers.make_problem(getkey(), steps=1)
    policy = makers.make_policy("MemoryOne", problem, getkey())
    first, second = certify_all((Branching(), ce.estimators.CoalaPG()), problem, policy)
    assert first.verdict == "error"
    assert first.note.startswith("TracerBoolConversionError")
    assert second.verdict == "holds"


def test_a_class_instead_of_an_estimator_is_named():
    """In a process of its own, where annotations are not checked before the function is."""
    program = """
import coala_eqx as ce, numpy as np
game = ce.games.MatrixGame([[1.0, 0.0]])
problem = ce.ShapingProblem(game=game, co_players=(), learner=ce.learners.Static(), batch=1, episodes=1, steps=1)
for function in (ce.verification.certify, ce.exact.moments):
    try:
        function(ce.estimators.CoalaPG, problem, ce.policies.MemoryOne(np.zeros((3, 2))))
    except ValueError as error:
        assert "must be an estimator" in str(error), error
    else:
        raise AssertionError(function)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_names_with_brackets_are_printed_as_they_are(capsys):
    from rich.console import Console

    from coala_eqx.verification.table import print_certificates

    certificate = dataclasses.replace(_certificates()[0], problem="a [/bonus] [red]b")
    print_certificates(Console(width=200), [certificate])
    assert "a [/bonus] [red]b" in capsys.readouterr().out
