"""`Limits`: how fast a client may send requests; a `Limiter` enforces it."""

from __future__ import annotations

from gptimage.limits.limiter import Limiter, Limits, WindowLimiter, limiter_of, tokens_of


__all__ = ["Limiter", "Limits", "WindowLimiter", "limiter_of", "tokens_of"]
