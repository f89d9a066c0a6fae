"""Documents that want to harm whoever reads them, made by code."""

import hashlib

from tests.support.documents import archive, docx, docx_of, pdf

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx_bomb(unpacked_bytes: int = 150_000_000) -> bytes:
    """Small on the disk, `unpacked_bytes` of one paragraph when it is unpacked."""
    words = "a" * unpacked_bytes
    return docx_of(
        f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>{words}</w:t></w:r></w:p>'
        "</w:body></w:document>"
    )


def docx_with_entity(address: str) -> bytes:
    """A Word document whose text is what lies at `address`, were it looked up (XXE)."""
    return docx_of(
        f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "{address}">]>'
        f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>Before &x; after</w:t></w:r></w:p>'
        "</w:body></w:document>"
    )


def docx_of_laughs() -> bytes:
    """A Word document of ten entities, each ten of the one before (billion laughs)."""
    entities = '<!ENTITY e0 "ha">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 11)
    )
    return docx_of(
        f'<?xml version="1.0"?><!DOCTYPE d [{entities}]>'
        f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>x &e10;</w:t></w:r></w:p>'
        "</w:body></w:document>"
    )


def docx_that_climbs(target: str) -> bytes:
    """A Word document with a member named `../…/target` beside its good ones."""
    import io
    import zipfile

    packed = io.BytesIO(docx(["A good paragraph."]))
    with zipfile.ZipFile(packed, "a") as zip_file:
        zip_file.writestr(f"{'../' * 12}{target.lstrip('/')}", "climbed")
        zip_file.writestr(target, "climbed")
    return packed.getvalue()


def docx_in_depth(depth: int = 50_000) -> bytes:
    """A Word document of `depth` tables, each in a cell of the one before."""
    opened = "<w:tbl><w:tr><w:tc>" * depth
    closed = "</w:tc></w:tr></w:tbl>" * depth
    return docx_of(
        f'<w:document xmlns:w="{_WORD}"><w:body>{opened}<w:p><w:r><w:t>deep</w:t></w:r></w:p>'
        f"{closed}</w:body></w:document>"
    )


def nested_zip(depth: int = 8) -> bytes:
    """A zip file of ten zip files of ten zip files …, each ten times the same bytes."""
    inner = archive({"zeros": bytes(10_000_000)})
    for _ in range(depth):
        inner = archive({f"{n}.zip": inner for n in range(10)})
    return inner


def encrypted_pdf() -> bytes:
    """A PDF whose password nobody gave (RC4, 40 bits)."""
    owner = hashlib.sha256(b"owner").digest()
    user = hashlib.sha256(b"user").digest()
    trailer = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -44 /O <%s> /U <%s> >> "
        b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
        % (owner.hex().encode(), user.hex().encode())
    )
    return pdf([["A secret line."]], trailer=trailer)


def pdf_of_circles() -> bytes:
    """A PDF whose tree of pages leads back to itself."""
    return pdf([["One line."]]).replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")


def pdf_bomb(unpacked_bytes: int = 200_000_000) -> bytes:
    """A PDF with a page whose drawing is that long when it is unpacked."""
    import zlib

    drawn = zlib.compress(b" " * unpacked_bytes, 9)
    drawn = zlib.compress(drawn, 9)
    good = pdf([["One line."]])
    start = good.index(b"<< /Length", good.index(b"5 0 obj"))
    end = good.index(b"endstream", start)
    return (
        good[:start]
        + b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n" % len(drawn)
        + drawn
        + b"\n"
        + good[end:]
    )


def encrypted_office() -> bytes:
    """As much of an encrypted Office file as tells that it is one."""
    mark = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    return mark + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(900)
