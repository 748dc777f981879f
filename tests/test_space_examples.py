"""Examples and the page of spaces run, and print what they promise."""

import re
from pathlib import Path

from examples import continuous, vector_and_image


def test_sampled_gradients_of_a_continuous_game_are_near_the_closed_form(capsys):
    continuous.main(samples=4000)
    exact, coala, unaware = capsys.readouterr().out.splitlines()
    # in equilibrium the own part is 0; the rival's mean moves by 0.3 · (1 − own quantity), and each unit costs 1
    assert float(exact.split()[-1]) == 0.3
    for line, name, theory in ((coala, "CoalaPG", 0.3), (unaware, "BatchUnaware", 0.3 / 4)):
        found, mean, twice_error = re.fullmatch(r"(\w+) +(\S+) ± (\S+)", line).groups()
        assert found == name
        assert abs(float(mean) - theory) < 2.25 * float(twice_error)  # 4.5 standard errors


def test_agents_train_on_images_and_on_vectors(capsys):
    vector_and_image.main(iterations=1, every=1, meta_batch=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Image(height=4, width=3, channels=1)", "Vector(n=12)"]


def test_the_page_of_spaces_runs(capsys):
    """In equilibrium a firm earns 3 · 1 − 1 · 2 = 1, less the variance of its own quantity, 1, in each inner episode.

    The rival's mean moves by 0 on average. The ego agent's reward is linear in it, so that the update's variance is of
    no account.
    """
    page = (Path(__file__).parent.parent / "docs" / "spaces.md").read_text()
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)), "spaces.md", "exec"), {})
    spaces, shaping_return = capsys.readouterr().out.splitlines()
    assert spaces == "(Vector(n=2), Vector(n=2)) (Box(n=1), Box(n=1))"
    assert abs(float(shaping_return)) < 1e-12
