"""Ready-made observers; each is in a module of its own, because some need an extra."""

from __future__ import annotations
