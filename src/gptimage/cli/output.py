"""The target of images: proved writable before money is spent, and never lost afterwards."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from itertools import count as numbers
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage._internal.text import reason
from gptimage.cli.console import NotDeliveredError, uninterrupted
from gptimage.errors import InvalidRequestError, StoreError
from gptimage.models.pricing import format_usd
from gptimage.observers.events import Event, Sent, Waiting
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage import Image
    from gptimage.models.pricing import Cost
    from gptimage.types.record import Record


FORMATS: Final = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "webp": "webp",
    "gif": "gif",
    "svg": "svg",
}
"""File name extensions, and the format each asks for."""

_DEVICES: Final = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{name}{number}" for name in ("com", "lpt") for number in "123456789¹²³"]
)
"""Names that Windows keeps for devices, whatever extension is put behind them."""

_ENOUGH: Final = 1 << 16
"""Bytes written to a folder to see that its disk is not full."""


@frozen(kw_only=True)
class Target:
    """A folder and the name images get there, still without number and extension.

    Attributes:
        folder: Where files are written.
        stem: What their names start with.
        format: The format a file name given by the user asks for, or None.
        overwrite: Whether existing files are replaced.
        stdout: Whether the image goes to standard output, and to the folder only if that fails.
    """

    folder: Path
    stem: str
    format: str | None = None
    overwrite: bool = False
    stdout: bool = False


def target(output: str | None, prompt: str, *, overwrite: bool = False) -> Target:
    """Read ``--output``: a file, a folder, ``-``, or nothing (then the current folder).

    Raises:
        InvalidRequestError: It is a file name whose extension is no format of the service.
    """
    if output in {"-", "/dev/stdout"}:
        return Target(folder=Path(), stem=_slug(prompt), stdout=True)
    path = Path(output or ".").expanduser()
    suffix = path.suffix.lower().lstrip(".")
    if path.is_dir() or not suffix or (output or "").endswith(("/", os.sep)):
        return Target(folder=path, stem=_slug(prompt), overwrite=overwrite)
    if suffix not in FORMATS:
        raise InvalidRequestError(
            f"--output {output}: the service draws no .{suffix}; "
            f"name a folder, or a file ending in {', '.join(FORMATS)}",
            field="output",
            value=output,
            allowed=tuple(FORMATS),
        )
    return Target(folder=path.parent, stem=path.stem, format=FORMATS[suffix], overwrite=overwrite)


def prepare(where: Target) -> None:
    """Make the folder and see that it can be written to, before anything is paid.

    Raises:
        InvalidRequestError: It cannot, or standard output is a terminal.
    """
    if where.stdout:
        if sys.stdout.isatty() or getattr(sys.stdout, "buffer", None) is None:
            raise _refused("-", "standard output takes no image here: redirect it, or name a file")
        return
    if where.folder == Path("-"):
        raise _refused("-", "several files do not fit into standard output: name a folder")
    if os.name == "nt" and where.stem.partition(".")[0].rstrip().lower() in _DEVICES:
        raise _refused(where.stem, f"{where.stem} is a device of Windows, not a file")
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
        # Too long, or with letters the disk does not know: a name fails when it is looked up.
        with contextlib.suppress(FileNotFoundError):
            where.folder.joinpath(f"{where.stem}-partial-1-original-1000.jpeg").lstat()
        with tempfile.TemporaryFile(dir=where.folder, buffering=0) as file:
            file.write(bytes(_ENOUGH))
    except (OSError, ValueError) as error:
        raise _refused(
            str(where.folder), f"cannot write to {where.folder}: {reason(error)}"
        ) from error


def alone(options: dict[str, object]) -> None:
    """Refuse what would be written beside the one image that standard output takes.

    Args:
        options: What else would be written, by the name of its flag.

    Raises:
        InvalidRequestError: There is more.
    """
    for flag, value in options.items():
        if value:
            raise _refused("-", f"-o - takes one image and nothing else: leave {flag} out")


def _refused(output: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{why}; nothing was sent",
        field="output",
        value=output,
        allowed="a file or folder you may write to",
    )


def save(images: Sequence[Image], where: Target, *, label: str = "") -> list[Path]:
    """Write images as ``stem.ext``, or ``stem-1.ext``, ``stem-2.ext``... when there are several.

    Args:
        images: The images.
        where: Where they should go.
        label: Put behind the stem, such as ``-original``.

    Returns:
        The path of each file; if the folder fails it is another folder, named on standard error.

    Raises:
        OSError: No place on this machine takes an image.
    """
    stems = _stems(f"{where.stem}{label}", len(images))
    with contextlib.nullcontext() if where.stdout else uninterrupted():
        return [save_one(image, where, stem) for image, stem in zip(images, stems, strict=True)]


def save_missing(images: Sequence[Image], where: Target) -> list[Path]:
    """Save images as `save` does, but none that is there already under one of its names.

    Returns:
        Where each one is; nothing when all were there.

    Raises:
        OSError: No place on this machine takes an image.
    """
    stems = _stems(where.stem, len(images))
    found = [_found(image, where, stem) for image, stem in zip(images, stems, strict=True)]
    if all(found):
        return []
    return [
        path or save_one(image, where, stem)
        for image, stem, path in zip(images, stems, found, strict=True)
    ]


def are_saved(records: Sequence[Record], where: Target) -> bool:
    """Tell whether images of a store are there, byte for byte, without reading the store."""
    stems = _stems(where.stem, len(records))
    return all(_is_saved(record, where, stem) for record, stem in zip(records, stems, strict=True))


def _is_saved(record: Record, where: Target, stem: str) -> bool:
    extension = record.key.rpartition(".")[2]
    for name in _names(stem):
        path = where.folder / f"{name}.{extension}"
        try:
            if _is_same(path, record.bytes, record.sha256):
                return True
        except OSError:
            return False
        if where.overwrite:
            return False
    raise AssertionError("unreachable: the names never end")


def _is_same(path: Path, size: int, sha256: str) -> bool:
    if path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def is_there(where: Target) -> bool:
    """Return whether some image of that name was written, whatever its format and number."""
    paths = where.folder.glob(f"{glob.escape(where.stem)}[-.]*")
    return any(path.is_file() and path.stat().st_size for path in paths)


def _found(image: Image, where: Target, stem: str) -> Path | None:
    """Return the file that holds these very bytes.

    A name that was reserved by a process that was killed before it wrote is filled in.
    """
    for name in _names(stem):
        path = where.folder / f"{name}.{image.extension}"
        try:
            if _is_same(path, image.nbytes, image.sha256):
                return path
            if path.stat().st_size == 0:
                return image.save(path, overwrite=True)
        except OSError:
            return None
        if where.overwrite:
            return None
    raise AssertionError("unreachable: the names never end")


def save_one(image: Image, where: Target, stem: str) -> Path:
    """Write one image; where that fails, it goes to the first place that takes it.

    Raises:
        NotDeliveredError: No place on this machine takes it, or it went to standard output in vain.
    """
    try:
        if where.stdout:
            return _print(image)
        with uninterrupted():
            return _save(image, where.folder, stem, overwrite=where.overwrite)
    except (OSError, ValueError) as error:  # ValueError: a name, or a pipe that is closed
        saved = _save_elsewhere(image, stem, error)
        if where.stdout:
            raise NotDeliveredError(
                f"standard output took no image ({reason(error)}); it is paid, and in {saved}"
            ) from None  # a reader may close a pipe, but this is a failed save
    print(f"could not write to {where.folder}; the image is in {saved}", file=sys.stderr)
    return saved


def keep_what_came(error: BaseException) -> None:
    """Write the paid images an error carries, and print their paths."""
    # Whatever goes wrong here, the error itself must still be printed.
    try:
        result = getattr(error, "result", None)
        # Ctrl-C while images are checked carries those, too; a store may have them already.
        if isinstance(result, Result) and (isinstance(error, StoreError) or not result.stored):
            earlier = [each.image for each in getattr(error, "attempts", ())]
            images = [*result.images, *(each for each in earlier if each not in result.images)]
            for path in save(images, target(None, result.request.prompt)):
                print(f"the image is paid, and in {path}", file=sys.stderr)
        reply = getattr(error, "reply", None)
        if isinstance(reply, bytes) and reply and not getattr(error, "saved_to", None):
            path = keep_bytes(reply, "reply.bin")
            print(f"the reply as it arrived is in {path}", file=sys.stderr)
    except OSError as lost:
        with contextlib.suppress(OSError):
            print(f"gptimage: {lost}", file=sys.stderr)


def keep_bytes(data: bytes, name: str) -> Path:
    """Write bytes that are no image to a new file in a temporary folder."""
    path = Path(tempfile.mkdtemp(prefix="gptimage-")) / name
    path.write_bytes(data)
    return path


def _save(image: Image, folder: Path, stem: str, *, overwrite: bool) -> Path:
    if overwrite:
        return image.save(folder / f"{stem}.{image.extension}")
    for name in _names(stem):
        path = folder / f"{name}.{image.extension}"
        try:
            return image.save(path, overwrite=False)
        except FileExistsError:
            if not os.path.lexists(path):  # it is the folder that exists, as a file
                raise
    raise AssertionError("unreachable: the names never end")


def _print(image: Image) -> Path:
    """Write an image to standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(image.data)
    sys.stdout.buffer.flush()
    return Path("-")


