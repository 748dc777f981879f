"""The residual block of Hawk: a gated linear recurrence and a gated MLP.

Everything acts on sequences `[steps, …]`. The memory after one sequence is where the next goes on.

Source: De et al. (2024), "Griffin: mixing gated linear recurrences with local attention for efficient language models",
arXiv 2402.19427, Section 2.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from coala_eqx.policies.network import apply
from coala_eqx.policies.recurrence import linear_recurrence

_SHARPNESS = 8.0
"""c in a_t = a^{c·r_t}."""

_DECAYS = (0.9, 0.999)
"""a^c is drawn uniformly between them."""

_CONVOLUTION_VARIANCE = 0.01
"""Variance of the temporal convolution's initial weights, times its length."""


class BlockMemory(eqx.Module):
    """Memory of one block."""

    state: Float[Array, " recurrent"]
    """State of the recurrence."""

    inputs: Float[Array, "earlier recurrent"]
    """The last inputs of the temporal convolution."""


class RMSNorm(eqx.Module):
    """Divided by the root mean square over features, times a learned scale that starts at 1."""

    scale: Float[Array, " width"]

    def __init__(self, width: int):
        self.scale = jnp.ones(width)

    def __call__(self, features: Float[Array, "*steps width"]) -> Float[Array, "*steps width"]:
        mean_square = (features**2).mean(axis=-1, keepdims=True)
        return jnp.broadcast_to(self.scale, features.shape) * features * jax.lax.rsqrt(mean_square + 1e-6)


class BlockDiagonal(eqx.Module):
    """A linear layer that does not mix heads, with a bias."""

    weight: Float[Array, "heads inputs outputs"]
    bias: Float[Array, "heads outputs"]

    def __init__(self, width: int, heads: int, *, key: Key[Array, ""]):
        size = width // heads
        self.weight = jax.random.normal(key, (heads, size, size)) / size**0.5
        self.bias = jnp.zeros((heads, size))

    def __call__(self, features: Float[Array, "*steps width"]) -> Float[Array, "*steps width"]:
        # one product with zeros in it is faster, for small layers, than one for each head on parts of the features
        outputs = features @ jax.scipy.linalg.block_diag(*self.weight)
        return outputs + jnp.broadcast_to(self.bias.reshape(-1), outputs.shape)


class RGLRU(eqx.Module):
    """The real-gated linear recurrent unit.

    With gates r_t = σ(W_a x_t + b_a), i_t = σ(W_x x_t + b_x) and a_t = a^{8·r_t}, a = σ(Λ):
    h_t = a_t ⊙ h_{t−1} + √(1 − a_t²) ⊙ i_t ⊙ x_t.
    """

    recurrence_gate: BlockDiagonal
    input_gate: BlockDiagonal
    decay: Float[Array, " recurrent"]
    """Λ."""

    def __init__(self, width: int, heads: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, 3)
        self.recurrence_gate = BlockDiagonal(width, heads, key=keys[0])
        self.input_gate = BlockDiagonal(width, heads, key=keys[1])
        log_decay = jnp.log(jax.random.uniform(keys[2], (width,), minval=_DECAYS[0], maxval=_DECAYS[1])) / _SHARPNESS
        self.decay = log_decay - jnp.log(-jnp.expm1(log_decay))  # σ⁻¹ of exp(log_decay)

    def __call__(
        self,
        inputs: Float[Array, "steps recurrent"],
        state: Float[Array, " recurrent"],
        age: Int[Array, " steps"],
        scan: str,
    ) -> Float[Array, "steps recurrent"]:
        """The states h_t for all steps, from the state before them; at age 0 from zeros."""
        log_decay = _SHARPNESS * jax.nn.sigmoid(self.recurrence_gate(inputs)) * jax.nn.log_sigmoid(self.decay)[None]
        gated = jax.nn.sigmoid(self.input_gate(inputs)) * inputs
        # −expm1 keeps 1 − a² exact to rounding for decays near 1
        kept = jnp.where(age[:, None] > 0, jnp.exp(log_decay), 0)
        # and a root has no slope at 0, which 1 − a² is to rounding where a gate is shut
        rest = jnp.maximum(-jnp.expm1(2 * log_decay), jnp.finfo(log_decay.dtype).tiny)
        return linear_recurrence(kept, jnp.sqrt(rest) * gated, state, scan)


