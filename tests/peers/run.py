"""Print how often each library sends a request that may have been billed; `nox -s peers` runs it.

``python -m tests.peers.run`` from the root of the repository. Exits with 1 if this library sends
one more, or one fewer, than it should.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from datetime import UTC, datetime
from importlib.metadata import version

from tests.peers.peers import KINDS, LIBRARIES, OPERATIONS, measure, mistakes, table


PACKAGES = {"pydantic-ai": "pydantic-ai-slim"}


def main() -> int:
    """Measure every library in one run."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its prices are not fetched
    logging.disable()
    warnings.simplefilter("ignore")
    import litellm

    litellm.suppress_debug_info = True
    cells = measure(list(LIBRARIES))
    versions = {name: version(PACKAGES.get(name, name)) for name in LIBRARIES}
    print(table(cells, versions, f"{datetime.now(UTC):%Y-%m-%d}"))
    print(f"\nCalls: {', '.join(OPERATIONS)}; {' and '.join(KINDS)}, where a library has them.")
    for wrong in mistakes(cells):
        print(f"FAILED gptimage: {wrong}")
    return 1 if mistakes(cells) else 0


if __name__ == "__main__":
    sys.exit(main())
