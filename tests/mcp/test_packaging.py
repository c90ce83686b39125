"""What is shipped besides the library: registry entry, bundle, image, and the second distribution.

What these files must look like was compared once with the registry's schema of 2025-12-11, the
Compose specification and hadolint; here the facts they state are compared with the code.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import gptimage
from gptimage.config import variable
from gptimage_mcp.config.loading import CONFIG
from gptimage_mcp.config.settings import ROWS


REPOSITORY = Path(__file__).parents[2]
PACKAGING = REPOSITORY / "packaging"
SECOND = REPOSITORY / "packages" / "gptimage-mcp"
BUNDLE = PACKAGING / "mcpb"

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY: dict[str, Any] = json.loads((PACKAGING / "server.json").read_text(encoding="utf-8"))
MANIFEST: dict[str, Any] = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))
DOCKERFILE = (PACKAGING / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(
    (PACKAGING / "docker" / "compose.yaml").read_text(encoding="utf-8")
)

VARIABLES = {CONFIG, *map(variable, ROWS)}
SECRETS = {variable(name) for name in ROWS if ROWS[name].secret}
MCPB = "@anthropic-ai/mcpb@2.1.2"


def test_one_version_everywhere() -> None:
    """Whoever raises the version raises all of them."""
    second = tomllib.loads((SECOND / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bundle = tomllib.loads((BUNDLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    versions = {
        PROJECT["version"],
        second["version"],
        bundle["version"],
        ENTRY["version"],
        MANIFEST["version"],
        *(each["version"] for each in ENTRY["packages"]),
    }
    assert versions == {gptimage.__version__}
    exactly = [f"gptimage[mcp]=={gptimage.__version__}"]
    assert (second["dependencies"], bundle["dependencies"]) == (exactly, exactly)
    assert second["scripts"] == {"gptimage-mcp": PROJECT["scripts"]["gptimage-mcp"]}
    assert {second["requires-python"], bundle["requires-python"]} == {PROJECT["requires-python"]}


def test_the_extra_is_what_is_installed() -> None:
    """The extra `mcp` asks for the SDK this was written against, and no newer major one."""
    asked = {each.name: each for each in map(Requirement, PROJECT["optional-dependencies"]["mcp"])}
    found = asked["mcp"]

    assert found.specifier.contains("2.3.0")
    assert not found.specifier.contains("3.0.0")


# ------------------------------------------------------------------ the second distribution


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the distribution that is called like the command."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(SECOND, source)
    command = ("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source))
    subprocess.run([sys.executable, "-m", *command], check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_uvx_finds_the_command(second: Path) -> None:
    """The distribution `uvx gptimage-mcp` installs has the command, the library and no code."""
    with zipfile.ZipFile(second) as wheel:
        names = [name.partition("/")[2] for name in wheel.namelist()]
        (place,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
        metadata = message_from_string(wheel.read(place).decode())

    assert sorted(names) == ["METADATA", "RECORD", "WHEEL", "entry_points.txt"]
    assert metadata["Name"] == "gptimage-mcp"
    assert metadata.get_all("Requires-Dist") == [f"gptimage[mcp]=={gptimage.__version__}"]
    # The registry proves by this line that whoever publishes there owns the package, too.
    assert f"<!-- mcp-name: {ENTRY['name']} -->" in str(metadata.get_payload())


def test_its_command_runs(second: Path, tmp_path: Path) -> None:
    """Installed beside the library, the command starts."""
    target = tmp_path / "site"
    command = ("pip", "install", "--quiet", "--no-deps", "--target", str(target), str(second))
    subprocess.run([sys.executable, "-m", *command], check=True)

    done = subprocess.run(
        [target / "bin" / "gptimage-mcp", "--version"], check=True, capture_output=True, text=True
    )

    assert done.stdout == f"gptimage-mcp {gptimage.__version__}\n"


# ------------------------------------------------------------------ the registry's entry


def test_server_json_keeps_the_rules_of_its_schema() -> None:
    """Names, lengths and the fields of an entry are as schema 2025-12-11 has them."""
    assert ENTRY["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", ENTRY["name"])
    assert 1 <= len(ENTRY["description"]) <= 100
    assert ENTRY.keys() == {"$schema", "name", "title", "description", "version", "packages"}
    (package,) = ENTRY["packages"]
    assert (package["registryType"], package["identifier"]) == ("pypi", "gptimage-mcp")
    assert package["transport"] == {"type": "stdio"}
    fields = {"name", "description", "isSecret", "format", "default", "placeholder"}
    for each in package["environmentVariables"]:
        assert each.keys() <= fields
        assert each.get("format") in {None, "string", "number", "boolean", "filepath"}


def test_server_json_names_real_settings() -> None:
    """Every variable exists, and those that are secrets say so."""
    (package,) = ENTRY["packages"]
    named = {each["name"]: each.get("isSecret", False) for each in package["environmentVariables"]}

    assert named.keys() - VARIABLES == set()
    assert {name for name in named if named[name]} == named.keys() & SECRETS


def test_readme_says_whose_it_is() -> None:
    """The front page carries the registry's mark, too, under the same name."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")

    assert f"<!-- mcp-name: {ENTRY['name']} -->" in text
    assert f'io.modelcontextprotocol.server.name="{ENTRY["name"]}"' in DOCKERFILE


# ------------------------------------------------------------------ the bundle


