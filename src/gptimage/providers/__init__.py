"""The dialects of the services: how a request is written, and how a response is read."""

from __future__ import annotations
