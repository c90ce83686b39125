"""Signatures that name every option, for ``help()``, IPython and Jupyter.

A checker reads ``**options: Unpack[Options]``; a person at a prompt sees only ``**options``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ForwardRef, ParamSpec, TypeVar, cast

from gptimage.types.parameters import PARAMETERS


P = ParamSpec("P")
T = TypeVar("T")


def shows(options: type) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let the signature and docstring of a function list the keys of a TypedDict it unpacks."""

    def change(function: Callable[P, T]) -> Callable[P, T]:
        plain = inspect.signature(function)
        fixed = [each for each in plain.parameters.values() if each.kind is not each.VAR_KEYWORD]
        more = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_written(hint)
            )
            for name, hint in options.__annotations__.items()
        ]
        changed = cast("Any", function)
        changed.__signature__ = plain.replace(parameters=[*fixed, *more])
        if function.__doc__:
            changed.__doc__ = re.sub(
                r"^( *)\*\*options: See `\w+`(?:[.;])?[ ]?(.*)$",
                lambda found: _lines(options, found[1], found[2]),
                function.__doc__,
                flags=re.MULTILINE,
            )
        return function

    return change


def _lines(options: type, indent: str, remark: str) -> str:
    lines = [f"{indent}{name}: {PARAMETERS[name].help}." for name in options.__annotations__]
    return "\n".join(lines)


def _written(hint: object) -> object:
    """The annotation as it is written in the source."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
