"""Python processes that start at once: forks of one that has imported what nearly all need.

Python and its imports take up to two seconds of a processor. What is forked instead is a process
like any other, with arguments, folder, environment, streams, number and end of its own; but
nothing is imported anew. So tests of starts, imports, encodings, memory and installed commands
use `subprocess`, as does at least one test of each command.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any


READ_ONCE = ("FAKETIME", "LC_", "LD_", "OPENAI_LOG", "PILLOW_", "PYTHON", "TZ")
"""How variables begin that are read at a start or an import, and never again."""

LEFT_ALONE = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Those of them that may differ: two change nothing here, warnings are set in a fork, too."""

COMMAND = """#!{python} -IS
import json, os, socket, sys
reading, writing = os.pipe()
words = [{script!r}, *sys.argv[1:]]
request = dict(words=words, cwd=os.getcwd(), env=dict(os.environ), session=False)
server = socket.socket(fileno={descriptor})
socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2, writing])
os.close(writing)
_, status = (int.from_bytes(os.read(reading, 8)) for _ in range(2))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A program that has a script run by a fork, and ends like it."""


def start_python(words: Sequence[str | bytes | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start ``python`` with these words, as `subprocess.Popen` does with the same options.

    It is forked where that is the same: not if the environment differs in what is `READ_ONCE`, nor
    while coverage is measured, nor on systems other than Linux, nor on a Python that is untried.

    Args:
        words: ``-W error`` or nothing, then ``-c CODE``, ``-m MODULE`` or a script, and arguments.
        options: ``cwd``, ``env``, ``start_new_session``, and those of streams.
    """
    env = options.get("env")
    kind = Forked if can_fork(os.environ if env is None else env) else subprocess.Popen
    return kind([sys.executable, *map(os.fsdecode, words)], **options)


def run_python(
    words: Sequence[str | bytes | Path],
    *,
    input: str | bytes | None = None,
    timeout: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Do the same and wait for its end, as `subprocess.run` does with ``capture_output``."""
    streams = {"stdin": None if input is None else subprocess.PIPE}
    streams |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start_python(words, **{**streams, **options}) as process:
        try:
            output = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def forking_command(path: Path) -> int:
    """Write a program that runs the installed command of its name in a fork.

    Returns:
        The descriptor that it has to inherit.
    """
    descriptor = server()[0].fileno()
    script = str(Path(sys.executable).with_name(path.name))
    text = COMMAND.format(python=sys.executable, script=script, descriptor=descriptor)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return descriptor


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a fork with this environment is what a new process would be."""
    if not hasattr(os, "pidfd_open") or any(name.startswith("COV") for name in env):
        return False
    if sys.version_info >= (3, 15):  # `Forked` knows what `Popen` is like in those before
        return False
    if env.get("PYTHONWARNINGS", "") not in {"", "error"}:
        return False
    return read_once(env) == read_once(server()[1])


def read_once(env: Mapping[str, str]) -> dict[str, str]:
    """What Python and its modules read once of an environment, without what says nothing."""
    found = {
        name: text
        for name, text in env.items()
        if name.startswith(READ_ONCE) and name not in LEFT_ALONE and text
    }
    # A Python that is told no locale takes this one, and tells its children.
    found.setdefault("LC_CTYPE", found.get("LC_ALL") or env.get("LANG") or "C.UTF-8")
    return found


@cache
def server() -> tuple[socket.socket, dict[str, str]]:
    """What forks, once for each process that runs tests: its socket, and its environment."""
    program = Path(__file__).with_name("fork_server.py").read_text(encoding="utf-8")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, f"{theirs.fileno()}"],
        cwd="/",  # where no module lies about
        env=env,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours, env


class Forked(subprocess.Popen[Any]):
    """A process that `fork_server.py` forked, and waits for."""

    def _execute_child(self, args: list[str], *more: Any) -> None:
        cwd, env, ends, session = more[4], more[5], more[9:15], more[20]
        request = {
            "words": args[1:],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": session,
        }
        streams = [own if ends[i] == -1 else ends[i] for own, i in enumerate((0, 3, 5))]
        reading, writing = os.pipe()
        self._reply = io.FileIO(reading)
        try:
            socket.send_fds(server()[0], [json.dumps(request).encode()], [*streams, writing])
        finally:
            os.close(writing)
            self._close_pipe_fds(*ends)
        self._child_created = True
        self.pid = self._number()

    def _number(self) -> int:
        data = self._reply.read(8)
        assert data, "what forks processes has ended"
        return int.from_bytes(data)

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends; the exit code."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended_within(self, timeout: float | None) -> int | None:
        if self.returncode is not None:
            return self.returncode
        poll = select.poll()  # `select` takes only the first thousand descriptors
        poll.register(self._reply, select.POLLIN)
        if poll.poll(None if timeout is None else timeout * 1000):
            self.returncode = os.waitstatus_to_exitcode(self._number())
            self._reply.close()
        return self.returncode

    def _internal_poll(self, **_: Any) -> int | None:
        return self.poll()
