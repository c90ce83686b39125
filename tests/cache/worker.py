"""A process of its own that asks a service through a cache; run by the tests, never imported.

Usage: ``worker.py MODE KIND PLACE PREFIX URL COUNT``. It prints ``ready``, waits for a line,
and then prints what it got as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

from gptimage.cache import Cache, CacheEntry
from gptimage.cache.base import LeaseHeld, NewReply
from gptimage.cache.redis import RedisCache
from gptimage.cache.single_flight import single_flight
from gptimage.errors import GptImageError, ModerationError


KEY = "g1:" + "c" * 64
OTHER = "g1:" + "d" * 64
THIRD = "g1:" + "e" * 64


def open_cache(kind: str, place: str, prefix: str) -> Cache:
    """The cache the test told us to use."""
    if kind == "redis":
        return RedisCache(place, prefix=prefix, timeout=timedelta(seconds=10))
    disk = Cache.disk(place)
    return disk if kind == "disk" else Cache.tiered(Cache.memory(), disk)


def ask(url: str) -> NewReply:
    """Ask the service over HTTP."""
    with urllib.request.urlopen(url) as reply:
        return NewReply(body=reply.read(), usd=Decimal("0.04"))


def many(cache: Cache, url: str, count: int) -> object:
    """Ask the same so many times at once."""
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(single_flight, cache, KEY, lambda: ask(url)) for _ in range(count)]
        shared = [job.result() for job in jobs]
    return {
        "bodies": sorted({bytes(each.body).decode() for each in shared}),
        "fresh": sum(not each.cached for each in shared),
        "warnings": sorted({text for each in shared for text in each.warnings}),
    }


def fail(cache: Cache, url: str, count: int) -> object:
    """Ask, be refused by the safety system, and tell what was raised; first, whether we wait."""
    lease = cache.lease

    def told(key: str, token: str) -> object:
        found = lease(key, token)
        if isinstance(found, LeaseHeld) and not waits:
            waits.append(True)
            say(json.dumps("waits"))
        return found

    waits: list[bool] = []
    cache.lease = told  # type: ignore[method-assign,assignment]  # tells when it has been called

    def refused() -> NewReply:
        ask(url)
        details = {"moderation_stage": "output", "categories": ["gore"]}
        raise ModerationError(
            f"refused {count}", status=400, request_id="req_1", body={"moderation_details": details}
        )

    try:
        single_flight(cache, KEY, refused)
    except GptImageError as error:
        return {"kind": type(error).__name__, "text": str(error), "data": vars(error)}
    return "no error"


def fork(cache: Cache, url: str, count: int) -> object:
    """Lead a slow call in a thread, fork meanwhile, and use the cache in both processes."""
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
    cache.put(OTHER, CacheEntry(body=b"from the parent", usd=Decimal(1)))
    begun = threading.Event()

    def slow() -> NewReply:
        begun.set()
        return ask(url)

    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(single_flight, cache, KEY, slow)
        begun.wait()
        child = os.fork()
        if child == 0:
            os._exit(in_child(cache, url))
        status = os.waitpid(child, 0)[1]
        shared = leader.result()
    kept = cache.get(THIRD)
    return {
        "status": status,
        "body": bytes(shared.body).decode(),
        "warnings": shared.warnings,
        "kept": kept is not None and bytes(kept.body).decode(),
        "count": count,
    }


def orphan(cache: Cache, url: str, count: int) -> object:
    """Lead a slow call, and fork a child that outlives us and does nothing."""
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
    begun = threading.Event()

    def slow() -> NewReply:
        begun.set()
        return ask(url)

    threading.Thread(target=single_flight, args=(cache, KEY, slow), daemon=True).start()
    begun.wait()
    child = os.fork()
    if child == 0:
        time.sleep(3600)
    say(str(child))
    time.sleep(3600 * count)
    return None


def in_child(cache: Cache, url: str) -> int:
    """The parent's thread is not here; its lease and its flight are not ours either."""
    old = single_flight(cache, OTHER, lambda: ask(url))
    new = single_flight(cache, THIRD, lambda: NewReply(body=b"from the child"))
    shared = single_flight(cache, KEY, lambda: ask(url))
    good = (
        (bytes(old.body), old.cached) == (b"from the parent", True)
        and (bytes(new.body), new.cached) == (b"from the child", False)
        and shared.cached
        and not (*old.warnings, *new.warnings, *shared.warnings)
    )
    return 0 if good else 1


def say(line: str) -> None:
    """Tell the test, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Do what the arguments say."""
    mode, kind, place, prefix, url, count = sys.argv[1:]
    cache = open_cache(kind, place, prefix)
    say("ready")
    sys.stdin.readline()
    work = {"many": many, "fail": fail, "fork": fork, "orphan": orphan}[mode]
    say(json.dumps(work(cache, url, int(count))))


if __name__ == "__main__":
    main()
