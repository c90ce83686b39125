"""The MCP server: its start against a bare one, how large results are, and 50 calls at once.

``python benchmarks/bench_mcp.py [NAME ...] [--quick]``, of start, sizes and calls. The bare
server is the same SDK's ``MCPServer`` without anything; a client is served when it has the
answers to ``initialize`` and ``tools/list``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from canned import answer, reply, serving
from measure import MODEL, Numbers, report, take_turns

import gptimage


BARE = """
from mcp.server import MCPServer
MCPServer("bare").run("stdio")
"""
FILLED = """
from typing import Annotated
from mcp.server import MCPServer
from pydantic import Field
Word = Annotated[str | None, Field(description="One of the parameters of this tool")]
Number = Annotated[int | None, Field(description="Another one of them", ge=1, le=10)]
def tool(
    a: str, b: Word = None, c: Word = None, d: Word = None, e: Word = None, f: Word = None,
    g: Word = None, h: Number = None, i: Number = None, j: Number = None, k: Number = None,
) -> str: return a
server = MCPServer("filled")
for number in range(11):
    server.add_tool(tool, name=f"tool_{number}")
server.run("stdio")
"""
STARTS = {
    "bare MCPServer": (sys.executable, "-c", BARE),
    "the same with 11 plain tools": (sys.executable, "-c", FILLED),
    "gptimage_mcp": (sys.executable, "-m", "gptimage_mcp"),
}
AT_ONCE = 50
MOST = 900_000
"""Bytes; the largest result there may be."""

Draw = Callable[[str], Awaitable[object]]


def start(*, quick: bool) -> None:
    """Print how long a client waits for a server of a new process."""
    runs = take_turns(Path(__file__), list(STARTS), 3 if quick else 15, "--served")
    title = "From starting the process to the answer of tools/list"
    report(title, runs, "ms", unit="ms", aim="gptimage_mcp: 1.10")
    report(f"{title}: processor time", runs, "cpu", unit="ms", aim="gptimage_mcp: 1.10")


def served(name: str) -> None:
    """Start one server, greet it, list its tools, and print how long that took."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "OPENAI_API_KEY": "sk-bench"}
        began = time.perf_counter()
        with subprocess.Popen(
            STARTS[name],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            me = {"name": "bench", "version": "1"}
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": me}
            ask(process, {"id": 1, "method": "initialize", "params": hello})
            send(process, {"method": "notifications/initialized"})
            ask(process, {"id": 2, "method": "tools/list"})
            elapsed = time.perf_counter() - began
            cpu = sum(
                int(each.read_text("ascii").split()[0])
                for each in Path(f"/proc/{process.pid}/task").glob("*/schedstat")
            )
            process.communicate()
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}")
    print(json.dumps({"ms": elapsed * 1000, "cpu": cpu / 1e6}))


