"""`Limits`: how fast a client may send requests; a `Limiter` enforces it."""

from __future__ import annotations

from gptimage.limits.limiter import Limiter as Limiter
from gptimage.limits.limiter import Limits as Limits
from gptimage.limits.limiter import WindowLimiter as WindowLimiter
from gptimage.limits.limiter import limiter_of as limiter_of
from gptimage.limits.limiter import tokens_of as tokens_of
