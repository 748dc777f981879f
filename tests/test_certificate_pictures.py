"""The map of problems × estimators."""

import math
from collections import Counter

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coala_eqx.verification.picture import _wrapped, draw_certificates
from tests.certificates import certificate

ALL = [
    certificate(estimator="CoalaPG"),
    certificate(estimator="LolaExact", variance=0.0),
    certificate(estimator="MFOS", claim=None, relative_bias=1.5, verdict="biased"),
    certificate(estimator="Mine (/a/long/path/to/mine.py:Mine)", relative_bias=1.5, verdict="fails"),
    certificate(estimator="CoalaPG", problem="$two_", relative_bias=math.inf, verdict="fails", gradient_norm=0.0),
    certificate(problem="$two_", estimator="LolaExact", verdict="inapplicable", variance=math.nan),
    certificate(problem="$two_", estimator="MFOS", claim=None, verdict="error", variance=math.nan),
    certificate(problem="$two_", estimator="Odd", verdict="not resolved", relative_bias=math.nan),
]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws; returns the figure."""
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: (drawn.append(self), save(self, path)))

    def draw_here(certificates):
        draw_certificates(tmp_path / "x.png", certificates)
        return drawn[-1]

    return draw_here


def test_every_certificate_is_a_cell_with_its_verdict_bias_and_noise(draw):
    axis = draw(ALL).axes[0]
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert cells == {
        (0, 0): "holds\nnoise 1",
        (1, 0): "holds\nno noise",
        (2, 0): "bias 1.5\nnoise 1",
        (3, 0): "FAILS: 1.5\nnoise 1",
        (0, 1): "FAILS: ∞\nno noise",
        (1, 1): "inapplicable",
        (2, 1): "error",
        (4, 1): "not\nresolved",
    }
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "$two_"]
    heads = [label.get_text() for label in axis.get_xticklabels()]
    assert heads[:3] == ["CoalaPG\nshaping", "LolaExact\nshaping", "MFOS\n(shaping)"]
    assert "".join(heads[3].split()).startswith("Mine(/a/long/path/to/mine.py:Mine)")


def test_colour_is_bias_and_a_frame_is_a_claim_in_trouble(draw):
    axis = draw(ALL).axes[0]
    patches = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    colours = Counter(to_hex(patch.get_facecolor()) for patch in patches)
    assert len(patches) == 8
    assert colours["#e3f1e7"] == 2, "unbiased"
    assert colours["#efefef"] == 3, "without a number"
    assert sorted(colours.values()) == [1, 2, 2, 3], "equal biases, equal colours"
    framed = [round(patch.get_x() + 0.47 + 0.0) for patch in patches if patch.get_linewidth() == 2]
    assert sorted(framed) == [0, 2, 3, 4]


@pytest.mark.parametrize("count", [0, 1, 3, 20])
@pytest.mark.parametrize("estimators", [1, 8])
def test_no_text_leaves_the_canvas_or_covers_another(count, estimators, draw):
    names = ["CoalaPG", "BatchUnaware", "Mine (/some/where/mine.py:Mine)", "LolaCoala", *"ABCD"][:estimators]
    rows = [certificate(problem=f"a problem {i}", estimator=name) for i in range(count) for name in names]
    figure = draw(rows)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axis, bar = figure.axes
    texts = [figure._suptitle, figure._supxlabel, bar.yaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in [*texts, *axis.texts] if text.get_text()]
    assert len(boxes) >= 3 + 2 * bool(count)
    for index, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_pictures_are_written_in_each_format(suffix, tmp_path):
    draw_certificates(tmp_path / f"x.{suffix}", ALL)
    assert (tmp_path / f"x.{suffix}").stat().st_size > 5000


def test_names_are_broken_and_never_cut():
    for name in ("CoalaPG", "LeaveOneOutBaselineOfMine", "x" * 40, "Mine (a/b/c.py:Mine)", "a b"):
        assert _wrapped(name).replace("\n", "").replace(" ", "") == name.replace(" ", "")
        assert max(map(len, _wrapped(name).split("\n"))) <= 14
    assert _wrapped("LeaveOneOutBaselineOfMine") == "LeaveOneOut\nBaselineOfMine"
