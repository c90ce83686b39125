"""Finding C2PA manifests, and nothing else, in every format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image


# The start of a real manifest store: a JUMBF box whose description has the C2PA type and label.
JUMBF = (
    b"\0\0\x10\0jumb\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0" + b"x" * 60
)


def with_png_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """Put a chunk right after the header."""
    body = name + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def with_jpeg_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """Put a segment right after the start."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def with_riff_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """Put a chunk at the end."""
    chunk = name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    body = data[8:] + chunk
    return data[:4] + struct.pack("<I", len(body)) + body


def with_gif_extension(data: bytes, name: bytes, content: bytes) -> bytes:
    """Put an application extension before the end marker."""
    blocks = b"".join(
        bytes([len(part)]) + part
        for part in (content[at : at + 255] for at in range(0, len(content), 255))
    )
    return data[:-1] + b"\x21\xff\x0b" + name + blocks + b"\0;"


SIGNED: Mapping[str, Callable[[bytes], bytes]] = {
    "png": lambda data: with_png_chunk(data, b"caBX", JUMBF),
    "jpeg": lambda data: with_jpeg_segment(data, 0xEB, b"JP\0\1\0\0\0\1" + JUMBF),
    "webp": lambda data: with_riff_chunk(data, b"C2PA", JUMBF),
    "gif": lambda data: with_gif_extension(data, b"C2PA_GIF\x01\0\0", JUMBF * 4),
    "svg": lambda data: data.replace(
        b"<circle", b"<metadata><c2pa:manifest>AAAA</c2pa:manifest></metadata><circle"
    ),
}

LOOKALIKES: Mapping[str, Callable[[bytes], bytes]] = {
    "png": lambda data: with_png_chunk(data, b"tEXt", b"note\0caBX jumbf c2pa"),
    "jpeg": lambda data: with_jpeg_segment(
        data, 0xEB, b"JP\0\1\0\0\0\1" + JUMBF.replace(b"c2pa", b"cask")
    ),
    "webp": lambda data: with_riff_chunk(data, b"XMP ", b"C2PA" + JUMBF),
    "gif": lambda data: with_gif_extension(data, b"NETSCAPE2.0", b"\x01\0\0" + b"C2PA_GIF"),
}


@pytest.mark.parametrize("format", SIGNED)
def test_manifest_is_found(samples: Mapping[str, bytes], format: str) -> None:
    """A manifest where the specification puts it is seen, and none is seen without."""
    plain = samples[format]
    signed = SIGNED[format](plain)

    assert (
        Image.from_bytes(plain).has_provenance,
        Image.from_bytes(signed).has_provenance,
    ) == (False, True)
    Image.from_bytes(signed).verify()


@pytest.mark.parametrize(
    "name", ["animated gif", "progressive jpeg", "lossless webp", "transparent webp"]
)
def test_manifest_is_found_in_other_kinds(samples: Mapping[str, bytes], name: str) -> None:
    """Animations, progressive images and extended headers make no difference."""
    signed = SIGNED[name.rsplit(maxsplit=1)[-1]](samples[name])

    assert Image.from_bytes(signed).has_provenance


@pytest.mark.parametrize("format", LOOKALIKES)
def test_lookalikes_are_not_manifests(samples: Mapping[str, bytes], format: str) -> None:
    """The letters alone, in a comment or in another box, mean nothing."""
    assert not Image.from_bytes(LOOKALIKES[format](samples[format])).has_provenance


def test_what_stands_behind_the_end_of_a_png_is_no_manifest(samples: Mapping[str, bytes]) -> None:
    """No reader looks at what follows the end mark."""
    plain = samples["png"]
    chunk = with_png_chunk(plain, b"caBX", JUMBF)[33 : -len(plain) + 33]

    assert not Image.from_bytes(plain + chunk).has_provenance


def test_manifest_split_over_segments_is_found(samples: Mapping[str, bytes]) -> None:
    """A manifest of more than 64 KB fills several JPEG segments, after EXIF."""
    data = samples["jpeg"]
    for part in (3, 2, 1):
        content = b"JP\0\1" + struct.pack(">I", part) + JUMBF + b"y" * 60_000
        data = with_jpeg_segment(data, 0xEB, content)
    data = with_jpeg_segment(data, 0xE1, b"Exif\0\0" + b"z" * 60_000)

    assert Image.from_bytes(data).has_provenance


def test_manifest_after_an_odd_chunk_is_found(samples: Mapping[str, bytes]) -> None:
    """Chunks of a WebP of odd length are followed by a byte of padding."""
    data = with_riff_chunk(samples["webp"], b"XMP ", b"odd")

    assert Image.from_bytes(SIGNED["webp"](data)).has_provenance


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_half_a_manifest_is_none(samples: Mapping[str, bytes], format: str) -> None:
    """A file cut within its manifest has none that could be checked."""
    data = SIGNED[format](samples[format])
    end = data.index(JUMBF) + len(JUMBF)

    found = [
        Image(data=data[:length], format=format, width=1, height=1).has_provenance
        for length in (end - 1, end + 4)  # a PNG chunk ends with four bytes of checksum
    ]

    assert found == [False, True]


@pytest.mark.parametrize("format", SIGNED)
def test_saving_keeps_the_manifest(
    samples: Mapping[str, bytes], format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is saved is what was received, so its signature stays valid."""
    image = Image.from_bytes(SIGNED[format](samples[format]))

    path = image.save(tmp_path_factory.mktemp("saved") / "picture")

    assert image.data == path.read_bytes()
    assert Image.open(path).has_provenance


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "gif"])
def test_new_bytes_have_no_provenance(samples: Mapping[str, bytes], format: str) -> None:
    """Re-encoded images say honestly that they are no longer the signed ones."""
    image = Image.from_bytes(SIGNED[format](samples[format]))

    assert [made.has_provenance for made in (image.thumbnail(16), image.convert("webp", 80))] == [
        False,
        False,
    ]


