"""``gptimage images sync``: draw the images of a project that its manifest has changed."""

from __future__ import annotations

import argparse
import hashlib
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from gptimage._internal.user_dirs import make_private, state_folder
from gptimage.cli.json_output import print_json, usd
from gptimage.cli.manifest import ImageIndex, IndexedImage, Manifest, ManifestImage
from gptimage.cli.options import configure, open_client
from gptimage.cli.output import Target, prepare, progress
from gptimage.errors import (
    ConfigurationError,
    GptImageError,
    ImageNotFoundError,
    InvalidRequestError,
)
from gptimage.models.pricing import format_usd
from gptimage.secrets import display_url


if TYPE_CHECKING:
    from collections.abc import Mapping

    from gptimage import Image, ImageClient
    from gptimage.config import Config
    from gptimage.store import Store
    from gptimage.workers import JobResult, JobStore


STALE: Final = 1
_FAILED: Final = 1
_UNKNOWN: Final = 4
_HOPELESS: Final = (
    "AuthenticationError",
    "BudgetExceededError",
    "OrganizationNotVerifiedError",
    "QuotaExceededError",
)
"""What fails one image for such a reason fails all others."""


@frozen(kw_only=True)
class _Change:
    """An image of the manifest, and what is to be done for it.

    Attributes:
        image: The image.
        known: Its line in the index, or None.
        why: Why its file is made anew; empty where it is not.
        source: A file that the same request drew: another name for it costs nothing.
        drawn: The line of that file in the index.
    """

    image: ManifestImage
    known: IndexedImage | None
    why: str = ""
    source: str | None = None
    drawn: IndexedImage | None = None

    @property
    def state(self) -> str:
        """What is to be done: ``draw``, ``copy``, ``describe`` or nothing (``current``)."""
        if self.why:
            return "draw" if self.source is None else "copy"
        known = self.known and (self.known.name, self.known.alt)
        return "current" if known == (self.image.name, self.image.alt) else "describe"


def run_sync(args: argparse.Namespace) -> int:
    """Draw what has changed, or say what would be."""
    from gptimage.engine.from_config import open_templates

    if args.check and args.dry_run:
        raise InvalidRequestError(
            "--check and --dry-run both send nothing: leave one out", field="check"
        )
    config = configure(args)
    manifest = Manifest.read(
        Path(args.manifest).expanduser(), open_templates(config), sandbox=config.sandbox
    )
    index = ImageIndex.read(manifest.index_path)
    changes = [_change(each, index, manifest, config) for each in manifest.images]
    gone = sorted(index.images.keys() - {each.file for each in manifest.images})
    if args.check or args.dry_run:
        return _report_changes(changes, gone, config, args)
    code = _draw_all(changes, manifest, config, args)
    if code and gone and args.prune:
        # An image that was not reached may be a copy of one of them, and was paid for.
        print("note: no file was deleted, as not every image is up to date", file=sys.stderr)
        return code
    return max(code, _prune(gone, manifest, args))


def _change(image: ManifestImage, index: ImageIndex, manifest: Manifest, config: Config) -> _Change:
    known = index.images.get(image.file)
    if known is None:
        why = "it is new"
    elif known.request != image.request:
        why = "its request has changed"
    elif known.sandbox and not config.sandbox:
        why = "the sandbox drew it"
    elif not (manifest.folder / image.file).is_file():
        why = "its file is missing"
    else:  # a file that was changed since, as by a program that makes it smaller, is left alone
        why = ""
    same = (
        (file, line)
        for file, line in index.images.items()
        if line.request == image.request
        and not (line.sandbox and not config.sandbox)
        and _digest(manifest.folder / file) == line.sha256
    )
    source, drawn = next(same, (None, None)) if why else (None, None)
    return _Change(image=image, known=known, why=why, source=source, drawn=drawn)


