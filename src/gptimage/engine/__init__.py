"""From a request to a saved result: plan, send, parse, save, account. Nothing here is public."""

from __future__ import annotations
