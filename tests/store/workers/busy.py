"""A process that saves, tags and prunes until it is killed, and notes what it was promised.

Without arguments it forks one for each line it reads, so that 500 of them import nothing anew.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from gptimage import Edit, Generate, Image, ImageNotFoundError, Result
from gptimage.store import Retention, Store


def svg(size: int) -> Image:
    """An image of about so many bytes, another one every time."""
    text = os.urandom(size // 2).hex()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><!--{text}--></svg>'
    return Image.from_bytes(svg.encode())


def main(folder: str, promises: Path, rounds: int, prune_to: int) -> None:
    """Write one line per promise, before the next step is taken."""
    store = Store(folder, fsync=False)
    chance = random.Random(os.getpid())
    photo = svg(1000)
    with promises.open("a", buffering=1) as notes:
        for number in range(rounds):
            image = svg(chance.choice([1_000, 200_000]))
            if number % 3:
                request: Generate = Generate(prompt=f"picture {number}", model="m")
            else:
                request = Edit(prompt=f"picture {number}", model="m", images=(photo,))
            now = datetime.now(UTC)
            result = Result(images=(image,), request=request, model="m", created=now)
            record = store.save(result, tags=[f"pid{os.getpid()}"])[0]
            notes.write(f"saved {record.id} {image.sha256}\n")
            if number % 2:
                # Another process may have pruned it already.
                with suppress(ImageNotFoundError):
                    store.tag(record.id, "seen")
                    notes.write(f"tagged {record.id} -\n")
            if number % 5 == 0:
                # Another process may have pruned it already.
                with suppress(ImageNotFoundError):
                    store.pin(record.id)
                    notes.write(f"pinned {record.id} -\n")
            if prune_to and number % 4 == 3:
                keep = Retention(max_count=prune_to + len(store.history(1000, pinned=True)))
                # What is about to go is noted first: it may go before the report comes.
                for id in store.prune(keep, dry_run=True).removed:
                    notes.write(f"may-go {id} -\n")
                for id in store.prune(keep).removed:
                    notes.write(f"may-go {id} -\n")


def fork_each() -> None:
    """Fork a process for each line of arguments, or wait for one; print its number each time."""
    for line in sys.stdin:
        first, *more = line.split()
        process = int(first) if not more else os.fork()
        if process == 0:
            main(first, Path(more[0]), int(more[1]), int(more[2]))
            os._exit(0)
        if not more:
            os.waitpid(process, 0)
        print(process, flush=True)  # noqa: T201  # what the test reads


if __name__ == "__main__":
    if len(sys.argv) == 1:
        fork_each()
    else:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
