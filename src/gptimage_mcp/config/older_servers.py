"""Variables of four older image servers, and what they are called here, for ``--check``.

The servers: lansespirit/image-gen-mcp, pavelsukhachev/mcp-server-gpt-image,
naporin0624/gpt-image-1-mcp and AiondaDotCom/mcp-openai-image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final


_PER_CALL: Final = "name it in each call"
_ALWAYS: Final = "it has no counterpart: every image is saved"
_RETENTION: Final = "GPTIMAGE_RETENTION (with a unit, as in 30d)"
_ONE_SERVICE: Final = "it has no counterpart: a server has one service"
_BY_DESIGN: Final = "it has no counterpart: what may have been billed is not sent again"

_VARIABLES: Final[Mapping[str, str]] = {
    "PROVIDERS__OPENAI__API_KEY": "OPENAI_API_KEY",
    "OPENAI__API_KEY": "OPENAI_API_KEY",
    "PROVIDERS__OPENAI__BASE_URL": "OPENAI_BASE_URL",
    "PROVIDERS__OPENAI__TIMEOUT": "GPTIMAGE_TIMEOUT (seconds; leave it at 600)",
    "PROVIDERS__OPENAI__MAX_RETRIES": _BY_DESIGN,
    "PROVIDERS__OPENAI__ORGANIZATION": "use a key of that organization",
    "PROVIDERS__OPENAI__ENABLED": _ONE_SERVICE,
    "PROVIDERS__ENABLED_PROVIDERS": _ONE_SERVICE,
    "PROVIDERS__DEFAULT_PROVIDER": _ONE_SERVICE,
    "PROVIDERS__GEMINI__API_KEY": "it has no counterpart: Imagen was shut down",
    "IMAGES__DEFAULT_MODEL": "GPTIMAGE_MODEL",
    "IMAGES__DEFAULT_QUALITY": _PER_CALL,
    "IMAGES__DEFAULT_SIZE": _PER_CALL,
    "IMAGES__DEFAULT_MODERATION": _PER_CALL,
    "IMAGES__DEFAULT_OUTPUT_FORMAT": _PER_CALL,
    "IMAGES__DEFAULT_COMPRESSION": _PER_CALL,
    "IMAGES__DEFAULT_STYLE": "say the style in the prompt",
    "IMAGES__BASE_HOST": "GPTIMAGE_PUBLIC_URL",
    "STORAGE__BASE_PATH": "GPTIMAGE_STORE (a whole path, or one from ~)",
    "STORAGE__RETENTION_DAYS": _RETENTION,
    "STORAGE__CLEANUP_INTERVAL_HOURS": "old images are deleted once a day",
    "STORAGE__CREATE_SUBDIRECTORIES": "there are always folders by date",
    "STORAGE__FILE_PERMISSIONS": "the account's umask holds",
    "STORAGE__MAX_SIZE_GB": "run `gptimage prune --max-bytes 10GB`",
    "CACHE__ENABLED": "GPTIMAGE_CACHE=off does without",
    "CACHE__TTL_HOURS": "GPTIMAGE_CACHE_TTL (with a unit, as in 24h)",
    "CACHE__MAX_SIZE_MB": "GPTIMAGE_CACHE_SIZE (with a unit, as in 500MB)",
    "CACHE__BACKEND": "GPTIMAGE_REDIS_URL takes Redis",
    "CACHE__REDIS_URL": "GPTIMAGE_REDIS_URL",
    "SERVER__HOST": "GPTIMAGE_HOST",
    "SERVER__PORT": "GPTIMAGE_PORT",
    "SERVER__LOG_LEVEL": "GPTIMAGE_LOG_LEVEL",
    "SERVER__RATE_LIMIT_RPM": (
        "GPTIMAGE_IMAGES_PER_MINUTE towards the service, GPTIMAGE_CALLS_PER_MINUTE for clients"
    ),
    "RESPONSES_MODEL": "GPTIMAGE_CHAT_MODEL",
    "ENABLE_CONVERSATION_CONTEXT": "refine_image goes on with an image by its id",
    "OPENAI_API_TIMEOUT": "GPTIMAGE_TIMEOUT (in seconds, not milliseconds)",
    "OPENAI_MAX_RETRIES": _BY_DESIGN,
    "DEFAULT_OUTPUT_DIR": "GPTIMAGE_STORE, or save_to below GPTIMAGE_OUTPUT_FOLDERS",
    "ENABLE_FILE_OUTPUT": _ALWAYS,
    "KEEP_FILES_DAYS": _RETENTION,
}
"""Names that hardly any other program has."""

_COMMON: Final[Mapping[str, str]] = {
    "API_MODE": "generate_image and edit_image take Images, refine_image Responses",
    "CACHE_DIR": "GPTIMAGE_CACHE",
    "CACHE_TTL": "GPTIMAGE_CACHE_TTL (with a unit; it was in seconds, so 3600 is 1h)",
    "CACHE_MAX_SIZE": "GPTIMAGE_CACHE_SIZE (with a unit; it was in MB, so 100 is 100MB)",
    "CORS_ORIGIN": "GPTIMAGE_ALLOWED_ORIGINS (each origin by name)",
    "ENABLE_OPTIMIZATION": "name format and compression in each call",
    "ENABLE_STREAMING": "partial_images of each call",
    "LOG_LEVEL": "GPTIMAGE_LOG_LEVEL",
    "MAX_FILE_SIZE_MB": "it has no counterpart: the limits of the service hold",
    "PORT": "GPTIMAGE_PORT",
}
"""Names that other programs have, too; they count beside one of the others."""


def replacements(environment: Mapping[str, str]) -> Iterator[str]:
    """Return a line for each variable of an older server that is set, with what to do instead."""
    certain = {name: new for name, new in _VARIABLES.items() if environment.get(name)}
    common = {name: new for name, new in _COMMON.items() if environment.get(name)}
    found = {**certain, **common} if certain or len(common) > 1 else {}
    for name, new in sorted(found.items()):
        what = f"is {new} here" if new.startswith(("OPENAI_", "GPTIMAGE_")) else f"- {new}"
        yield f"{name}: belongs to an older server and is not read; it {what}".replace("it - ", "")
