"""Games, and the spaces of what players observe and do."""

from coala_eqx.games.base import AbstractEnumerableGame as AbstractEnumerableGame
from coala_eqx.games.base import AbstractGame as AbstractGame
from coala_eqx.games.clean_up_lite import CleanUpLite as CleanUpLite
from coala_eqx.games.clean_up_lite import small_clean_up as small_clean_up
from coala_eqx.games.coin_game import CoinGame as CoinGame
from coala_eqx.games.drawn import AbstractDrawnGame as AbstractDrawnGame
from coala_eqx.games.environments import FromEnvironment as FromEnvironment
from coala_eqx.games.linear_quadratic import LinearQuadratic as LinearQuadratic
from coala_eqx.games.linear_quadratic import cournot_competition as cournot_competition
from coala_eqx.games.matrix import MatrixGame as MatrixGame
from coala_eqx.games.matrix import battle_of_the_sexes as battle_of_the_sexes
from coala_eqx.games.matrix import chicken as chicken
from coala_eqx.games.matrix import iterated_prisoners_dilemma as iterated_prisoners_dilemma
from coala_eqx.games.matrix import matching_pennies as matching_pennies
from coala_eqx.games.matrix import public_goods as public_goods
from coala_eqx.games.matrix import stag_hunt as stag_hunt
from coala_eqx.games.seats import seen_from as seen_from
from coala_eqx.games.spaces import ActionSpace as ActionSpace
from coala_eqx.games.spaces import Box as Box
from coala_eqx.games.spaces import Discrete as Discrete
from coala_eqx.games.spaces import Image as Image
from coala_eqx.games.spaces import ObservationSpace as ObservationSpace
from coala_eqx.games.spaces import Vector as Vector
from coala_eqx.games.tabular import TabularGame as TabularGame
