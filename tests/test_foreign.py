"""Users' files are foreign code: whatever one does, a certificate is of the class in that file, or the status is 2."""

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.cli import main
from coala_eqx.foreign.loading import load_object
from coala_eqx.verification.loading import load_estimator, load_estimators, load_policy
from tests import makers

GOOD = "from coala_eqx.estimators import CoalaPG, MFOS\nclass Mine(CoalaPG): pass\n"
WRONG = "from coala_eqx.estimators import CoalaPG, MFOS\nclass Mine(MFOS):\n    unbiased_for = 'shaping_return'\n"
SMALL = ["--batch", "2", "--episodes", "2", "--steps", "1"]


@pytest.fixture
def write(tmp_path):
    """Writes a file; returns how it is named on the command line."""

    def write_here(text, name="mine.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return f"{file}:Mine"

    return write_here


def run_apart(*arguments, **options):
    """In a process of its own, from the console script's entry."""
    command = [sys.executable, "-m", "coala_eqx", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("import sys; sys.exit(0)", "fails on import: SystemExit: 0 (it ends Python)"),
        ("import sys; sys.exit()", "fails on import: SystemExit"),
        ("raise KeyboardInterrupt", "fails on import: KeyboardInterrupt"),
        ("raise GeneratorExit", "fails on import: GeneratorExit"),
        ("class E(BaseException):\n    def __str__(self): raise SystemExit(0)\nraise E", "fails on import: E"),
        ("def f(): f()\nf()", "fails on import: RecursionError: maximum recursion depth"),
        ("raise ValueError('one\\ntwo' + 'x' * 1000)", "ValueError: one twoxxxx"),
        ("import argparse; p = argparse.ArgumentParser(); p.add_argument('x'); p.parse_args()", "SystemExit: 2"),
        ("input()", "fails on import: EOFError"),
        ("from . import mine", "no known parent package; a file of a package is named module:NAME"),
        ("del Mine\ndef __getattr__(name): raise SystemExit(0)", "cannot be looked up: SystemExit: 0"),
        ("def __init__(self): raise SystemExit(0)\nMine.__init__ = __init__", "without arguments: SystemExit: 0"),
        (
            "class Meta(type(MFOS)):\n    def __call__(cls): return 3\nclass Mine(MFOS, metaclass=Meta): pass",
            "is not a valid estimator: it must make an instance of AbstractEstimator, but makes 3",
        ),
        ("class M(type):\n    def __repr__(c): raise SystemExit(0)\nclass Mine(metaclass=M): pass", "but is a M"),
        ("MFOS.coefficients = CoalaPG.coefficients", "it replaces coala_eqx.estimators.m_fos.MFOS.coefficients"),
        ("import coala_eqx.exact as e; e.moments = None", "it replaces coala_eqx.exact.moments"),
        ("import coala_eqx.verification.certificate as c; del c._words", "coala_eqx.verification.certificate._words"),
        ("import builtins; builtins.all = print", "it replaces builtins.all"),
        ("import jax.numpy as jnp; jnp.exp = jnp.sin", "it replaces jax.numpy.exp"),
    ],
)
def test_what_ends_python_or_changes_the_package_is_named(does, message, write):
    """In one line, whatever it is, and the package is as before."""
    before = ce.estimators.MFOS.coefficients, ce.exact.moments, all, jax.numpy.exp
    with pytest.raises(ValueError, match="mine.py") as caught:
        load_estimator(write(f"{WRONG}{does}\n"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert (ce.estimators.MFOS.coefficients, ce.exact.moments, all, jax.numpy.exp) == before


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"# -*- coding: latin-1 -*-\nname = '\xe9'\n" + GOOD.encode(),
        GOOD + "if __name__ == '__main__': raise SystemExit(3)",
        GOOD + "import argparse; p = argparse.ArgumentParser(); p.add_argument('--x'); p.parse_args()",
        GOOD + "import sys; sys.modules[__name__] = None",
        GOOD + "class CoalaPG(MFOS): pass",
    ],
    ids=["crlf", "bom", "latin-1", "main", "arguments", "sys.modules", "shadow"],
)
def test_files_of_all_kinds_are_loaded(content, write, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["coala-eqx", "verify", "--estimator"])
    assert type(load_estimator(write(content))).__mro__[1] is ce.estimators.CoalaPG


