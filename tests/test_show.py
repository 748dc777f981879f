"""Meta-episodes that are kept, and how they are shown."""

import contextlib
import dataclasses
import io
import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import coala_eqx as ce
from coala_eqx.cli import main
from coala_eqx.foreign.files import import_source
from coala_eqx.games import AbstractGame
from coala_eqx.games.clean_up_lite import CleanUpState, _targets
from coala_eqx.games.coin_game import CoinGameState
from coala_eqx.games.rendering import PLAYERS
from coala_eqx.games.scenes import APPLE, DIRT, FROZEN, ORCHARD, RIVER, ZAP
from coala_eqx.runs.recordings import Cast, Recording
from coala_eqx.show import _CELL, _GROUND, _HEADER, _MARGIN, _drawn, _frames, _title, show
from coala_eqx.training import PPO, Agent, Layout, NaiveLearners, Pool
from coala_eqx.training.recordings import recordings
from coala_eqx.version import __version__
from experiments.experiment import settings_of
from tests.runs import MEMORYLESS
from tests.test_grid_games import CLEAN_UPS, COIN_GAMES, random_play


def recording_of(game, episodes=4, steps=6):
    seen, (_, _, _, actions, rewards, observations) = random_play(game, 0, episodes * steps)
    before = np.concatenate([seen[None], observations[:-1]])[:, 0]
    parts = (before.astype(np.uint8), actions, rewards)
    return Recording(game, *(part.reshape(episodes, steps, -1) for part in parts))


@pytest.mark.parametrize("game", [CLEAN_UPS[1], COIN_GAMES[1]], ids=["clean-up", "coins"])
def test_recordings_are_shown(game, tmp_path, capsys):
    recording = recording_of(game)
    file = tmp_path / "meta-episode-coalapg-naive.npz"
    recording.save(file)
    first = file.read_bytes()
    found = Recording.load(file)
    found.save(file)
    assert file.read_bytes() == first
    assert found.game == game
    if isinstance(game, ce.games.CleanUpLite):
        an_array = eqx.tree_at(lambda game: game.dirt_probability, game, jnp.float32(game.dirt_probability))
        dataclasses.replace(recording, game=an_array).save(tmp_path / "array.npz")
        assert Recording.load(tmp_path / "array.npz").game.dirt_probability == np.float32(game.dirt_probability)
    np.testing.assert_array_equal(found.rewards, recording.rewards)
    assert (found.means, found.averaged) == ({}, 1), "as of versions that kept none"
    assert main(["show", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    names = [f"meta-episode-coalapg-naive{ending}" for ending in (".gif", ".png", "-measures.png")]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in names]
    with Image.open(tmp_path / "out" / names[0]) as animation:
        assert 3 <= animation.n_frames <= 3 * 6  # equal ones may be one
    with Image.open(tmp_path / "out" / names[1]) as strip, Image.open(tmp_path / "out" / names[2]) as measures:
        assert strip.width == 6 * animation.width
        assert len(strip.getcolors(1 << 20)) > 5
        assert measures.getextrema() != ((255, 255),) * 4


def test_measures_are_shown_as_means_beside_the_one_trajectory(tmp_path, monkeypatch):
    recording, drawn = recording_of(CLEAN_UPS[1]), []
    measured = recording.measured()
    np.testing.assert_allclose(measured["other_reward"], recording.rewards[..., 1].mean(axis=1), rtol=1e-6)
    assert measured["pollution"].shape == (4,)
    means = {name: values + 0.5 for name, values in measured.items()}
    recording = dataclasses.replace(recording, means=means, averaged=12)
    recording.save(tmp_path / "meta-episode-lola-dice-naive.npz")
    found = Recording.load(tmp_path / "meta-episode-lola-dice-naive.npz")
    assert found.averaged == 12
    assert set(found.means) == set(means)
    for name, values in means.items():
        np.testing.assert_array_equal(found.means[name], values)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.append(figure))
    show(tmp_path)
    (figure,) = drawn
    assert figure.get_suptitle().startswith("lola-dice against a naive learner: means over 12 trajectories")
    panels = {panel.get_title(): [line.get_ydata() for line in panel.lines] for panel in figure.axes}
    for title, name in (("reward per step, co-player", "other_reward"), ("zaps, agent", "zaps"), ("apples", "apples")):
        np.testing.assert_array_equal(panels[title], [measured[name], means[name]])
    dataclasses.replace(recording, means={}).save(tmp_path / "meta-episode-lola-dice-naive.npz")
    show(tmp_path)
    assert drawn[1].get_suptitle() == "lola-dice against a naive learner: one trajectory"
    assert [len(panel.lines) for panel in drawn[1].axes] == [1] * len(measured)


