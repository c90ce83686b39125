"""Mechanisms that know no word of the domain: locks, threads, folders, JSON, Redis."""

from __future__ import annotations