@pytest.mark.parametrize("content", [b"name = '\xe9'\n" + GOOD.encode(), GOOD.encode() + b"\0"], ids=["bytes", "NUL"])
def test_what_is_no_text_is_named(content, write):
    with pytest.raises(ValueError, match="fails on import: SyntaxError"):
        load_estimator(write(content))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder.py").mkdir()
    for place, message in (
        (tmp_path / "folder.py", "is a folder; name the file to load the estimator from"),
        (tmp_path / ("x" * 300 + ".py"), "cannot be read"),
        (tmp_path / "mine.txt", "must end with .py"),
    ):
        with pytest.raises(ValueError, match=message):
            load_estimator(f"{place}:Mine")


def test_the_process_is_as_before(write, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = write(
        GOOD + "import jax, os, signal, sys, warnings, numpy, io\n"
        "jax.config.update('jax_enable_x64', False); jax.config.update('jax_numpy_dtype_promotion', 'strict')\n"
        "print('noise'); os.chdir('/'); sys.setrecursionlimit(90); warnings.simplefilter('ignore')\n"
        "numpy.seterr(all='raise'); signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv[:] = []; sys.path.clear()\n"
        "sys.excepthook = None; sys.settrace(lambda *_: None); sys.stdout.close(); sys.stderr.close()\n"
        "sys.stdout = io.StringIO(); sys.stderr = None; sys.stdin = None\n"
    )

    def process():
        streams = sys.stdin, sys.stdout, sys.stderr, sys.excepthook, sys.gettrace()
        limits = sys.getrecursionlimit(), np.geterr(), signal.getsignal(signal.SIGINT), list(warnings.filters)
        return streams, limits, Path.cwd(), list(sys.argv), list(sys.path), dict(jax.config.values)

    before = process()
    assert isinstance(load_estimator(source), ce.estimators.CoalaPG)
    assert process() == before
    print("after")
    captured = capsys.readouterr()
    assert captured.out == "after\n"
    assert "noise" in captured.err


def test_each_file_is_itself_and_has_its_own_neighbours(write):
    """Files of one name in two folders, each with a module `helper` beside it; and a change of one in place."""
    text = "import helper\nclass Mine(helper.Base): pass\n"
    first, second = write(text, "one/mine.py"), write(text, "two/mine.py")
    write("from coala_eqx.estimators import CoalaPG as Base\n", "one/helper.py")
    write("from coala_eqx.estimators import MFOS as Base\n", "two/helper.py")
    for _ in range(2):
        assert isinstance(load_estimator(first), ce.estimators.CoalaPG)
        assert isinstance(load_estimator(second), ce.estimators.MFOS)
    assert list(load_estimators([first, "CoalaPG", second, first])) == [
        f"Mine ({first})",
        "CoalaPG",
        f"Mine ({second})",
    ]
    sys.modules.pop("helper", None)
    text = "from coala_eqx.estimators import CoalaPG, MFOS\nclass Mine({}): pass\n"
    for base in ("CoalaPG", "MFOS   "):  # as long
        source = write(text.format(base))
        os.utime(source.removesuffix(":Mine"), (1, 1))
        assert type(load_estimator(source)).__mro__[1].__name__ == base.strip()


def test_names_within_a_class_and_names_that_cannot_be_printed(write):
    source = write("from coala_eqx.estimators import CoalaPG\nclass Outer:\n    class Mine(CoalaPG): pass\n")
    assert isinstance(load_object(source.replace(":Mine", ":Outer.Mine"), ce.estimators.AbstractEstimator, "x"), object)
    (name,) = load_estimators([write(GOOD + "Mine.__name__ = 'a\\n\\x1b[31mb'", "other.py")])
    assert name == "a??[31mb"


def test_an_interrupt_by_hand_is_no_error_of_the_file(write):
    """Ctrl-C while a file is imported ends the command, with its own status."""
    source = write(GOOD + "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    assert main(["verify", "--estimator", source, *SMALL]) == 130


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (WRONG + "import os; os._exit(0)\n", "exit status 0"),
        (WRONG + "import os; os.abort()\n", "signal 6, SIGABRT"),
        (
            WRONG + "    def coefficients(self, rewards, values=None):\n        import os; os._exit(0)\n",
            "exit status 0",
        ),
    ],
    ids=["import", "crash", "later"],
)
def test_a_process_that_ends_before_the_command_has_certified_nothing(text, ending, write):
    result = run_apart("verify", "--estimator", write(text), *SMALL)
    assert result.returncode == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("coala-eqx: ")
    assert f"mine.py:Mine ended the process before the command was done ({ending})" in line


