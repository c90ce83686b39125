"""What every stand-in of a service has: a client, failures on order, and a log of what it saw."""

from __future__ import annotations

import email.parser
import email.policy
import logging
import threading
from email.message import Message
from typing import Any

import httpx2


_LOG = logging.getLogger("stand-in")


class RefusalError(Exception):
    """A response that is an error.

    Attributes:
        response: The response.
    """

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.response = httpx2.Response(status, json=body, headers=headers)


class StandIn:
    """A service in memory. pytest shows its log, request by request, with a test that fails.

    Attributes:
        requests: Every request, as method and path.
        failures: Responses or exceptions to come before the service itself answers, each for a
            request whose line begins so.
        after: The same, but the service has done what it was told when it fails.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a service does one thing after the other
        self.requests: list[str] = []
        self.failures: list[tuple[str, httpx2.Response | BaseException]] = []
        self.after: list[tuple[str, httpx2.Response | BaseException]] = []

    def client(self, **options: Any) -> httpx2.Client:
        """Return a client of this service."""
        return httpx2.Client(transport=httpx2.MockTransport(self.handle), **options)

    def line(self, request: httpx2.Request) -> str:
        """Return a request as one line."""
        return f"{request.method} {request.url.path}"

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says.

        Raises:
            RefusalError: The service refuses it.
        """
        raise NotImplementedError

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, or fail as ordered."""
        line = self.line(request)
        with self._lock:
            self.requests.append(line)
            # As a warning, which pytest captures without being told to.
            _LOG.warning("%s %.600r", line, request.content)
            response = self._answer(line, request)
            _LOG.warning("    %s %.600r", response.status_code, response.content)
        return response

    def _answer(self, line: str, request: httpx2.Request) -> httpx2.Response:
        for failure in self.failures:
            if line.startswith(failure[0]):
                self.failures.remove(failure)
                if isinstance(failure[1], BaseException):
                    raise failure[1]
                return failure[1]
        try:
            response = self.route(request)
        except RefusalError as refusal:
            return refusal.response
        for later in self.after:
            if line.startswith(later[0]):
                self.after.remove(later)
                if isinstance(later[1], BaseException):
                    raise later[1]
                return later[1]
        return response


def parts(request: httpx2.Request) -> tuple[list[str], dict[str, str], Message]:
    """Return the names of a form in order, the values of its fields, and its last part."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    parts = list(parser.parsebytes(head + request.content).iter_parts())
    names = [str(part.get_param("name", header="content-disposition")) for part in parts]
    values = {
        name: str(part.get_payload()) for name, part in zip(names[:-1], parts[:-1], strict=True)
    }
    return names, values, parts[-1]
