"""What a file says of where it comes from: XMP, and C2PA manifests with the extra ``c2pa``.

Anybody can write XMP. A manifest is signed: whether the file is still as it was signed, and
whether the signer is on a list somebody trusts, are two questions with an answer each. Manifests
kept elsewhere are not fetched, nor is it asked on the network whether a certificate was revoked.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import asdict, field, frozen

from gptimage._internal.json import label as text_of
from gptimage._internal.json import table
from gptimage.errors import InvalidRequestError
from gptimage.image.formats import FORMATS, has_c2pa
from gptimage.image.label import COMPOSITE, TRAINED, label_of, properties


_UNTRUSTED: Final = "signingCredential.untrusted"
_TRUSTED: Final = "signingCredential.trusted"
_MISSING: Final = "to read its manifest: pip install 'gptimage[c2pa]'"
_OFFLINE: Final = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}


@frozen(kw_only=True)
class Credentials:
    """A C2PA manifest, read and checked.

    Attributes:
        intact: Whether the file is as it was signed.
        trusted: Whether a trusted list has the signer; None when no list was given.
        signer: The organisation of the certificate, or None.
        signed_at: When it says it was signed, or None.
        generator: The program that made the manifest, or None.
        digital_source: The kind of source its actions name, such as ``trainedAlgorithmicMedia``.
        actions: What was done, such as ``c2pa.created``.
        problems: The codes of the C2PA specification for what is wrong.
    """

    intact: bool
    trusted: bool | None
    signer: str | None = None
    signed_at: str | None = None
    generator: str | None = None
    digital_source: str | None = None
    actions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@frozen(kw_only=True)
class Provenance:
    """What a file says of itself.

    Attributes:
        digital_source: The kind of source it names, by IPTC's word: ``trainedAlgorithmicMedia``,
            ``digitalCapture``, ...; None when it names none.
        model: The AI system it names, or None.
        created: When it says it was made, or None.
        id: Its id in a store, or None.
        software: The program it names, or None.
        signed: Whether a C2PA manifest is embedded.
        credentials: The manifest, read; None without one, or without the extra.
        note: Why the manifest was not read, or None.
        xmp: The XMP properties that were read, by name.
    """

    digital_source: str | None = None
    model: str | None = None
    created: str | None = None
    id: str | None = None
    software: str | None = None
    signed: bool = False
    credentials: Credentials | None = None
    note: str | None = None
    xmp: Mapping[str, str] = field(factory=dict[str, str], repr=False)

    @property
    def ai_made(self) -> bool:
        """Whether it says that a model made it, or a part of it; no proof either way."""
        return self.digital_source in (TRAINED, COMPOSITE)

    def to_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {**asdict(self), "xmp": dict(self.xmp), "ai_made": self.ai_made}


def provenance_of(data: bytes, format: str, *, trust: bytes | None = None) -> Provenance:
    """Return what a file says of itself.

    Args:
        data: The file.
        format: Its format.
        trust: Certificates of those who are trusted to sign, as PEM.

    Raises:
        InvalidRequestError: ``trust`` holds no certificate as PEM.
    """
    if trust is not None and b"-----BEGIN CERTIFICATE-----" not in trust:
        # The library would call every signer a stranger, or blame the manifest.
        raise InvalidRequestError(
            "trust: no certificate as PEM is in it (openssl x509 -inform der makes PEM of DER)",
            field="trust",
            value=len(trust),
            allowed="text with -----BEGIN CERTIFICATE-----",
        )
    xmp = properties(data, format)
    signed = has_c2pa(data, format)
    credentials, note = _credentials(data, format, trust) if signed else (None, None)
    source = xmp.get("Iptc4xmpExt:DigitalSourceType", "").rpartition("/")[2] or None
    if credentials is not None:
        source = credentials.digital_source or source
    elif source is None and (label := label_of(data, format)):
        source = label.source
    return Provenance(
        digital_source=source,
        model=xmp.get("Iptc4xmpExt:AISystemUsed"),
        created=xmp.get("xmp:CreateDate"),
        id=xmp.get("dc:identifier"),
        software=xmp.get("xmp:CreatorTool"),
        signed=signed,
        credentials=credentials,
        note=note,
        xmp=xmp,
    )


def _credentials(
    data: bytes, format: str, trust: bytes | None
) -> tuple[Credentials | None, str | None]:
    try:
        library: Any = importlib.import_module("c2pa")  # it has no types
    except ImportError:
        return None, _MISSING
    settings: dict[str, Any] = {"verify": _OFFLINE}
    if trust is not None:
        settings["trust"] = {"trust_anchors": trust.decode("ascii", "replace")}
    try:
        context = library.Context(library.Settings.from_dict(settings))
        source, kind = io.BytesIO(data), FORMATS[format].mime_type
        with library.Reader(kind, source, context=context) as reader:
            whole = table(json.loads(reader.json()))
    except (library.C2paError, ValueError) as error:  # it is hostile or broken; so it is no proof
        return None, f"its manifest cannot be read: {str(error)[:200]}"
    return _read(whole, has_list=trust is not None), None


def _read(whole: Mapping[str, Any], *, has_list: bool) -> Credentials:
    manifest = table(table(whole.get("manifests")).get(str(whole.get("active_manifest"))))
    results = table(table(whole.get("validation_results")).get("activeManifest"))
    failures = tuple(code for code in _codes(results.get("failure")) if code != _UNTRUSTED)
    signature = table(manifest.get("signature_info"))
    generators = _list(manifest.get("claim_generator_info"))
    actions = [
        table(action)
        for assertion in map(table, _list(manifest.get("assertions")))
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in _list(table(assertion.get("data")).get("actions"))
    ]
    sources = [str(each["digitalSourceType"]) for each in actions if "digitalSourceType" in each]
    return Credentials(
        intact=not failures,
        trusted=_TRUSTED in _codes(results.get("success")) if has_list else None,
        signer=text_of(signature.get("issuer")),
        signed_at=text_of(signature.get("time")),
        generator=text_of(table(generators[0]).get("name")) if generators else None,
        digital_source=sources[0].rpartition("/")[2] if sources else None,
        actions=tuple(str(each.get("action"))[:100] for each in actions),
        problems=failures,
    )


def _codes(value: object) -> tuple[str, ...]:
    return tuple(str(table(each).get("code")) for each in _list(value))


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
