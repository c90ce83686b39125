"""The programs of the examples, each in a folder of its own, over the sandbox."""

from __future__ import annotations

import importlib
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gptimage.store import Store
from tests.store.conftest import azure


__all__ = ["azure"]


EXAMPLES = Path(__file__).parents[2] / "examples"


def paid() -> int:
    """How many images were ever drawn."""
    with Store("pictures") as store:
        return store.stats().images


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a program that publishes; limits are not waited for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.syspath_prepend(str(EXAMPLES / "publishing"))
    before = {*sys.modules}

    def load(name: str) -> Any:
        found = importlib.import_module(name)
        found.main = partial(found.main, wait=lambda _: None)
        return found

    yield load
    for name in {path.stem for path in (EXAMPLES / "publishing").glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture
def wordpress(program: Callable[[str], Any]) -> Any:
    """The program for WordPress."""
    return program("wordpress")


@pytest.fixture
def bucket_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of AWS on this machine, with an empty bucket called `bucket`."""
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        for name, value in {
            "AWS_ENDPOINT": address,  # read by obstore
            "AWS_ENDPOINT_URL": address,  # read by boto3
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        # All servers of a process have the same state.
        reset = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield address
    finally:
        server.stop()