def test_manifest_hands_on_every_field() -> None:
    """What the user fills in reaches the server as the setting of that meaning, secrets as such."""
    env = MANIFEST["server"]["mcp_config"]["env"]
    asked = MANIFEST["user_config"]

    assert env.keys() - VARIABLES == set()
    handed = {text.removeprefix("${user_config.").removesuffix("}") for text in env.values()}
    assert handed == asked.keys()
    secret = {name for name in asked if asked[name].get("sensitive")}
    assert {
        text.removeprefix("${user_config.").removesuffix("}")
        for name, text in env.items()
        if name in SECRETS
    } == secret


def test_manifest_names_the_tools_there_are(tmp_path: Path) -> None:
    """The bundle's host shows the tools of the server as it is."""
    from gptimage_mcp import Settings, build_server

    settings = Settings(store=tmp_path / "store", ledger=tmp_path / "ledger.sqlite", sandbox=True)
    tools = asyncio.run(build_server(settings).list_tools())

    assert {each["name"] for each in MANIFEST["tools"]} == {each.name for each in tools}


@pytest.fixture(scope="module")
def npx() -> str:
    """How npm runs a program of its registry."""
    found = shutil.which("npx")
    if found is None:
        pytest.skip("the bundle was NOT validated: npx (Node.js) is missing")
    return found


def test_mcpb_packs_the_bundle(npx: str, tmp_path: Path) -> None:
    """Anthropic's own tool accepts the manifest and packs it; the bundle holds four files."""
    out = tmp_path / "gptimage.mcpb"
    folder = tmp_path / "bundle"
    shutil.copytree(BUNDLE, folder)

    steps = (("validate", folder / "manifest.json"), ("pack", folder, out))
    both = " && ".join(f"mcpb {shlex.join(map(str, words))}" for words in steps)
    done = subprocess.run(
        [npx, "--yes", "--package", MCPB, "--call", both],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    with zipfile.ZipFile(out) as bundle:
        names = sorted(bundle.namelist())
    assert names == ["icon.png", "manifest.json", "pyproject.toml", "server.py"]


def test_the_bundle_can_be_started(tmp_path: Path) -> None:
    """Its entry point is a server that ends when its host hangs up, fields left empty or not."""
    env = MANIFEST["server"]["mcp_config"]["env"]
    account = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    done = subprocess.run(
        [sys.executable, str(BUNDLE / MANIFEST["server"]["entry_point"])],
        env={**account, **env, "GPTIMAGE_SANDBOX": "false"},
        input="",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# ------------------------------------------------------------------ the image


def test_the_image_runs_as_nobody_special() -> None:
    """The server is not root, writes to its volume only, and every path it needs is there."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    instructions = re.findall(r"^([A-Z]+) ", final, re.MULTILINE)

    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "RUN" not in instructions[instructions.index("USER") :]
    assert re.search(r"^VOLUME /data$", final, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["gptimage-mcp"\]$', final, re.MULTILINE)
    places = dict(re.findall(r"(\w+)=(/data\S*)", final))
    assert {"HOME", "GPTIMAGE_STORE", "GPTIMAGE_LEDGER", "XDG_CACHE_HOME", "XDG_STATE_HOME"} == {
        *places
    }
    assert {name for name in places if name.startswith("GPTIMAGE_")} <= VARIABLES


def test_the_image_is_built_of_what_is_there() -> None:
    """Every file that is copied exists and passes the ignore file; the extras exist."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    ignore = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8")

    assert [name for name in names if not (REPOSITORY / name).exists()] == []
    assert [name for name in names if f"!{name}\n" not in ignore] == []
    (extras,) = re.findall(r'"\.\[(.+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_compose_keeps_the_server_to_itself() -> None:
    """It needs a token, listens on this machine, keeps a volume, and is asked how it is."""
    service = COMPOSE["services"]["gptimage-mcp"]
    environment = service["environment"]

    assert environment.keys() - VARIABLES == set()
    assert environment["GPTIMAGE_TOKENS"].startswith("${GPTIMAGE_TOKENS:?")
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["volumes"] == ["data:/data"]
    assert COMPOSE["volumes"].keys() == {"data"}
    assert service["read_only"] is True
    assert "/health" in service["healthcheck"]["test"][-1]
    assert (REPOSITORY / service["build"]["dockerfile"]).is_file()


def test_its_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token, what the image and the compose file set is a server that would start."""
    from gptimage_mcp.config.loading import load
    from gptimage_mcp.http.middleware import check_exposure

    environment = dict(COMPOSE["services"]["gptimage-mcp"]["environment"])
    environment |= dict(re.findall(r"(\w+)=(/data\S*)", DOCKERFILE))
    for name, text in environment.items():
        plain = re.sub(r"\$\{\w+(?::-([^}]*)|[^}]*)\}", r"\1", text)
        monkeypatch.setenv(name, plain)
    monkeypatch.setenv("GPTIMAGE_TOKENS", "t" * 43)

    settings = load({"transport": "http"}).settings

    check_exposure(settings)
    assert settings.store == Path("/data/pictures")


def test_the_health_check_is_a_program() -> None:
    """What the engine runs inside the container is Python that compiles."""
    kind, program, flag, code = COMPOSE["services"]["gptimage-mcp"]["healthcheck"]["test"]

    assert (kind, program, flag) == ("CMD", "python", "-c")
    assert compile(code, "healthcheck", "exec")
