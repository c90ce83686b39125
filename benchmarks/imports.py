"""How long `import gptimage` takes, against `import openai`, over a bare interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from measure import Numbers, report, take_turns


STATEMENTS = {
    "bare interpreter": "pass",
    "import openai": "import openai",
    "import gptimage": "import gptimage",
    "gptimage, client and catalogue": "import gptimage; gptimage.ImageClient.sandbox().models()",
}


def run(*, quick: bool) -> None:
    """Print the import times."""
    runs = take_turns(Path(__file__), list(STATEMENTS), 3 if quick else 15)
    bare = runs.pop("bare interpreter")
    over: dict[str, list[Numbers]] = {
        name: [{"ms": each["ms"] - base["ms"]} for each, base in zip(found, bare, strict=True)]
        for name, found in runs.items()
    }
    report(
        "Import time over a bare interpreter", over, "ms", unit="ms", aim="import gptimage: 0.20"
    )


def child(name: str) -> None:
    """Time one fresh interpreter."""
    command = [sys.executable, "-c", STATEMENTS[name]]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    print(json.dumps({"ms": (time.perf_counter() - start) * 1000}))


if __name__ == "__main__":
    child(sys.argv[1])
