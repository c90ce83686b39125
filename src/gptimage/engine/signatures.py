"""Signatures and docstrings that name every option, for ``help()``, IPython and Jupyter.

A type checker reads ``**options: Unpack[Options]``; a person at a prompt sees only ``**options``.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, ForwardRef, Protocol, TypeVar, cast


class _Documented(Protocol):
    __doc__: str | None


DocumentedT = TypeVar("DocumentedT", bound=_Documented)

_UNPACKED = re.compile(r"^( *)\*\*\w+: See `\w+`.*$", re.MULTILINE)


def shows(options: type) -> Callable[[DocumentedT], DocumentedT]:
    """Let a function list the keys of the TypedDict it unpacks, or a class in its docstring.

    The line ``**options: See `Options` `` of the docstring becomes one line for each key.
    """

    def change(target: DocumentedT) -> DocumentedT:
        if not isinstance(target, type):
            cast("Any", target).__signature__ = _signature(cast("Any", target), options)
        attributes = _attributes(options)
        if target.__doc__ and attributes:
            target.__doc__ = _UNPACKED.sub(
                lambda found: textwrap.indent(attributes, found[1]), target.__doc__
            )
        return target

    return change


def _signature(function: Callable[..., object], options: type) -> inspect.Signature:
    plain = inspect.signature(function)
    fixed = [each for each in plain.parameters.values() if each.kind is not each.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_written(hint)
        )
        for name, hint in options.__annotations__.items()
    ]
    return plain.replace(parameters=[*fixed, *more])


def _attributes(options: type) -> str:
    """What the docstrings of a TypedDict and of those it extends say of its keys."""
    bases: tuple[Any, ...] = getattr(options, "__orig_bases__", ())
    texts = [_attributes(base) for base in bases if hasattr(base, "__total__")]
    own = inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")[2]
    return "\n".join([*texts, textwrap.dedent(own).rstrip()]).strip("\n")


def _written(hint: object) -> object:
    """The annotation as it is written in the source."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
