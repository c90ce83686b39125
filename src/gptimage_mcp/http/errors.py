"""How requests are refused over HTTP: a status, a word for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


def json_error(
    status: int, error: str, description: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A refusal in the shape of OAuth's errors, which the SDK uses for 401 and 403.

    Args:
        status: The HTTP status.
        error: A word for programs, such as ``rate_limited``.
        description: What happened and what to do; no secrets, no paths.
        headers: More headers, such as ``Retry-After``.
    """
    body = {"error": error, "error_description": description}
    return JSONResponse(body, status, {"cache-control": "no-store", **(headers or {})})
