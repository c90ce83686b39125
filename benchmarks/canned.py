"""A local server process that answers image calls with bodies built before the clock starts.

The first part of the path picks the body: ``/big/v1/images/generations`` answers with
pictures of 12 MB, ``/small/v1/...`` with one of a few kilobytes.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager


BIG_EDGE = 2000
"""2000 x 2000 pixels of 3 bytes, stored uncompressed: a PNG of 12 MB."""

FIRST_EDGE = 1024
"""The same for one of 3 MB."""

SMALL_EDGE = 1024


@contextmanager
def serving(pictures: int) -> Generator[str]:
    """Run the server in its own process; gives the address without the last ``/v1``.

    Args:
        pictures: How many pictures of 12 MB a big reply holds.
    """
    command = [sys.executable, __file__, str(pictures)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def png(edge: int, *, noise: bool) -> bytes:
    """A square RGB picture; noise does not compress, like a photograph."""
    row = 1 + 3 * edge
    pixels = bytearray(os.urandom(row * edge) if noise else bytes(row * edge))
    pixels[::row] = bytes(edge)  # filter type 0 at the start of every row
    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(pixels, 0 if noise else 9)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def reply(picture: bytes, count: int, edge: int) -> bytes:
    """A whole HTTP reply, shaped like the service's."""
    tokens = {"text_tokens": 12, "image_tokens": 0}
    document = {
        "created": 1_795_000_000,
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": f"{edge}x{edge}",
        "data": [{"b64_json": base64.b64encode(picture).decode()}] * count,
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": tokens,
            "output_tokens": 196 * count,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 196 * count},
            "total_tokens": 12 + 196 * count,
        },
    }
    body = json.dumps(document).encode()
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer(connection: socket.socket, replies: dict[bytes, bytes]) -> None:
    """Answer every request of one kept-alive connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            length = 0
            while (header := stream.readline()) not in {b"\r\n", b""}:
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            stream.read(length)
            try:
                connection.sendall(replies[line.split()[1].split(b"/")[1]])
            except ConnectionError:
                return


def main() -> None:
    """Build the bodies, print the port, and answer until killed."""
    replies = {
        b"big": reply(png(BIG_EDGE, noise=True), int(sys.argv[1]), BIG_EDGE),
        b"first": reply(png(FIRST_EDGE, noise=True), 1, FIRST_EDGE),
        b"small": reply(png(SMALL_EDGE, noise=False), 1, SMALL_EDGE),
    }
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, replies), daemon=True).start()


if __name__ == "__main__":
    main()