def _report_changes(
    changes: list[_Change], gone: list[str], config: Config, args: argparse.Namespace
) -> int:
    """Print what a run would do; nothing is sent, and no key is needed."""
    from gptimage import ImageClient
    from gptimage.engine.from_config import estimator_arguments

    total, unknown = Decimal(0), 0
    with ImageClient.sandbox(**estimator_arguments(config)) as client:
        estimates = _estimates(client, changes)
    for change, estimate in zip(changes, estimates, strict=True):
        total += estimate or Decimal(0)
        unknown += change.state == "draw" and estimate is None
        more = {} if args.check or change.state != "draw" else {"estimate_usd": usd(estimate)}
        cost = f", about {format_usd(estimate)}" if estimate and not args.check else ""
        texts = {"describe": "its name or alternative text has changed"}
        why = change.why or texts.get(change.state, "")
        _print(args, change.image, change.state, f"{why}{cost}", why=why, **more)
    _print_gone(args, gone, "delete" if args.prune else "not in the manifest")
    stale = sum(each.state != "current" for each in changes) + len(gone) * args.prune
    if args.dry_run and not args.json:
        count = sum(each.state == "draw" for each in changes)
        rest = f", and {unknown} whose cost cannot be estimated" if unknown else ""
        print(f"{count} of {len(changes)} to draw, about {format_usd(total)}{rest}; nothing sent")
    if args.check and stale:
        print(f"gptimage: {stale} stale: run `gptimage images sync`", file=sys.stderr)
    return STALE if args.check and stale else 0


def _estimates(client: ImageClient, changes: list[_Change]) -> list[Decimal | None]:
    """Check each request as sending it would; return what those may cost that are to be drawn.

    Raises:
        InvalidRequestError: One is wrong; the others are not sent either.
    """
    found: list[Decimal | None] = []
    for change in changes:
        request = {k: v for k, v in change.image.job.request.items() if k != "template"}
        try:
            estimate = client.estimate(**request)
        except GptImageError as error:
            why = str(error).removesuffix("; nothing was sent")
            raise InvalidRequestError(
                f"{change.image.name}: {why}; nothing was sent", field="MANIFEST"
            ) from error
        found.append(estimate.usd if estimate and change.state == "draw" else None)
    return found


def _draw_all(
    changes: list[_Change], manifest: Manifest, config: Config, args: argparse.Namespace
) -> int:
    from gptimage import Image

    if all(each.state == "current" for each in changes):
        for each in changes:
            _print(args, each.image, "current")
        return 0  # no key is needed to find that nothing is to be done
    prepare(Target(folder=manifest.folder, stem="image"))
    replaced = {each.image.file for each in changes if each.why}
    # Read before any file is replaced: two images may have changed places.
    sources = {
        each.source: Image.open(manifest.folder / each.source)
        for each in changes
        if each.source is not None and each.source in replaced
    }
    code = 0
    with open_client(config, cache=None) as client:
        if client.store is None:
            raise ConfigurationError(
                "images are saved in the store before their files are written, and the store is "
                "off: name one with --store"
            )
        _estimates(client, changes)
        _check_files(changes, client.store, manifest, overwrite=args.overwrite)
        job_store = _open_job_store(args)
        for change in changes:
            line, code_of_this = _bring_up_to_date(
                change, sources, client, job_store, manifest, args
            )
            code = max(code, code_of_this)
            if line is not None and line != change.known:
                ImageIndex.change(manifest.index_path, change.image.file, line)
            if code_of_this < 0:
                print("gptimage: the others would fail alike; stopped", file=sys.stderr)
                return max(code, _FAILED)
    return code


def _check_files(
    changes: list[_Change], store: Store, manifest: Manifest, *, overwrite: bool
) -> None:
    """Refuse to replace what this command did not write, before anything is paid.

    Raises:
        InvalidRequestError: A file is neither in the index nor in the store.
    """
    for change in changes:
        path = manifest.folder / change.image.file
        digest = _digest(path) if change.why and not overwrite else None
        if (
            digest
            and not (change.known and change.known.sha256 == digest)
            and not store.find_identical(digest)
        ):
            raise InvalidRequestError(
                f"{path} was not drawn by this command, or was changed since: move it away, or "
                "replace it with --overwrite; nothing was sent",
                field="MANIFEST",
                value=str(path),
            )


