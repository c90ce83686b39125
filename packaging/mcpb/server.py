"""What the host of the bundle runs: the server over standard input and output."""

from __future__ import annotations

import sys

from gptimage_mcp.__main__ import main


if __name__ == "__main__":
    sys.exit(main([]))
