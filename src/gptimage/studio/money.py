"""What was spent, what is left, and what needs a look at the bill."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Final

from gptimage.errors import CacheError, InvalidRequestError
from gptimage.transport.billing import Billing


if TYPE_CHECKING:
    from gptimage.budget.ledger import Spending
    from gptimage.store import Store
    from gptimage.studio.context import Studio

_DAYS: Final = 30
_PROJECT: Final = "project:"
_IMAGES: Final = 20_000
"""Images whose tags are added up; the newest."""


def left(studio: Studio) -> str | None:
    """Return what the next call may cost at most, in USD; None where no budget limits it.

    Raises:
        ConfigurationError: The ledger cannot be used.
    """
    return None if studio.budget is None else str(studio.budget.remaining())


def overview(studio: Studio) -> dict[str, Any]:
    """Return the last 30 days by day, model, operation, tag and project, limits, and savings.

    Raises:
        ConfigurationError: The ledger cannot be used.
        StoreError: The store cannot be read.
    """
    now = studio.estimator.clock()
    since = (now - timedelta(days=_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    found: dict[str, Any] = {
        "days": [(since + timedelta(days=day)).date().isoformat() for day in range(_DAYS)],
        "left_usd": left(studio),
        "limits": {per: str(usd) for per, usd in studio.limits.items()},
        "ledger": studio.ledger is not None,
        "sandbox": studio.sandbox,
        **_by_tag(studio.store, since),
        "cache": _cache(studio),
        "unknown": [],
    }
    if studio.ledger is not None:
        for by in ("day", "model", "operation"):
            summary = studio.ledger.summary(by, since=since)
            found[f"by_{by}"] = [_values(each) for each in summary]
            found["total"] = _values(summary.total)
        found["unknown"] = [
            {
                "id": row.id,
                "at": row.at.isoformat(),
                "operation": row.operation,
                "model": row.model,
                "counted_usd": str(row.counted),
                "request_id": row.request_id,
                "error": row.error,
            }
            for row in studio.ledger.rows(since=since)
            if row.billing is Billing.UNKNOWN
        ]
    return found


def settle(studio: Studio, call_id: str, usd: object) -> None:
    """Enter what a call of unknown outcome cost, after a look at the bill; 0 when nothing.

    Raises:
        InvalidRequestError: The amount is none, or no such call is unknown.
        ConfigurationError: The ledger cannot be used, or is off.
    """
    try:
        amount = Decimal(str(usd))
    except DecimalException:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= 10**6):
        raise InvalidRequestError(
            f"{usd!r:.40} is no amount in USD; write it like 0.05", field="cost_usd", value=usd
        )
    if studio.ledger is None:
        raise InvalidRequestError("the ledger is off, so nothing is to be decided", field="ledger")
    studio.ledger.set_cost(call_id, amount)


def _by_tag(store: Store, since: datetime) -> dict[str, list[dict[str, Any]]]:
    """Add up each image's share of its call by tag; an image with two tags counts for both.

    Returns:
        ``by_project`` of the tags that begin with ``project:``, ``by_tag`` of the others.
    """
    spent: dict[str, Decimal] = defaultdict(Decimal)
    images: dict[str, int] = defaultdict(int)
    cursor: str | None = None
    for _ in range(_IMAGES // 1000):
        page = store.history(1000, cursor=cursor, since=since)
        for record in page:
            for tag in record.tags:
                if not tag.startswith("job:"):
                    images[tag] += 1
                    spent[tag] += Decimal(0) if record.cost_share is None else record.cost_share.usd
        cursor = page.next
        if cursor is None:
            break
    found: dict[str, list[dict[str, Any]]] = {"by_project": [], "by_tag": []}
    for tag in sorted(images, key=lambda tag: (-spent[tag], -images[tag], tag)):
        name = tag.removeprefix(_PROJECT)
        row = {"name": name, "cost_usd": str(spent[tag]), "images": images[tag]}
        found["by_tag" if name == tag else "by_project"].append(row)
    return found


def _values(row: Spending) -> dict[str, Any]:
    return {
        "name": row.name,
        "calls": row.calls,
        "images": row.images,
        "unknown": row.unknown,
        "unpriced": row.unpriced,
        "cost_usd": str(row.cost),
        "reserved_usd": str(row.reserved),
    }


def _cache(studio: Studio) -> dict[str, Any] | None:
    try:
        found = None if studio.cache is None else studio.cache.stats()
    except CacheError:  # a cache that cannot be read saves nothing today
        found = None
    if found is None:
        return None
    return {
        "hits": found.hits,
        "misses": found.misses,
        "saved_usd": str(found.saved_usd),
    }
