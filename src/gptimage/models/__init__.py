"""The model catalogue: capabilities, sizes, prices."""

from __future__ import annotations

from gptimage.models.catalog import Models as Models
from gptimage.models.catalog import ModelSpec as ModelSpec
from gptimage.models.catalog import Price as Price
from gptimage.models.pricing import Cost as Cost
from gptimage.models.pricing import Estimate as Estimate
from gptimage.models.pricing import Usage as Usage
from gptimage.models.sizes import PRESETS as PRESETS
from gptimage.models.sizes import Size as Size
