"""The protocol of learners and algorithms: `init(policy, key)` and `update(policy, state, data, key)`."""

import abc
import inspect
import sys
import warnings
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import equinox as eqx

from coala_eqx.policies import AbstractPolicy

Data = TypeVar("Data")


class AbstractUpdateRule(eqx.Module, Generic[Data]):
    """A rule by which a policy changes after each batch of data. Learners and algorithms are update rules.

    The key is the only source of randomness. A rule that uses it says so by `uses_key`, and then gets a fresh typed
    key in each call. Every other rule gets an object that raises `ValueError` where it is used as a key.
    """

    uses_key: ClassVar[bool] = False
    """Whether `init` or `update` uses its key. It may be a property."""

    @abc.abstractmethod
    def init(self, policy: AbstractPolicy, key: Any, /) -> Any:
        """The state before the first update; a pytree of arrays."""

    @abc.abstractmethod
    def update(self, policy: AbstractPolicy, state: Any, data: Data, key: Any, /) -> tuple[Any, ...]:
        """Learn from one batch of data.

        **Returns** the new policy and the new state, with the structure, shapes and dtypes of the old ones. An
        algorithm also returns measurements of the update.
        """


class NoKey:
    """The key of a rule that declares to use none. It can be passed on, and raises `ValueError` where it is used."""

    def __init__(self, rule: str):
        self.rule = rule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoKey) and other.rule == self.rule

    def __hash__(self) -> int:
        return hash(self.rule)

    def __getattr__(self, name: str) -> NoReturn:
        # JAX asks for `aval` to tell arrays from other objects, and Python for names with underscores to copy one.
        if name == "aval" or name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"{self.rule} uses its key, but declares that it does not: set `uses_key: ClassVar[bool] = True` in the "
            f"class, and it is given one."
        )

    __array__ = __jax_array__ = __iter__ = __getitem__ = __len__ = __index__ = __int__ = __float__ = _refuse


def init_rule(rule: AbstractUpdateRule[Any], policy: AbstractPolicy, key: Any = None) -> Any:
    """The state before the first update, `key` being given to a rule that uses it.

    **Raises** `ValueError` if the rule uses a key and `key` is `None`, or if it uses one and declares not to.
    """
    given: tuple[Any, ...] = (policy,)
    if not _is_former(type(rule), "init"):
        given = (*given, _key_of(rule, key))
    return rule.init(*given)


def update_rule(rule: AbstractUpdateRule[Any], policy: AbstractPolicy, state: Any, data: Any, key: Any = None) -> Any:
    """The result of `update`, `key` being given to a rule that uses it.

    **Raises** `ValueError` if the rule uses a key and `key` is `None`, or if it uses one and declares not to.
    """
    given: tuple[Any, ...] = (policy, state, data)
    if not _is_former(type(rule), "update"):
        given = (*given, _key_of(rule, key))
    return rule.update(*given)


def check_signatures(rule: AbstractUpdateRule[Any]) -> None:
    """Warn of a rule without `key`, the signature of the version before, which still works.

    **Raises** `ValueError` if a method takes other arguments than the protocol's.
    """
    kind = type(rule)
    former = [name for name in _ARGUMENTS if _is_former(kind, name)]
    if former and kind not in _warned:
        wanted = " and ".join(f"{name}({', '.join((*_ARGUMENTS[name], 'key'))})" for name in former)
        _warn_user(f"{kind.__name__} takes no key, as learners of a former version: write {wanted}.")
        _warned.add(kind)


def _warn_user(message: str) -> None:
    """Warn at the line of the user's code. There are frames of Equinox in between, as many as it likes."""
    frame = sys._getframe()
    while frame.f_globals.get("__name__", "").split(".")[0] in _OWN and frame.f_back is not None:
        frame = frame.f_back
    name, registry = frame.f_globals.get("__name__", ""), frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, DeprecationWarning, frame.f_code.co_filename, frame.f_lineno, name, registry)


_OWN = {"coala_eqx", "equinox", "jaxtyping", "beartype"}


_ARGUMENTS = {"init": ("policy",), "update": ("policy", "state", "data")}
"""Arguments before the key."""

_warned: set[type] = set()
_former: dict[tuple[type, str], bool] = {}


def _is_former(kind: type, name: str) -> bool:
    """Whether a method takes no key; found out once for each class."""
    if (kind, name) not in _former:
        _former[kind, name] = _lacks_key(kind, name)
    return _former[kind, name]


def _lacks_key(kind: type, name: str) -> bool:
    signature = inspect.signature(getattr(kind, name))
    arguments = [None] * (1 + len(_ARGUMENTS[name]))  # `self` is the first
    for lacks_key, given in ((False, [*arguments, None]), (True, arguments)):
        try:
            signature.bind(*given)
        except TypeError:
            continue
        return lacks_key or _is_other_option(signature, len(arguments))
    wanted = ", ".join(("self", *_ARGUMENTS[name], "key"))
    raise ValueError(f"{kind.__name__}.{name} must take ({wanted}), but takes {signature}.")


def _is_other_option(signature: inspect.Signature, place: int) -> bool:
    """Whether the argument in the place of the key is something else, with a default."""
    parameters = [*signature.parameters.values()]
    if place >= len(parameters):
        return False
    one = parameters[place]
    return one.default is not inspect.Parameter.empty and "key" not in one.name


def _key_of(rule: AbstractUpdateRule[Any], key: Any) -> Any:
    if not rule.uses_key:
        return NoKey(type(rule).__name__)
    if key is None:
        raise ValueError(f"{type(rule).__name__} draws random numbers and needs a key, but is given none.")
    return key
