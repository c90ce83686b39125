"""Forks Python processes that have imported what they need; `tests/processes.py` starts it.

It takes requests from the socket it is given until nobody holds the other end: words, folder and
environment of a ``python``, and with them four descriptors. Three are the standard streams; the
fourth is a pipe for the process id, and then for the status as `os.waitpid` returns it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import linecache
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
import warnings
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


LONGEST = 1 << 18
"""Bytes of a request."""

NEEDED = (
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    "PIL.WebPImagePlugin",
    "anyio._backends._asyncio",
    "cattrs",
    "encodings.idna",
    "encodings.utf_8_sig",
    "filelock",
    "openai.resources",
    "platformdirs",
    "pyrate_limiter",
    "redis",
    "sqlite3",
    "xml.parsers.expat",
)
"""What calls import late, besides the two packages and what they import."""

LEFT_OUT = ("__main__", "celery", "pytest_plugin")
"""Names of modules that few programs need."""


def load() -> None:
    """Import nearly everything there is, and have no child look through it for garbage."""
    for name in ("gptimage", "gptimage_mcp"):
        package = importlib.import_module(name)
        for each in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not each.name.endswith(LEFT_OUT):
                importlib.import_module(each.name)
    for name in NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; what was requested, in the child."""
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not requests:  # a child ended
                pid, reply = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                with suppress(BrokenPipeError):  # whoever started it is gone
                    os.write(reply, os.waitpid(pid, 0)[1].to_bytes(8))
                os.close(reply)
                continue
            data, descriptors, _, _ = socket.recv_fds(requests, LONGEST, 4)
            if not data:
                os._exit(0)
            *streams, reply = descriptors
            pid = os.fork()
            if pid == 0:
                request = dict(json.loads(data))
                if request.pop("session"):
                    os.setsid()
                for number, descriptor in enumerate(streams):
                    os.dup2(descriptor, number)
                os.write(reply, os.getpid().to_bytes(8))
                selector.close()
                requests.detach()
                os.closerange(3, 1024)  # what is the server's
                return request
            for descriptor in streams:
                os.close(descriptor)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reply))


def become(words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Run what ``python`` runs with these words, in a process that is like a new one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    is_strict = env.get("PYTHONWARNINGS") == "error"
    while words[0] == "-W":
        is_strict, words = True, words[2:]
    if not is_strict:
        warnings.filters.remove(("error", None, Warning, None, 0))
        warnings._filters_mutated()
        sys.warnoptions.clear()
    main = sys.modules["__main__"] = ModuleType("__main__")
    if words[0] == "-m":
        sys.argv = ["-m", *words[2:]]
        sys.path[0] = cwd
        runpy._run_module_as_main(words[1])
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        if "<string>" in linecache.cache:  # tracebacks show it since Python 3.13
            lines = words[1].splitlines(keepends=True)
            linecache.cache["<string>"] = (len(words[1]), None, lines, "<string>")
        exec(words[1], main.__dict__)
    else:
        sys.argv = words
        path = Path(words[0]).absolute()
        sys.path[0] = str(path.resolve().parent)
        main.__file__, main.__loader__ = str(path), SourceFileLoader("__main__", str(path))
        exec(compile(path.read_bytes(), path, "exec"), main.__dict__)


def end(code: int) -> None:
    """End as Python does, but do not take apart what was imported, for a fifth of a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.modules["__main__"].__dict__.clear()
    gc.collect()  # of what the program made: it may warn that nobody closed it
    with suppress(OSError, ValueError):  # which Python says
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; pytest ends us
    load()
    code = 0
    try:
        become(**serve(socket.socket(fileno=int(sys.argv[1]))))
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = (ended.code or 0) & 0xFF
    end(code)
