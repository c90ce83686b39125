"""The label of an image that a model made: XMP which says so, and goes with what is made of it.

The properties are IPTC's (https://iptc.org/std/photometadata/specification/); the values of
``DigitalSourceType`` are at https://cv.iptc.org/newscodes/digitalsourcetype. A prompt is never in
it, nor is what a photograph's file says of people and places.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen

from gptimage.errors import ImageDecodeError
from gptimage.image.formats import (
    GIF_XMP,
    gif_blocks,
    has_c2pa,
    jpeg_segments,
    png_chunks,
    riff_chunks,
)


TRAINED: Final = "trainedAlgorithmicMedia"
"""Made by a model alone."""

COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"
"""Made of something else, such as a photograph, with a model."""

VOCABULARY: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"

_NAMESPACES: Final = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES: Final = {_RDF: "rdf"} | {address: prefix for prefix, address in _NAMESPACES.items()}
_CARRIED: Final = ("dc:creator", "dc:rights", "photoshop:Credit", "xmpRights:UsageTerms")
"""What an original's label says besides, and keeps saying."""

_LARGEST: Final = 1 << 20
"""Bytes of XMP that are read, packed and unpacked."""

_LONGEST: Final = 500
"""Characters of a property that are carried on."""

_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_SVG_END: Final = b"</x:xmpmeta>"

_PIECE: Final = 4096
"""Bytes handed to the parser at a time: what is refused is read no further."""


@frozen(kw_only=True)
class Label:
    """What made an image.

    Attributes:
        source: ``trainedAlgorithmicMedia``, or ``compositeWithTrainedAlgorithmicMedia`` for what
            was made of something else with a model.
        model: The model, or None.
        created: When it was made, or None.
        id: Its id in a store, or None.
        carried: What an original states of its creator and rights, by XMP's names.
    """

    source: str = TRAINED
    model: str | None = None
    created: datetime | None = None
    id: str | None = None
    carried: Mapping[str, str] = field(factory=dict[str, str], hash=False)

    def to_xmp(self) -> bytes:
        """Return the packet, in UTF-8."""
        time = None if self.created is None else self.created.isoformat(timespec="seconds")
        given = {
            "Iptc4xmpExt:DigitalSourceType": f"{VOCABULARY}{self.source}",
            "Iptc4xmpExt:AISystemUsed": self.model,
            "xmp:CreateDate": time,
            "dc:identifier": self.id,
            **self.carried,
        }
        named = {name: value for name, value in given.items() if value is not None}
        used = sorted({name.partition(":")[0] for name in named})
        spaces = "".join(f" xmlns:{prefix}={_quoted(_NAMESPACES[prefix])}" for prefix in used)
        simple = {name: value for name, value in named.items() if name not in _LISTS}
        values = "".join(f" {name}={_quoted(value)}" for name, value in simple.items())
        lists = "".join(_list(name, named[name]) for name in _LISTS if name in named)
        # Not writable, so without the padding that editors in place would need.
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
            f'<rdf:Description rdf:about=""{spaces}{values}>{lists}</rdf:Description>'
            '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()


_LISTS: Final = {"dc:creator": "Seq", "dc:rights": "Alt", "xmpRights:UsageTerms": "Alt"}
"""Properties that XMP has as lists."""


_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def _quoted(text: str) -> str:
    """Return text as XML has it, in quotes; what is not printable has no place there.

    (Not by ``xml.sax.saxutils``: an image is labelled after its reply has come, when no file may be
    left to open.)
    """
    plain = "".join(char if char.isprintable() else " " for char in text)
    return f'"{plain.translate(_ESCAPES)}"'


def _list(name: str, value: str) -> str:
    kind = _LISTS[name]
    language = ' xml:lang="x-default"' if kind == "Alt" else ""
    entry = f"<rdf:li{language}>{_quoted(value)[1:-1]}</rdf:li>"
    return f"<{name}><rdf:{kind}>{entry}</rdf:{kind}></{name}>"


def label_of(data: bytes, format: str) -> Label | None:
    """Return what a file says of a model that made it; None when it names none.

    XMP is read, and of a C2PA manifest only which kind of source it names: neither is proved to be
    true.
    """
    found = properties(data, format)
    source = found.get("Iptc4xmpExt:DigitalSourceType", "").rpartition("/")[2]
    if source not in (TRAINED, COMPOSITE):
        claimed = _c2pa_source(data, format)
        return None if claimed is None else Label(source=claimed)
    created = None
    with suppress(ValueError):
        created = datetime.fromisoformat(found.get("xmp:CreateDate", ""))
    return Label(
        source=source,
        model=found.get("Iptc4xmpExt:AISystemUsed"),
        created=created,
        id=found.get("dc:identifier"),
        carried={name: found[name] for name in _CARRIED if name in found},
    )


def combined(labels: Iterable[Label | None], made: Label | None = None) -> Label | None:
    """Return the label of what was made of several images, or of something beside a model's.

    Args:
        labels: Those of the images; None for one that no model is known to have made.
        made: What a model made of them; left out for what was only arranged.
    """
    found = list(labels)
    known = [each for each in found if each is not None]
    if made is None and not known:
        return None
    pure = len(known) == len(found) and all(each.source == TRAINED for each in known)
    if made is None:
        first = known[0]
        made = first if all(each == first for each in known) else Label()
        if len({each.model for each in known}) == 1:
            made = evolve(made, model=first.model)
    return evolve(made, source=TRAINED if pure and made.source == TRAINED else COMPOSITE)


