"""Images as values: read, converted, masked, arranged, downloaded."""

from __future__ import annotations

from gptimage.image.contact_sheet import contact_sheet as contact_sheet
from gptimage.image.download import Fetch as Fetch
from gptimage.image.image import Image as Image
from gptimage.image.mask import Mask as Mask
