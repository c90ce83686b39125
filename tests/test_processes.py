"""A forked process does what a new one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Forked, can_fork, run_python, start_python


PROGRAMS = {
    "arguments": "import sys; print(sys.argv, sys.path[0], __name__, sys.warnoptions)",
    "at exit": "import atexit; atexit.register(print, 'at exit'); print('before')",
    "descriptors": "import os; print(os.listdir('/proc/self/fd'))",
    "environment": "import os; print(os.getcwd(), sorted({*os.environ} - {'LC_CTYPE'}))",
    "error": "1 / 0",
    "exit": "raise SystemExit(300)",
    "exit, in words": "raise SystemExit('nothing to do')",
    "full": "import sys; sys.stdout = open('/dev/full', 'w'); print('lost')",
    "interrupt": "raise KeyboardInterrupt",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "left open": "file = open('/dev/null')",
    "left over": "import os; os.write(1, b'first '); print('second')",
    "signals": "import signal; print([signal.getsignal(n) for n in range(1, 20) if n != 2])",
    "streams": "import sys; print(sys.stdin, sys.stdout, sys.stderr, sys.stdin.buffer.read())",
    "thread": "import threading as t, time; t.Timer(0.1, print, ['late']).start(); print('early')",
    "warning": "import warnings; warnings.warn('careful'); print('went on')",
}


@pytest.mark.parametrize("strict", [[], ["-W", "error"]], ids=["plain", "strict"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_in_a_fork(program: str, strict: list[str], tmp_path: Path) -> None:
    """Its streams, its end and what it finds are the same; a traceback has more lines."""
    words = [*strict, "-c", PROGRAMS[program], "a", "é ☃ \udcff"]
    env = {"PATH": os.environ["PATH"], "MINE": "1"}
    streams = {"input": b"in\xff", "cwd": tmp_path, "env": env}
    new = subprocess.run([sys.executable, *words], capture_output=True, check=False, **streams)
    fork = run_python(words, **streams)

    assert (fork.returncode, fork.stdout) == (new.returncode, new.stdout)
    assert fork.stderr.lower().splitlines()[-1:] == new.stderr.lower().splitlines()[-1:]


@pytest.mark.parametrize("words", [["program.py", "a"], ["-m", "package", "a"]])
def test_a_file_in_a_fork(words: list[str], tmp_path: Path) -> None:
    """A script and a package find what is beside them, and what they are called."""
    text = "import sys, beside\nprint(__name__, __file__, sys.argv, sys.path[0], beside.x)\n"
    (tmp_path / "package").mkdir()
    for path in ("program.py", "package/__main__.py"):
        (tmp_path / path).write_text(text)
    (tmp_path / "beside.py").write_text("x = 1\n")
    new = subprocess.run([sys.executable, *words], capture_output=True, check=True, cwd=tmp_path)

    assert run_python(words, cwd=tmp_path).stdout == new.stdout


def test_a_fork_is_waited_for() -> None:
    """It has a number and a group, ends of a signal, and is gone then."""
    process = start_python(["-c", "import time; time.sleep(3600)"], start_new_session=True)

    assert process.poll() is None
    assert os.getpgid(process.pid) == process.pid
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    assert (process.wait(), process.poll()) == (-signal.SIGTERM, -signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.skipif(not can_fork(os.environ), reason="nothing is forked here")
def test_what_is_read_at_the_start_is_started() -> None:
    """Where a fork could not be the same, there is none."""
    with start_python(["-c", "pass"]) as fork, start_python(["-W", "error", "-c", "pass"]) as other:
        assert isinstance(fork, Forked)
        assert isinstance(other, Forked)
    for variable in ("LC_ALL", "LD_LIBRARY_PATH", "PYTHONIOENCODING", "PYTHONPATH", "TZ"):
        env = {**os.environ, variable: "latin-1"}
        with start_python(["-c", "pass"], env=env) as process:
            assert not isinstance(process, Forked)
