"""``gptimage-mcp``: serves over stdio or HTTP, checks the settings, or configures a client."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    import argparse

    from gptimage_mcp.config.settings import Settings


OK: Final = 0
BAD_SETTINGS: Final = 2
BROKEN_PIPE: Final = 141

_EPILOG: Final = """\
Settings are environment variables (GPTIMAGE_..., OPENAI_API_KEY) and the TOML file
GPTIMAGE_CONFIG names; a variable beats the file. Exit codes: 0 done; 1 something that
`--check` looked at will not work; 2 the settings cannot be used, nothing was started."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: The arguments; those of the process when left out.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words:  # how clients start it, and wait for it: there is nothing to parse
        return _serve({})
    args = build_parser().parse_args(words)
    if args.command == "install":
        from gptimage_mcp.install import command

        return command.run(args)
    if args.command == "migrate":
        return _migrate(args)
    if args.check:
        from gptimage_mcp import doctor

        try:
            code = doctor.run(_options(args))
            print(end="", flush=True)
        except BrokenPipeError:  # the reader went away, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is flushed as Python ends
            return BROKEN_PIPE
        return code
    return _serve(_options(args))


def _options(args: argparse.Namespace) -> dict[str, str]:
    """The settings that options name."""
    named = {name: getattr(args, name) for name in ("host", "port", "store")}
    given = {name: text for name, text in named.items() if text is not None}
    return {"transport": "http", **given} if args.http else given


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with its sub-commands."""
    import argparse

    from gptimage_mcp.install import command

    class Version(argparse.Action):
        """Prints the version; reading it takes a moment, so only when asked."""

        def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
            from gptimage import __version__

            print(f"gptimage-mcp {__version__}")
            parser.exit()

    parser = argparse.ArgumentParser(
        prog="gptimage-mcp",
        description="Images from OpenAI's image models for AI assistants (MCP server).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    parser.add_argument(
        "--http", action="store_true", help="serve over Streamable HTTP, not stdin and stdout"
    )
    for name, metavar, what in (
        ("host", "HOST", "listen there (GPTIMAGE_HOST)"),
        ("port", "PORT", "listen on this port (GPTIMAGE_PORT)"),
        ("store", "FOLDER", "save images there (GPTIMAGE_STORE)"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=what)
    parser.add_argument(
        "--check", action="store_true", help="show the settings and what will not work, and exit"
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    command.add_parser(commands)
    words = "save the images of an older image server in the store; its files stay as they are"
    migrate = commands.add_parser("migrate", help=words, description=f"{words.capitalize()}.")
    migrate.add_argument("folder", type=Path, metavar="DIR", help="where the older server saved")
    migrate.add_argument("--dry-run", action="store_true", help="only say what would be saved")
    return parser


def _migrate(args: argparse.Namespace) -> int:
    from gptimage import GptImageError
    from gptimage_mcp import migrate
    from gptimage_mcp.config.loading import load
    from gptimage_mcp.jobs.engine import open_store

    try:
        settings = load(_options(args)).settings
        if not args.folder.is_dir():
            return _refuse(f"{args.folder} is no folder", "migrate")
        is_new = isinstance(settings.store, Path) and not settings.store.exists()
        store = None if args.dry_run and is_new else open_store(settings)
        return migrate.run(args.folder, store, dry_run=args.dry_run)
    except (GptImageError, OSError) as error:
        return _refuse(str(error), "migrate")


def _serve(options: Mapping[str, str]) -> int:
    # Nothing made while starting is garbage, and looking for it is an eighth of the time.
    gc.disable()
    try:
        return _started(options)
    finally:
        gc.enable()


def _started(options: Mapping[str, str]) -> int:
    from gptimage import GptImageError
    from gptimage_mcp.config.loading import load

    try:
        settings = load(options).settings
        _log(settings)
        _look(settings)
        if settings.transport == "http":
            from gptimage_mcp.http.app import serve

            gc.enable()
        else:
            from gptimage_mcp.stdio import serve
        serve(settings)
    except (GptImageError, OSError) as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        return _refuse('the MCP SDK is missing: pip install "gptimage[mcp]"')
    return OK


def _log(settings: Settings) -> None:
    """Log to standard error. Others say no more than INFO: what they tell at DEBUG is not ours.

    The SDK says no more than WARNING: at INFO it repeats the text of a tool's failure, and with
    that what a person asked for.
    """
    from gptimage.secrets import mask_record

    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.basicConfig(
        stream=sys.stderr,
        level=max(level, logging.INFO),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("gptimage", "gptimage_mcp"):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("mcp").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(mask_record)  # on the handler: it holds for every logger
    logging.captureWarnings(True)


def _look(settings: Settings) -> None:
    """See before anything is paid that the folders can be used, and who may call.

    Raises:
        SettingsError: One that is needed cannot, or everybody could call.
    """
    from gptimage_mcp.config.loading import check_optional_paths, check_required_paths, of_http
    from gptimage_mcp.config.settings import SettingsError

    problems = [*check_required_paths(settings)]
    if settings.transport == "http":
        problems += of_http(settings)
    if problems:
        raise SettingsError(problems)
    logger = logging.getLogger("gptimage_mcp")
    for doubt in check_optional_paths(settings):
        logger.warning("%s", doubt)
    draws = "offline (sandbox)" if settings.sandbox else "with a key" if settings.has_key else "not"
    logger.info(
        "serving over %s; draws %s; images are in %s", settings.transport, draws, settings.store
    )


def _refuse(text: str, doing: str = "start") -> int:
    lines = "".join(f"\n  {line}" for line in text.splitlines())
    print(f"gptimage-mcp cannot {doing}:{lines}", file=sys.stderr)
    return BAD_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
