"""``python -m gptimage`` is the ``gptimage`` command."""

from __future__ import annotations

import sys

from gptimage.cli.main import main


if __name__ == "__main__":
    sys.exit(main())
