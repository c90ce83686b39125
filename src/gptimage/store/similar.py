"""Similar images and duplicates, found by their perceptual hashes in the index."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage._internal.keywords import plain_int
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image.image import Image
from gptimage.store.database import UNHASHED
from gptimage.types.record import Record


if TYPE_CHECKING:
    from sqlite3 import Connection

    from gptimage.store.database import Database


BITS: Final = 64

SIMILAR: Final = 10
"""Bits in which similar images differ at most: two in a thousand unlike ones do as well."""

DUPLICATE: Final = 4
"""Bits in which copies of another size or format differ at most."""

HASHED_AT_ONCE: Final = 250
"""Images a call reads to make their hashes: three seconds, where they are PNGs of 1024x1024."""


@frozen
class Match:
    """An image of a store that looks like another one.

    Attributes:
        record: What is known of it.
        distance: Bits of 64 in which the perceptual hashes differ; 0 for a copy, about 32 for
            another image.
    """

    record: Record
    distance: int


def hash_of(image: Image) -> str:
    """Return the perceptual hash of an image in hex; empty when it has none."""
    try:
        return image.perceptual_hash or ""
    except ImageDecodeError:
        return ""


def check_distance(distance: object, *, every: bool = False) -> int:
    """Return the distance as an int, once it is proved to be one.

    Args:
        distance: What a caller gave.
        every: Every image is compared with every other one.

    Raises:
        InvalidRequestError: It is no whole number from 0 to 32, or to 10 for every image.
    """
    distance = plain_int(distance)
    most = SIMILAR if every else BITS // 2
    if isinstance(distance, int) and not isinstance(distance, bool) and 0 <= distance <= most:
        return distance
    why = (
        "further apart than that, nearly all pairs of a store have to be compared, and unlike "
        "images are grouped; a search for what is similar to one image takes up to 32"
        if every
        else "images that have nothing in common differ in about 32"
    )
    raise InvalidRequestError(
        f"distance {distance!r:.40} must be 0 to {most} bits of {BITS}: {why}",
        field="distance",
        value=distance,
        allowed=f"0 to {most}",
    )


def nearest(database: Database, hash: str, most: int, distance: int) -> list[tuple[int, int]]:
    """Return at most so many rows with their distances, the nearest first.

    Args:
        database: The index.
        hash: What is looked for, in hex.
        most: How many rows.
        distance: Bits in which they may differ.
    """

    def work(connection: Connection) -> list[tuple[int, int]]:
        query = "SELECT group_concat(hash, '') FROM hashes WHERE hash > ?"
        # One text for all: reading a million rows takes five times as long.
        (texts,) = connection.execute(query, (UNHASHED,)).fetchone()
        hashes, (whole, middle) = _numbers(texts or ""), _numbers(hash)
        wholes, middles = hashes[::2], hashes[1::2]
        best: dict[int, int] = {}
        # Either image may have the other's edges cut off: its whole is then the other's middle.
        for ours, theirs in ((whole, wholes), (whole, middles), (middle, wholes)):
            for place, each in enumerate(theirs):
                if (bits := (each ^ ours).bit_count()) <= distance:
                    best[place] = min(bits, best.get(place, bits))
        near: defaultdict[int, set[str]] = defaultdict(set)
        for place, bits in best.items():
            near[bits].add(hashes[2 * place : 2 * place + 2].tobytes().hex())
        found: list[tuple[int, int]] = []
        for differing in sorted(near):
            names = sorted(near[differing])[:most]
            marks = ", ".join("?" * len(names))
            rows = connection.execute(
                f"SELECT seq FROM hashes WHERE hash IN ({marks}) ORDER BY seq DESC LIMIT ?",  # noqa: S608  # marks
                [*names, most - len(found)],
            )
            found += [(row, differing) for (row,) in rows]
        return found

    return database.read(work)


def groups(database: Database, distance: int) -> Iterator[list[int]]:
    """Yield the rows of images that are alike, the group with the newest image first.

    A group holds whatever differs from another of its members in at most so many bits; of what
    has no hash, files with the same bytes.
    """

    def work(connection: Connection) -> dict[str, list[int]]:
        query = """SELECT
                CASE WHEN h.hash > ? THEN substr(h.hash, 1, 16) ELSE hex(p.sha256) END, p.seq
            FROM images p JOIN hashes h ON h.seq = p.seq"""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for name, row in connection.execute(query, (UNHASHED,)):
            found[name].append(row)
        return found

    rows = database.read(work)
    numbers = {int(name, 16): name for name in rows if len(name) == BITS // 4}
    leader = {each: each for each in numbers}

    def first(number: int) -> int:
        while leader[number] != number:
            number = leader[number] = leader[leader[number]]
        return number

    for one, other in pairs(list(numbers), distance):
        leader[first(one)] = first(other)
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for name, found in rows.items():
        key = numbers[first(int(name, 16))] if len(name) == BITS // 4 else name
        alike[key] += found
    large = [sorted(each) for each in alike.values() if len(each) > 1]
    yield from sorted(large, key=lambda each: each[-1], reverse=True)


def pairs(numbers: Sequence[int], distance: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs that differ in at most so many bits.

    Cut into two parts more than bits may differ, two such numbers have two parts in common: only
    those are compared (https://doi.org/10.1109/TPAMI.2013.231).
    """
    if not distance:
        return
    edges = [BITS * part // (distance + 2) for part in range(distance + 3)]
    parts = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    for one, two in combinations(parts, 2):
        mask = one | two
        buckets: defaultdict[int, list[int]] = defaultdict(list)
        for number in numbers:
            bucket = buckets[number & mask]
            for other in bucket:
                if (number ^ other).bit_count() <= distance:
                    yield number, other
            bucket.append(number)


def _numbers(texts: str) -> array[int]:
    """Return hashes in hex as numbers, in this machine's order of bytes."""
    found = array("Q")
    found.frombytes(bytes.fromhex(texts))
    return found
