"""OpenAI's image service on your own machine: no key, no network, no cost.

In process, `Sandbox` serves `ImageClient.sandbox()` and the pytest fixtures; over HTTP,
`SandboxServer` and `serve` take any OpenAI client in any language. Images are drawn
from the prompt without any model, and say so along their bottom edge.
"""

from __future__ import annotations

from gptimage.sandbox.http_server import SandboxServer, serve
from gptimage.sandbox.service import Sandbox
from gptimage.sandbox.transport import AsyncSandboxTransport, SandboxTransport
from gptimage.transport.protocols import SANDBOX_URL


__all__ = [
    "SANDBOX_URL",
    "AsyncSandboxTransport",
    "Sandbox",
    "SandboxServer",
    "SandboxTransport",
    "serve",
]
