"""The label of a model's image: in everything made of it, in no photograph, and read back."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]  # has none
import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image, ImageClient, PartialImage
from gptimage.image import Label, contact_sheet, previews
from gptimage.image.formats import png_chunks, with_gif_xmp, with_svg_xmp
from gptimage.image.label import COMPOSITE, TRAINED, VOCABULARY, combined, label_of, properties
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.factories import image as plain
from tests.image.test_provenance import JUMBF, with_png_chunk


NEWEST = "gpt-image-2.6-sunburst"
WHEN = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Image]:
    """Everything that is made of a model's images here, by how it was made."""
    store = Store(tmp_path_factory.mktemp("store"))
    sandbox = Sandbox(draw="plain", clock=lambda: WHEN)
    with ImageClient.sandbox(sandbox, store=store, clock=lambda: WHEN) as client:
        exact = client.generate("A secret fox", size="1000x700")
        gif = client.generate("A fox", format="gif", size="512x512", frame_count=2, model=NEWEST)
        svg = client.generate("A fox", format="svg", size="1000x700", model=NEWEST)
        edit = client.edit("A hat", plain(64, 64), size="1000x700")
        again = client.edit("A hat", exact.image, size="1000x700")
    saved = store.open(exact.stored[0].id)
    made = {f"convert-{kind}": saved.convert(kind, 80) for kind in ("jpeg", "webp", "avif")}
    small = previews([saved], max_px=200, max_bytes=20_000)[0]
    assert small is not None
    return {
        **made,
        "exact": exact.image,
        "convert-gif": saved.convert("gif"),
        "thumbnail": saved.thumbnail(64),
        "shrink": made["convert-jpeg"].shrink(6_000),
        "fit": saved.fit(200, 200),
        "gif": gif.image.fit(100, 100),
        "gif-small": gif.image.shrink(1_200),
        "svg": svg.image.fit(300, 300),
        "sheet": contact_sheet([saved, saved]),
        "preview": small,
        "again": again.image,
        "edit": edit.image,
        "mixed-sheet": contact_sheet([saved, plain(64, 64)]),
    }


def test_whatever_is_made_of_it_says_so(drawn: Mapping[str, Image]) -> None:
    """In every format, with the model and the id; what began as a photograph is called so."""
    for name, image in drawn.items():
        image.verify()
        label = label_of(image.data, image.format)
        assert label is not None, name
        assert label.source == (COMPOSITE if name in {"edit", "mixed-sheet"} else TRAINED), name
        assert label.model == (NEWEST if name in {"gif", "gif-small", "svg"} else label.model)
        assert label.model is not None, name
        assert image.provenance.ai_made
        assert b"secret" not in image.data, name
    stored = {drawn[name].provenance.id for name in ("fit", "thumbnail", "convert-gif", "preview")}
    assert len(stored) == 1
    results = {drawn[name].provenance.id for name in ("gif", "svg")}
    assert None not in stored | results
    assert drawn["fit"].provenance.created == WHEN.isoformat()


def test_exiftool_reads_it(drawn: Mapping[str, Image], tmp_path: Path) -> None:
    """Another program finds the same in every file, and nothing wrong with it."""
    if shutil.which("exiftool") is None:
        say = pytest.fail if os.environ.get("TESTS_REQUIRE_EXIFTOOL") else pytest.skip
        say("labels were NOT read by exiftool: apt-get install -y libimage-exiftool-perl")
    for name, image in drawn.items():
        (tmp_path / f"{name}.{image.extension}").write_bytes(image.data)
    asked = ("-DigitalSourceType", "-AISystemUsed", "-Error", "-Warning")
    done = subprocess.run(
        ["exiftool", "-json", *asked, tmp_path], check=True, capture_output=True, text=True
    )
    found = {Path(each.pop("SourceFile")).stem: each for each in json.loads(done.stdout)}

    for name, image in drawn.items():
        label = image.ai_label
        assert label is not None
        expected = {
            "DigitalSourceType": f"{VOCABULARY}{label.source}",
            "AISystemUsed": label.model,
        }
        assert found[name] == expected, name


def test_it_reaches_another_process(drawn: Mapping[str, Image]) -> None:
    """The MCP server and the studio draw in one of their own, and send what comes of it."""
    for image in drawn.values():
        assert image.ai_label == pickle.loads(pickle.dumps(image)).ai_label is not None


def test_what_the_service_sent_is_untouched(drawn: Mapping[str, Image]) -> None:
    """Only what is made of it is labelled: the bytes of a reply, and signatures, stay."""
    original = drawn["exact"].original

    assert original is not None
    assert original.ai_label is not None
    assert properties(original.data, original.format) == {}


