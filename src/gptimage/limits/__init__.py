"""How fast a client may ask: `Limits` says it, and a `Limiter` keeps to it."""

from __future__ import annotations

from gptimage.limits.limiter import Limiter, Limits, WindowLimiter, limiter_of, tokens_of


__all__ = ["Limiter", "Limits", "WindowLimiter", "limiter_of", "tokens_of"]
