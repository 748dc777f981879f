"""The package as a whole: abstract or final, the direction of imports, what the README says, what is shipped."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import equinox as eqx
import pytest

import coala_eqx as ce
from coala_eqx.extras import how_to_get
from coala_eqx.verification import default_problems
from experiments.__main__ import run
from experiments.experiment import settings_of
from tests.runs import SMALL

ROOT = Path(__file__).parent.parent
ORDER = [
    "arrays",
    "_checks",
    "interpreter",
    "extras",
    "terminal",
    "foreign",
    "games",
    "policies",
    "returns",
    "learners",
    "shaping",
    "estimators",
    "structure",
    "exact",
    "verification",
    "runs",
    "training",
    "show",
    "benchmarks",
    "supervision",
    "cli",
    "__main__",
]
MODULES = [m.name for m in pkgutil.walk_packages(ce.__path__, "coala_eqx.")]


def _house():
    """The script that draws the house."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "docs" / "house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOUSE = _house()
FOLDERS = ("coala_eqx", "experiments", "paper_figs", "proofs_checks", "examples", "tests")


@pytest.fixture(scope="module")
def graph():
    """Who imports whom, within functions and by `importlib`, too."""
    return HOUSE.imports(HOUSE.modules(*FOLDERS))


def test_imports_go_one_way(graph):
    """A room imports only from rooms before it, and nothing from outside of the package."""
    for module, others in graph.items():
        if not module.startswith("coala_eqx."):
            continue
        for other in others:
            assert other.startswith("coala_eqx"), (module, other)
            if other == "coala_eqx":
                continue
            own, theirs = HOUSE.room(module), HOUSE.room(other)
            if theirs in ORDER:
                assert ORDER.index(theirs) <= ORDER.index(own), (module, other)
            assert {own, theirs} != {"verification", "training"}, (module, other)
            if own == theirs == "estimators" and module != "coala_eqx.estimators":
                shared = (".base", ".advantages", ".bootstrapping", ".critics")
                assert other.endswith(shared), (module, other)


def test_there_are_no_circles_of_imports(graph):
    assert HOUSE.circle(graph) == []
    assert HOUSE.circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []


def test_experiments_and_figures_do_not_import_each_other(graph):
    """Only the commands that join them do, and drawings take tables of records."""
    commands = {"experiments.__main__", "paper_figs.reference", "paper_figs.claims_page", "paper_figs.kept"}
    pair = {"experiments", "paper_figs"}
    for module, others in graph.items():
        for other in others:
            if {module.split(".")[0], other.split(".")[0]} == pair:
                assert module in commands or other in ("experiments.claims", "experiments.tables"), (module, other)


def test_imports_of_all_kinds_are_seen(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        "import b\nfrom c import d\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import e\n"
        "def f():\n    import g\n    importlib.import_module('h')\n"
    )
    found = dict.fromkeys("abcdegh", file) | {"c.d": file}
    assert set(HOUSE._imported(file, found)) == {"b", "c.d", "g", "h"}


def test_the_page_of_the_house_is_as_the_code_is():
    assert HOUSE.main(["--check"]) == 0, "python docs/house.py writes it"


LONG = {"coala_eqx/interpreter/rules.py": "one rule for each primitive of JAX"}
"""Files that may be longer than 350 lines."""


@pytest.mark.parametrize("folder", ["coala_eqx", "experiments"])
def test_no_file_is_too_long_and_no_class_of_training_or_experiments(folder):
    for path in (ROOT / folder).rglob("*.py"):
        name = str(path.relative_to(ROOT))
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350 or name in LONG, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and name.startswith(("coala_eqx/training", "experiments")):
                assert node.end_lineno - node.lineno < 200, (name, node.name)


