"""The server's settings, read from the environment and a file, and checked at the start."""

from __future__ import annotations
