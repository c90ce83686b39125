"""One configuration for the command line and `ImageClient.from_config`."""

from __future__ import annotations

from gptimage.config.loading import Config as Config
from gptimage.config.loading import load as load
from gptimage.config.loading import user_file as user_file
from gptimage.config.settings import SETTINGS as SETTINGS
from gptimage.config.settings import Setting as Setting
