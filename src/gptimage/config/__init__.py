"""One configuration for the command line, `ImageClient.from_config` and the MCP server."""

from __future__ import annotations

from gptimage.config.loading import Config as Config
from gptimage.config.loading import Layer as Layer
from gptimage.config.loading import load as load
from gptimage.config.loading import named_file as named_file
from gptimage.config.loading import own_credentials as own_credentials
from gptimage.config.loading import parse_file as parse_file
from gptimage.config.loading import user_file as user_file
from gptimage.config.settings import OFF as OFF
from gptimage.config.settings import ON as ON
from gptimage.config.settings import SERVER_SETTINGS as SERVER_SETTINGS
from gptimage.config.settings import SETTINGS as SETTINGS
from gptimage.config.settings import BadValueError as BadValueError
from gptimage.config.settings import Setting as Setting
from gptimage.config.settings import Value as Value
from gptimage.config.settings import limits_of as limits_of
from gptimage.config.settings import read_amount as read_amount
from gptimage.config.settings import read_budget as read_budget
from gptimage.config.settings import read_duration as read_duration
from gptimage.config.settings import read_flag as read_flag
from gptimage.config.settings import read_name as read_name
from gptimage.config.settings import read_per_minute as read_per_minute
from gptimage.config.settings import read_url as read_url
from gptimage.config.settings import usual_cache as usual_cache
from gptimage.config.settings import usual_place as usual_place
from gptimage.config.settings import variable as variable