def _save_elsewhere(image: Image, stem: str, error: OSError | ValueError) -> Path:
    places: tuple[Callable[[], Path], ...] = (
        Path.cwd,
        lambda: Path(tempfile.mkdtemp(prefix="gptimage-")),
        Path.home,
    )
    for make in places:
        for name in (stem, "image"):  # the name itself may be what fails
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # without a home
                return _save(image, make(), name, overwrite=False)
    raise NotDeliveredError(
        f"the image is paid, and no place on this machine takes it ({reason(error)}): make room "
        "on the disk before you ask again"
    ) from error


def _stems(stem: str, count: int) -> list[str]:
    return [f"{stem}-{number}" for number in range(1, count + 1)] if count > 1 else [stem] * count


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}-{number}" for number in numbers(2))


def _slug(prompt: str) -> str:
    words = "-".join(re.findall(r"\w+", prompt.lower()))[:48].rstrip("-")
    try:
        os.fsencode(words)
    except UnicodeEncodeError:  # the locale knows ASCII alone
        words = "-".join(re.findall(r"\w+", words, re.ASCII))
    return f"{words}-" if words in _DEVICES else words or "image"


def cost_line(cost: Cost | Decimal | None, *, sandbox: bool, cached: bool = False) -> str:
    """Say what something cost, and why it was not billed, where it was not."""
    marks = ["sandbox: nothing was billed"] if sandbox else []
    marks += ["from the cache; --refresh draws anew"] if cached else []
    known = format_usd(cost) if isinstance(cost, Decimal) else "unknown" if cost is None else cost
    return f"cost {known} ({'; '.join(marks)})" if marks else f"cost {known}"


