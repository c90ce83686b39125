"""Whatever fails on a disk, and whenever: no paid image of a run of many is lost, or paid twice."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

from gptimage.budget.ledger import Ledger
from gptimage.bulk import Item
from gptimage.store import PendingReplies, Store
from gptimage.transport.base64_body import decoded_images
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.types.result import Result
from tests.bulk.conftest import Both


COUNT = 3


@functools.cache
def png(number: int) -> bytes:
    """An image that no other request gets."""
    file = io.BytesIO()
    PilImage.new("RGB", (16, 16), (number, 0, 0)).save(file, "png")
    return file.getvalue()


class Service:
    """Answers each prompt with an image of its own, and remembers whom."""

    def __init__(self) -> None:
        self.paid: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, request: HttpRequest) -> HttpReply:
        """The answer."""
        number = int(str(request.body["prompt"]).split()[-1])
        with self._lock:
            self.paid.append(number)
        data = [{"b64_json": base64.b64encode(png(number)).decode()}]
        return HttpReply(status=200, body=json.dumps({"data": data}).encode())


def digests(results: Iterable[Result | None]) -> set[str]:
    """The images of some results."""
    return {image.sha256 for result in results if result for image in result.images}


def held_by(error: BaseException) -> list[Result | None]:
    """The results an exception carries."""
    items: Iterable[Item] = getattr(error, "items", ())
    found = [getattr(error, "result", None)]
    for item in items:
        found += [getattr(item.error, "result", None), None if item.error else item.result]
    return found


def spooled() -> set[str]:
    """The images that wait in the spool."""
    bodies = [left.read() for left in PendingReplies().abandoned(older_than=timedelta(0))]
    return {hashlib.sha256(data).hexdigest() for body in bodies for data in decoded_images(body)}


class World:
    """A run of some requests on disks of which one may fail."""

    def __init__(self, both: Both, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.both, self.folder = both, folder
        self.service = Service()
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        folder.mkdir(parents=True)

    def client(self, *, store: bool, ledger: bool) -> Any:
        """A client of this world."""
        settings: dict[str, Any] = {}
        if store:
            settings["store"] = Store(self.folder / "pictures")
        if ledger:
            settings["ledger"] = Ledger(self.folder / "ledger" / "calls.sqlite")
        return self.both.client(self.service, **settings)

    def run(self, client: Any, take: Callable[[Item], object] | None = None) -> list[Item]:
        """Run all requests."""
        asked = [f"A fox, number {number}" for number in range(COUNT)]
        (self.folder / "run").mkdir(exist_ok=True)
        return self.both.many(
            client, asked, checkpoint=self.folder / "run" / "cp", concurrency=2, take=take
        )


class LeftError(Exception):
    """A loop that breaks off."""


@pytest.mark.parametrize(
    "leaves", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["whole", "left"]
)
@pytest.mark.parametrize(
    ("broken", "store", "ledger"),
    [
        (("run",), False, False),
        (("state",), False, False),
        (("run", "state"), False, False),
        (("run", "state", "pictures"), True, False),
        (("ledger",), False, True),
    ],
    ids=["checkpoint", "spool", "both", "all", "ledger"],
)
@pytest.mark.parametrize(
    "for_good", [pytest.param(False, marks=pytest.mark.slow), True], ids=["once", "for-good"]
)
def test_no_fault_loses_a_paid_image(
    both: Both,
    tmp_path: Path,
    broken: tuple[str, ...],
    store: bool,
    ledger: bool,
    for_good: bool,
    leaves: bool,
    faults: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is in an item, an exception, the spool or the store, and is not asked for again."""
    caplog.set_level(logging.CRITICAL, "gptimage")
    points, lost, twice = 0, list[Any](), list[Any]()
    while True:
        with pytest.MonkeyPatch.context() as monkeypatch:
            world = World(both, tmp_path / f"{points}", monkeypatch)
            folders = [world.folder / name for name in broken]
            disk = faults(*folders, at=points, for_good=for_good)
            got: list[Result | None] = []
            client = world.client(store=store, ledger=ledger)

            def take(item: Item, got: list[Result | None] = got) -> None:
                got.append(getattr(item.error, "result", None) if item.error else item.result)
                if leaves:
                    raise LeftError

            with pytest.MonkeyPatch.context() as inner:
                disk.install(inner)
                try:
                    world.run(client, take)
                except Exception as error:  # noqa: BLE001  # whatever it is, what it carries counts
                    got += held_by(error)
            found = digests(got) | spooled()
            if store:
                with Store(world.folder / "pictures") as shelf, suppress(Exception):
                    found |= {record.sha256 for record in shelf.history(100)}
            paid = list(world.service.paid)
            lost += [(points, n) for n in paid if hashlib.sha256(png(n)).hexdigest() not in found]
            with suppress(Exception):
                world.run(world.client(store=store, ledger=False))
            asked = world.service.paid[len(paid) :]
            twice += [(points, number) for number in asked if number in paid]
        if not disk.happened:
            break
        points += 1
        assert points < 500

    disk.report("many " + "+".join(broken), points, lost=lost, twice=twice)
    assert (lost, twice) == ([], [])
    assert points > 3  # every one of them was tried
