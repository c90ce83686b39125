"""Whatever fails on the disks of a client, and whenever: the image of a plain call is not lost."""

from __future__ import annotations

import hashlib
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage.budget import Ledger
from gptimage.cache import Cache
from gptimage.store import PendingReplies, Store
from gptimage.transport.base64_body import decoded_images
from tests.engine.test_arrival import (
    CALLS,
    IMAGE,
    Interrupter,
    Service,
    run,
)


def on_disk(folder: Path) -> set[str]:
    """The images in the store, in the spool and among the recovery copies."""
    bodies = [left.read() for left in PendingReplies().abandoned(older_than=timedelta(0))]
    found = [data for body in bodies for data in decoded_images(body)]
    found += [path.read_bytes() for path in folder.rglob("*.png")]
    return {hashlib.sha256(data).hexdigest() for data in found}


@pytest.mark.parametrize(
    ("for_good", "every"),
    [
        (True, 13),
        pytest.param(False, 1, marks=pytest.mark.slow),
        pytest.param(True, 1, marks=pytest.mark.slow),
    ],
    ids=["some", "once", "for-good"],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", CALLS)
def test_no_fault_loses_a_paid_image(
    tmp_path: Path, faults: Any, name: str, kind: str, for_good: bool, every: int
) -> None:
    """Store, spool, recovery copies, cache and ledger on one disk whose n-th step fails."""
    call, found = CALLS[name]
    warnings.simplefilter("ignore")
    points, tried, lost = 0, 0, list[int]()
    while True:
        folder = tmp_path / f"{points}"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
            disk = faults(folder, at=points, for_good=for_good)
            service = Service(found, Interrupter(0, KeyError, frozenset()))
            carried = False
            with pytest.MonkeyPatch.context() as inner:
                disk.install(inner)
                try:
                    settings = {
                        "store": Store(folder / "images"),
                        "cache": Cache.disk(folder / "cache"),
                        "ledger": Ledger(folder / "ledger.sqlite"),
                    }
                    run(call, service, kind, settings)
                except Exception as error:  # noqa: BLE001  # what it carries counts
                    carried = getattr(error, "result", None) is not None
            delivered = any(
                hasattr(each, "result") or hasattr(each, "images") for each in service.got
            )
            digest = hashlib.sha256(IMAGE).hexdigest()
            paid = service.interrupter.arrived
            if paid and not carried and not delivered and digest not in on_disk(folder):
                lost.append(points)
        if not disk.happened:
            break
        points, tried = points + every, tried + 1
        assert points < 1000

    disk.report(f"{name}, {kind}, all disks", tried, lost=lost)
    assert lost == []
    assert tried > 1
