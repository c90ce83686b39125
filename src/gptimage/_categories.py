"""The categories a safety system names, from wherever a service or a gateway puts them."""

from __future__ import annotations

from typing import cast


def filtered_categories(body: object) -> tuple[str, ...]:
    """Read the categories Azure's content filter blocked from an error body.

    They are in ``innererror.content_filter_result``; gateways put that some levels deeper.
    """
    return tuple(sorted(_filtered(body, 6)))


def _filtered(value: object, depth: int) -> set[str]:
    if not isinstance(value, dict) or not depth:
        return set()
    found: set[str] = set()
    for name, part in cast("dict[object, object]", value).items():
        if name in ("content_filter_result", "content_filter_results") and isinstance(part, dict):
            for category, verdict in cast("dict[object, object]", part).items():
                if isinstance(verdict, dict) and _is_blocked(cast("dict[str, object]", verdict)):
                    found.add(str(category))
        else:
            found |= _filtered(part, depth - 1)
    return found


def _is_blocked(verdict: dict[str, object]) -> bool:
    """Whether a category was the reason; ``detected`` is what its yes-or-no filters say."""
    return verdict.get("filtered") is True or (
        "filtered" not in verdict and verdict.get("detected") is True
    )


def named_categories(message: str) -> tuple[str, ...]:
    """Read the categories from a message such as ``safety_violations=[sexual, violence]``."""
    _, found, rest = message.partition("safety_violations=[")
    names = rest.partition("]")[0].split(",") if found else []
    return tuple(name.strip(" '\"") for name in names if name.strip(" '\""))
