"""Azurite: Microsoft's stand-in for Azure's blob storage, as a process of this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shlex
import subprocess
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self


ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that Azurite always has; its key is public."""


class Azurite:
    """Azurite for as long as the block lasts, on a port it chose itself.

    Args:
        command: What starts its blob service.
        folder: Where it saves.
    """

    def __init__(self, command: str, folder: Path) -> None:
        self._command = [*shlex.split(command), "--blobPort", "0", "--location", str(folder)]

    def __enter__(self) -> Self:
        """Start it, and wait until it says where it listens."""
        self._process = subprocess.Popen(
            # obstore speaks a newer version of the protocol than Azurite knows.
            [*self._command, "--skipApiVersionCheck", "--silent"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = ""
        while "listens on " not in said:
            said = self._process.stdout.readline()
            assert said, "Azurite ended before it listened"
        self._url = f"{said.partition('listens on ')[2].strip()}/{ACCOUNT}"
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()

    @property
    def settings(self) -> dict[str, Any]:
        """What `ObjectBlobs.from_url` is given to find it."""
        return {
            "account_name": ACCOUNT,
            "account_key": KEY,
            "endpoint": self._url,
            "client_options": {"allow_http": True},
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables, which obstore reads."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": self._url,
            "AZURE_ALLOW_HTTP": "true",
        }

    def create_container(self, name: str) -> None:
        """Make a container, which obstore cannot: one request, signed with the account's key."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        lines = ["PUT", *[""] * 11, *(f"{each}:{value}" for each, value in headers.items())]
        signed = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self._url}/{name}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
