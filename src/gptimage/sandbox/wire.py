"""One shape for a request, whichever door it came through.

In process a request holds Python values; over HTTP it holds JSON, or form fields that
are all text. `as_sent` turns the first into what the second would have been, so that
the rules see, and the log keeps, the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from attrs import evolve

from gptimage.transport.http import HttpRequest


MULTIPART: Final = "multipart/form-data"


def is_multipart(request: HttpRequest) -> bool:
    """Whether the request is a form: it has files, or says it is one."""
    return bool(request.files) or request.headers.get("content-type", "").startswith(MULTIPART)


def as_sent(request: HttpRequest) -> HttpRequest:
    """The request as it arrives at the service.

    Raises:
        TypeError: A value has no JSON form.
        ValueError: A number has no JSON form (NaN, infinity), or a value contains itself.
    """
    if is_multipart(request):
        files = tuple(evolve(part, data=part.read(), path=None) for part in request.files)
        return evolve(request, body=dict(_form_fields(request.body)), files=files)
    return evolve(request, body=json.loads(json.dumps(dict(request.body), allow_nan=False)))


def _form_fields(body: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested values as ``svg[model]`` fields, written the way OpenAI's SDK writes them."""
    for name, value in body.items():
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from _form_fields(cast("Mapping[str, object]", value), key)
        elif isinstance(value, list):  # a field sent several times
            yield key, [_field(item) for item in cast("list[object]", value)]
        elif (text := _field(value)) != "":
            yield key, text


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def nested(body: Mapping[str, object]) -> dict[str, object]:
    """``svg[model]`` fields as nested objects again."""
    tree: dict[str, Any] = {}
    for key, value in body.items():
        names = key.replace("]", "").split("[") if key.endswith("]") else [key]
        if names[-1] == "":  # an array of text, which no parameter is
            names = [key]
        node = tree
        for name in names[:-1]:
            if not isinstance(node.setdefault(name, {}), dict):
                node[name] = {}  # ``svg=a&svg[model]=b``: the object wins
            node = node[name]
        node[names[-1]] = value
    return tree
