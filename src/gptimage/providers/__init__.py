"""Translators between requests and a service's wire format; no I/O happens here."""
