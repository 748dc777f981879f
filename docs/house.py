"""`python docs/house.py`: write a page and a picture of the rooms of the package and of their imports.

It reads the imports of the code, and writes `house.md` and `house.png` beside this file. A test uses `imports` to check
the direction of imports.
"""

import ast
import graphlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "coala_eqx"
BESIDE = ("experiments", "paper_figs", "proofs_checks", "examples", "tests")

Modules = dict[str, Path]
Imports = dict[str, set[str]]


def modules(*folders: str) -> Modules:
    """All modules below folders of the repository, by name."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(found: Modules) -> Imports:
    """The modules that each module imports, out of `found`.

    Imports within functions count, and so does `importlib.import_module` with a literal name. Imports for type checkers
    only do not count.
    """
    return {name: {one for one in _imported(path, found) if one != name} for name, path in found.items()}


def _imported(path: Path, found: Modules) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _without_types(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in found)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from (name for name in (inner if inner in found else node.module,) if name in found)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            named = getattr(node.args[0], "value", None)
            yield from (name for name in (named,) if name in found)


def _without_types(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _without_types(node)


def circle(graph: Imports) -> list[str]:
    """The modules of a circle of imports. Empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def room(module: str) -> str:
    """The room that a module of the package belongs to."""
    return module.split(".")[1] if "." in module else module


def rooms(graph: Imports) -> Imports:
    """The rooms that each room imports."""
    found: Imports = {room(module): set() for module in graph if "." in module}
    for module, others in graph.items():
        if "." in module:
            found[room(module)] |= {room(other) for other in others if "." in other} - {room(module)}
    return found


def floors(graph: Imports) -> list[list[str]]:
    """Rooms by floors. Each room imports from lower floors only."""
    sorter, found = graphlib.TopologicalSorter(graph), []
    sorter.prepare()
    while sorter.is_active():
        found.append(sorted(sorter.get_ready()))
        sorter.done(*found[-1])
    return found


def direct(graph: Imports) -> Imports:
    """The imports that are drawn: those that do not follow from others."""
    below: Imports = {}
    for name in graphlib.TopologicalSorter(graph).static_order():
        below[name] = set().union(*({other} | below[other] for other in graph.get(name, ())))
    return {
        name: {one for one in others if not any(one in below[other] for other in others)}
        for name, others in graph.items()
    }


def text(module: Path) -> str:
    """The first paragraph of a module's docstring."""
    found = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(found.split("\n\n")[0].split())


def page() -> str:
    """The page of the house."""
    found = modules(PACKAGE)
    graph = rooms(imports(found))
    lines = [
        "# The house",
        "",
        "This page shows the rooms of the package and their imports. A room imports from lower floors only. The",
        "picture leaves out arrows that follow from others. `python docs/house.py` writes the page from the code.",
        "",
        "![Rooms and imports](house.png)",
        "",
        "| floor | room | what it is | imports | modules | lines |",
        "| ---: | --- | --- | --- | ---: | ---: |",
    ]
    for number, floor in reversed([*enumerate(floors(graph), 1)]):
        for name in floor:
            own = [path for module, path in found.items() if "." in module and room(module) == name]
            length = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in own)
            what = text(found[f"{PACKAGE}.{name}"])
            told = ", ".join(sorted(graph[name]))
            lines.append(f"| {number} | `{name}` | {what} | {told} | {len(own)} | {length} |")
    beside = [name for name in BESIDE if (ROOT / name).exists()]
    everything = imports(modules(PACKAGE, *beside))
    lines += ["", "Beside the package:", "", "| folder | imports rooms | imports folders |", "| --- | --- | --- |"]
    for name in beside:
        others = {one for module, found in everything.items() if module.split(".")[0] == name for one in found}
        of_package = sorted({room(one) for one in others if one.startswith(f"{PACKAGE}.")})
        folders = sorted({one.split(".")[0] for one in others} - {name, PACKAGE})
        lines.append(f"| `{name}/` | {', '.join(of_package)} | {', '.join(folders)} |")
    return "\n".join(lines) + "\n"


def draw(path: Path) -> None:
    """Draw rooms by floors, with an arrow to each room that is imported directly. Most single modules are left out."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (only this needs it)

    found = modules(PACKAGE)
    graph = rooms(imports(found))
    drawn = {name for name in graph if found[f"{PACKAGE}.{name}"].name == "__init__.py"} | {"cli", "show", "_checks"}
    graph = {name: others & drawn for name, others in graph.items() if name in drawn}
    figure, axes = plt.subplots(figsize=(9, 0.8 * len(floors(graph)) + 0.5))
    axes.set(xlim=(0, 1), ylim=(-0.5, len(floors(graph)) - 0.5))
    axes.set_axis_off()
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#E8F1FA", "edgecolor": "#33658A"}
    boxes = {
        name: axes.text(
            (number + 1) / (len(floor) + 1), height, name, ha="center", va="center", fontsize=12, bbox=box, zorder=3
        )
        for height, floor in enumerate(floors(graph))
        for number, name in enumerate(floor)
    }
    for name, others in direct(graph).items():
        for other in others:
            ends = {"patchA": boxes[name].get_bbox_patch(), "patchB": boxes[other].get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": "#666666", "lw": 1.0, "shrinkA": 0, "shrinkB": 1, **ends}
            axes.annotate(
                "", xy=boxes[other].get_position(), xytext=boxes[name].get_position(), arrowprops=arrow, zorder=1
            )
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def main(arguments: Iterable[str] = ()) -> int:
    """Write the page and the picture. With `--check`, only check that the page is up to date."""
    file = ROOT / "docs" / "house.md"
    if "--check" in arguments:
        return int(not file.exists() or file.read_text(encoding="utf-8") != page())
    file.write_text(page(), encoding="utf-8", newline="\n")
    draw(file.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
