"""Policies, their distributions over actions, and encoders of observations."""

from coala_eqx.policies.base import NO_ACTION as NO_ACTION
from coala_eqx.policies.base import AbstractPolicy as AbstractPolicy
from coala_eqx.policies.base import Memory as Memory
from coala_eqx.policies.base import PolicyOutput as PolicyOutput
from coala_eqx.policies.base import PolicyState as PolicyState
from coala_eqx.policies.base import entropy_of as entropy_of
from coala_eqx.policies.base import initial_policy_state as initial_policy_state
from coala_eqx.policies.base import log_probs_of as log_probs_of
from coala_eqx.policies.base import replay_actions as replay_actions
from coala_eqx.policies.base import unroll_by_steps as unroll_by_steps
from coala_eqx.policies.distributions import AbstractDistribution as AbstractDistribution
from coala_eqx.policies.distributions import Categorical as Categorical
from coala_eqx.policies.distributions import Gaussian as Gaussian
from coala_eqx.policies.encoders import AbstractEncoder as AbstractEncoder
from coala_eqx.policies.encoders import Convolution as Convolution
from coala_eqx.policies.encoders import OneHot as OneHot
from coala_eqx.policies.encoders import Plain as Plain
from coala_eqx.policies.full_history import FullHistory as FullHistory
from coala_eqx.policies.gru import GRU as GRU
from coala_eqx.policies.hawk import Hawk as Hawk
from coala_eqx.policies.linear_gaussian import LinearGaussian as LinearGaussian
from coala_eqx.policies.memory_one import AbstractMemoryOne as AbstractMemoryOne
from coala_eqx.policies.memory_one import BinaryMemoryOne as BinaryMemoryOne
from coala_eqx.policies.memory_one import MemoryOne as MemoryOne
from coala_eqx.policies.mlp import MLP as MLP
