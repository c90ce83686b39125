"""Images as values: read, converted, masked, arranged, downloaded."""

from __future__ import annotations

from gptimage.image.allowed_folders import Folders as Folders
from gptimage.image.contact_sheet import contact_sheet as contact_sheet
from gptimage.image.download import Fetch as Fetch
from gptimage.image.image import Format as Format
from gptimage.image.image import Image as Image
from gptimage.image.image import ImageSource as ImageSource
from gptimage.image.mask import Box as Box
from gptimage.image.mask import Mask as Mask
from gptimage.image.previews import previews as previews
from gptimage.image.protocols import BinaryFile as BinaryFile
from gptimage.image.protocols import PilImage as PilImage
