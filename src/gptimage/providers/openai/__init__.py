"""OpenAI's dialect: requests to wire format, errors to the tree."""

from __future__ import annotations
