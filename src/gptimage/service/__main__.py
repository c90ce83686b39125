"""The process of a `gptimage.service.Runner`; only a runner starts it."""

from __future__ import annotations

import sys

from gptimage.service.host import main


if __name__ == "__main__":
    sys.exit(main())
