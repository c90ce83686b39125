"""Signatures and docstrings that name every option, for ``help()``, IPython and Jupyter.

A type checker reads ``**options: Unpack[Options]``; a person at a prompt sees only ``**options``.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, ForwardRef, Protocol, TypeVar, cast


class _Documented(Protocol):
    __doc__: str | None


DocumentedT = TypeVar("DocumentedT", bound=_Documented)

_UNPACKED = re.compile(r"^( *)\*\*\w+: See `\w+`.*$", re.MULTILINE)


def shows(*options: type, **defaults: object) -> Callable[[DocumentedT], DocumentedT]:
    """Let a function list the keys of the TypedDict it unpacks, or a class in its docstring.

    The line ``**options: See `Options` `` of the docstring becomes one line for each key. One
    that extends another is given together with it, since it does not know the other's docstring.

    Args:
        *options: The TypedDicts.
        **defaults: What leaving a key out means, where that is neither None nor nothing.
    """

    def change(target: DocumentedT) -> DocumentedT:
        if not isinstance(target, type):
            cast("Any", target).__signature__ = _signature(
                cast("Any", target),
                {name: hint for each in options for name, hint in each.__annotations__.items()},
                defaults,
            )
        attributes = "\n".join(_attributes(each) for each in options).strip("\n")
        if target.__doc__ and attributes:
            target.__doc__ = _UNPACKED.sub(
                lambda found: textwrap.indent(attributes, found[1]), target.__doc__
            )
        return target

    return change


def _signature(
    function: Callable[..., object], hints: Mapping[str, object], defaults: Mapping[str, object]
) -> inspect.Signature:
    plain = inspect.signature(function)
    fixed = [each for each in plain.parameters.values() if each.kind is not each.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, _default(hint)),
            annotation=_written(hint),
        )
        for name, hint in hints.items()
    ]
    return plain.replace(parameters=[*fixed, *more])


def _default(hint: object) -> object:
    """Return what leaving a key out means: None where its type has that, else none or no."""
    kind = str(_written(hint))
    return None if "None" in kind else False if kind == "bool" else ()


def _attributes(options: type) -> str:
    """Return what the docstring of a TypedDict says of its keys."""
    return textwrap.dedent(inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")[2])


def _written(hint: object) -> object:
    """Return the annotation as it is written in the source."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
