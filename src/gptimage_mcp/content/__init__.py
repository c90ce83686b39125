"""Content an assistant receives: results, records, errors, with hostile text made harmless."""

from __future__ import annotations
