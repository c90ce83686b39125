"""OpenAI's image service on your own machine: no key, no network, no cost.

In process, `Sandbox` serves `ImageClient.sandbox()` and the pytest fixtures; over HTTP,
`SandboxServer` and `serve` take any OpenAI client in any language. Images are drawn
from the prompt without any model, and say so along their bottom edge.
"""

from __future__ import annotations

from gptimage.sandbox.http_server import SandboxServer as SandboxServer
from gptimage.sandbox.http_server import serve as serve
from gptimage.sandbox.service import Sandbox as Sandbox
from gptimage.sandbox.transport import AsyncSandboxTransport as AsyncSandboxTransport
from gptimage.sandbox.transport import SandboxTransport as SandboxTransport
from gptimage.transport.protocols import SANDBOX_URL as SANDBOX_URL
