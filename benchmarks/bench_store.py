"""The store against what people write by hand: files, JSON, and a walk through both.

``python benchmarks/bench_store.py [--quick]``: history, search and opening at 1,000,000
records (50,000 with ``--quick``), and saving a 2 MB image. Times of walking are measured
on a sample and scaled up, which is said where it is done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from attrs import evolve
from measure import Numbers, report

from gptimage import Cost, Generate, Image, Result
from gptimage.store import Record, Store, sidecar
from gptimage.store.index import Index, IndexEntry
from gptimage.store.names import IdMaker


FULL, QUICK, SAMPLE = 1_000_000, 50_000, 5_000
WORDS = 5_000
"""Words a prompt is made of; the n-th is used about 1/n as often as the first, as in language."""


def run(*, quick: bool) -> None:
    """Run every part."""
    count = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        _saving(Path(folder) / "save", rounds=10 if quick else 60)
        _asking(Path(folder) / "ask", count, rounds=10 if quick else 40)


def _asking(folder: Path, count: int, rounds: int) -> None:
    """Questions to a store of many pictures."""
    started = time.perf_counter()
    # Two years old: what is saved or listed comes at the end of an index.
    past = datetime.now(UTC) - timedelta(days=730)
    with Store(folder, clock=lambda: past) as store:
        record = store.save(_result(_noise(16)))[0]
    index = Index(folder / "index.sqlite", fill=lambda: 0, report=print)
    index.load(_entries(record, count))
    index.close()
    size = (folder / "index.sqlite").stat().st_size
    took = time.perf_counter() - started
    print(
        f"\nindex of {count:,} records: {size / 1e6:,.0f} MB, {size / count:,.0f} bytes each, "
        f"built in {took:.0f} s"
    )
    walked = _walk(folder.with_name("walk"), record, count)
    with Store(folder) as store:
        common, rare, since = "w1", f"w{WORDS - 1}", record.created + timedelta(days=700)
        asked: dict[str, tuple[str, Callable[[], object]]] = {
            "history, newest 20": ("2 ms", store.history),
            "history, one model": ("2 ms", lambda: store.history(model="model-3")),
            "history, one tag": ("2 ms", lambda: store.history(tag="tag7")),
            "history, since, pinned": ("2 ms", lambda: store.history(since=since, pinned=True)),
            "search, common word": ("10 ms", lambda: store.search(common)),
            "search, rare word": ("10 ms", lambda: store.search(rare)),
            "search, two words": ("10 ms", lambda: store.search("w3 w40")),
            "search, prefix": ("10 ms", lambda: store.search("w12*")),
            "search, no hit": ("10 ms", lambda: store.search("lighthouse")),
            "search, relevance, rare": ("10 ms", lambda: store.search(rare, rank="relevance")),
            "get": ("2 ms", lambda: store.get(record.id)),
        }
        for title, (aim, ask) in asked.items():
            walk = walked["history" if title.startswith(("history, n", "get")) else "search"]
            _compare(title, walk, ask, rounds, aim)
        slow = min(rounds, 5)
        _alone(
            "search, relevance, common word", lambda: store.search(common, rank="relevance"), slow
        )
        _alone("stats", store.stats, slow)
    _alone("open an existing store (aim: 50 ms)", lambda: Store(folder).close(), rounds)


def _walk(folder: Path, record: Record, count: int) -> dict[str, float]:
    """Milliseconds it takes to walk sidecars: for the newest 20, and to search all."""
    sample = min(SAMPLE, count)
    for entry in _entries(record, sample):
        path = folder.joinpath(*entry.key.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.body)
    newest = _best(lambda: _walk_newest(folder))
    search = _best(lambda: [path for path in folder.rglob("*.json") if _has(path, "w1")])
    times = count / sample
    print(
        f"walking {sample:,} sidecars: newest 20 in {newest:,.0f} ms, a search in {search:,.0f} ms;"
        f" below scaled by {times:,.0f} (files are in the page cache; a cold disk is slower)"
    )
    return {"history": newest * times, "search": search * times}


def _walk_newest(folder: Path) -> list[object]:
    paths = sorted(folder.rglob("*.json"), key=lambda path: path.name)[-20:]
    return [json.loads(path.read_bytes()) for path in paths]


def _has(path: Path, word: str) -> bool:
    return word in json.loads(path.read_bytes())["request"]["prompt"].split()


def _saving(folder: Path, rounds: int) -> None:
    """A 2 MB picture: by hand, and by the store, with and without forcing it to the disk."""
    runs: dict[str, list[Numbers]] = {}
    data = b""
    plain = folder / "plain"
    plain.mkdir(parents=True)
    with Store(folder / "a", fsync=False) as loose, Store(folder / "b") as forced:
        turns: dict[str, Callable[[Image], object]] = {
            "write + json": lambda image: _by_hand(plain, image),
            "write + json + sha256": lambda image: _by_hand(plain, image, sha=True),
            "Store(fsync=False).save": lambda image: loose.save(_result(image)),
            "write + json + sha256 + fsync": lambda image: _by_hand(
                plain, image, sha=True, fsync=True
            ),
            "Store.save": lambda image: forced.save(_result(image)),
        }
        for number in range(rounds):
            data = _noise(820).data
            for name in list(turns) if number % 2 else reversed(turns):
                # A new Image each time: one that was hashed before would be an advantage.
                took = _time(partial(turns[name], Image.from_bytes(data)))
                runs.setdefault(name, []).append({"ms": took})
    size = f"{len(data) / 1e6:.1f} MB"
    names = list(turns)
    report(
        f"save an image of {size}, not forced to the disk",
        {name: runs[name] for name in names[:3]},
        "ms",
        unit="ms",
        aim="below 6",
    )
    report(
        f"save an image of {size} that survives a power cut",
        {name: runs[name] for name in names[3:]},
        "ms",
        unit="ms",
        aim="below 3",
    )


def _by_hand(folder: Path, image: Image, *, sha: bool = False, fsync: bool = False) -> None:
    name = os.urandom(8).hex()
    digest = image.sha256 if sha else None
    metadata = {"prompt": "A red fox", "model": "m", "bytes": image.nbytes, "sha256": digest}
    texts = {"png": image.data, "json": json.dumps(metadata, indent=2).encode()}
    for extension, data in texts.items():
        with (folder / f"{name}.{extension}").open("wb") as file:
            file.write(data)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
    if fsync:
        # Their names, too: without it a power cut may forget both files.
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _entries(record: Record, count: int) -> Iterator[IndexEntry]:
    """Synthetic pictures of the last two years, with prompts of 8 to 30 words."""
    chance = random.Random(1)
    moment = [record.created]
    step = timedelta(days=729) / count
    make_id = IdMaker(lambda: moment[0])
    words = [f"w{number}" for number in range(WORDS)]
    weights = [1 / (number + 1) for number in range(WORDS)]
    drawn = chance.choices(words, weights, k=2_000_000)
    for _ in range(count):
        moment[0] += step
        start = chance.randrange(len(drawn) - 30)
        prompt = " ".join(drawn[start : start + chance.randint(8, 30)])
        id = make_id()
        synthetic = evolve(
            record,
            id=id,
            created=moment[0],
            key=f"images/{moment[0]:%Y/%m/%d}/{id}.png",
            model=f"model-{chance.randrange(8)}",
            request={**record.request, "prompt": prompt},
            sha256=f"{chance.getrandbits(256):064x}",
            tags=(f"tag{chance.randrange(50)}",) if chance.random() < 0.2 else (),
            pinned=chance.random() < 0.01,
            path=None,
        )
        yield IndexEntry(record=synthetic, etag="synthetic", body=sidecar.dump(synthetic))


def _result(image: Image) -> Result:
    return Result(
        images=(image,),
        request=Generate(prompt="A red fox in fresh snow", model="m", quality="low"),
        model="m",
        cost=Cost(usd=Decimal("0.0131")),
        created=datetime.now(UTC),
        request_id="req_1",
    )


def _noise(edge: int) -> Image:
    """A PNG that cannot be compressed: 3 bytes a pixel."""
    from PIL import Image as Pil

    file = io.BytesIO()
    Pil.frombytes("RGB", (edge, edge), os.urandom(edge * edge * 3)).save(
        file, "png", compress_level=1
    )
    return Image.from_bytes(file.getvalue())


def _time(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def _best(action: Callable[[], object]) -> float:
    return min(_time(action) for _ in range(3))


def _compare(title: str, walk: float, ask: Callable[[], object], rounds: int, aim: str) -> None:
    times = sorted(_time(ask) for _ in range(rounds))
    middle = times[len(times) // 2]
    print(
        f"  {title:<34}{middle:>9.2f} ms (max {times[-1]:.2f}); walking {walk:>9,.0f} ms, "
        f"ratio 1:{walk / middle:,.0f}; aim: below {aim}"
    )


def _alone(title: str, action: Callable[[], object], rounds: int) -> None:
    times = sorted(_time(action) for _ in range(rounds))
    print(f"  {title:<34}{times[len(times) // 2]:>9.2f} ms (max {times[-1]:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds")
    run(quick=parser.parse_args().quick)
    sys.stdout.flush()
