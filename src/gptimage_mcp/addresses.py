"""`Address`: a resource's URI taken apart, and refused by name where it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from urllib.parse import parse_qsl

from attrs import frozen
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS


@frozen(kw_only=True)
class Address:
    """A URI such as ``image-history://recent?limit=5``.

    Attributes:
        uri: The whole of it.
        scheme: What stands before ``://``.
        path: What stands between that and a question mark; taken as it is, nothing is decoded.
        query: The parameters.
    """

    uri: str
    scheme: str
    path: str
    query: Mapping[str, str]

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Take a URI apart.

        Raises:
            MCPError: A parameter is there twice.
        """
        scheme, _, rest = uri.partition("://")
        path, _, query = rest.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        address = cls(uri=uri, scheme=scheme, path=path, query=dict(pairs))
        if len(address.query) != len(pairs):
            raise address.refusal("a parameter is given twice")
        return address

    def takes(self, *parameters: str, path: str | None = None) -> None:
        """Prove that it has this path, where one is given, and no other parameters.

        Raises:
            ResourceNotFoundError: It has another path.
            MCPError: It has another parameter.
        """
        if path is not None and self.path != path:
            raise ResourceNotFoundError(
                f"there is no {self.uri!r:.200}, only {self.scheme}://{path}"
            )
        for name in self.query:
            if name not in parameters:
                known = f"it takes {' and '.join(parameters)}" if parameters else "it takes none"
                raise self.refusal(f"{name!r:.80} is no parameter of {self.scheme}: {known}")

    def number(self, name: str, allowed: range) -> int | None:
        """A parameter that is a whole number; None when it is not given.

        Raises:
            MCPError: It is no such number.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) in allowed:
            return int(text)
        limits = f"a whole number from {allowed[0]} to {allowed[-1]}"
        raise self.refusal(f"{name} is {limits}, not {text!r:.80}")

    def refusal(self, problem: str) -> MCPError:
        """What is wrong with it."""
        return MCPError(code=INVALID_PARAMS, message=problem, data={"uri": self.uri[:2000]})
