"""The ``gptimage`` command."""

from __future__ import annotations
