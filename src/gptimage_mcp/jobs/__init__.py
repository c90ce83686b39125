"""Jobs that outlive a call, and the journal they are written in."""

from __future__ import annotations
