"""The pipelines that draw a project's images: their own commands, run in a copy of a project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from gptimage.cli.main import main


EXAMPLES = Path(__file__).parents[2] / "examples" / "ci_images"
COMMAND = "docs/sync.sh docs/images.toml"


def shell_lines(text: str) -> list[str]:
    """The shell commands of a Jenkinsfile, as Groovy hands them to the shell."""
    found = re.findall(r"\bsh (?:'''(.*?)'''|'(.*?)')", text, re.DOTALL)
    return [(long or short).replace("\\\\", "\\") for long, short in found]


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a pipeline does, in the folder of the project."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OPENAI")}
    kept.pop("GPTIMAGE_SANDBOX", None)
    environment: Mapping[str, str] = {
        **kept,
        "HOME": str(folder / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **variables,
    }
    return subprocess.run(  # the examples' own commands
        command,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pipelines_run_one_command() -> None:
    """Both pipelines run the same script; the hook only looks, and never bills."""
    workflow = yaml.safe_load((EXAMPLES / "github-workflow.yml").read_text("utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    jenkins = shell_lines((EXAMPLES / "Jenkinsfile").read_text("utf-8"))
    hooks = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text("utf-8"))

    assert [each["run"] for each in steps if COMMAND in each.get("run", "")] == [COMMAND] * 2
    assert [each for each in jenkins if COMMAND in each] == [
        f'PATH="$PWD/.venv/bin:$PATH" {COMMAND}'
    ] * 2
    # Only the job that is never run for a fork's pull request sees the key.
    assert [name for name, job in workflow["jobs"].items() if "secrets." in str(job)] == ["sync"]
    assert hooks["repos"][0]["hooks"][0]["entry"].endswith("docs/images.toml --check")


def test_the_commands_of_the_pipelines(tmp_path: Path) -> None:
    """The first run draws and pushes, the next draws nothing; without a key it only looks."""
    shutil.copytree(EXAMPLES, tmp_path / "docs")
    manifest = tmp_path / "docs" / "images.toml"
    small = (
        manifest.read_text("utf-8").replace("1200x630", "64x64").partition('[[image]]\nname = "s')
    )
    manifest.write_text(small[0], "utf-8")
    (tmp_path / ".gitignore").write_text("home\n", "utf-8")
    run("git init -q --bare home/origin && git init -q -b main && git add .", tmp_path)
    run("git -c user.name=a -c user.email=a@b.c commit -qm Start", tmp_path)
    run("git remote add origin home/origin", tmp_path)
    *_, draw, push = shell_lines((EXAMPLES / "Jenkinsfile").read_text("utf-8"))

    stale = run(COMMAND, tmp_path)
    assert (stale.returncode, "hero.png  (it is new)" in stale.stdout) == (1, True), stale
    drawn = run(draw, tmp_path, GPTIMAGE_SANDBOX="1")
    assert (drawn.returncode, "drawn     hero.png" in drawn.stdout) == (0, True), drawn
    pushed = run(push, tmp_path)
    assert pushed.returncode == 0, pushed
    listed = run("git -C home/origin ls-tree -r --name-only images-update docs/images", tmp_path)
    assert listed.stdout.splitlines() == ["docs/images/hero.png", "docs/images/images.index.json"]

    again = run(draw, tmp_path, GPTIMAGE_SANDBOX="1")
    assert (again.returncode, "current   hero.png" in again.stdout) == (0, True), again
    assert run(push, tmp_path).returncode == 0  # nothing to commit is no failure


def test_the_manifest_as_it_is(tmp_path: Path) -> None:
    """Every key and template of the example's manifest is known."""
    shutil.copy(EXAMPLES / "images.toml", tmp_path)
    hook = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text("utf-8"))
    entry = hook["repos"][0]["hooks"][0]["entry"].replace("docs", str(tmp_path))

    assert main(shlex.split(entry)[1:]) == 1