class HawkBlock(eqx.Module):
    """x + recurrence(norm(x)), then x + MLP(norm(x)), both gated by a GELU branch.

    **Arguments:**

    - `width`: width of the residual stream.
    - `recurrent`: width of the recurrence, divided into `heads`.
    - `expanded`: width of the MLP.
    - `kernel`: length of the causal temporal convolution before the recurrence.
    - `depth`: number of blocks; with more of them the last layers of both branches start smaller.
    - `key`: draws the parameters.
    """

    recurrence_norm: RMSNorm
    gate: eqx.nn.Linear
    branch: eqx.nn.Linear
    convolution: Float[Array, "kernel recurrent"]
    convolution_bias: Float[Array, " recurrent"]
    unit: RGLRU
    back: eqx.nn.Linear
    mlp_norm: RMSNorm
    mlp_gate: eqx.nn.Linear
    mlp_branch: eqx.nn.Linear
    mlp_back: eqx.nn.Linear

    def __init__(
        self, width: int, recurrent: int, heads: int, expanded: int, kernel: int, depth: int, *, key: Key[Array, ""]
    ):
        keys = jax.random.split(key, 8)
        self.recurrence_norm = RMSNorm(width)
        self.gate = linear(width, recurrent, keys[0])
        self.branch = linear(width, recurrent, keys[1])
        self.convolution = (_CONVOLUTION_VARIANCE / kernel) ** 0.5 * jax.random.normal(keys[2], (kernel, recurrent))
        self.convolution_bias = jnp.zeros(recurrent)
        self.unit = RGLRU(recurrent, heads, key=keys[3])
        self.back = linear(recurrent, width, keys[4], variance=2 / depth)
        self.mlp_norm = RMSNorm(width)
        self.mlp_gate = linear(width, expanded, keys[5])
        self.mlp_branch = linear(width, expanded, keys[6])
        self.mlp_back = linear(expanded, width, keys[7], variance=2 / depth)

    def initial_memory(self) -> BlockMemory:
        """Zeros."""
        kernel, recurrent = self.convolution.shape
        dtype = self.convolution.dtype
        return BlockMemory(state=jnp.zeros(recurrent, dtype), inputs=jnp.zeros((kernel - 1, recurrent), dtype))

    def __call__(
        self, memory: BlockMemory, features: Float[Array, "steps width"], age: Int[Array, " steps"], scan: str
    ) -> tuple[BlockMemory, Float[Array, "steps width"]]:
        """The next memory, and the features after the block; `age` is the number of earlier steps that count."""
        normed = self.recurrence_norm(features)
        memory, mixed = self._mix(memory, apply(self.branch, normed), age, scan)
        features = features + apply(self.back, mixed * jax.nn.gelu(apply(self.gate, normed)))
        normed = self.mlp_norm(features)
        expanded = jax.nn.gelu(apply(self.mlp_gate, normed)) * apply(self.mlp_branch, normed)
        return memory, features + apply(self.mlp_back, expanded)

    def _mix(self, memory: BlockMemory, inputs: Array, age: Array, scan: str) -> tuple[BlockMemory, Array]:
        """Convolution along the sequence, then recurrence."""
        steps, kernel = len(inputs), len(self.convolution)
        padded = jnp.concatenate([memory.inputs, inputs])
        convolved = jnp.broadcast_to(self.convolution_bias, inputs.shape)
        for i in range(kernel):
            remembered = age[:, None] >= kernel - 1 - i
            convolved += self.convolution[i][None] * jnp.where(remembered, padded[i : i + steps], 0)
        states = self.unit(convolved, memory.state, age, scan)
        return BlockMemory(state=states[-1], inputs=padded[steps:]), states


def linear(inputs: int, outputs: int, key: Key[Array, ""], variance: float = 1.0) -> eqx.nn.Linear:
    """Normal weights of variance `variance`/inputs, and a bias that starts at 0."""
    key_layer, key_weight = jax.random.split(key)
    layer = eqx.nn.Linear(inputs, outputs, key=key_layer)
    weight = (variance / inputs) ** 0.5 * jax.random.normal(key_weight, (outputs, inputs))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weight, jnp.zeros(outputs)))
