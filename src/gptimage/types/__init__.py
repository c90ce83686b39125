"""The values of a call: requests, inputs, results, records."""

from __future__ import annotations
