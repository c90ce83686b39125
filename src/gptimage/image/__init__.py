"""Images as values: read, converted, masked, arranged, downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptimage.image.contact_sheet import contact_sheet as contact_sheet
from gptimage.image.image import Difference as Difference
from gptimage.image.image import Format as Format
from gptimage.image.image import Image as Image
from gptimage.image.image import ImageSource as ImageSource
from gptimage.image.label import Label as Label
from gptimage.image.mask import Box as Box
from gptimage.image.mask import Mask as Mask
from gptimage.image.outside import KeptOutside as KeptOutside
from gptimage.image.outside import drift as drift
from gptimage.image.outside import keep_outside as keep_outside
from gptimage.image.previews import previews as previews
from gptimage.image.protocols import BinaryFile as BinaryFile
from gptimage.image.protocols import PilImage as PilImage
from gptimage.image.provenance import Credentials as Credentials
from gptimage.image.provenance import Provenance as Provenance
from gptimage.image.provenance import provenance_of as provenance_of


if TYPE_CHECKING:
    from gptimage.image.allowed_folders import Folders as Folders
    from gptimage.image.download import Fetch as Fetch
    from gptimage.image.web import WebFile as WebFile
    from gptimage.image.web import WebImage as WebImage
else:

    def __getattr__(name: str) -> object:
        """Import what few programs need, such as sockets, when it is first used."""
        if name == "Fetch":
            from gptimage.image.download import Fetch as found
        elif name == "Folders":
            from gptimage.image.allowed_folders import Folders as found
        elif name == "WebFile":
            from gptimage.image.web import WebFile as found
        elif name == "WebImage":
            from gptimage.image.web import WebImage as found
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found