def test_types_are_checked_in_all_rooms_but_one():
    """Whose functions are called so often that tests took three times as long."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    (packages,) = (option.split("=")[1].split(",") for option in settings if option.startswith("--jaxtyping-packages="))
    rooms = {module for module in MODULES if module.count(".") == 1} - {"coala_eqx.__main__"}
    assert set(packages) - {"beartype.beartype"} == rooms - {"coala_eqx.interpreter"}


def _classes():
    for module in MODULES:
        for name, value in vars(importlib.import_module(module)).items():
            if inspect.isclass(value) and issubclass(value, eqx.Module) and value.__module__ == module:
                yield name, value


@pytest.mark.parametrize(("name", "cls"), list(_classes()), ids=lambda x: x if isinstance(x, str) else "")
def test_classes_are_abstract_or_final(name, cls):
    """A class is either abstract and called `Abstract…`, or has no subclass; nothing concrete is overridden."""
    assert name.startswith("Abstract") == inspect.isabstract(cls), name
    for base in cls.__mro__[1:]:
        if base.__module__.startswith("coala_eqx"):
            assert inspect.isabstract(base), f"{name} derives from {base.__name__}, which is not abstract"
            for attribute, value in vars(cls).items():
                overridden = vars(base).get(attribute)
                if inspect.isfunction(value) and inspect.isfunction(overridden) and not attribute.startswith("__"):
                    assert getattr(overridden, "__isabstractmethod__", False), f"{name}.{attribute}"


def test_public_names_are_there():
    names = """games.iterated_prisoners_dilemma games.chicken games.stag_hunt games.matching_pennies games.MatrixGame
    games.TabularGame games.battle_of_the_sexes games.public_goods games.CleanUpLite
    games.CoinGame games.FromEnvironment policies.MemoryOne policies.FullHistory policies.GRU
    learners.PolicyGradient learners.Static ShapingProblem MetaEpisode Population estimators.CoalaPG estimators.MFOS
    estimators.BatchUnaware estimators.Reinforce estimators.LolaExact estimators.LolaDice estimators.LolaCoala
    exact.expected_return exact.gradient exact.moments verification.certify""".split()
    for name in names:
        value = ce
        for part in name.split("."):
            value = getattr(value, part)
        assert value.__doc__, name


def undocumented(source):
    """Names of public classes, their methods and functions without a docstring; from the text, as a dataclass makes one
    for itself.
    """
    tree = ast.parse(source)
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    return [node.name for node in public if ast.get_docstring(node) is None]


def test_a_missing_docstring_is_found():
    text = 'class Mine(eqx.Module):\n    x: int\ndef f(): "what it is"\ndef g(): ...\nclass _Own: ...\n'
    assert undocumented(text) == ["Mine", "g"]


@pytest.mark.parametrize("module", ["coala_eqx", *MODULES])
def test_every_public_function_class_and_method_has_a_docstring(module):
    """A method that overrides another may inherit it."""
    loaded = importlib.import_module(module)
    source = Path(inspect.getfile(loaded)).read_text()
    assert ast.get_docstring(ast.parse(source)), module
    assert not undocumented(source)
    for name, value in vars(loaded).items():
        if inspect.isclass(value) and value.__module__ == module and not name.startswith("_"):
            for attribute, method in vars(value).items():
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    assert inspect.getdoc(getattr(value, attribute)), f"{module}.{name}.{attribute}"


def _local_imports(folder):
    """Packages of this repository that files of a folder import."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            yield from {name.split(".")[0] for name in names if (ROOT / name.split(".")[0]).is_dir()}


def test_the_source_distribution_holds_what_its_files_import_and_read():
    """Whatever is imported by what it holds, and what tests read from the root."""
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "include"
    ]
    held = {place.removeprefix("/") for place in included}
    for place in held:
        assert (ROOT / place).exists(), place
    folders = {place for place in held if (ROOT / place).is_dir()}
    needed = {name for folder in folders for name in _local_imports(folder)}
    assert {"proofs_checks", "experiments", "examples", "coala_eqx"} <= needed
    assert needed <= folders
    read = {
        name for file in (ROOT / "tests").glob("*.py") for name in re.findall(r'ROOT / "([\w.]+)', file.read_text())
    }
    assert {"README.md", "Makefile", "docs"} <= read
    assert read - {"pyproject.toml"} <= held  # which is always there