def test_what_is_made_of_a_preview_says_so() -> None:
    """A partial image is a model's, too, whether an image is streamed or a turn."""
    with ImageClient.sandbox(Sandbox(draw="plain")) as client:
        events = [*client.stream("A fox", partial_images=1)]
        events += [*client.conversation().stream("A fox", partial_images=1)]
    partials = [event.image for event in events if isinstance(event, PartialImage)]

    made = [partial.thumbnail(64).provenance.digital_source for partial in partials]
    assert made == [TRAINED, TRAINED]


def test_a_map_of_differences_says_what_it_was_made_of() -> None:
    """It shows the first image, so it is a model's if one of the two is."""
    photo, made = plain(64, 48), evolve(plain(64, 48), made_by=Label(model="a"))

    sources = [one.diff(two).heat_map.ai_label for one, two in ((made, made), (photo, made))]
    assert sources == [Label(model="a"), Label(source=COMPOSITE, model="a")]


def test_a_photograph_gets_no_label() -> None:
    """Nothing says that a model made it, so nothing made of it says so."""
    photo = plain(64, 48)

    assert photo.ai_label is None
    for made in (
        photo.thumbnail(20),
        photo.convert("webp"),
        photo.fit(10, 10),
        contact_sheet([photo]),
        photo.diff(photo).heat_map,
    ):
        assert made.provenance.digital_source is None
        assert b"xmp" not in made.data.lower()


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif"])
def test_what_an_original_says_is_carried_on(form: str) -> None:
    """Creator and rights of a labelled file go on, through a chain of formats."""
    carried = {"dc:creator": "Ann <&>", "dc:rights": 'All "hers"', "photoshop:Credit": "Ann"}
    label = Label(model="other-model", created=WHEN, id="x<1>", carried=carried)
    image = evolve(plain(64, 64), made_by=label).thumbnail(32).convert("webp").convert(form)

    assert label_of(image.data, image.format) == label


def test_a_labelled_file_from_elsewhere_is_known(tmp_path: Path) -> None:
    """Also in the long form other programs write, packed, or by its manifest alone."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{TRAINED}</Iptc4xmpExt:DigitalSourceType>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)
    signed = JUMBF + f"{VOCABULARY}{TRAINED}".encode()
    data = plain(64, 64).data
    for chunk in ((b"iTXt", packed), (b"caBX", signed)):
        image = Image.from_bytes(with_png_chunk(data, *chunk))
        assert image.ai_label == Label()
        assert image.thumbnail(20).provenance.digital_source == TRAINED


def test_labels_of_several_images() -> None:
    """Only what is a model's throughout is called so; the model stays where it is one."""
    model, other = Label(model="a", created=WHEN, id="1"), Label(model="a", id="2")

    assert combined([model, other]) == Label(model="a")
    assert combined([model, model]) == model
    assert combined([model, None]) == evolve(model, source=COMPOSITE)
    assert combined([None, None]) is None
    assert combined([None], Label(model="b")) == Label(source=COMPOSITE, model="b")
    assert combined([], Label(model="b")) == Label(model="b")


@given(st.binary(max_size=300))
def test_hostile_xmp_is_no_label(noise: bytes) -> None:
    """Whatever stands where XMP should, reading it raises nothing."""
    entity = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    gif, svg = plain(8, 8, "gif").data, b"<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>"
    for packet in (noise, b"<x>" + noise, entity):
        files = [
            ("png", with_png_chunk(plain(8, 8).data, b"iTXt", b"XML:com.adobe.xmp" + packet)),
            ("gif", with_gif_xmp(gif, packet)),
            ("svg", with_svg_xmp(svg, packet.hex().encode())),
        ]
        assert [label_of(data, kind) for kind, data in files] == [None, None, None]


MADE = f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{TRAINED}</Iptc4xmpExt:DigitalSourceType>"
SPACES = (
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
)
LEVELS = 40_000
LONG = "u" * 400_000


@pytest.mark.parametrize(
    "within",
    [
        "<rdf:li>" * LEVELS + "</rdf:li>x" * LEVELS,
        f'<a xmlns:b="{LONG}">{"<b:c/>" * LEVELS}</a>',
    ],
    ids=["deep", "long namespace"],
)
def test_reading_a_megabyte_of_xmp_takes_no_minutes(within: str) -> None:
    """Each of these took minutes, or all memory, as every level was looked at for every text."""
    packet = f"<x {SPACES}>{MADE}{within}</x>".encode()
    chunk = b"XML:com.adobe.xmp" + bytes(5) + packet

    assert label_of(with_png_chunk(plain(8, 8).data, b"iTXt", chunk), "png") == Label()


