"""An image ready for a web page: files of several widths and formats, and HTML that uses them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from attrs import field, frozen

from gptimage._internal import atomic
from gptimage._internal.keywords import plain_int
from gptimage._internal.text import one_line
from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import decode, encode, encode_png, has_transparency
from gptimage.image.files import save
from gptimage.image.formats import FORMATS
from gptimage.image.thumbhash import drawn, thumbhash
from gptimage.image.transform import scaled


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

_FORMATS: Final = ("avif", "webp", "jpeg", "png")
_NAME: Final = re.compile(r"[\w-][\w.-]{0,99}")
_WIDEST: Final = 16_383  # of a webp


@frozen(kw_only=True)
class WebFile:
    """One file for a web page.

    Attributes:
        name: Its file name, such as ``fox-800.avif``.
        format: ``avif``, ``webp``, ``jpeg`` or ``png``.
        width: Pixels across.
        height: Pixels down.
        data: The file.
    """

    name: str
    format: str
    width: int
    height: int
    data: bytes = field(repr=False)

    @property
    def mime_type(self) -> str:
        """MIME type, such as ``image/avif``."""
        return FORMATS[self.format].mime_type


@frozen(kw_only=True)
class WebImage:
    """An image as files for a web page, made by `Image.for_web`.

    Attributes:
        name: What the names of its files begin with.
        files: The files: by format, the smallest format first, each from narrow to wide.
        alt: The text alternative; empty for an image that only decorates.
        sizes: How wide the page shows it, as ``sizes`` of HTML says it.
        prefix: What stands before the names in HTML, such as ``/static/``.
        lazy: Whether browsers may wait until it comes into view.
        thumbhash: Some 20 bytes of https://evanw.github.io/thumbhash/; None with transparency,
            through which a placeholder would show.
    """

    name: str
    files: tuple[WebFile, ...]
    alt: str
    sizes: str
    prefix: str
    lazy: bool
    thumbhash: bytes | None

    @property
    def width(self) -> int:
        """Pixels across of the widest files."""
        return self.files[-1].width

    @property
    def height(self) -> int:
        """Pixels down of the widest files."""
        return self.files[-1].height

    @property
    def placeholder(self) -> str | None:
        """The blurred image of the thumbhash as a ``data:`` URL; None when there is none."""
        if self.thumbhash is None:
            return None
        data = base64.b64encode(encode_png(drawn(self.thumbhash, 16), level=9)).decode()
        return f"data:image/png;base64,{data}"

    @property
    def html(self) -> str:
        """The ``<picture>``: every format with its widths, dimensions, text, and placeholder.

        The placeholder is a ``style``: a page whose content security policy forbids those shows the
        image all the same.
        """
        *others, fallback = dict.fromkeys(each.format for each in self.files)
        lines = [
            f"  <source{_attributes(type=FORMATS[format].mime_type, **self._sources(format))}>"
            for format in others
        ]
        shown = self.placeholder
        style = f"background:url({shown}) center/cover no-repeat" if shown else None
        image = _attributes(
            src=self._address(self.files[-1]),
            **self._sources(fallback),
            width=str(self.width),
            height=str(self.height),
            alt=self.alt,
            loading="lazy" if self.lazy else "eager",
            decoding="async",
            style=style,
        )
        return "\n".join(["<picture>", *lines, f"  <img{image}>", "</picture>"])

    def to_dict(self) -> dict[str, object]:
        """Return everything but the files' bytes as JSON values: a manifest for other programs."""
        return {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "alt": self.alt,
            "sizes": self.sizes,
            "thumbhash": None if self.thumbhash is None else _text(self.thumbhash),
            "placeholder": self.placeholder,
            "files": [
                {
                    "name": each.name,
                    "url": self._address(each),
                    "format": each.format,
                    "mime_type": each.mime_type,
                    "width": each.width,
                    "height": each.height,
                    "bytes": len(each.data),
                    "sha256": hashlib.sha256(each.data).hexdigest(),
                }
                for each in self.files
            ],
            "html": self.html,
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict())

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the files, and the manifest as ``<name>.json``, over files of these names.

        Args:
            folder: Where to; made when missing.

        Returns:
            The paths, that of the manifest last.

        Raises:
            OSError: One cannot be written.
        """
        place = Path(folder).expanduser()
        paths = [
            save(each.data, each.format, place / each.name, overwrite=True) for each in self.files
        ]
        manifest = place / f"{self.name}.json"
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        atomic.replace(manifest, text.encode(), mode=atomic.PUBLIC, fsync=False)
        return (*paths, manifest)

    def _sources(self, format: str) -> dict[str, str]:
        files = (each for each in self.files if each.format == format)
        srcset = ", ".join(f"{self._address(each)} {each.width}w" for each in files)
        return {"srcset": srcset, "sizes": self.sizes}

    def _address(self, file: WebFile) -> str:
        return self.prefix + quote(file.name)

    def _repr_html_(self) -> str:
        """Return the widest file of the last format, for notebooks."""
        last = self.files[-1]
        source = f"data:{last.mime_type};base64,{_text(last.data)}"
        style = f"max-width:min(100%,{last.width}px)"
        return f"<img{_attributes(src=source, alt=self.alt, style=style)}>"


def for_web(
    data: bytes,
    format: str,
    widths: int | Iterable[int],
    *,
    alt: str,
    sizes: str,
    name: str | None,
    prefix: str,
    formats: Sequence[str],
    lazy: bool,
    xmp: bytes | None,
) -> WebImage:
    """Return an image as files for a web page; see `Image.for_web`."""
    for field_name, value in {"alt": alt, "sizes": sizes, "prefix": prefix}.items():
        _check_kind(field_name, value, str, "text")
    _check_kind("lazy", lazy, bool, "True or False")
    wanted = _checked_widths(widths)
    chosen = _checked_formats(formats)
    if name is None:
        name = f"image-{hashlib.sha256(data).hexdigest()[:8]}"
    name = _checked_name(name)
    _check_prefix(prefix)
    image = decode(data, format, xmp=xmp)
    clear = has_transparency(image)
    if clear:
        chosen = list(dict.fromkeys("png" if each == "jpeg" else each for each in chosen))
    elif image.mode == "RGBA":
        image = image.convert("RGB")
    # Never enlarged: what is wider than the image becomes its own width, once. The image's own file
    # is not among them, also where it has that width: a photograph's may say where it was taken.
    scales = [_at(image, width) for width in sorted({min(each, image.width) for each in wanted})]
    files = [
        WebFile(
            name=f"{name}-{each.width}.{FORMATS[form].extensions[0]}",
            format=form,
            width=each.width,
            height=each.height,
            data=encode(each, form),
        )
        for form in chosen
        for each in scales
    ]
    return WebImage(
        name=name,
        files=tuple(files),
        alt=one_line(alt),
        sizes=sizes,
        prefix=prefix,
        lazy=lazy,
        thumbhash=None if clear else thumbhash(image),
    )


def _at(image: Pil, width: int) -> Pil:
    if width == image.width:
        return image
    return scaled(image, (width, max(1, round(image.height * width / image.width))))


def _check_kind(name: str, value: object, kind: type, allowed: str) -> None:
    if not isinstance(value, kind):
        raise InvalidRequestError(
            f"{name} {value!r:.60} must be {allowed}", field=name, value=value, allowed=allowed
        )


def _checked_widths(widths: object) -> list[int]:
    several = cast("Iterable[object]", widths) if isinstance(widths, Iterable) else (widths,)
    found = [plain_int(each) for each in several]
    good = [each for each in found if type(each) is int and 1 <= each <= _WIDEST]
    if not good or len(good) < len(found):
        allowed = f"whole numbers of pixels, 1 to {_WIDEST}"
        raise InvalidRequestError(
            f"widths {found!r:.80} must be {allowed}", field="widths", value=found, allowed=allowed
        )
    return good


def _checked_formats(formats: object) -> list[str]:
    one = isinstance(formats, str) or not isinstance(formats, Iterable)
    given = cast("Iterable[str]", [formats] if one else formats)
    found = ["jpeg" if each == "jpg" else each for each in given]
    if not found or any(each not in _FORMATS for each in found) or len({*found}) < len(found):
        raise InvalidRequestError(
            f"formats {found!r:.80} must be some of {', '.join(_FORMATS)}, each once",
            field="formats",
            value=found,
            allowed=_FORMATS,
        )
    return found


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "up to 100 letters, digits, -, _ and dots, no folder"
        raise InvalidRequestError(
            f"name {name!r:.80} must be {allowed}", field="name", value=name, allowed=allowed
        )
    return name


def _check_prefix(prefix: str) -> None:
    # A comma or a space would end an address within ``srcset``.
    if any(char.isspace() or char == "," for char in prefix):
        raise InvalidRequestError(
            f"prefix {prefix!r:.80} must have no space and no comma: write %20 and %2C",
            field="prefix",
            value=prefix,
            allowed="the beginning of a URL, such as /static/",
        )


def _attributes(**values: str | None) -> str:
    given = ((name, value) for name, value in values.items() if value is not None)
    return "".join(f' {name}="{html.escape(value)}"' for name, value in given)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