def send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    """Write one message."""
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def ask(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    """Write a request and read its answer."""
    send(process, message)
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    if answer.get("id") != message["id"] or "result" not in answer:
        raise SystemExit(f"{message['method']} was answered with {answer}")


def sizes(*, quick: bool) -> None:
    """Print how large the results of one to ten pictures of 4K are."""
    print(f"\nResults with pictures of 3840x2160 (aim: under {MOST:,} bytes, whatever n is)")
    print(f"  {'':<12}{'n':>3}{'originals':>13}{'result':>10}{'previews':>10}{'longest edge':>14}")
    counts = (1, 2) if quick else (1, 2, 3, 4, 6, 8, 10)
    with tempfile.TemporaryDirectory() as folder:
        drawn = gptimage.AsyncImageClient.sandbox(store=gptimage.Store(Path(folder, "drawn")))
        asyncio.run(_sizes("drawn", drawn, Path(folder), counts))
        for n in (1,) if quick else (1, 4, 10):
            with noisy(n) as url:
                client = maker(f"{url}/noise/v1", Path(folder), f"noise {n}")
                asyncio.run(_sizes("noise", client, Path(folder), (n,)))


async def _sizes(
    kind: str, client: gptimage.AsyncImageClient, folder: Path, counts: tuple[int, ...]
) -> None:
    store = client.store
    assert store is not None
    async with asking(folder, client) as call:
        for n in counts:
            arguments = {"prompt": f"A harbour, {n}", "n": n, "size": "3840x2160"}
            result = await call("generate_image", {**arguments, "model": MODEL, "quality": "low"})
            shown = [each.data for each in result.content if each.type == "image"]
            images = [gptimage.Image.from_bytes(base64.b64decode(data)) for data in shown]
            edge = max((max(image.size or (0,)) for image in images), default=0)
            size = len(result.model_dump_json(by_alias=True, exclude_none=True))
            originals = sum(record.bytes for record in store.history(n))
            row = f"{kind:<12}{n:>3}{originals:>13,}{size:>10,}{len(shown):>10}{edge:>14}"
            print(f"  {row}" + ("" if size < MOST else "  TOO LARGE"))
    await client.aclose()


@contextmanager
def noisy(n: int) -> Generator[str]:
    """Run a service whose pictures hold nothing but noise, the worst there is to shrink."""
    command = [sys.executable, __file__, "--noise", str(n)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def serve_noise(n: int) -> None:
    """Answer every request with the same n pictures of 4K, until killed."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    pixels = os.urandom(3840 * 2160 * 3)
    Image.frombytes("RGB", (3840, 2160), pixels).save(buffer, "JPEG", quality=50)
    replies = {b"noise": reply(buffer.getvalue(), n, 3840)}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, replies), daemon=True).start()


def calls(*, quick: bool) -> None:
    """Print how long 50 calls at once take, over MCP and with the plain client."""
    with serving(1) as url, tempfile.TemporaryDirectory() as folder:
        runs = asyncio.run(_calls(f"{url}/small/v1", Path(folder), 2 if quick else 9))
    report(
        f"{AT_ONCE} calls at once, each one picture into the store",
        runs,
        "ms",
        unit="ms",
        aim="previews cost what they cost",
    )


async def _calls(url: str, folder: Path, rounds: int) -> dict[str, list[Numbers]]:
    numbers = count()
    async with plain(url, folder) as client:
        async with asking(folder, served_client := maker(url, folder, "mcp")) as call:

            async def over_mcp(prompt: str) -> None:
                answer = await call(
                    "generate_image", {"prompt": prompt, "model": MODEL, "size": "1024x1024"}
                )
                if answer.is_error:
                    raise SystemExit(str(answer.content))

            async def directly(prompt: str) -> None:
                await client.generate(prompt, model=MODEL, size="1024x1024")

            ways: dict[str, Draw] = {"plain AsyncImageClient": directly, "over MCP": over_mcp}
            runs: dict[str, list[Numbers]] = {name: [] for name in ways}
            for number in range(rounds + 1):
                for name in ways if number % 2 == 0 else reversed(ways):
                    began = time.perf_counter()
                    await asyncio.gather(
                        *(ways[name](f"A fox, {next(numbers)}") for _ in range(AT_ONCE))
                    )
                    if number:  # the first round warms up
                        runs[name].append({"ms": (time.perf_counter() - began) * 1000})
        await served_client.aclose()
    return runs


def maker(url: str, folder: Path, name: str) -> gptimage.AsyncImageClient:
    """A client with a store and a ledger of its own."""
    return gptimage.AsyncImageClient(
        api_key="sk-bench",
        base_url=url,
        store=gptimage.Store(folder / name),
        ledger=gptimage.Ledger(folder / f"{name}.sqlite"),
    )


@asynccontextmanager
async def plain(url: str, folder: Path) -> AsyncGenerator[gptimage.AsyncImageClient]:
    """The client a program would use itself."""
    async with maker(url, folder, "plain") as client:
        yield client


@asynccontextmanager
async def asking(
    folder: Path, client: gptimage.AsyncImageClient
) -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
    """How an MCP client in the same process calls a tool of a server with this client."""
    from mcp import Client

    from gptimage_mcp import Settings, build_server

    settings = Settings(
        store=folder / "unused", ledger=folder / "unused.sqlite", wait=600, log_level="ERROR"
    )
    async with Client(build_server(settings, client=client)) as connection:
        yield connection.call_tool


BENCHMARKS = {"start": start, "sizes": sizes, "calls": calls}


def main() -> None:
    """Run the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    parser.add_argument("--served", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--noise", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.served:
        served(args.names[0])
        return
    if args.noise:
        serve_noise(args.noise)
    for name in args.names or BENCHMARKS:
        BENCHMARKS[name](quick=args.quick)


if __name__ == "__main__":
    main()