def test_the_extras_are_those_that_the_package_and_its_hints_name():
    """Parts of the package can be had from a wheel; hints name an extra that there is."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) == {"figures", "training", "environments", "clone", "tests", "development", "all"}
    assert how_to_get("matplotlib", "figures") == "pip install matplotlib (in a clone: pip install -e '.[figures]')"
    for file in [
        *(ROOT / "coala_eqx").rglob("*.py"),
        ROOT / "README.md",
        ROOT / "Makefile",
        *(ROOT / "docs").glob("*.md"),
    ]:
        for named in re.findall(r"(?:\.|CLONE|coala_eqx)\[([a-z,]+)\]'", file.read_text()):
            assert set(named.split(",")) <= set(extras), (file.name, named)
        assert "coala_eqx[" not in file.read_text(), f"{file.name}: there is no index that has it"
        for named in re.findall(r"how_to_get\(.*\"([a-z]+)\"\)", file.read_text()):
            assert named in extras, (file.name, named)


def test_the_command_starts_without_what_only_some_of_it_needs():
    """`resource` is not everywhere; the others take their time."""
    late = "resource", "matplotlib", "rich", "polars", "orbax", "coala_eqx.verification.command"
    program = f"import sys, coala_eqx.cli; print([name for name in {late} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_readme_example_runs(capsys):
    readme = (ROOT / "README.md").read_text()
    example, *_ = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 12
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "holds" in printed
    assert "biased" in printed


def test_the_example_of_the_iterated_game_prints_what_the_page_says(capsys):
    page = (ROOT / "docs" / "iterated.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(example, "iterated.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_examples_of_training_run(capsys, tmp_path, monkeypatch):
    """Two smaller iterations of it, and the noise of their gradients; then an agent of a small run of Figure 5A.

    With small networks in place of the defaults, as these are long to compile.
    """
    monkeypatch.chdir(tmp_path)
    small = lambda game, seat: lambda key: ce.policies.GRU(5, 2, width=4, key=key)  # noqa: E731
    monkeypatch.setattr("coala_eqx.training.agent.default_policy", small)
    run("fig5a", Path("runs/fig5a"), settings_of("fig5a", "smoke", {"estimators": ("CoalaPG",)} | SMALL))
    capsys.readouterr()
    page = (ROOT / "docs" / "training.md").read_text()
    example = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    sizes = {"iterations=300": "iterations=2", "every=10": "every=2", "meta_batch=16": "meta_batch=2"}
    sizes |= {"episodes=20": "episodes=3", "callbacks=[enough]": "every=1, callbacks=[enough]"}
    for size, smaller in (sizes | {"measured=64": "measured=3"}).items():
        assert size in example
        example = example.replace(size, smaller)
    exec(compile(example, "training.md", "exec"), {})
    rewards, *noise, against_tit_for_tat = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[\(2, \S+, \S+\)\]", rewards)
    assert [len(of_all.strip("[]").split()) for of_all in (*noise, against_tit_for_tat)] == [3, 3, 3, 3]


def test_the_readme_names_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("verify", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def _rows(title):
    """The rows of a table of `verify` in the README, by the heads of their columns."""
    table = re.search(
        rf"^ *{title}\n(.*?)(?:^```|\Z)", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    lines = [re.split(r" {2,}", line.strip()) for line in table[1].splitlines() if line.strip()]
    heads = lines[0]
    rows = []
    for cells in lines[1:]:
        if len(cells) == len(heads):
            rows.append(dict(zip(heads, cells, strict=True)))
        elif rows and cells != ["…"]:
            break  # where another table or text begins
    return rows


def test_the_readme_lists_the_problems_of_verify():
    expected = [
        {
            "problem": named.name, "game": named.game, "B": str(p.batch), "M": str(p.episodes), "T": str(p.steps),
            "ego policy": type(named.policy).__name__, "co-players' learner": named.learner,
        }
        for named in default_problems()
        for p in [named.problem]
    ]  # fmt: skip
    rows = _rows("Problems")
    assert [{head: row[head] for head in expected[0]} for row in rows] == expected


def test_the_readme_shows_the_certificates_that_are_kept():
    """The README leaves some out, and changes none."""
    rows = _rows("Certificates")
    content = json.loads((ROOT / "paper_figs/reference/verify/verify.json").read_text())["certificates"]
    kept = {(entry["estimator"], entry["problem"]): entry for entry in content}
    assert len({row["problem"] for row in rows}) >= 4
    for row in rows:
        entry = kept[row["estimator"], row["problem"]]
        assert row["verdict"] == entry["verdict"]
        objective = entry["objective"].removesuffix("_return").replace("_", " ").replace("lookahead", "look-ahead")
        assert row["claims"] == (objective if entry["claim"] else f"({objective})")
        if entry["verdict"] == "inapplicable":
            continue
        assert (row["relative bias"], row["cosine"]) == (f"{entry['relative_bias']:.1e}", f"{entry['cosine']:.4f}")
        negligible = (1e-12 * entry["gradient_norm"]) ** 2
        variance = f"{entry['variance'] if entry['variance'] > negligible else 0:.3g}"
        assert (row["variance"], row["outcomes"]) == (variance, f"{entry['outcomes']:,}")
    assert {entry["problem"] for entry in content} == {named.name for named in default_problems()}


def anchors(page):
    """Of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_in_the_docs_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)", page.read_text()):
            file = page.parent / target if target else page
            assert file.exists(), (page.name, target)
            assert not anchor or anchor in anchors(file.read_text()), (page.name, target, anchor)


def test_pins_are_plain_and_cover_the_dependencies():
    """No addresses; every dependency of the project has a pin that it allows."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {re.split("==", line)[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line) for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    for requirement in needed:
        name = re.split(r"[<>=\[]", requirement)[0].lower().replace("_", "-")
        assert name == "coala-eqx" or name in pins, requirement


def test_examples_are_short():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path.name
    own = (ROOT / "examples" / "leave_one_out.py").read_text()
    assert len(own[own.index("class ") :].splitlines()) <= 30