@pytest.mark.parametrize("format", SIGNED)
def test_cut_files_are_walked_safely(samples: Mapping[str, bytes], format: str) -> None:
    """However the file is cut, looking for a manifest ends without an error."""
    data = SIGNED[format](samples[format])
    for length in range(len(data)):
        image = Image(data=data[:length], format=format, width=1, height=1)
        assert image.has_provenance in (True, False)


@given(data=st.binary(max_size=300), format=st.sampled_from([*SIGNED, "bmp", "unheard of"]))
def test_garbage_is_walked_safely(data: bytes, format: str) -> None:
    """Whatever the bytes claim to be, looking for a manifest ends without an error."""
    assert Image(data=data, format=format, width=1, height=1).has_provenance in (True, False)


@pytest.mark.parametrize(
    ("format", "start", "unit"),
    [
        ("png", b"\x89PNG\r\n\x1a\n", b"\0" * 12),
        ("png", b"\x89PNG\r\n\x1a\n", b"\xff" * 12),
        ("jpeg", b"\xff\xd8", b"\xff"),
        ("jpeg", b"\xff\xd8", b"\xff\xeb\0\2"),
        ("webp", b"RIFF\0\0\0\0WEBP", b"\0" * 8),
        ("gif", b"GIF89a" + b"\0" * 7, b"!\xff\0"),
        ("gif", b"GIF89a" + b"\0" * 7, b"\1"),
        ("gif", b"GIF89a" + b"\0" * 7, b"!\xff\1\1"),
    ],
)
def test_long_chains_of_nothing_end(format: str, start: bytes, unit: bytes) -> None:
    """A megabyte of the smallest chunks is walked once: this would take hours otherwise."""
    data = start + unit * (1_000_000 // len(unit))

    assert not Image(data=data, format=format, width=1, height=1).has_provenance