def colours(game, observation, actions):
    """Those of the board's frame, by where they are: `[rows, columns]` of sets."""
    actions = np.array([[actions]])
    recording = Recording(game, observation[None, None], actions, np.zeros((1, 1, 2)))
    (frame,) = _frames(recording, 0, _drawn(recording, 0))
    pixels = np.asarray(frame)[_HEADER:, _MARGIN:]
    rows, columns = (game.rows, game.columns) if isinstance(game, ce.games.CleanUpLite) else (game.size,) * 2
    return [
        [
            {
                "#{:02X}{:02X}{:02X}".format(*pixel)
                for pixel in pixels[_CELL * row :, _CELL * column :][:_CELL, :_CELL].reshape(-1, 3)
            }
            for column in range(columns)
        ]
        for row in range(rows)
    ]


def test_a_frame_counts_rewards_up_to_the_end_of_its_step(monkeypatch):
    recording = dataclasses.replace(recording_of(COIN_GAMES[0], 1, 3), rewards=np.array([[[1, 0], [0, -2], [1, 1]]]))
    earned = []
    monkeypatch.setattr("coala_eqx.show._paint", lambda scene, title, so_far: earned.append(so_far.tolist()))
    assert len(_frames(recording, 0, _drawn(recording, 0))) == 3
    assert earned == [[1, 0], [1, -2], [2, -1]]


def test_a_frame_of_clean_up_has_everything_where_it_is():
    """An apple at the upper left, dirt at the lower right; the agent zaps from the middle, the other one is frozen."""
    game = ce.games.CleanUpLite(rows=2, columns=3, initial_dirt=1, zap_distance=1)
    state = CleanUpState(
        cells=jnp.array([1, 3]), apples=jnp.array([True, False]), dirt=jnp.array([False, True]),
        frozen=jnp.array([0, 2]),
    )  # fmt: skip
    board = colours(game, np.asarray(game.observe(state)[0]), [game.actions.index("zap")] * 2)
    agent, other = PLAYERS[:2]
    expected = [
        [{ORCHARD, APPLE}, {_GROUND, agent, ZAP}, {RIVER}],
        [{ORCHARD, other, FROZEN}, {_GROUND}, {RIVER, DIRT}],
    ]
    everything = {_GROUND, ORCHARD, RIVER, APPLE, DIRT, ZAP, FROZEN, agent, other}
    assert [[cell & everything for cell in row] for row in board] == expected
    board = colours(game, np.asarray(game.observe(state)[0]), [0, game.actions.index("zap")])
    assert not any(ZAP in cell for row in board for cell in row), "who is frozen does not zap"


def test_a_frame_of_the_coin_game_has_everything_where_it_is():
    game = COIN_GAMES[1]
    board = colours(game, np.asarray(game.observe(CoinGameState(jnp.array([0, 4]), jnp.array([8, 0])))[0]), [0, 0])
    agent, other = PLAYERS[:2]
    found = {
        (row, column): cell & {agent, other} for row, cells in enumerate(board) for column, cell in enumerate(cells)
    }
    assert {where: there for where, there in found.items() if there} == {
        (0, 0): {agent, other}, (1, 1): {other}, (2, 2): {agent},
    }  # fmt: skip


