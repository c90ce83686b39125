"""`Image`: the bytes of one image, with its real format and pixel size.

The bytes are never changed behind your back: `Image.data` is exactly what was read or
received, so a provenance signature in it stays valid. Whatever makes new pixels
(`thumbnail`, `convert`, `shrink`) returns a new `Image`. Reading looks at the header
only; pixels are decoded when they are needed, and Pillow is imported then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from attrs import evolve, field, frozen

from gptimage._internal.keywords import flag
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image import codecs, difference, files, transform
from gptimage.image.difference import TOLERANCE
from gptimage.image.formats import FORMATS, FormatInfo, has_c2pa, svg_text
from gptimage.image.label import Label, combined, label_of
from gptimage.image.perceptual_hash import perceptual_hash
from gptimage.image.protocols import BinaryFile, PilImage
from gptimage.image.provenance import Provenance, provenance_of


if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from gptimage.image.web import WebImage

Format = Literal["png", "jpeg", "webp", "gif", "svg"]
"""The formats the service returns."""

_PREVIEW_PX: Final = 1024
"""Longest edge in pixels: a notebook file keeps what it showed, so that must stay small."""


@frozen(kw_only=True)
class Image:
    """One image: its bytes, and what they really are.

    Make one with `Image.open` (anything), `from_path`, `from_bytes`, `from_file` or `from_pil`.
    Two images are equal when their bytes are.

    Attributes:
        data: The file, byte for byte as it was read or received.
        format: What the bytes are: ``png``, ``jpeg``, ``webp``, ``gif`` or ``svg``, or another
            format Pillow reads (``bmp``, ``tiff``, ``avif``, ...) for images you bring.
        width: Pixels across as stored; None only for an svg that states no size.
        height: Pixels down as stored; None only for an svg that states no size.
        original: The untouched image as the service sent it, when this one was cut to the
            size you asked for; otherwise None.
        made_by: What made it, where that is known besides from its bytes: for images from the
            service and from a store. `ai_label` is what counts.
        alt: The text alternative a store has for it, empty for an image that only decorates; None
            when there is none.
    """

    data: bytes = field(repr=False)
    format: str
    width: int | None = field(eq=False)
    height: int | None = field(eq=False)
    original: Image | None = field(default=None, eq=False, repr=False)
    made_by: Label | None = field(default=None, eq=False, repr=False)
    alt: str | None = field(default=None, eq=False, repr=False)

    @classmethod
    def open(cls, source: ImageSource) -> Image:
        """Read an image from whatever holds it.

        Args:
            source: A path, bytes, an open binary file, a PIL image, a ``data:`` URL, or an
                `Image` (returned as it is).

        Raises:
            ImageDecodeError: The bytes are no image.
            InvalidRequestError: It is no source of an image, or a web address.
            OSError: The file cannot be read.
        """
        if isinstance(source, Image):
            return source
        return cls._of_file(source, files.read(source))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Image:
        """Take the bytes of a file; its format and size are read from its header.

        Raises:
            ImageDecodeError: They are no image, are cut short within the header, or would
                unpack to more pixels than any image has.
        """
        data = bytes(data)
        header = codecs.sniff(data)
        return cls(data=data, format=header.format, width=header.width, height=header.height)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Image:
        """Read a file.

        Raises:
            ImageDecodeError: It is no image.
            OSError: It cannot be read.
        """
        return cls._of_file(path, files.read_path(path))

    @classmethod
    def _of_file(cls, source: object, data: bytes) -> Image:
        """Take the bytes of a source; what is wrong with a file is said with its name."""
        try:
            return cls.from_bytes(data)
        except ImageDecodeError as error:
            is_url = isinstance(source, str) and source[:5].lower() == "data:"
            if is_url or not isinstance(source, str | os.PathLike):
                raise
            name = str(cast("str | os.PathLike[str]", source))
            raise ImageDecodeError(f"{name:.200}: {error}") from error

    @classmethod
    def from_file(cls, file: BinaryFile) -> Image:
        """Read an open binary file from its current position to its end.

        Raises:
            ImageDecodeError: It holds no image.
            InvalidRequestError: It was opened as text.
        """
        return cls.from_bytes(files.read_binary(file))

    @classmethod
    def from_pil(cls, image: PilImage) -> Image:
        """Encode a PIL image as PNG, turned upright if its EXIF data asks for it.

        Of an animation the current frame is taken.

        Raises:
            ImageDecodeError: Its file turns out to be broken when the pixels are loaded.
            InvalidRequestError: It is no PIL image.
        """
        return cls.from_bytes(transform.from_pil(image))

    @property
    def size(self) -> tuple[int, int] | None:
        """``(width, height)`` in pixels as stored; None for an svg that states none."""
        if self.width is None or self.height is None:
            return None
        return self.width, self.height

    @property
    def nbytes(self) -> int:
        """Length of the file in bytes."""
        return len(self.data)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes, in hex."""
        import hashlib  # late: loading OpenSSL takes 3 ms

        return hashlib.sha256(self.data).hexdigest()

    @property
    def mime_type(self) -> str:
        """MIME type of the bytes, such as ``image/png``."""
        return self._kind.mime_type

    @property
    def extension(self) -> str:
        """The usual file name extension, without a dot: ``png``, ``jpg``, ``webp``, ..."""
        return self._kind.extensions[0]

    @property
    def has_provenance(self) -> bool:
        """Whether the file carries a C2PA manifest (signed content credentials).

        It only says that one is there, not that its signature is valid. Re-encoded images
        have none; the service's own bytes keep theirs.
        """
        return has_c2pa(self.data, self.format)

    @cached_property
    def ai_label(self) -> Label | None:
        """What says that a model made the image; None when nothing does.

        It is written as XMP into everything that is made of the image here: `thumbnail`, `convert`,
        `shrink`, `fit`, contact sheets and previews. The bytes of the image itself stay untouched.
        """
        return self.made_by or label_of(self.data, self.format)

    @cached_property
    def perceptual_hash(self) -> str | None:
        """Bits that stay nearly the same when the image is resized, recompressed or cropped a bit.

        64 of the image and 64 of its middle, as 32 hex digits; None for an empty surface. Of an
        animation the first frame counts. The images of a store are compared by it:
        `Store.similar`, `Store.duplicates`.

        Raises:
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
        """
        return perceptual_hash(self.data, self.format)

    @property
    def provenance(self) -> Provenance:
        """What the file says of where it comes from: XMP, and C2PA with the extra ``c2pa``."""
        return provenance_of(self.data, self.format)

    @property
    def data_url(self) -> str:
        """The whole file as a ``data:`` URL, for HTML and JSON."""
        return f"data:{self.mime_type};base64,{self.base64}"

    @property
    def base64(self) -> str:
        """The whole file as base64 text, for JSON."""
        import pybase64

        return pybase64.b64encode_as_string(self.data)

    def __bytes__(self) -> bytes:
        """Return the file, as `data`."""
        return self.data

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The pixels for NumPy: ``numpy.asarray(image)`` has the shape (height, width, channels).

        Eight bits a channel, RGB or RGBA (grey images are RGB, too), of an animation the first
        frame, EXIF rotation not applied.

        Raises:
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
        """
        image = self.to_pil()
        mode = "RGBA" if "A" in image.mode or "transparency" in image.info else "RGB"
        return image.convert(mode).__array_interface__

    def to_dict(self, *, data: bool = False) -> dict[str, object]:
        """Return what is known of the image as JSON values.

        Args:
            data: Whether the file itself is in it, as base64 text under ``base64``.

        Raises:
            ConfigurationError: ``data`` is neither True nor False.
        """
        flag("data", data)
        known: dict[str, object] = {
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "bytes": self.nbytes,
            "sha256": self.sha256,
            "mime_type": self.mime_type,
        }
        return {**known, "base64": self.base64} if data else known

    def to_json(self, *, data: bool = False) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(data=data))

    def show(self) -> None:
        """Open the image in a viewer of this machine, as ``PIL.Image.Image.show`` does.

        Raises:
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
        """
        self.to_pil().show()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the bytes to a file, unchanged and all at once.

        The extension follows the bytes: ``save("fox.png")`` of a JPEG writes ``fox.jpg``. The
        file appears complete or not at all; parent folders are made. (The data is handed to
        the operating system, not forced onto the disk.)

        Args:
            path: A file name, with or without extension; or a folder that exists (or a path
                that ends with a slash), which gets ``image-<first 8 of sha256>.<ext>``.
            overwrite: Replace a file of that name, as Pillow does. A file you did *not* name
                (``fox.jpg`` above) is never replaced: a number is added, ``fox-2.jpg``.

        Returns:
            The path of what was written.

        Raises:
            ConfigurationError: It is no path, or an empty one.
            FileExistsError: The file exists and ``overwrite`` is False.
            OSError: It cannot be written; the image is still here.
        """
        return files.save(self.data, self.format, path, overwrite=overwrite)

    def thumbnail(self, max_px: int) -> Image:
        """Return a small version whose longest edge has at most ``max_px`` pixels.

        An image that is small enough already is returned as it is. PNG, JPEG and WebP keep
        their format, everything else becomes a PNG of its first frame. EXIF rotation is applied.

        Raises:
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
            InvalidRequestError: ``max_px`` is not a positive whole number.
        """
        data = transform.thumbnail(self.data, self.format, self.size, max_px, self._xmp)
        return self if data is self.data else Image.from_bytes(data)

    def convert(self, format: str, quality: int | None = None) -> Image:
        """Return the same image in another format.

        Without ``quality``, an image that has the format already is returned as it is. JPEG
        has no transparency: it is laid on white. Of an animation the first frame is taken,
        except from gif to gif. EXIF rotation is applied; an ICC profile is kept where it fits.

        Args:
            format: ``png``, ``jpeg`` (or ``jpg``), ``webp``, ``avif`` or ``gif``.
            quality: 1 to 100, for jpeg, webp and avif only; 90 when left out, for avif 75.

        Raises:
            ConfigurationError: It is to be avif, and this Pillow was built without it.
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
            InvalidRequestError: The format or quality is not one of these, or the image is
                too large for the format.
        """
        data = transform.convert(self.data, self.format, format, quality, self._xmp)
        return self if data is self.data else Image.from_bytes(data)

    def shrink(self, max_bytes: int) -> Image:
        """Return a version of at most ``max_bytes`` bytes, for services with an upload limit.

        An image that fits already is returned as it is. Otherwise quality goes down first
        (not below what still looks good), then the pixel size. Opaque images become JPEG
        (WebP stays WebP), transparent ones WebP; an animated gif stays one with fewer pixels.

        Raises:
            ImageDecodeError: The image is broken.
            InvalidRequestError: It cannot be made that small, or it is an svg.
        """
        data = transform.shrink(self.data, self.format, max_bytes, self._xmp)
        return self if data is self.data else Image.from_bytes(data)

    def fit(self, width: int, height: int, *, quality: int | None = None) -> Image:
        """Return the image at exactly this size: scaled to cover it, the rest cut off evenly.

        Nothing is resampled when cutting alone is enough. The format stays (formats the service
        does not make become png), so do transparency and, in a gif, every frame with its
        duration. A lossless WebP stays lossless. An image of this size is returned as it is.

        Args:
            width: Pixels across.
            height: Pixels down.
            quality: 0 to 100 for jpeg and webp, as the service's compression; 95 when left out.

        Returns:
            The image, with ``original`` set to this one.

        Raises:
            ImageDecodeError: The image is broken.
        """
        data = transform.fit(self.data, self.format, width, height, quality=quality, xmp=self._xmp)
        return self if data is self.data else evolve(Image.from_bytes(data), original=self)

    def for_web(
        self,
        widths: int | Iterable[int] = (400, 800, 1600),
        *,
        alt: str | None = None,
        sizes: str = "100vw",
        name: str | None = None,
        prefix: str = "",
        formats: Sequence[str] = ("avif", "webp", "jpeg"),
        lazy: bool = True,
    ) -> WebImage:
        """Return the image as files for a web page, with the HTML that chooses among them.

        AVIF, WebP and JPEG (PNG when it has transparency) of every width, a ``<picture>`` with
        ``srcset`` and dimensions, and a blurred placeholder. Nothing is enlarged; a label goes
        along, everything else a photograph's file says stays behind. Of an animation the first
        frame is taken; EXIF rotation is applied.

        Args:
            widths: Pixels across; those above the image's own become its own.
            alt: What a screen reader says instead; empty for an image that only decorates. The
                image's own `alt` when left out, else empty.
            sizes: How wide the page shows it, as in HTML: ``(min-width: 60em) 50vw, 100vw``.
            name: What the names of the files begin with; ``image-<first 8 of sha256>`` when left
                out.
            prefix: What stands before the names in HTML, such as ``/static/``.
            formats: Some of ``avif``, ``webp``, ``jpeg`` and ``png``, in the order of preference;
                with transparency png stands for jpeg.
            lazy: Whether browsers may wait until it comes into view.

        Raises:
            ConfigurationError: This Pillow was built without AVIF: leave it out of ``formats``.
            ImageDecodeError: The image is broken, or an svg (which pages show at any width as it
                is).
            InvalidRequestError: An argument makes no sense.
        """
        from gptimage.image.web import for_web

        return for_web(
            self.data,
            self.format,
            widths,
            alt=(self.alt or "") if alt is None else alt,
            sizes=sizes,
            name=name,
            prefix=prefix,
            formats=formats,
            lazy=lazy,
            xmp=self._xmp,
        )

    def diff(self, other: Image, *, tolerance: int = TOLERANCE) -> Difference:
        """Compare two images pixel by pixel, both as a viewer shows them.

        Args:
            other: An image of the same size.
            tolerance: How much a channel may differ, of 255, before a pixel counts as changed;
                8 passes over what saving as jpeg does.

        Raises:
            ImageDecodeError: An image is broken, or an svg.
            InvalidRequestError: They differ in size, or the tolerance is not 0 to 254.
        """
        if type(tolerance) is not int or not 0 <= tolerance < 255:
            raise InvalidRequestError(
                f"tolerance is 0 to 254, not {tolerance!r}",
                field="tolerance",
                value=tolerance,
                allowed="0 to 254",
            )
        one, two = (codecs.decode(each.data, each.format) for each in (self, other))
        if one.size != two.size:
            raise InvalidRequestError(
                f"the images differ in size, {one.width}x{one.height} and "
                f"{two.width}x{two.height}: fit() makes one as large as the other",
                field="other",
                value=two.size,
                allowed=one.size,
            )
        changes = difference.changes(one, two)
        found = difference.shares(changes, tolerance)
        return Difference(
            changed=found.changed,
            mean=found.mean,
            largest=found.largest,
            box=changes.point([0] * (tolerance + 1) + [255] * (255 - tolerance)).getbbox(),
            heat=lambda: difference.heat_map(one, changes, tolerance),
            label=combined([self.ai_label, other.ai_label]),
        )

    def to_pil(self) -> PILImage:
        """Return the image as a new PIL image, decoded: what ``PIL.Image.open`` would give.

        An animation can be walked with ``seek``. EXIF rotation is *not* applied here (use
        ``PIL.ImageOps.exif_transpose``).

        Raises:
            ImageDecodeError: The image is broken, or an svg (which is never drawn here).
        """
        return transform.to_pil(self.data, self.format)

    def verify(self) -> None:
        """Decode every pixel, and raise when the file is cut short or damaged.

        Raises:
            ImageDecodeError: The image is not whole.
        """
        files.verify(self.data, self.format)

    @property
    def _xmp(self) -> bytes | None:
        """The XMP for what is made of the image."""
        return None if self.ai_label is None else self.ai_label.to_xmp()

    @property
    def _kind(self) -> FormatInfo:
        return FORMATS.get(self.format, FORMATS[""])

    def _repr_png_(self) -> bytes | None:
        """PNG bytes for notebooks; None when another format is shown."""
        shown = self._preview()
        return shown.data if shown is not None and shown.format == "png" else None

    def _preview(self) -> Image | None:
        """Return the image in a format every notebook draws; None when it is broken."""
        if self.format in {"gif", "svg"}:
            return self
        try:
            small = self.thumbnail(_PREVIEW_PX)
            return small if small.format in {"png", "jpeg"} else small.convert("png")
        except ImageDecodeError:
            return None

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return the image under its true MIME type for notebooks, at most 1024 pixels large.

        WebP and other formats notebooks cannot draw are shown as PNG; gif and svg as they are.
        """
        import pybase64

        shown = self._preview()
        if shown is None:
            return {}
        text = shown.format == "svg"
        content = svg_text(shown.data) if text else pybase64.b64encode_as_string(shown.data)
        return {shown.mime_type: content}


@frozen(kw_only=True)
class Difference:
    """What differs between two images.

    Attributes:
        changed: Share of the pixels that changed by more than the tolerance, 0 to 1.
        mean: Mean difference of the pixels, 0 to 255.
        largest: Largest difference, 0 to 255.
        box: ``(left, top, right, bottom)`` around what changed, in pixels; None for nothing.
    """

    changed: float
    mean: float
    largest: int
    box: tuple[int, int, int, int] | None
    _heat: Callable[[], PILImage] = field(alias="heat", repr=False, eq=False)
    _label: Label | None = field(alias="label", default=None, repr=False, eq=False)

    def to_dict(self) -> dict[str, object]:
        """Return the figures as JSON values."""
        box = None if self.box is None else list(self.box)
        return {
            "changed": self.changed,
            "mean": self.mean,
            "largest": self.largest,
            "box": box,
        }

    @property
    def heat_map(self) -> Image:
        """The first image in pale grey, with what changed in yellow to red."""
        pixels = self._heat()
        if self._label is not None:
            pixels.info[codecs.XMP] = self._label.to_xmp()
        return Image.from_bytes(codecs.encode(pixels, "png"))


ImageSource = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | PilImage | Image
)
"""Everything `Image.open` can read."""