def test_the_status_is_of_the_certificate_whatever_still_runs(write, tmp_path):
    """With a thread that never ends, an exit handler that leaves with 0, and prints on every way to standard output."""
    text = (
        WRONG + "    def coefficients(self, rewards, values=None):\n"
        "        print('noise'); os.write(1, b'noise')\n        return super().coefficients(rewards, values)\n"
        "import atexit, os, threading\nos.system('echo noise')\n"
        "threading.Thread(target=threading.Event().wait).start()\natexit.register(lambda: os._exit(0))\n"
    )
    result = run_apart("verify", "--estimator", write(text), *SMALL, timeout=300)
    assert result.returncode == 1
    assert "FAILS" in result.stdout
    assert "noise" not in result.stdout
    assert result.stderr.count("noise") >= 3


@pytest.mark.parametrize("method", ["check_problem(self, problem)", "coefficients(self, rewards, values=None)"])
def test_an_estimator_that_leaves_python_later_is_no_success(method, write, capsys):
    text = WRONG + f"    def {method}:\n        raise SystemExit(0)\n"
    assert main(["verify", "--estimator", write(text), *SMALL]) == 2
    assert "SystemExit: 0" in "".join(capsys.readouterr())


def test_a_policy_of_ones_own_is_taken_in_each_form(write, getkey):
    text = (
        "import coala_eqx as ce\nclass Own(ce.policies.MemoryOne):\n    pass\n"
        "def make(problem, key):\n    return Own.random(problem.game, key)\n"
        "def wrong(problem, key):\n    return 3\n"
        "def leaves(problem, key):\n    raise SystemExit(0)\n"
        "import jax\nsome = Own.random(ce.games.iterated_prisoners_dilemma(), jax.random.key(0))\n"
        "misfit = ce.policies.MemoryOne([[0.0] * 3] * 7)\nnumber = 3\nclass Other: pass\n"
    )
    source = write(text)
    problem, key = makers.make_problem(getkey(), steps=1), getkey()
    for name in ("Own", "make", "some"):
        policy = load_policy(source.replace(":Mine", f":{name}"), problem, key)
        assert type(policy).__name__ in ("Own", "MemoryOne")
        assert policy.logits.shape == (5, 2)
    for name, message in (
        ("wrong", "must give an AbstractPolicy, but gives 3"),
        ("leaves", "makes no policy for this problem: SystemExit: 0"),
        ("number", "is not a policy: it must be a policy, a class of policies"),
        ("Other", "makes no policy: it must be a policy, a class"),
        ("misfit", "is made for 3 actions, but the game has 2"),
        ("nothing", "has no 'nothing'; it defines Own"),
    ):
        with pytest.raises(ValueError, match=message):
            load_policy(source.replace(":Mine", f":{name}"), problem, key)


def test_loading_works_in_other_threads(write):
    """Where no signal can be watched."""
    source, found = write(GOOD), []
    thread = threading.Thread(target=lambda: found.append(load_estimator(source)))
    thread.start()
    thread.join()
    assert isinstance(found[0], ce.estimators.CoalaPG)