def test_what_cannot_be_shown_is_named(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert (
        "holds no meta-episodes. Runs of games that are no tables, such as fig6, fig7 and coin-game, keep some"
        in capsys.readouterr().err
    )
    file = tmp_path / "meta-episode-x.npz"
    recording_of(COIN_GAMES[0]).save(file)
    for content in (b"nothing", file.read_bytes()[:-50], file.read_bytes()[:100]):
        file.write_bytes(content)
        assert main(["show", str(tmp_path)]) == 2
        assert "meta-episode-x.npz holds no meta-episode that can be shown" in capsys.readouterr().err
    recording = recording_of(COIN_GAMES[0])
    means = recording.measured()
    for changes, message in (
        ({"actions": recording.actions + 100}, "actions must be whole numbers from 0 to 3, but go from 100 to 103"),
        ({"actions": recording.actions.astype(float)}, "actions must be whole numbers, but are of the type float64"),
        ({"rewards": np.full(recording.rewards.shape, "2")}, "rewards must be finite numbers"),
        ({"rewards": recording.rewards + np.nan}, "rewards must be finite numbers"),
        ({"observations": recording.observations + 1}, "observations must be 0 or 1"),
        ({"rewards": recording.rewards[:1]}, "have the shapes ((4, 6, 36), (4, 6, 2), (1, 6, 2)), but should have"),
        ({"observations": recording.observations[..., 1:]}, "have the shapes ((4, 6, 35)"),
        ({name: getattr(recording, name)[:, :0] for name in ("observations", "actions", "rewards")}, "((4, 0, 36)"),
        ({"means": {"reward": means["reward"]}}, "there are means of reward, but should be of reward, other_reward, "),
        ({"means": means, "averaged": 0}, "`averaged` must be at least 1, but is 0"),
        ({"means": means | {"reward": np.zeros(3)}}, "means of reward must be a finite number for each of 4 inner"),
        ({"means": means | {"reward": np.full(4, np.nan)}}, "means of reward must be a finite number for each"),
        ({"means": means | {"reward": np.full(4, "1")}}, "means of reward must be a finite number for each"),
    ):
        dataclasses.replace(recording, **changes).save(file)
        assert main(["show", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err
    recording.save(file)
    whole = file.read_bytes()
    for place, value in ((8, 1), (10, 99)):  # encrypted, it says, or compressed in a way that nobody knows
        content = bytearray(whole)
        content[content.index(b"PK\1\2") + place] = value
        file.write_bytes(content)
        assert main(["show", str(tmp_path)]) == 2
        assert "holds no meta-episode that can be shown" in capsys.readouterr().err
    recording.save(file)
    with np.load(file) as held:
        np.savez(file, **dict(held) | {"about": json.dumps({"game": "CoinGame", "arguments": [3]})})
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no meta-episode that can be shown" in capsys.readouterr().err
    dataclasses.replace(recording, means=means).save(file)
    with np.load(file) as held:
        np.savez(file, **dict(held) | {"averaged": 2.5})
    assert main(["show", str(tmp_path)]) == 2
    assert "`averaged` must be a whole number, but is 2.5" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err
    recording.save(file)
    (tmp_path / "file").write_text("")
    assert main(["show", str(tmp_path), "--out", str(tmp_path / "file" / "out")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_without_matplotlib_the_hint_works_from_a_clone_and_elsewhere(tmp_path, monkeypatch, capsys):
    recording_of(COIN_GAMES[0]).save(tmp_path / "meta-episode-x.npz")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["show", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "Showing needs matplotlib: pip install matplotlib (in a clone: pip install -e '.[figures]')" in message
    assert message.count("\n") == 1


def test_files_are_drawn_even_if_their_names_cannot_be_printed(tmp_path, monkeypatch):
    """On a terminal without the signs of a folder's name; on a full disk the status says so."""
    folder = tmp_path / "Läufe×"
    folder.mkdir()
    recording_of(COIN_GAMES[0]).save(folder / "meta-episode-x.npz")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["show", str(folder)]) == 0
    stream.flush()
    assert stream.buffer.getvalue().decode().splitlines()[0].endswith("Laufex/meta-episode-x.gif")
    (folder / "meta-episode-x.gif").unlink()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["show", str(folder)]) == 2
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert (folder / "meta-episode-x.gif").exists()


def test_trained_pools_are_recorded(monkeypatch):
    """Against a naive learner, and against another agent: by the game's rules, from the first seed."""
    even = {"meta_batch": 4, "p_naive": 0.5, "agent.leave_one_out": True, "agent.centre": False}
    settings, pool = settings_of("fig7", "smoke", {"devices": 1, **MEMORYLESS, **even}).trainings()["CoalaPG"]
    with jax.enable_x64(False):
        state = settings.init(pool)
        found = recordings(pool, state, Layout())
        assert set(found) == {"naive", "meta"}
        assert found["naive"].cast == Cast("", 0, "CoalaPG", "naive", ("PolicyGradient",), (0, 1))
        assert found["meta"].cast == Cast("", 0, "CoalaPG", "meta", ("CoalaPG",), (0, 1))
        for recording in found.values():
            assert recording.observations.shape == (3, 8, 102)
            assert recording.actions.shape == recording.rewards.shape == (3, 8, 2)
            there = jax.tree.map(np.asarray, pool.game.seen(jnp.asarray(recording.observations)))
            before, after = there.cells[:, :-1], there.cells[:, 1:]
            moved = _targets(5, 4, pool.game.actions)[before, recording.actions[:, :-1]]
            assert ((after == moved) | (after == before)).all()
            assert (after == moved).mean() > 0.5
            assert (after != before).any(axis=(0, 1)).all()
            at_apple = (there.cells % 4 == 0) & (there.frozen == 0)
            assert not recording.rewards[~at_apple].any()
            assert recording.averaged == 4 * 4
            recording.check()
            assert any((recording.means[name] != of).any() for name, of in recording.measured().items())
        assert isinstance(found["meta"].game, ce.games.CleanUpLite)
        monkeypatch.setattr("coala_eqx.training.recordings.RECORDED", 1)
        alone = recordings(dataclasses.replace(pool, batch=1), state, Layout())
        for recording in alone.values():
            assert recording.averaged == 1
            for name, values in recording.measured().items():
                np.testing.assert_allclose(recording.means[name], values, rtol=1e-6, err_msg=name)


def write_former(file, recording):
    """As version 1 wrote recordings: the game by its name and arguments, nobody's name."""
    fields = {field.name: getattr(recording.game, field.name) for field in dataclasses.fields(recording.game)}
    about = json.dumps({"game": type(recording.game).__name__, "arguments": fields}, default=lambda value: value.item())
    arrays = {"observations": recording.observations, "actions": recording.actions, "rewards": recording.rewards}
    means = {f"mean_{name}": values for name, values in recording.means.items()}
    np.savez_compressed(file, about=np.array(about), averaged=np.array(recording.averaged), **arrays, **means)


@pytest.mark.parametrize("game", [CLEAN_UPS[1], COIN_GAMES[1]], ids=["clean-up", "coins"])
def test_recordings_of_the_former_version_are_shown_alike(game, tmp_path):
    recording = recording_of(game)
    recording = dataclasses.replace(recording, means=recording.measured(), averaged=12)
    folders = tmp_path / "former", tmp_path / "now"
    for folder, write in zip(folders, (write_former, lambda file, one: one.save(file)), strict=True):
        folder.mkdir()
        write(folder / "meta-episode-mfos-naive.npz", recording)
    former, now = map(show, folders)
    assert [file.read_bytes() for file in former] == [file.read_bytes() for file in now]
    assert len(former) == 3
    write_former(tmp_path / "other.npz", recording)
    with np.load(tmp_path / "other.npz") as held:
        np.savez(tmp_path / "other.npz", **dict(held) | {"about": json.dumps({"game": "MatrixGame", "arguments": {}})})
    with pytest.raises(ValueError, match="there is no game 'MatrixGame'"):
        Recording.load(tmp_path / "other.npz")


def test_a_recording_says_who_plays_and_of_which_version_it_is(tmp_path):
    cast = Cast("noise 2", 0, "MFOS", "meta", ("MFOS or CoalaPG",))
    file = tmp_path / "meta-episode-noise-2-meta.npz"
    dataclasses.replace(recording_of(COIN_GAMES[0]), cast=cast).save(file)
    assert Recording.load(file).cast == cast
    with np.load(file) as held:
        about, arrays = json.loads(str(held["about"])), dict(held)
    assert (about["format"], about["coala_eqx"]) == (2, __version__)
    assert about["game"]["module"] == "coala_eqx.games.coin_game:CoinGame"
    assert _title(cast, file) == "noise 2: MFOS against another agent"
    assert _title(dataclasses.replace(cast, part="MFOS", players=(1, 0, 2)), file) == "MFOS against other agents"
    np.savez(file, **arrays | {"about": json.dumps(about | {"format": 3, "coala_eqx": "9.0"})})
    with pytest.raises(ValueError, match="it has format 3, of coala_eqx 9.0; this version reads up to 2"):
        Recording.load(file)


MINE = """
import jax, jax.numpy as jnp
from coala_eqx.games import AbstractGame

class Mine(AbstractGame):
    num_players: int = 3
    num_actions: tuple = (2, 2, 2)
    num_observations: tuple = (1, 1, 1)
    def reset(self, key): return 0.0, jnp.zeros((3, 1))
    def step(self, state, actions, key): return state, jnp.zeros((3, 1)), actions.astype(float)

class Drawn(AbstractGame):
    num_players: int = 3
    num_actions: tuple = (2, 2, 2)
    num_observations: tuple = (1, 1, 1)
    def reset(self, key): return 0.0, jnp.zeros((3, 1))
    def step(self, state, actions, key): return state, jnp.zeros((3, 1)), actions.astype(float)
    def render(self, step): return f"<{step.actions.tolist()} of {step.players}>"
"""


@pytest.mark.parametrize("name", ["Mine", "Drawn"])
def test_a_game_of_ones_own_is_shown_as_it_renders_or_listed(name, tmp_path, capsys):
    """And listed with a note where its file is gone."""
    source, file = tmp_path / "mine.py", tmp_path / "meta-episode-training-naive.npz"
    source.write_text(MINE)
    game = getattr(import_source(str(source), "game"), name)()
    actions = np.arange(12).reshape(2, 2, 3) % 2
    cast = Cast("training", 0, "CoalaPG", "naive", ("PolicyGradient",) * 2, (1, 0, 2))
    Recording(game, np.full((2, 2, 1), 0.5), actions, actions * 1.5, cast=cast).save(file)
    assert main(["show", str(tmp_path)]) == 0
    text, measures = (tmp_path / f"meta-episode-training-naive{ending}" for ending in (".txt", "-measures.png"))
    assert capsys.readouterr().out.split() == [str(text), str(measures)]
    listed = "agent (player 1) sees 0.5, acts 1, earns 1.5\nco-player 1 (player 0) acts 0, earns 0\n"
    head = (
        "training: CoalaPG against naive learners\nagent: player 1, CoalaPG\nco-player: player 0, PolicyGradient\n"
        "co-player: player 2, PolicyGradient\n\n"
    )
    shown = text.read_text()
    assert shown.startswith(head)
    assert shown.count("inner episode 2, step 2; rewards so far: 1.5, 1.5, 1.5\n") == 1
    assert (listed in shown) == (name == "Mine")
    assert ("<[1, 0, 1] of (1, 0, 2)>" in shown) == (name == "Drawn")
    source.unlink()
    sys.modules.pop(type(game).__module__)
    assert main(["show", str(tmp_path)]) == 0
    assert listed in (shown := text.read_text())
    assert f"The game {source}:{name} cannot be imported here: There is no file" in shown


def test_a_game_that_cannot_be_written_is_listed_with_the_reason(tmp_path):
    class Mine(AbstractGame):
        num_players: int = 2
        num_actions: tuple = (4, 4)
        num_observations: tuple = (36, 36)

        def reset(self, key):
            return 0, jnp.zeros((2, 36), bool)

        def step(self, state, actions, key):
            return state, jnp.zeros((2, 36), bool), jnp.zeros(2)

    dataclasses.replace(recording_of(COIN_GAMES[0]), game=Mine()).save(tmp_path / "meta-episode-x.npz")
    found = Recording.load(tmp_path / "meta-episode-x.npz")
    assert found.game is None
    assert found.note.startswith("The game could not be written: game is <class ")
    text, _ = show(tmp_path)
    assert found.note in text.read_text()


def test_a_mixture_of_scenes_and_text_is_refused():
    recording = dataclasses.replace(recording_of(COIN_GAMES[0], 1, 2), rewards=np.array([[[0, 0], [1, 0]]]))

    class Mixed(AbstractGame):
        num_players: int = 2
        num_actions: tuple = (4, 4)
        num_observations: tuple = (36, 36)

        def reset(self, key):
            return 0, jnp.zeros((2, 36), bool)

        def step(self, state, actions, key):
            return state, jnp.zeros((2, 36), bool), jnp.zeros(2)

        def render(self, step):
            return COIN_GAMES[0].render(step) if step.rewards.any() else "nothing"

    with pytest.raises(ValueError, match="`render` of Mixed must return a Scene for all steps, or text for all"):
        _drawn(dataclasses.replace(recording, game=Mixed()), 0)


class Own(AbstractGame):
    """A game of three players that is no table to the eye; what they earn says who they are."""

    inner: ce.games.MatrixGame
    num_players: int = 3
    num_actions: tuple = (2, 2, 2)
    num_observations: tuple = (9, 9, 9)

    def reset(self, key):
        return self.inner.reset(key)

    def step(self, state, actions, key):
        state, observations, _ = self.inner.step(state, actions, key)
        return state, observations, actions + 10.0 * jnp.arange(3)


def test_any_game_but_a_table_is_recorded(tmp_path):
    """From the seat that the agent has; read back by the class's name."""
    learner = ce.learners.PolicyGradient(optimiser=optax.sgd(0.1))
    make = lambda key: ce.policies.MLP(9, 2, width=3, key=key)  # noqa: E731
    agents = tuple(Agent(ce.estimators.CoalaPG(), PPO(optax.sgd(0.1), epochs=1), make, seats=(n,)) for n in (1, 2))
    sizes = {"batch": 1, "episodes": 2, "steps": 3, "meta_batch": 2, "p_naive": 0.5}
    goods = ce.games.public_goods()
    with jax.enable_x64(False):
        pools = [Pool(game, agents, NaiveLearners(learner, make), **sizes) for game in (Own(goods), goods)]
        states = eqx.filter_vmap(pools[0].init)(jax.random.split(jax.random.key(0), 1))
        found, none = (recordings(pool, states, Layout()) for pool in pools)
    assert none == {}
    assert found["naive"].cast == Cast("", 0, "CoalaPG", "naive", ("PolicyGradient",) * 2, (1, 0, 2))
    assert found["meta"].cast == Cast("", 0, "CoalaPG", "meta", ("PolicyGradient", "CoalaPG"), (1, 0, 2))
    for recording in found.values():
        recording.check()
        np.testing.assert_array_equal(recording.rewards, recording.actions + np.array([10.0, 0.0, 20.0]))
        np.testing.assert_allclose(recording.measured()["other_reward"], recording.rewards[..., 1:].mean(axis=(1, 2)))
        recording.save(tmp_path / "one.npz")
        assert Recording.load(tmp_path / "one.npz").game == Own(goods)
