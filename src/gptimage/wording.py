"""Advice of the library in the words of its reader: a command line, or an assistant.

Errors are raised for programs in Python and say what to write there. A person at a command line
has flags for the same, and an assistant has tools and the settings of its server.
"""

from __future__ import annotations

from typing import Final


_ADVICE: Final[tuple[tuple[str, str, str], ...]] = (
    (
        'Budget(..., unknown="0.50")',
        "GPTIMAGE_UNKNOWN_COST=0.50",
        "GPTIMAGE_UNKNOWN_COST=0.50",
    ),
    (
        "pass api_key=, or use ImageClient.sandbox(), which needs none",
        "or add --sandbox, which needs none",
        "or GPTIMAGE_SANDBOX=true, which needs none",
    ),
    (" (or api_key=)", "", ""),
    (" (or base_url=)", "", ""),
    (": name one, as model=", ": name one with --model", ": name one as model"),
    (
        ", or go on from the last image alone (stateless=True)",
        ", or go on from the last image alone (--stateless)",
        ", or begin a new conversation with edit_image",
    ),
    (
        "give the results and the images to gptimage.image.keep_outside()",
        "leave out --outside",
        "leave out outside",
    ),
    ("fit() makes one as large as the other", "give two of one size", "give two of one size"),
    ("; any other server is a Provider(...) of your own", "", ""),
    ("shrink them with Image.shrink(5_000_000)", "give smaller ones", "give smaller ones"),
    ("; if you trust what the service names, use fetch=Fetch(allow_private=True)", "", ""),
    (
        "pass that as model=, and wait",
        "give that as --model, and wait",
        "give that as model, and wait",
    ),
    ("svg only for generate()", "svg only for new images", "svg only for new images"),
    ("base_url (or OPENAI_BASE_URL)", "OPENAI_BASE_URL", "OPENAI_BASE_URL"),
    ("base_url", "OPENAI_BASE_URL", "OPENAI_BASE_URL"),
    ("client.models()", "`gptimage models`", "list_models"),
    ("use png, or thumbnail() first", "use png", "use png"),
    ("the raw reply is in .reply", "the raw reply is saved in a file", "it is not shown here"),
    (
        "what could not be read is in .reply",
        "what could not be read is saved in a file",
        "the rest could not be read",
    ),
    ("its response is in .reply", "its response is saved in a file", "it is not shown here"),
    ("; see .reply", "; it is saved in a file", ""),
    ("; it is in .reply of this error", "; it is saved in a file", ""),
    ("the images are in .result", "the images are paid", "the images are paid"),
    ("its images are in .result", "its images are paid", "its images are paid"),
    ("safe in .result", "still here", "not lost"),
    (
        "save .result.images yourself",
        "the next lines say where they are",
        "the previews may be all there is",
    ),
    ("previews in .partials", "previews that arrived", "previews that arrived"),
    ("previews need stream()", "it streams with --partial-images", "leave partial_images out"),
    ("call stream() instead", "add --partial-images", "give partial_images"),
    ("it must be read first, as edit() does", "it must be read first", "it must be read first"),
    ("belong to edit()", "belong to `gptimage edit`", "belong to edit_image"),
    ("belongs to edit()", "belongs to `gptimage edit`", "belongs to edit_image"),
    ("ImageClient.edit()", "`gptimage edit`", "edit_image"),
    ("results() reads the rest", "`gptimage batch results` reads the rest", "the rest may follow"),
    ("`submit_batch(state=...)` or ", "", ""),
    ("per= takes one of", "per takes one of", "per takes one of"),
    ("retry_unknown=True sends it again", "--retry-unknown sends it again", "ask the person first"),
    (
        "leave out moderation=, and give images instead of file ids",
        "leave out moderation, and give images instead of file ids",
        "leave out moderation, and give images instead of file ids",
    ),
    ("say the size, or pass the image itself", "say the size", "say the size"),
    ("pass store= to the client", "add --store", "set GPTIMAGE_STORE"),
    (
        "client.conversation(chat_model=..., image_model=...)",
        "--chat-model and --model",
        "the server chooses the model that reads the words",
    ),
    (
        "Fetch(allow_private=True) allows your own network",
        "download the file, and give its path",
        "save the file in an allowed folder, and give its path",
    ),
    (
        "a path, bytes, a binary file, a PIL image, an Image, an http(s) or data: URL, or a file",
        "a path, an http(s) or data: URL, or a file",
        "an id of list_images, a path in an allowed folder, an https or data: URL, or a file",
    ),
    ("a path, bytes, a binary file, a PIL image or a data: URL", "a path", "a path"),
    ("shrink it with Image.shrink(15_000_000)", "save it smaller", "give a smaller file"),
    (
        "a client with that store, or store.open(id)",
        "a path; `gptimage open --print ID` tells it",
        "an id of list_images",
    ),
    ("Image.open reads no web addresses: pass the URL to client.edit", "give -i the URL", "a URL"),
    (
        "put on a local disk with Store(..., index=...)",
        "made anew by `gptimage reindex`",
        "made anew by `gptimage reindex`",
    ),
    (
        "make room there, or put the index on another local disk with Store(..., index=...)",
        "make room there",
        "the person makes room there",
    ),
    ("name another file with Store(..., index=...)", "move it away", "the person moves it away"),
    ("history() lists", "`gptimage history` lists", "list_images lists"),
    ("use .next of the page before", "take the one the page before gave", "use next of that page"),
    ("verify() lists", "`gptimage verify` lists", "the person runs `gptimage verify`, which lists"),
    ("reindex() builds", "`gptimage reindex` builds", "`gptimage reindex` of the person builds"),
    ("Retention() needs a limit", "prune needs a limit, such as --max-age", "a limit is needed"),
    (", see .problems", "", ""),
    (
        "is not a file: open it yourself and pass the file object",
        "is not a file: give a path to one",
        "is not a file: give a path to one",
    ),
    (
        "max_age as a timedelta, max_bytes and max_count as whole numbers, none negative",
        "--max-age 30d, --max-bytes 10GB or --max-count 1000, none negative",
        "an age, a size or a number, none negative",
    ),
    ("pass a path, an http(s)", "give a path, an http(s)", "give a path, an http(s)"),
    (
        "does not have the image it belongs to; pass images",
        "has no image yet; add -i",
        "has none",
    ),
    (
        "or pass the image itself as images to a new",
        "or give the image to a new",
        "or start a new",
    ),
)
"""A phrase of the library, of the command line, and of the MCP server."""


def for_command_line(text: str) -> str:
    """Say what flags and commands do where the library names Python."""
    return _reworded(text, 1)


def for_assistant(text: str) -> str:
    """Say what tools and settings do where the library names Python."""
    return _reworded(text, 2)


def _reworded(text: str, door: int) -> str:
    for row in _ADVICE:
        text = text.replace(row[0], row[door])
    return text
