"""Form bodies: split exactly, and refused when they are not whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.sandbox.wire import split
from gptimage.transport.http import FilePart


TYPE = 'multipart/form-data; boundary="b o"'
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\%'), min_size=1
)


def form(fields: list[tuple[str, str]], files: list[tuple[str, str, bytes]]) -> bytes:
    """A form as browsers write it."""
    parts = [
        f'--b o\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields
    ]
    parts += [
        f'--b o\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, filename, data in files
    ]
    return b"".join([*parts, b"--b o--\r\n"])


@given(
    st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"])), max_size=4),
    st.lists(st.tuples(NAMES, NAMES, st.binary(max_size=200)), max_size=3),
)
def test_forms_round_trip(fields: dict[str, str], files: list[tuple[str, str, bytes]]) -> None:
    """Every field and every byte of every file comes back."""
    expected = tuple(
        FilePart(name=name, filename=filename, content_type="image/png", data=data)
        for name, filename, data in files
    )
    found, parts = split(form(list(fields.items()), files), TYPE)

    assert (found, tuple(parts)) == (fields, expected)


@given(st.binary(max_size=300), st.text(max_size=60))
def test_garbage_is_a_value_error(body: bytes, content_type: str) -> None:
    """Nothing but a ValueError comes out of bytes that are no form."""
    for kind in (content_type, TYPE):
        try:
            fields, files = split(b"--b o" + body, kind)
        except ValueError:
            continue
        assert isinstance(fields, dict)
        assert isinstance(files, list)


def test_forms_cut_anywhere_are_refused() -> None:
    """A form that lost its end is never read as a shorter one."""
    whole = form([("a", "1")], [("f", "f.png", b"\x89PNG\r\n\x1a\n" * 3)])

    for length in range(len(whole) - 4):
        with pytest.raises(ValueError, match=r"."):
            split(whole[:length], TYPE)


def test_repeated_fields_are_lists() -> None:
    """A field sent three times keeps its three values."""
    fields, _ = split(form([("a", "1"), ("a", "2"), ("b", "x"), ("a", "3")], []), TYPE)

    assert fields == {"a": ["1", "2", "3"], "b": "x"}


def test_content_that_looks_like_a_boundary_stays_content() -> None:
    """Only a line that is exactly the boundary ends a part."""
    data = b"x--b o\r\n--b\r\n\r\n--bb o--"
    _, files = split(form([], [("f", "f.png", data)]), TYPE)

    assert files[0].data == data


def test_escaped_names_are_read() -> None:
    """Quotes in names arrive in either of the two ways clients write them."""
    for written in (r"a\"b", "a%22b"):
        head = f'--b o\r\ncontent-disposition: form-data; NAME="{written}"\r\n\r\nx\r\n--b o--'
        assert split(head.encode(), TYPE)[0] == {'a"b': "x"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b o\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b o--",
        b"--b o\r\n\r\nx\r\n--b o--",
        b'--b o\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\xfe\r\n--b o--',
        b"--b o\r\n" + b"x" * 9000,
        b"--b o\r\n" + b'd: form-data; name="a"\r\n\r\n\r\n--b o\r\n' * 1001,
    ],
)
def test_malformed_forms_are_refused(body: bytes) -> None:
    """No name, no headers, no text, no end, too much."""
    with pytest.raises(ValueError, match=r"."):
        split(body, TYPE)
