"""A project's images as a TOML file, and the index of those that were drawn.

The manifest says what each image shows and where its file goes; the index beside the files says
what is in them, by the digest of the request that drew it. Neither needs this machine: both
belong into version control.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import evolve, field, frozen

from gptimage._internal import atomic, locks
from gptimage._internal.converter import from_json, to_json
from gptimage._internal.json import canonical
from gptimage._internal.text import reason
from gptimage._internal.user_dirs import make_private, state_folder
from gptimage.cli.output import FORMATS
from gptimage.errors import GptImageError, InvalidRequestError
from gptimage.templates.arguments import TomlReader, is_list, is_table
from gptimage.types.parameters import PARAMETERS


if TYPE_CHECKING:
    from gptimage import Prompt
    from gptimage.templates import PromptTemplates
    from gptimage.workers import Job


PARAMETER_KEYS: Final = tuple(
    row.name
    for row in PARAMETERS.values()
    if "generate" in row.operations and row.name not in {"prompt", "n", "partial_images"}
)
"""What an image and ``[defaults]`` may say of the request; ``n`` is one, as each has its file."""

_KEYS: Final = ("name", "prompt", "template", "arguments", "alt", "output", "variant")
_VERSION: Final = 1


@frozen(kw_only=True)
class ManifestImage:
    """One image of a manifest.

    Attributes:
        name: Its name in messages.
        file: Its file, below the folder of the manifest's images, with ``/`` between folders.
        alt: Its alternative text; empty for decoration.
        job: The request, under an id made of its digest.
    """

    name: str
    file: str
    alt: str
    job: Job = field(repr=False)

    @property
    def request(self) -> str:
        """The digest of what was asked for; another one means that it is drawn anew."""
        return self.job.id.rpartition(":")[2]

    @property
    def format(self) -> str:
        """The format of the file, which its name says."""
        return FORMATS[PurePosixPath(self.file).suffix.lower().lstrip(".")]


@frozen(kw_only=True)
class IndexedImage:
    """One file of an index.

    Attributes:
        name: The name of the image in the manifest.
        alt: Its alternative text.
        width: Pixels; None for a vector image without a size.
        height: Pixels; None for a vector image without a size.
        request: The digest of the request that drew it.
        sha256: The digest of the file.
        id: The id of its record in the store where it was drawn.
        model: The model that drew it.
        cost_usd: What it cost, as text; None where that is not known.
        sandbox: Whether the sandbox drew it: the service is to draw it still.
    """

    name: str
    alt: str
    width: int | None
    height: int | None
    request: str
    sha256: str
    id: str
    model: str
    cost_usd: str | None = None
    sandbox: bool = False


@frozen(kw_only=True)
class ImageIndex:
    """The files that were drawn, by their path below the folder of the index."""

    version: int = _VERSION
    images: dict[str, IndexedImage] = field(factory=dict[str, IndexedImage])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an index; it is empty where there is no file yet.

        Raises:
            InvalidRequestError: It is damaged. It is not taken for empty: all would be paid again.
        """
        try:
            found = from_json(json.loads(path.read_text(encoding="utf-8")), cls)
        except FileNotFoundError:
            return cls()
        except (ValueError, RecursionError) as error:
            problem = f"is no index ({reason(error)})"
        else:
            # What it names is copied and deleted, and it may be a stranger's repository.
            outside = _outside(path.parent, found.images)
            if found.version == _VERSION and not outside:
                return found
            problem = (
                f"names files outside its folder ({outside[0]!r})"
                if outside
                else f"has version {found.version}, which a newer gptimage wrote"
            )
        raise InvalidRequestError(
            f"{path} {problem}: restore it from version control, or delete it to draw every image "
            "again; nothing was sent",
            field="MANIFEST",
            value=str(path),
        )

    @classmethod
    def change(cls, path: Path, file: str, line: IndexedImage | None) -> None:
        """Put the line of a file into an index, or take it out.

        Raises:
            InvalidRequestError: The index is damaged.
        """
        folder = state_folder()  # not beside the index, which is in version control
        make_private(folder)
        # Read anew, and by one run at a time: what another has written meanwhile stays in it.
        with locks.locked(folder / "images-sync.lock"):
            index = cls.read(path)
            images = {name: each for name, each in index.images.items() if name != file}
            evolve(index, images=images if line is None else {**images, file: line}).write(path)

    def write(self, path: Path) -> None:
        """Put the index in place of the old one, the files in order: changes are read as a diff."""
        document = {**to_json(self), "images": to_json(dict(sorted(self.images.items())))}
        text = json.dumps(document, indent=2, ensure_ascii=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(path, f"{text}\n".encode(), mode=atomic.PUBLIC)


@frozen(kw_only=True)
class Manifest:
    """What a manifest says.

    Attributes:
        folder: Where the files go.
        index_path: The index of these files.
        images: The images, in the order of the manifest.
    """

    folder: Path
    index_path: Path
    images: tuple[ManifestImage, ...]

    @classmethod
    def read(cls, path: Path, templates: PromptTemplates, *, sandbox: bool) -> Self:
        """Read a manifest.

        Args:
            path: The TOML file.
            templates: What its templates are looked up in.
            sandbox: Whether the sandbox draws, whose jobs are others than those of the service.

        Raises:
            InvalidRequestError: Something in it cannot be used; every such thing is named.
            FileNotFoundError: There is no such file.
        """
        problems: list[str] = []
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise _refused(path, [reason(error)]) from error
        reader = TomlReader(data, problems=problems)
        reader.only(("folder", "defaults", "image"))
        defaults = reader.table("defaults")
        defaults.only(PARAMETER_KEYS)
        folder = reader.text("folder") or "."
        if not _is_below(folder):
            reader.note(f"folder {folder!r} must be below the folder of the manifest")
        found = [
            image
            for each in _image_tables(reader)
            if (image := _image(each, defaults.data, templates, sandbox=sandbox))
        ]
        for key in ("name", "file"):
            problems += _twice(key, [getattr(each, key) for each in found])
        if not found and not problems:
            problems.append("it has no images: write a table [[image]] for each")
        if problems:
            raise _refused(path, problems)
        place = path.parent / folder
        files = [each.file for each in found]
        if outside := _outside(path.parent, [f"{folder}/image"]) or _outside(place, files):
            raise _refused(path, [f"{outside[0]} leads out of its folder through a link"])
        index_path = place / f"{path.stem}.index.json"
        return cls(folder=place, index_path=index_path, images=tuple(found))


def _image_tables(reader: TomlReader) -> Iterator[TomlReader]:
    tables = reader.data.get("image", [])
    if not is_list(tables):
        reader.note("image must be a list of tables, each under a line [[image]]")
        return
    for number, each in enumerate(tables, 1):
        if is_table(each):
            name = each.get("name")
            usable = isinstance(name, str) and name.strip() and name.isprintable()
            where = name if usable else f"image {number}"
            yield TomlReader(each, problems=reader.problems, where=f"{where}: ")
        else:
            reader.note(f"image {number} must be a table")


def _image(
    table: TomlReader, defaults: Any, templates: PromptTemplates, *, sandbox: bool
) -> ManifestImage | None:
    """Return an image; None, and sentences among the problems, where one cannot be made."""
    before = len(table.problems)
    table.only((*_KEYS, *PARAMETER_KEYS))
    name = table.text("name")
    if name is None and "name" not in table.data:
        table.note("it has no name")
    if name is not None and not name.isprintable():
        table.note("its name has characters that cannot be printed")
    alt = table.data.get("alt")
    alt = alt.strip() if isinstance(alt, str) else None
    if alt is None:
        table.note('it has no alt: say what the image shows, or alt = "" for decoration')
    variant = table.positive("variant")
    own = {key: value for key, value in table.data.items() if key in PARAMETER_KEYS}
    prompt = _prompt(table, templates)
    if prompt is None or len(table.problems) > before:
        return None
    output = table.text("output")
    suffix = Path(output or "").suffix.lower().lstrip(".")
    # What the file is called says its format, as on the command line; only its own `format` may not
    # say another one.
    named = {"format": FORMATS[suffix]} if suffix in FORMATS else {}
    try:
        job = _job(prompt, {**defaults, **named, **own}, variant, sandbox=sandbox)
    except GptImageError as error:
        table.note(str(error))
        return None
    output = output or f"{name}.{job.request.get('format', 'png')}"
    wanted = FORMATS.get(Path(output).suffix.lower().lstrip("."))
    if not _is_below(output) or PurePosixPath(output).name.startswith("."):
        table.note(f"output {output!r} must be a file below the folder of the images")
    elif wanted != job.request.get("format", "png").replace("jpg", "jpeg"):
        table.note(f"output {output!r} does not end as its format {job.request.get('format')} does")
    if len(table.problems) > before:
        return None
    file = PurePosixPath(output).as_posix()
    return ManifestImage(name=name or "", file=file, alt=alt or "", job=job)


def _prompt(table: TomlReader, templates: PromptTemplates) -> str | Prompt | None:
    prompt, template = table.text("prompt"), table.text("template")
    arguments = table.table("arguments").data
    if (prompt is None) == (template is None):
        table.note("it needs a prompt or a template, and not both")
        return None
    if template is None:
        if arguments:
            table.note("arguments are those of a template, and it has a prompt")
        return prompt
    try:
        return templates[template].render(arguments)
    except (GptImageError, KeyError) as error:
        table.note(str(error))
        return None


def _job(
    prompt: str | Prompt, options: dict[str, Any], variant: int | None, *, sandbox: bool
) -> Job:
    """Make the job of an image, whose id is the digest of the request.

    The digest is that of what the manifest says, not of what is sent for it: a newer gptimage or
    another address of the same service draws nothing anew.

    Raises:
        GptImageError: A parameter is of the wrong kind.
    """
    from gptimage.workers import Job

    requested = Job.of("x", prompt, **options).request
    digest = hashlib.sha256(canonical({"format": "png", **requested}))
    if variant is not None and variant > 1:  # the first is the image without a variant
        digest.update(f"\n{variant}".encode())
    kind = "sandbox-images" if sandbox else "images"
    # Named or not, png is what is drawn: one digest must be one job.
    request = {key: value for key, value in requested.items() if (key, value) != ("format", "png")}
    return Job(f"{kind}:{digest.hexdigest()[:32]}", request)


def _is_below(path: str) -> bool:
    """Return whether a relative path stays below its folder, on each system alike."""
    parts = PurePosixPath(path)
    strange = set(path) & set('\\:*?"<>|') or not path.isprintable()
    return not (strange or parts.is_absolute() or ".." in parts.parts)


def _outside(folder: Path, files: Collection[str]) -> list[str]:
    """Return the files that are not below a folder, also where a link leads to."""
    root = os.path.realpath(folder)  # Path.resolve raises at links in a circle
    below = {
        place: Path(os.path.realpath(folder / place)).is_relative_to(root)
        for place in {PurePosixPath(each).parent for each in files if _is_below(each)}
    }
    return [each for each in files if not (_is_below(each) and below[PurePosixPath(each).parent])]


def _twice(key: str, values: list[str]) -> Iterator[str]:
    known: set[str] = set()
    for value in values:
        if value.casefold() in known:  # disks of macOS and Windows see no capitals
            yield f"two images have the {key} {value}"
        known.add(value.casefold())


def _refused(path: Path, problems: list[str]) -> InvalidRequestError:
    return InvalidRequestError(
        f"{path}: {'; '.join(problems)}; nothing was sent", field="MANIFEST", value=str(path)
    )
