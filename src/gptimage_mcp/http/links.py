"""Addresses of images for readers without a token: off unless ``GPTIMAGE_LINK_MINUTES`` is set."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from gptimage.service.http import SignedLinks, address_of
from gptimage_mcp.auth import current_user
from gptimage_mcp.config.settings import Settings


_OF_THIS_PROCESS: Final = secrets.token_urlsafe(32)
"""Signs where no secret is shared: then links end with the process."""


def signer(settings: Settings) -> SignedLinks | None:
    """Return what makes and checks links, or None if there are none."""
    if settings.link_minutes is None or settings.transport != "http":
        return None
    return SignedLinks(
        settings.shared_secret or (_OF_THIS_PROCESS,),
        lifetime=timedelta(minutes=settings.link_minutes),
    )


def link_to(image_id: str, settings: Settings) -> str | None:
    """Return an address that opens one image without a token for some minutes, or None."""
    links = signer(settings)
    if links is None:
        return None
    owner = current_user() if settings.tenants else None
    return address_of(links.sign(f"/images/{image_id}", owner=owner), absolute=True)
