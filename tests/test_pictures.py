"""What pictures draw of records."""

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from paper_figs import reference
from paper_figs.curves import DEVIATION, STANDARD_ERROR, curve, shared_legend
from paper_figs.fig7 import draw


def band(panel):
    """The lower and the upper end of the last band, at the first iteration."""
    corners = panel.collections[-1].get_paths()[0].vertices
    at_first = corners[corners[:, 0] == corners[:, 0].min(), 1]
    return at_first.min(), at_first.max()


def table_of(rows):
    return pl.DataFrame(rows, ["seed", "iteration", "value"], orient="row")


def test_a_band_says_how_seeds_differ_not_agents():
    """Two agents of each seed, far from each other, in the same way in all seeds."""
    (panel,) = Figure().subplots(1, 1, squeeze=False)[0]
    table = table_of([(seed, i, 10.0 + seed + 5 * agent) for seed in range(3) for agent in (-1, 1) for i in (1, 2)])
    curve(panel, table, "value", DEVIATION, color="black")
    assert band(panel) == pytest.approx((10, 12))
    curve(panel, table, "value", STANDARD_ERROR, color="black")
    assert band(panel) == pytest.approx((11 - 1 / 3**0.5, 11 + 1 / 3**0.5))
    np.testing.assert_allclose(panel.get_lines()[0].get_ydata(), 11)


def test_a_band_stays_where_values_can_be():
    (panel,) = Figure().subplots(1, 1, squeeze=False)[0]
    shares = table_of([(seed, i, value) for seed, value in enumerate((0.0, 1.0)) for i in (1, 2)])
    curve(panel, shares, "value", DEVIATION, color="black")
    assert band(panel) == pytest.approx((0, 0.5 + 0.5**0.5))
    curve(panel, shares, "value", DEVIATION, most=1.0, color="black")
    assert band(panel) == pytest.approx((0, 1))
    curve(panel, shares.with_columns(pl.col("value") - 0.1), "value", DEVIATION, color="black")
    assert band(panel)[0] == pytest.approx(0.4 - 0.5**0.5)


def test_one_legend_names_each_curve_once():
    figure = Figure()
    panels = figure.subplots(1, 2)
    for panel in panels:
        for name in ("one", "two"):
            panel.plot([0, 1], [0, 1], label=name)
    panels[1].plot([0, 1], [1, 0], label="three")
    panels[1].plot([0, 1], [1, 0])
    shared_legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two", "three"]


def test_figure_7_draws_differences_of_the_same_seed(tmp_path, monkeypatch):
    """As they are in the claims: at the end of training, and with the same error."""
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, _: drawn.append(figure))
    draw(reference.REFERENCE / "fig7" / "records.parquet", tmp_path / "fig7.png")
    claims = reference.claims_of(reference.REFERENCE / "fig7")
    below = drawn[0].axes[3]
    for line, bands, claim in zip(below.get_lines()[:2], below.collections[:2], claims[:2], strict=True):
        assert line.get_ydata()[-1] == pytest.approx(claim["measured"], rel=1e-4)
        corners = bands.get_paths()[0].vertices
        at_last = corners[corners[:, 0] == corners[:, 0].max(), 1]
        assert (at_last.max() - at_last.min()) / 2 == pytest.approx(claim["error"], rel=1e-3)
