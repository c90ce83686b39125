"""``gptimage batch``: images at half price within a day, from a file of requests.

``submit`` takes the requests, ``wait`` waits for the end, ``results`` saves the images in a
store. Each may be stopped and run again, also on another day: nothing is paid or saved twice.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gptimage.cli.input_file import Rows, open_input
from gptimage.cli.json_output import print_json, result_document, show, usd
from gptimage.cli.many import check_all, columns_of, report_error
from gptimage.cli.options import configure, open_client
from gptimage.cli.output import Target, save
from gptimage.errors import ConfigurationError, GptImageError, InvalidRequestError
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage import ImageClient
    from gptimage.batch import Batch, BatchItem, BatchStatus


_NO_SANDBOX: Final = (
    "a batch outlives this command, and a sandbox inside of it does not: run `gptimage sandbox` "
    "in another terminal, and set OPENAI_BASE_URL to its address and OPENAI_API_KEY to anything"
)


def run_submit(args: argparse.Namespace) -> int:
    """Submit the requests, and print how to go on."""
    with _client(args) as client, open_input(args.requests) as path:
        rows = Rows(path, columns_of(args, configure(args)))
        check_all(client, rows, path)
        with _typed("--state"):
            batch = client.submit_batch(_counted(rows, args.tag or []), state=args.state)
    document = {"ids": batch.ids, "state": args.state, "estimate_usd": usd(batch.estimate)}
    cost = "unknown" if batch.estimate is None else f"about ${batch.estimate:.4f}"
    text = f"submitted {', '.join(batch.ids)} (cost {cost}); "
    text += f"go on with gptimage batch wait {shlex.quote(args.state)}"
    return show(args, document, text)


def run_status(args: argparse.Namespace) -> int:
    """Print how far it is."""
    with _client(args) as client:
        return _show(args, _opened(client, args).status())


def run_wait(args: argparse.Namespace) -> int:
    """Wait until it has ended, and print how."""
    with _client(args) as client:
        batch = _opened(client, args)
        status = batch.wait(progress=True, poll=args.poll, timeout=args.timeout)
    if args.json or not sys.stdout.isatty():  # a terminal has just shown it
        _show(args, status)
    return 0


def run_cancel(args: argparse.Namespace) -> int:
    """Cancel what is not drawn yet, and print how far it is."""
    with _client(args) as client:
        return _show(args, _opened(client, args).cancel())


def run_results(args: argparse.Namespace) -> int:
    """Save the images, and print where they are."""
    codes = {0}
    with _client(args) as client:
        if client.store is None:
            raise InvalidRequestError(
                "results are saved in a store, and it is off: name one with --store; they wait "
                "at the service until then",
                field="store",
                allowed="a folder, or s3://bucket/prefix",
            )
        with closing(_opened(client, args).results()) as items:
            codes.update(_report(item, as_json=args.json) for item in items)
    return max(codes)


def _client(args: argparse.Namespace) -> ImageClient:
    """Open the client of the service.

    Raises:
        ConfigurationError: The sandbox is meant, or there is no key.
    """
    config = configure(args)
    if config.sandbox:
        raise ConfigurationError(_NO_SANDBOX)
    return open_client(config)


def _opened(client: ImageClient, args: argparse.Namespace) -> Batch:
    with _typed("BATCH"):
        return client.open_batch(args.batch)


@contextmanager
def _typed(name: str) -> Generator[None]:
    """Make it bad input when the state file a person named is of no use.

    Raises:
        InvalidRequestError: It is none, or that of another job; nothing was sent.
    """
    try:
        yield
    except ConfigurationError as error:
        raise InvalidRequestError(f"{name}: {error}", field="state") from error


def _counted(rows: Rows, tags: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the requests, with a line on the terminal that counts: images take long to upload."""
    shows = sys.stderr.isatty()
    for number, row in enumerate(rows):
        if shows and number % 20 == 0:
            print(f"\rpreparing {number} of {len(rows)} ", end="", file=sys.stderr, flush=True)
        own = row.get("tags", [])
        yield {**row, "tags": [*([own] if isinstance(own, str) else own), *tags]}
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr)


def _report(item: BatchItem, *, as_json: bool) -> int:
    """Print one item, and return its exit code."""
    if item.error is not None:
        return _report_error(item, item.error, as_json=as_json)
    result = item.result
    records = result.stored if result else ()
    if as_json and result:
        print_json({**result_document(result, records), **_about(item)})
    else:
        print(f"{_name(item)}: {', '.join(str(each.path or each.id) for each in records)}")
    return 0


def _report_error(item: BatchItem, error: GptImageError, *, as_json: bool) -> int:
    def save_here(result: Result) -> Iterable[Path]:
        return save(result.images, Target(folder=Path.cwd(), stem=f"batch-{_name(item)}"))

    return report_error(
        _name(item), _about(item), error, as_json=as_json, save=save_here, reply_name="reply.jsonl"
    )


def _name(item: BatchItem) -> str:
    """Return the number of its line, as `gptimage many` counts."""
    return item.custom_id or "unknown" if item.index is None else str(item.index + 1)


def _about(item: BatchItem) -> dict[str, object]:
    return {"index": item.index, "custom_id": item.custom_id}


def _show(args: argparse.Namespace, status: BatchStatus) -> int:
    document = {
        "state": status.state,
        "ended": status.ended,
        "total": status.total,
        "completed": status.completed,
        "failed": status.failed,
        "ids": [part.id for part in status.parts],
        "problems": [problem for part in status.parts for problem in part.problems],
    }
    return show(args, document, str(status))
