"""Pack the function for AWS Lambda, and print how large it is.

    python pack.py function.zip
    python pack.py function.zip --runtime 3.13 --architecture aarch64

Wheels are taken for Lambda's own machine, whatever this one is. boto3 is part of the runtime.
Archives of the same versions are the same bytes, so that a deployment sees no change where there is
none. No container image is needed, and none was built.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


HANDLER = Path(__file__).with_name("handler.py")
MOST_ZIPPED = 50_000_000  # what Lambda takes as an upload, in bytes
MOST_UNPACKED = 250_000_000  # with all its layers


def install(folder: Path, requirement: str, runtime: str, architecture: str) -> None:
    """Install a package and what it needs, as Lambda's machine would."""
    where = ("--target", str(folder), "--only-binary", ":all:", "--python-version", runtime)
    # Amazon Linux 2023 has glibc 2.34 and runs what was built for an older one.
    platforms = [f"manylinux2014_{architecture}"]
    platforms += [f"manylinux_2_{minor}_{architecture}" for minor in range(17, 35)]
    options = [word for each in platforms for word in ("--platform", each)]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *where, *options, requirement], check=True)  # noqa: S603  # our words


def pack(folder: Path, handler: Path, target: Path) -> tuple[int, int]:
    """Write an archive of a folder and the handler; return its bytes, and those unpacked."""
    unpacked = 0
    files = [each for each in sorted(folder.rglob("*")) if _is_needed(each)]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in [*files, handler]:
            name = handler.name if path == handler else path.relative_to(folder).as_posix()
            entry = zipfile.ZipInfo(name)  # without a time, so that the bytes are the same
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            data = path.read_bytes()
            unpacked += len(data)
            archive.writestr(entry, data)
    return target.stat().st_size, unpacked


def _is_needed(path: Path) -> bool:
    return path.is_file() and not {"__pycache__", "bin"} & {*path.parts}


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Pack the function for AWS Lambda.")
    parser.add_argument("target", type=Path, help="the archive to write")
    parser.add_argument("--requirement", default="gptimage[s3]", help="what to install")
    parser.add_argument("--runtime", default="3.13", help="the Python of the function")
    parser.add_argument("--architecture", default="x86_64", choices=("x86_64", "aarch64"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        install(Path(name), options.requirement, options.runtime, options.architecture)
        zipped, unpacked = pack(Path(name), HANDLER, options.target)
    print(f"{options.target}: {zipped / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked")
    if zipped > MOST_ZIPPED or unpacked > MOST_UNPACKED:
        sys.exit("Lambda takes at most 50 MB, and 250 MB unpacked")


if __name__ == "__main__":
    main(sys.argv[1:])
