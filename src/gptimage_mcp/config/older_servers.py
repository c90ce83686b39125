"""Variables of four older image servers, and what they are called here, for ``--check``.

The names are in ``older_servers.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files


def replacements(environment: Mapping[str, str]) -> Iterator[str]:
    """Return a line for each variable of an older server that is set, with what to do instead."""
    names = tomllib.loads(
        files("gptimage_mcp.config").joinpath("older_servers.toml").read_text("utf-8")
    )
    certain, common = (
        {name: new for name, new in names[kind].items() if environment.get(name)}
        for kind in ("certain", "common")
    )
    found = {**certain, **common} if certain or len(common) > 1 else {}
    for name, new in sorted(found.items()):
        what = f"it is {new} here" if new.startswith(("OPENAI_", "GPTIMAGE_")) else new
        yield f"{name}: belongs to an older server and is not read; {what}"
