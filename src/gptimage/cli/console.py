"""Standard input, output and error, which may be closed, full, or short of letters."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Generator
from typing import BinaryIO, Final, TextIO

from gptimage._internal.text import reason
from gptimage.errors import InvalidRequestError
from gptimage.wording import for_command_line


_MARKS: Final = (  # the longer ones first: UTF-32's begins with UTF-16's
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks, and the encoding that each one tells."""


class NotDeliveredError(OSError):
    """The work is done, but what it made could not be written where the user wanted it."""


@contextlib.contextmanager
def console() -> Generator[Output]:
    """Replace the three standard streams by ones that fail for no letter, and put them back."""
    # A process may be started without any of them (pythonw, cron, `>&-`): Python sets None.
    stdin = io.StringIO() if sys.stdin is None else sys.stdin  # pyright: ignore[reportUnnecessaryComparison]  # typeshed leaves out that it may be None
    out, err = Output(sys.stdout), Messages(sys.stderr)
    before, sys.stdin = sys.stdin, stdin
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield out
    finally:
        sys.stdin = before
        err.finish()


@contextlib.contextmanager
def uninterrupted() -> Generator[None]:
    """Let Ctrl-C wait until the block ends.

    Raises:
        KeyboardInterrupt: It was pressed meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal comes here
        return
    pressed: list[int] = []
    # The image is paid, and in memory alone until it is written.
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if pressed:
        signal.raise_signal(signal.SIGINT)  # to whoever handles it now, such as a block around


class Output(io.TextIOBase):
    """Standard output: what it cannot print is escaped, and its failures have a class."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> BinaryIO | None:
        """The binary output; None when there is none."""
        return getattr(self._stream, "buffer", None)

    def write(self, text: str, /) -> int:
        """Print text."""
        if self._stream is None:
            return len(text)
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            # A file name comes from the prompt and a console of Windows knows 256 letters: by
            # now the image may be paid, so that its message may not fail.
            plain = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            return self._stream.write(plain)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was printed."""
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    def close(self) -> None:
        """Leave the stream alone: it is Python's own, and closed by then in many programs."""
        # Called at the end of this object, too. The inherited one flushes, and since 3.13 Python
        # prints what that raises: nobody can act on it any more.

    def isatty(self) -> bool:
        """Return whether a person sees this output."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # it is closed
            return False

    def fileno(self) -> int:
        """Return the number of the file."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def give_up(self) -> None:
        """Let the rest go nowhere: Python would complain once more when it flushes at exit."""
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())

    def _failed(self, error: OSError | ValueError) -> None:
        raise NotDeliveredError(f"standard output cannot be written: {reason(error)}") from error


class Messages(Output):
    """Standard error: a message that cannot be shown is no reason to stop.

    Errors and warnings of the library come by here, from every command: advice that names
    Python names flags and commands instead.
    """

    def write(self, text: str, /) -> int:
        """Print a message."""
        super().write(for_command_line(text))
        return len(text)

    def finish(self) -> None:
        """Give up what a full disk did not take: Python 3.13 would end with 120 because of it."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self.give_up()

    def _failed(self, error: OSError | ValueError) -> None:
        pass


def encoding_of(head: bytes) -> str:
    """Return the encoding that the first bytes of a text tell; UTF-8 without a byte order mark."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def read_stdin() -> str:
    """Return all of standard input, in UTF-8, what its byte order mark tells, or else the locale's.

    Raises:
        InvalidRequestError: It is in none of them.
    """
    pipe: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if pipe is None:
        return sys.stdin.read().removeprefix("\ufeff")
    data = pipe.read()
    for encoding in (encoding_of(data), sys.stdin.encoding):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    raise InvalidRequestError(
        "standard input is not UTF-8 text; nothing was sent", field="prompt", allowed="UTF-8"
    )
