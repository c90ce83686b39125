"""Batches at half price: submitted from the page, and asked after until their images are saved.

Each has two files: the state that `ImageClient.submit_batch` keeps, so that it is never submitted
twice, and a report with its requests and how far it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

from gptimage._internal import atomic
from gptimage.errors import InvalidRequestError


if TYPE_CHECKING:
    from gptimage.batch import Batch
    from gptimage.client import ImageClient

BatchAction = Literal["submit", "refresh", "save", "cancel"]
ACTIONS: Final = ("submit", "refresh", "save", "cancel")
_ID: Final = re.compile(r"[a-z0-9-]{1,80}", re.ASCII)
_REPORT: Final = ".report.json"
_MOST: Final = 1_000


@frozen(kw_only=True)
class BatchCall:
    """What is to be done with a batch, in the process that draws.

    Attributes:
        action: ``submit`` it (or go on with that), ``refresh`` its report, ``save`` its images, or
            ``cancel`` what is not drawn yet.
        report: Its report.
    """

    action: BatchAction
    report: Path


def add_batch(folder: Path, id: str, requests: Sequence[Mapping[str, Any]]) -> Path:
    """Write a new batch down before it is submitted; one of this id stays as it is.

    Raises:
        InvalidRequestError: The id or the number of requests makes no sense, or the id belongs to
            other requests.
        OSError: It cannot be written.
    """
    if not 1 <= len(requests) <= _MOST:
        raise InvalidRequestError(
            f"a batch from this page has 1 to {_MOST} requests, not {len(requests)}", field="prompt"
        )
    path = find_batch(folder, id)
    folder.mkdir(exist_ok=True, mode=0o700)
    report = {"id": id, "state": "submitting", "requests": [dict(each) for each in requests]}
    try:
        atomic.create(path, json.dumps(report).encode(), fsync=True)
    except FileExistsError:
        if read_report(path)["requests"] != report["requests"]:
            raise InvalidRequestError(
                f"{id} is the id of another batch already; reload the page and try again",
                field="id",
                value=id,
            ) from None
    return path


def find_batch(folder: Path, id: str) -> Path:
    """Return the report of a batch, whether it is there or not.

    Raises:
        InvalidRequestError: It is no id.
    """
    if not _ID.fullmatch(id):
        raise InvalidRequestError(f"{id!r:.90} is no id of a batch", field="id", value=id)
    return folder / f"{id}{_REPORT}"


def list_batches(folder: Path) -> list[dict[str, Any]]:
    """Return the report of every batch, the newest first."""
    paths = sorted(folder.glob(f"*{_REPORT}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [read_report(path) for path in paths]


def read_report(path: Path) -> dict[str, Any]:
    """Return a report.

    Raises:
        InvalidRequestError: There is no such batch.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InvalidRequestError("there is no batch of this id", field="id") from None
    return found


def run_batch(client: ImageClient, call: BatchCall) -> dict[str, Any]:
    """Do what is wanted with a batch, and write its report anew.

    Raises:
        GptImageError: As `ImageClient.submit_batch` and `Batch`.
    """
    report = read_report(call.report)
    state = call.report.with_name(f"{report['id']}.state.json")
    if call.action == "submit":
        # With its state file it goes on where it was: nothing is submitted twice.
        batch = client.submit_batch(report["requests"], state=state)
    else:
        batch = client.open_batch(state)
    found = batch.cancel() if call.action == "cancel" else batch.status()
    if call.action == "save":
        _save(batch, report)
    done = found.ended
    report |= {
        "state": "saved" if call.action == "save" else "ended" if done else "submitted",
        "total": found.total,
        "completed": found.completed,
        "failed": found.failed,
        "estimate_usd": None if batch.estimate is None else str(batch.estimate),
    }
    atomic.replace(call.report, json.dumps(report).encode())
    return report


def _save(batch: Batch, report: dict[str, Any]) -> None:
    images: list[str] = []
    problems: list[str] = []
    for item in batch.results():
        if item.result is not None:
            images += [record.id for record in item.result.stored]
        else:
            problems.append(str(item.error))
    report |= {"images": images, "problems": problems}