def test_xmp_with_a_document_type_is_none() -> None:
    """Its defaults are added to every element, which is as endless as entities are."""
    doctype = f'<!DOCTYPE x [<!ATTLIST x a CDATA "{"u" * 9000}">]>'
    chunk = b"XML:com.adobe.xmp" + bytes(5) + f"{doctype}<x {SPACES}>{MADE}</x>".encode()

    assert label_of(with_png_chunk(plain(8, 8).data, b"iTXt", chunk), "png") is None


def test_an_svg_of_many_beginnings_is_read_once() -> None:
    """XMP that begins often and never ends, and long white space, took minutes."""
    head, packet = b"<svg xmlns='http://www.w3.org/2000/svg'>", b"<q/>"
    many = head + b"<metadata><x:xmpmeta " * LEVELS + b"</svg>"
    wide = head + b"<metadata>" + b" " * 400_000 + b"</metadata></svg>"

    assert label_of(many, "svg") is None
    assert [len(with_svg_xmp(each, packet)) - len(each) for each in (many, wide)] == [25, 25]


def certificates() -> tuple[bytes, bytes, bytes]:
    """The certificate of an authority, one signed by it with the authority's, and its key."""

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                x509.NameAttribute(NameOID.COMMON_NAME, text),
            ]
        )

    authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    made: list[bytes] = []
    for owner, text in ((authority, "authority"), (signer, "signer")):
        is_authority = owner is authority
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(text))
            .issuer_name(name("authority"))
            .public_key(owner.public_key())
            .serial_number(1 + is_authority)
            .not_valid_before(WHEN - timedelta(days=365 * 10))
            .not_valid_after(WHEN + timedelta(days=365 * 100))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not is_authority,
                    key_cert_sign=is_authority,
                    crl_sign=is_authority,
                    encipher_only=False,
                    decipher_only=False,
                    **usage,
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(owner.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
                critical=False,
            )
        )
        if not is_authority:
            mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(mail, critical=True)
        found = builder.sign(authority, hashes.SHA256())
        made.append(found.public_bytes(serialization.Encoding.PEM))
    key = signer.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made[0], made[1] + made[0], key


def signed(data: bytes, chain: bytes, key: bytes) -> bytes:
    """The file with a manifest that says a model made it."""
    created = {"action": "c2pa.created", "digitalSourceType": f"{VOCABULARY}{TRAINED}"}
    manifest: dict[str, Any] = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
    }
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
    out = io.BytesIO()
    with c2pa.Builder.from_json(json.dumps(manifest)) as builder:
        builder.sign(c2pa.Signer.from_info(info), "image/png", io.BytesIO(data), out)
    return out.getvalue()


def test_a_signature_is_read_and_judged(tmp_path: Path) -> None:
    """Whether the file is as it was signed, and whether the signer is trusted, are told apart."""
    from gptimage.image import provenance_of

    authority, chain, key = certificates()
    data = signed(plain(64, 64).data, chain, key)
    (start,) = [start for name, start, _ in png_chunks(data) if name == b"IDAT"]
    changed = data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]
    found = Image.from_bytes(data).provenance.credentials
    listed = provenance_of(data, "png", trust=authority).credentials
    stranger = provenance_of(data, "png", trust=certificates()[0]).credentials
    broken = provenance_of(changed, "png", trust=authority).credentials

    assert found is not None
    assert listed is not None
    assert stranger is not None
    assert broken is not None
    assert (found.intact, found.trusted) == (True, None)
    assert (found.signer, found.generator, found.digital_source) == ("Example", "test", TRAINED)
    assert found.actions == ("c2pa.created",)
    assert (listed.intact, listed.trusted) == (True, True)
    assert (stranger.intact, stranger.trusted) == (True, False)
    assert (broken.intact, broken.problems) == (False, ("assertion.dataHash.mismatch",))
    assert Image.from_bytes(data).thumbnail(20).provenance.digital_source == TRAINED


def test_a_manifest_that_cannot_be_read_proves_nothing() -> None:
    """It is said to be there, and why nothing is known of it."""
    found = Image.from_bytes(with_png_chunk(plain(64, 64).data, b"caBX", JUMBF)).provenance

    assert (found.signed, found.credentials) == (True, None)
    assert "cannot be read" in (found.note or "")
