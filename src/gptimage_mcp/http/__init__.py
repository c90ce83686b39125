"""The server over HTTP: the app, its routes, middleware, image files and event streams."""

from __future__ import annotations
