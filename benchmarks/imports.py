"""The CPU time of `import gptimage`, against `import openai`, over a bare interpreter."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
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
        "Import over a bare interpreter: CPU", over, "ms", unit="ms", aim="import gptimage: 0.05"
    )


def child(name: str) -> None:
    """Time one fresh interpreter."""
    command = [sys.executable, "-c", STATEMENTS[name]]
    subprocess.run(command, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"ms": (used.ru_utime + used.ru_stime) * 1000}))


if __name__ == "__main__":
    child(sys.argv[1])
