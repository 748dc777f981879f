"""The batched co-player shaping POMDP: sampling meta-episodes, and the likelihood of their outcomes."""

from coala_eqx.shaping.episode import MetaEpisode as MetaEpisode
from coala_eqx.shaping.independent import learn_independently as learn_independently
from coala_eqx.shaping.iterated import IteratedShapingProblem as IteratedShapingProblem
from coala_eqx.shaping.learning import alternate as alternate
from coala_eqx.shaping.population import Population as Population
from coala_eqx.shaping.population import draw_co_player as draw_co_player
from coala_eqx.shaping.probing import AbstractProbe as AbstractProbe
from coala_eqx.shaping.probing import LearnerFeatures as LearnerFeatures
from coala_eqx.shaping.probing import OutputProbe as OutputProbe
from coala_eqx.shaping.probing import probe_game as probe_game
from coala_eqx.shaping.problem import ShapingProblem as ShapingProblem
from coala_eqx.shaping.replay import replay as replay
from coala_eqx.shaping.replay import replay_co_players as replay_co_players
from coala_eqx.shaping.replay import replay_ego as replay_ego
from coala_eqx.shaping.replay import replay_ego_outputs as replay_ego_outputs
from coala_eqx.shaping.replay import replay_features as replay_features
from coala_eqx.shaping.replay import score_function as score_function