def properties(data: bytes, format: str) -> dict[str, str]:
    """Return the simple properties of the XMP in a file by name, such as ``dc:creator``.

    Only those of a few namespaces are there; broken or enormous XMP has none.
    """
    packet = xmp_of(data, format)
    if packet is None or len(packet) > _LARGEST:
        return {}
    reader = _Reader()
    with suppress(ImageDecodeError):
        reader.read(packet)
    return reader.found


def xmp_of(data: bytes, format: str) -> bytes | None:
    """Return the XMP packet in a file; None when it has none that can be found."""
    look = {"png": _in_png, "jpeg": _in_jpeg, "webp": _in_webp, "gif": _in_gif, "svg": _in_svg}
    if format in look:
        return look[format](data)
    if format not in ("avif", "tiff"):
        return None
    from gptimage.image.codecs import open_header

    with suppress(ImageDecodeError):
        packet: object = open_header(data, format).info.get("xmp")
        return packet if isinstance(packet, bytes) else None
    return None


def _in_png(data: bytes) -> bytes | None:
    for name, start, end in png_chunks(data):
        if name == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", start):
            content = data[start:end]
            packed, text = content[18:19] == b"\1", content[20:].split(b"\0", 2)[-1]
            if not packed:
                return text
            with suppress(zlib.error):
                return zlib.decompressobj().decompress(text, _LARGEST)
            return None  # unpacking what every further one claims to hold could take minutes
    return None


def _in_jpeg(data: bytes) -> bytes | None:
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and data.startswith(_JPEG_XMP, start):
            return data[start + len(_JPEG_XMP) : end]
    return None


def _in_webp(data: bytes) -> bytes | None:
    return next((data[at:end] for name, at, end in riff_chunks(data) if name == b"XMP "), None)


def _in_gif(data: bytes) -> bytes | None:
    for marker, at in gif_blocks(data):
        if marker == 0x21 and data.startswith(GIF_XMP, at):
            return data[at + len(GIF_XMP) : data.find(b"\x01\xff\xfe", at)]
    return None


def _in_svg(data: bytes) -> bytes | None:
    # No regular expression: many starts without an end would each be followed to the end.
    start = data.find(b"<x:xmpmeta", 0, _LARGEST)
    end = data.find(_SVG_END, max(0, start), _LARGEST)
    return None if start < 0 or end < 0 else data[start : end + len(_SVG_END)]


def _c2pa_source(data: bytes, format: str) -> str | None:
    """Return the kind of source a manifest names: its text is in the file, unsigned or not."""
    if not has_c2pa(data, format):
        return None
    for source in (COMPOSITE, TRAINED):
        if f"{VOCABULARY}{source}".encode() in data:
            return source
    return None


class _Reader:
    """Reads XMP: attributes of descriptions, elements with text, and the first entry of a list."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self._prefixes: dict[str, str] = {}

    def read(self, packet: bytes) -> None:
        """Read a packet as far as it is well-formed.

        Raises:
            ImageDecodeError: It has a document type.
        """
        from xml.parsers import expat

        # Not by expat's namespaces: it writes the whole address before every name, and a packet
        # of 1 MB with a long one took all memory.
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = _refuse_doctype
        text = packet[max(0, packet.find(b"<")) :].rstrip(b"\0 ")
        with suppress(expat.ExpatError, ValueError, LookupError):  # the others: odd encodings
            for at in range(0, len(text), _PIECE):
                parser.Parse(text[at : at + _PIECE], False)
            parser.Parse(b"", True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text.clear()
        for each, value in attributes.items():
            if each.startswith("xmlns:"):
                self._prefixes[each[6:]] = _PREFIXES.get(value, "")
        name = self._usual(name)
        self._path.append(name)
        given = {self._usual(each): value for each, value in attributes.items()}
        if resource := given.get("rdf:resource"):
            self._take(name, resource)
        for each, value in given.items():
            self._take(each, value)

    def _end(self, _: str) -> None:
        name = self._path.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if text:
            lists = ("rdf:li", "rdf:Seq", "rdf:Alt", "rdf:Bag")
            # A list has two levels; looking further up at every text takes minutes in deep XML.
            around = (name, *reversed(self._path[-2:]))
            self._take(next((each for each in around if each not in lists), ""), text)

    def _usual(self, name: str) -> str:
        """Return a name with the prefix it has here; nothing for one of another namespace."""
        prefix, _, local = name.partition(":")
        usual = self._prefixes.get(prefix)
        return f"{usual}:{local}" if usual else ""

    def _take(self, name: str, value: str) -> None:
        if name and not name.startswith("rdf:"):
            self.found.setdefault(name, value[:_LONGEST])


def _refuse_doctype(*_: Any) -> None:
    raise ImageDecodeError(
        "this XMP has a document type, whose entities and defaults can unpack without end"
    )