def _bring_up_to_date(
    change: _Change,
    sources: Mapping[str, Image],
    client: ImageClient,
    job_store: JobStore,
    manifest: Manifest,
    args: argparse.Namespace,
) -> tuple[IndexedImage | None, int]:
    """Return the line of an image in the index, and the exit code it is worth.

    The code is negative where all others would fail alike.
    """
    from gptimage import Image
    from gptimage.workers import run_job

    image = change.image
    if not change.why:
        _print(args, image, "current" if change.state == "current" else "described")
        return change.known and evolve(change.known, name=image.name, alt=image.alt), 0
    if change.source is not None and change.drawn is not None:
        source = sources.get(change.source) or Image.open(manifest.folder / change.source)
        source.save(manifest.folder / image.file)
        _print(args, image, "copied", f"{change.why}, from {change.source}", why=change.why)
        return evolve(change.drawn, name=image.name, alt=image.alt), 0
    with progress(f"{image.name}: {change.why} ..."):
        # The job store has it from an earlier run that was killed, or whose file is gone since:
        # then nothing is sent. What may have been billed is not sent again by itself.
        result = run_job(image.job, client=client, job_store=job_store)
    if result.status != "done" or client.store is None:
        return None, _report_failure(image, result, args)
    try:
        record = client.store.get(result.images[0])
        drawn = client.store.open(record)
    except ImageNotFoundError as error:
        print(
            f"gptimage: {image.name}: it was drawn and paid before, and the store has it no more "
            f"({error}): name the store that has it with --store, or draw it again with another "
            "variant in the manifest",
            file=sys.stderr,
        )
        return None, _FAILED
    if drawn.format != image.format:  # some services choose the format themselves
        drawn = drawn.convert(image.format)
    drawn.save(manifest.folder / image.file)
    line = IndexedImage(
        name=image.name,
        alt=image.alt,
        width=record.width,
        height=record.height,
        request=image.request,
        sha256=drawn.sha256,
        id=record.id,
        model=record.model,
        cost_usd=usd(result.cost),
        sandbox=record.sandbox,
    )
    cost = "cost unknown" if result.cost is None else format_usd(result.cost)
    for warning in result.warnings:
        print(f"note: {image.name}: {warning}", file=sys.stderr)
    more = {"why": change.why, "cost_usd": usd(result.cost), "ids": list(result.images)}
    _print(args, image, "drawn", f"{change.why}, {cost}", **more)
    return line, 0


def _report_failure(image: ManifestImage, result: JobResult, args: argparse.Namespace) -> int:
    reason, where = result.reason or "", _job_store_path(args)
    if "://" in where:
        where = display_url(where)  # without the password
    advice = {
        "needs_review": f"decide with `gptimage jobs show {result.id}`, `retry` or `discard` "
        f"(--job-store {where})",
        "discarded": "it was given up; variant = 2 in the manifest asks for another image",
        "busy": "start this again later",
    }.get(result.status, "")
    text = "; ".join(each for each in (reason, advice) if each)
    print(f"gptimage: {image.name}: {text}", file=sys.stderr)
    if args.json:
        cost = usd(result.possible_cost)
        _print(args, image, result.status, reason=result.reason, possible_cost_usd=cost)
    if result.status == "needs_review":
        return _UNKNOWN
    return -1 if reason.partition(":")[0] in _HOPELESS else _FAILED


def _prune(gone: list[str], manifest: Manifest, args: argparse.Namespace) -> int:
    """Delete files that are no longer in the manifest, where that was asked for."""
    if not args.prune:
        _print_gone(args, gone, "not in the manifest")
        return 0
    for file in gone:
        line = ImageIndex.read(manifest.index_path).images.get(file)
        path = manifest.folder / file
        digest = _digest(path)
        if line is None:
            continue  # another run deleted it
        if digest not in {None, line.sha256} and not args.overwrite:
            print(f"note: {path} was changed since it was drawn, and stays", file=sys.stderr)
            continue
        path.unlink(missing_ok=True)
        ImageIndex.change(manifest.index_path, file, None)
        _print_gone(args, [file], "deleted")
    return 0


def _print_gone(args: argparse.Namespace, files: list[str], state: str) -> None:
    for file in files:
        if args.json:
            print_json({"name": None, "file": file, "state": state})
        else:
            print(f"{state:<9} {file}{'; --prune deletes it' * (state[:3] == 'not')}")


def _print(
    args: argparse.Namespace, image: ManifestImage, state: str, text: str = "", **more: object
) -> None:
    if args.json:
        known = {"name": image.name, "file": image.file, "alt": image.alt, "state": state}
        print_json({**known, **more})
    else:
        print(f"{state:<10}{image.file}{f'  ({text})' if text else ''}", flush=True)


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _job_store_path(args: argparse.Namespace) -> str:
    return args.job_store or str(state_folder() / "images.sqlite")


def _open_job_store(args: argparse.Namespace) -> JobStore:
    from gptimage.workers import SqliteJobStore, open_job_store

    where = _job_store_path(args)
    if "://" in where:
        return open_job_store(where)
    if args.job_store is None:
        make_private(Path(where).parent)
    return SqliteJobStore(where)
