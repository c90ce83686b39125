"""Checks a batch's file of requests, line by line, and says what is wrong as the service does.

The words of most problems were recorded from the service by others; those of a wrong method, of
too many lines and of a line that is no object were not, and are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen

from gptimage._internal.json import table


MAX_LINES: Final = 50_000
MAX_BYTES: Final = 200 * 1024 * 1024
_NEEDED: Final = ("custom_id", "method", "url", "body")
_KINDS: Final = {"custom_id": str, "method": str, "url": str, "body": dict}


@frozen
class Problem:
    """One entry of a failed batch's ``errors``.

    Attributes:
        code: The machine-readable code.
        message: The sentence.
        param: What is wrong, such as ``body.model``, or None.
        line: The line of the file, from 1, or None.
    """

    code: str
    message: str
    param: str | None = field(default=None, kw_only=True)
    line: int | None = field(default=None, kw_only=True)

    def value(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "code": self.code, "message": self.message, "line": self.line, "param": self.param
        }  # fmt: skip


@define
class Input:
    """A file of requests that was read.

    Attributes:
        total: How many lines it has.
        lines: Those that are in order.
        problems: What is wrong with the others.
    """

    total: int = 0
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    problems: list[Problem] = field(factory=list[Problem])


def read_input(data: bytes, endpoint: str, serves: Callable[[str], bool]) -> Input:
    """Check every line.

    Args:
        data: The file.
        endpoint: The batch's endpoint.
        serves: Whether batches of a model are drawn.
    """
    texts = data.splitlines()
    found = Input(total=len(texts))
    if len(data) > MAX_BYTES or len(texts) > MAX_LINES:
        message = f"The batch input file is larger than {MAX_LINES} requests or {MAX_BYTES} bytes."
        found.problems.append(Problem("too_many_tasks", message))
        return found
    check = _Checker(endpoint, serves)
    for number, text in enumerate(texts, 1):
        line, told = check.line(text)
        if told is None:
            found.lines.append(line)
        else:
            code, message, param = told
            found.problems.append(Problem(code, message, param=param, line=number))
    return found


class _Checker:
    """Remembers names and the model from line to line."""

    def __init__(self, endpoint: str, serves: Callable[[str], bool]) -> None:
        self._endpoint = endpoint
        self._serves = serves
        self._seen: set[str] = set()
        self._model: str | None = None

    def line(self, text: bytes) -> tuple[dict[str, Any], tuple[str, str, str | None] | None]:
        try:
            line = table(json.loads(text))
        except (ValueError, RecursionError):
            return {}, ("invalid_json_line", "This line is not parseable as valid JSON.", None)
        return line, self._form(line) or self._body(line["body"]) or self._name(line["custom_id"])

    def _form(self, line: dict[str, Any]) -> tuple[str, str, str] | None:
        for name in _NEEDED:
            if not line.get(name) or not isinstance(line[name], _KINDS[name]):
                message = f"Missing required parameter: '{name}'."
                return "missing_required_parameter", message, name
        if line["method"] != "POST":
            message = f"Invalid value: '{line['method'][:40]}'. Supported values are: 'POST'."
            return "invalid_value", message, "method"
        if line["url"] != self._endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            return "invalid_url", message, "url"
        return None

    def _body(self, body: dict[str, Any]) -> tuple[str, str, str] | None:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            return "invalid_request", "Model parameter is required.", "body.model"
        if not self._serves(model):
            message = f"The provided model '{model[:100]}' is not supported by the Batch API."
            return "model_not_found", message, "body.model"
        if body.get("stream"):
            message = "Streaming is not supported in the Batch API."
            return "streaming_unsupported", message, "body.stream"
        if self._model not in (None, model):
            message = (
                f"The model '{model}' for this request does not match the rest of the batch. "
                "Each batch must contain requests for a single model."
            )
            return "mismatched_model", message, "body.model"
        self._model = model
        return None

    def _name(self, name: str) -> tuple[str, str, str] | None:
        if name in self._seen:
            message = (
                f"The custom_id '{name[:100]}' for this request is a duplicate of another request."
                " The custom_id parameter must be unique for each request in a batch."
            )
            return "duplicate_custom_id", message, "custom_id"
        self._seen.add(name)
        return None
