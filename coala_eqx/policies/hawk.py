"""Hawk: a sequence model whose memory lasts through a whole meta-trajectory."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Shaped

from coala_eqx._checks import check_choice, check_sizes
from coala_eqx.games.spaces import ActionSpace, ObservationSpace
from coala_eqx.loops import scan
from coala_eqx.policies.base import Memory, PolicyOutput
from coala_eqx.policies.encoders import AbstractEncoder, make_encoder
from coala_eqx.policies.hawk_block import BlockMemory, HawkBlock, RMSNorm, linear
from coala_eqx.policies.network import AbstractNetwork, ReadOut, apply, as_action_space
from coala_eqx.policies.recurrence import SCANS


class HawkMemory(eqx.Module):
    """Memory of a Hawk."""

    blocks: tuple[BlockMemory, ...]
    steps: Int[Array, ""]
    """Number of steps so far."""


class Hawk(AbstractNetwork):
    """Hawk (De et al., 2024), with linear read-outs for policy and value: the paper's agent by default.

    Integer observations enter as one-hot vectors, vectors as they are, and images through a `Convolution`. A linear
    embedding, residual blocks (`HawkBlock`), an RMS norm and the read-outs follow.

    **Arguments:**

    - `observations`: number of observations, or length of one that is a vector; or their space, such as
      `game.observation_spaces[0]`; or an encoder, such as `Convolution(Image(9, 9, 3), channels=16, key=key)`.
    - `actions`: number of actions, or their space, such as `game.action_spaces[0]`.
    - `width`: width of the residual stream.
    - `blocks`: number of residual blocks.
    - `recurrent`, `expanded`: widths of recurrence and MLP; as `width` unless given.
    - `heads`: number of blocks of the gates' matrices; must divide `recurrent`.
    - `kernel`: length of the temporal convolution.
    - `head_scale`: factor of the initial read-outs. At 0 the policy is uniform, or of mean 0, and the critic 0.
    - `scan`: algorithm of the recurrence of a sequence: `"sequential"`, `"associative"`, or `"auto"`, the faster one on
      the backend.
    - `rematerialise`: number of steps whose activations a gradient keeps at a time; it computes all others anew, and
      needs much less memory for long sequences. All activations are kept unless it is given.
    - `forget_after`: number of steps after which the memory is cleared, again and again; never unless given.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is below 1, `heads` does not divide `recurrent`, or `scan` is unknown.

    Source: De et al. (2024), arXiv 2402.19427; Meulemans et al. (2025), App. B.
    """

    embedding: eqx.nn.Linear
    blocks: tuple[HawkBlock, ...]
    norm: RMSNorm
    read_out: ReadOut
    encoder: AbstractEncoder
    action_space: ActionSpace = eqx.field(static=True)
    scan: str = eqx.field(static=True)
    rematerialise: int | None = eqx.field(static=True)
    forget_after: int | None = eqx.field(static=True)

    def __init__(
        self,
        observations: int | ObservationSpace | AbstractEncoder,
        actions: int | ActionSpace,
        *,
        width: int = 32,
        blocks: int = 1,
        recurrent: int | None = None,
        expanded: int | None = None,
        heads: int = 2,
        kernel: int = 4,
        head_scale: float = 0.0,
        scan: str = "auto",
        rematerialise: int | None = None,
        forget_after: int | None = None,
        key: Key[Array, ""],
    ):
        recurrent = width if recurrent is None else recurrent
        expanded = width if expanded is None else expanded
        check_sizes(width=width, blocks=blocks, recurrent=recurrent)
        check_sizes(expanded=expanded, heads=heads, kernel=kernel)
        check_sizes(rematerialise=rematerialise, forget_after=forget_after)
        if recurrent % heads:
            raise ValueError(f"`heads` must divide the width of the recurrence, {recurrent}, but is {heads}.")
        check_choice("scan", scan, SCANS)
        self.encoder, key = make_encoder(observations, key)
        self.action_space = as_action_space(actions)
        key_embedding, key_policy, key_value, *keys = jax.random.split(key, 3 + blocks)
        self.embedding = linear(self.encoder.features, width, key_embedding)
        self.blocks = tuple(HawkBlock(width, recurrent, heads, expanded, kernel, blocks, key=key) for key in keys)
        self.norm = RMSNorm(width)
        self.read_out = ReadOut(width, self.action_space, scale=head_scale, keys=(key_policy, key_value))
        self.scan = scan
        self.rematerialise = rematerialise
        self.forget_after = forget_after

    def initial_memory(self) -> HawkMemory:
        return HawkMemory(tuple(block.initial_memory() for block in self.blocks), jnp.zeros((), int))

    def __call__(
        self, memory: Memory, observation: Shaped[Array, "*features"], previous_action: Shaped[Array, "*action"]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        memory, output = self._think(memory, observation[None], "sequential")
        return memory, jax.tree.map(lambda leaf: leaf[0], output)

    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Shaped[Array, "steps *action"],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        length = self.rematerialise
        if length is None or len(observations) <= length:
            return self._think(memory, observations, self.scan)

        @jax.checkpoint
        def chunk(memory: HawkMemory, observations: Array) -> tuple[HawkMemory, PolicyOutput]:
            return self._think(memory, observations, self.scan)

        whole = len(observations) // length * length
        chunks = observations[:whole].reshape(-1, length, *observations.shape[1:])
        memory, output = scan(chunk, memory, chunks)
        output = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), output)
        if whole < len(observations):
            memory, rest = chunk(memory, observations[whole:])
            output = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), output, rest)
        return memory, output

    def _think(
        self, memory: HawkMemory, observations: Shaped[Array, "steps *features"], scan: str
    ) -> tuple[HawkMemory, PolicyOutput]:
        encoded = self.encoder(observations, self.embedding.weight.dtype, axes=1)
        age = memory.steps + jnp.arange(len(encoded))
        if self.forget_after is not None:
            age = age % self.forget_after
        features, after = apply(self.embedding, encoded), []
        for block, before in zip(self.blocks, memory.blocks, strict=True):
            left, features = block(before, features, age, scan)
            after.append(left)
        memory = HawkMemory(tuple(after), memory.steps + len(encoded))
        return memory, self.read_out(self.norm(features))
