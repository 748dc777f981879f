"""Encoders: observations of a space to vectors of features, which enter the first linear layer of a network."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key, Shaped

from coala_eqx._checks import check_sizes
from coala_eqx.games.spaces import Discrete, Image, ObservationSpace, Vector


class AbstractEncoder(eqx.Module):
    """A map from observations to vectors of features."""

    space: eqx.AbstractVar[ObservationSpace | None]
    """Space of the observations; `None` for integers and for vectors of one size."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of observations, or of the entries of one."""

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """Length of a vector of features."""

    @abc.abstractmethod
    def __call__(
        self, observations: Shaped[Array, "*steps_and_observation"], dtype: DTypeLike, *, axes: int
    ) -> Float[Array, "*steps features"]:
        """The features of observations.

        **Arguments:**

        - `dtype`: type of the features.
        - `axes`: number of axes of steps, 0 or 1.

        **Raises** `ValueError` for observations of another shape.
        """


class Sized(AbstractEncoder):
    """Integers as one-hot vectors, vectors as they are, and a scalar that is no integer as a vector of length one.

    It is the encoder of networks that are made for a number of observations in place of a space.
    """

    number: int = eqx.field(static=True)
    space: None = eqx.field(static=True, default=None)

    @property
    def size(self) -> int:
        return self.number

    @property
    def features(self) -> int:
        return self.number

    def __call__(
        self, observations: Shaped[Array, "*steps_and_observation"], dtype: DTypeLike, *, axes: int
    ) -> Float[Array, "*steps features"]:
        shape = observations.shape[axes:]
        if not shape and not jnp.issubdtype(observations.dtype, jnp.floating):
            return jax.nn.one_hot(observations.astype(int), self.size, dtype=dtype)
        if not shape and self.size == 1:
            return observations.astype(dtype)[..., None]
        if shape != (self.size,):
            many = f"arrays of shape {list(shape)}; flatten them, or make the network for an Image"
            seen = f"vectors of length {shape[0]}" if len(shape) == 1 else many
            seen = seen if shape else f"single numbers of type {observations.dtype}, which are vectors of length 1"
            raise ValueError(
                f"The network is made for {self.size} observations, or vectors of that length, but its observations "
                f"are {seen}. Make the network with observations={math.prod(shape)}, or observations that are integers."
            )
        return observations.astype(dtype)


class OneHot(AbstractEncoder):
    """Integers as one-hot vectors."""

    space: Discrete = eqx.field(static=True)

    @property
    def size(self) -> int:
        return self.space.n

    @property
    def features(self) -> int:
        return self.space.n

    def __call__(
        self, observations: Shaped[Array, "*steps_and_observation"], dtype: DTypeLike, *, axes: int
    ) -> Float[Array, "*steps features"]:
        if observations.ndim != axes or jnp.issubdtype(observations.dtype, jnp.floating):
            raise _other(self.space, observations, axes)
        return jax.nn.one_hot(observations.astype(int), self.size, dtype=dtype)


class Plain(AbstractEncoder):
    """Vectors as they are. The first layer of the network is linear in them."""

    space: Vector = eqx.field(static=True)

    @property
    def size(self) -> int:
        return self.space.n

    @property
    def features(self) -> int:
        return self.space.n

    def __call__(
        self, observations: Shaped[Array, "*steps_and_observation"], dtype: DTypeLike, *, axes: int
    ) -> Float[Array, "*steps features"]:
        if observations.ndim == axes and self.size == 1:  # single numbers, which a game need not put into vectors
            observations = observations[..., None]
        if observations.shape[axes:] != self.space.shape:
            raise _other(self.space, observations, axes)
        return observations.astype(dtype)


class Convolution(AbstractEncoder):
    """A convolution of images with a GELU, flattened.

    Its output has as many pixels as the image, which is padded with zeros. A game whose pixels are not of the order
    of 1 should scale them.

    **Arguments:**

    - `space`: the space of images.
    - `channels`: number of output channels.
    - `kernel`: height and width of the filters.
    - `key`: draws the filters.

    **Raises** `ValueError` if a size is not a whole number, or below 1.
    """

    layer: eqx.nn.Conv2d
    space: Image = eqx.field(static=True)
    channels: int = eqx.field(static=True)

    def __init__(self, space: Image, *, channels: int = 8, kernel: int = 3, key: Key[Array, ""]):
        check_sizes(channels=channels, kernel=kernel)
        self.layer = eqx.nn.Conv2d(space.channels, channels, kernel, padding="SAME", key=key)
        self.space = space
        self.channels = channels

    @property
    def size(self) -> int:
        return self.space.size

    @property
    def features(self) -> int:
        return self.space.height * self.space.width * self.channels

    def __call__(
        self, observations: Shaped[Array, "*steps_and_observation"], dtype: DTypeLike, *, axes: int
    ) -> Float[Array, "*steps features"]:
        if observations.shape[axes:] != self.space.shape:
            raise _other(self.space, observations, axes)
        images = jnp.moveaxis(observations.astype(dtype), -1, -3)
        outputs = jax.vmap(self.layer)(images) if axes else self.layer(images)
        return jax.nn.gelu(outputs).reshape(*observations.shape[:axes], self.features)


def make_encoder(
    observations: int | ObservationSpace | AbstractEncoder, key: Key[Array, ""]
) -> tuple[AbstractEncoder, Key[Array, ""]]:
    """The encoder of a network for a number of observations, a space, or the encoder itself.

    **Returns** the encoder, and a key for the rest of the network: the same key, if the encoder draws no parameters.

    **Raises** `ValueError` for anything else.
    """
    if isinstance(observations, AbstractEncoder):
        return observations, key
    if isinstance(observations, Discrete):
        return OneHot(observations), key
    if isinstance(observations, Vector):
        return Plain(observations), key
    if isinstance(observations, Image):
        key_encoder, key = jax.random.split(key)
        return Convolution(observations, key=key_encoder), key
    check_sizes(observations=observations)
    return Sized(number=int(observations)), key


def _other(space: ObservationSpace, observations: Array, axes: int) -> ValueError:
    return ValueError(
        f"The network is made for observations of {space}, but its observations are "
        f"{observations.dtype}{list(observations.shape[axes:])}. Make it for the observation space of the game."
    )
