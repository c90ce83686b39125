"""What a caller gives and gets: requests, inputs, results, records."""

from __future__ import annotations
