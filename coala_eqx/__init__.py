"""Learning-aware multi-agent reinforcement learning, with every gradient estimator held against the exact gradient."""

from coala_eqx import estimators as estimators
from coala_eqx import exact as exact
from coala_eqx import games as games
from coala_eqx import learners as learners
from coala_eqx import policies as policies
from coala_eqx import runs as runs
from coala_eqx import training as training
from coala_eqx import verification as verification
from coala_eqx.shaping import IteratedShapingProblem as IteratedShapingProblem
from coala_eqx.shaping import MetaEpisode as MetaEpisode
from coala_eqx.shaping import Population as Population
from coala_eqx.shaping import ShapingProblem as ShapingProblem
from coala_eqx.version import __version__ as __version__
