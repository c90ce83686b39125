"""One HTTP request at a time: protocols to implement, the official SDK, retries."""

from __future__ import annotations
