"""The local web page over your own store, cache, budget and configuration: ``gptimage studio``.

Needs the extra ``studio``. `create_app` makes the page as an ASGI application, `open_studio`
what it works with.
"""

from __future__ import annotations

from gptimage.errors import ConfigurationError as _ConfigurationError


try:
    from gptimage.studio.app import MountedStudio as MountedStudio
    from gptimage.studio.app import create_app as create_app
except ModuleNotFoundError as _missing:
    raise _ConfigurationError(
        f"the studio needs more packages ({_missing.name}): pip install 'gptimage[studio]'"
    ) from _missing

from gptimage.studio.context import Studio as Studio
from gptimage.studio.context import StudioOptions as StudioOptions
from gptimage.studio.context import job_folder as job_folder
from gptimage.studio.context import make_folders as make_folders
from gptimage.studio.context import open_studio as open_studio
from gptimage.studio.serve import serve as serve
from gptimage.studio.session import AddressToken as AddressToken
from gptimage.studio.session import EntryPage as EntryPage
from gptimage.studio.session import NoticePage as NoticePage
from gptimage.studio.work import StudioWork as StudioWork