# A line on stderr that shows that something is being waited for.


@contextmanager
def progress(text: str) -> Generator[None]:
    """Show ``text`` while the block runs: moving on a terminal, one plain line elsewhere."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        yield
        return
    with _moving(text):
        yield


class Progress:
    """An observer of a client that shows a text once a request of it is about to leave.

    What is refused before that, or comes from the cache, is not said to be drawn.
    """

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._text: str | None = None

    def notify(self, event: Event) -> None:
        """Show the text at the first request that waits or goes out."""
        if self._text is not None and isinstance(event, (Waiting, Sent)):
            text, self._text = self._text, None
            self._shown.enter_context(progress(text))

    @contextmanager
    def __call__(self, text: str) -> Generator[None]:
        """Have ``text`` shown while the block runs."""
        self._text = text
        with self._shown:
            yield


@contextmanager
def _moving(text: str) -> Generator[None]:
    try:
        from rich.console import Console
    except ImportError:
        with _counting(text):
            yield
    else:
        with Console(stderr=True).status(text):
            yield


@contextmanager
def _counting(text: str) -> Generator[None]:
    """The seconds so far, in place; for those without the extra ``cli``."""
    done = threading.Event()
    start = time.monotonic()

    def count() -> None:
        while not done.wait(0.2):
            print(f"\r{text} {time.monotonic() - start:.0f} s ", end="", file=sys.stderr)

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        done.set()
        counter.join()
        print("\r\x1b[K", end="", file=sys.stderr)
