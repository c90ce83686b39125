"""OpenAI's image service on your own machine: no key, no network, no cost.

In process, `Sandbox` serves `ImageClient.sandbox()` and the pytest fixtures; over HTTP,
`SandboxServer` and `serve` take any OpenAI client in any language. Images are drawn
from the prompt without any model, and say so along their bottom edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptimage.sandbox.service import Sandbox as Sandbox
from gptimage.sandbox.transport import AsyncSandboxTransport as AsyncSandboxTransport
from gptimage.sandbox.transport import SandboxTransport as SandboxTransport
from gptimage.transport.protocols import SANDBOX_URL as SANDBOX_URL


if TYPE_CHECKING:
    from gptimage.sandbox.http_server import SandboxServer as SandboxServer
    from gptimage.sandbox.http_server import serve as serve
else:

    def __getattr__(name: str) -> object:
        """Import the server when it is first used: a sandbox in process needs no HTTP."""
        if name not in {"SandboxServer", "serve"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from gptimage.sandbox import http_server

        found = globals()[name] = getattr(http_server, name)
        return found
