"""Executes the notebooks in the offline sandbox, in a new folder each.

``python notebooks/execute.py`` fails when a cell fails or prints something else than the notebook
shows; with ``--write`` it writes what the cells show into the notebooks. `nox -s notebooks` runs
it.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient


FOLDER: Final = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Execute every notebook; the exit code is 1 when one shows something else."""
    os.environ["GPTIMAGE_SANDBOX"] = "1"
    changed: list[str] = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        saved = nbformat.read(path, as_version=4)
        made = executed(saved)
        if "--write" in arguments:
            nbformat.write(made, path)
        elif printed(saved) != printed(made):
            changed.append(path.name)
    if changed:
        print(f"not what the cells print: {', '.join(changed)}; run notebooks/execute.py --write")
    return int(bool(changed))


def executed(notebook: Any) -> Any:
    """Return the notebook with what its cells show now."""
    fresh = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            fresh, resources={"metadata": {"path": folder}}, record_timing=False
        )
        client.execute()
    fresh.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},  # without the version of whoever executed it last
    }
    return fresh


def printed(notebook: Any) -> list[str]:
    """What the cells print, without the images."""
    outputs = (each for cell in notebook.cells for each in cell.get("outputs", ()))
    return [each["text"] for each in outputs if each["output_type"] == "stream"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
