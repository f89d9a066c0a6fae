"""Sample documents, made by code: of every format that cracking reads, as small as they can be.

The hostile ones are in `hostile_documents`. Nothing here needs a package.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_KIND = "application/vnd.openxmlformats-officedocument."


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """A zip file, packed tightly and the same at every call."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, body in files.items():
            zip_file.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED, 9)
    return packed.getvalue()


def _relations(targets: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<Relationship Id="rId{n}" Type="{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def _package(main: str, kinds: Mapping[str, str], title: str | None) -> dict[str, str]:
    """What every Office file begins with: the kinds of its parts, the main one, its title."""
    overrides = "".join(
        f'<Override PartName="/{part}" ContentType="{_KIND}{kind}+xml"/>'
        for part, kind in kinds.items()
    )
    return {
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package'
        '.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/docProps/core.xml" ContentType="application/vnd'
        f'.openxmlformats-package.core-properties+xml"/>{overrides}</Types>',
        "_rels/.rels": _relations(
            [
                (f"{_OFFICE}/officeDocument", main),
                (f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
            ]
        ),
        "docProps/core.xml": f'{_XML}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/'
        'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{escape(title or '')}</dc:title></cp:coreProperties>",
    }


def docx(blocks: Sequence[str | Sequence[Sequence[str]]], title: str | None = None) -> bytes:
    """A Word document of paragraphs, headings (`# …`, `## …`) and tables (rows of cells)."""
    body = "".join(_word_block(block) for block in blocks)
    return docx_of(f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>', title)


def docx_of(document: str, title: str | None = None) -> bytes:
    """A Word document whose main part is given as XML."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/>'
        "</w:style>"
        for n in (1, 2, 3)
    )
    kinds = {
        "word/document.xml": "wordprocessingml.document.main",
        "word/styles.xml": "wordprocessingml.styles",
    }
    return archive(
        {
            **_package("word/document.xml", kinds, title),
            "word/_rels/document.xml.rels": _relations([(f"{_OFFICE}/styles", "styles.xml")]),
            "word/styles.xml": f'{_XML}<w:styles xmlns:w="{_WORD}">{styles}</w:styles>',
            "word/document.xml": document if document.startswith("<?xml") else _XML + document,
        }
    )


def _word_block(block: str | Sequence[Sequence[str]]) -> str:
    if isinstance(block, str):
        text = block.lstrip("#")
        level = len(block) - len(text)
        style = f'<w:pPr><w:pStyle w:val="Heading{level}"/></w:pPr>' if level else ""
        return (
            f'<w:p>{style}<w:r><w:t xml:space="preserve">{escape(text.strip())}</w:t></w:r></w:p>'
        )
    rows = ("".join(f"<w:tc>{_word_block(cell)}</w:tc>" for cell in row) for row in block)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def pptx(slides: Sequence[tuple[str, str, str]], title: str | None = None) -> bytes:
    """Slides of a heading, a text and the speaker's notes ('' for none)."""
    kinds = {"ppt/presentation.xml": "presentationml.presentation.main"}
    parts: dict[str, str] = {}
    for n, (heading, text, notes) in enumerate(slides, 1):
        kinds[f"ppt/slides/slide{n}.xml"] = "presentationml.slide"
        parts[f"ppt/slides/slide{n}.xml"] = _slide("sld", [("title", heading), ("body", text)])
        if notes:
            kinds[f"ppt/notesSlides/notesSlide{n}.xml"] = "presentationml.notesSlide"
            parts[f"ppt/notesSlides/notesSlide{n}.xml"] = _slide("notes", [("body", notes)])
            parts[f"ppt/slides/_rels/slide{n}.xml.rels"] = _relations(
                [(f"{_OFFICE}/notesSlide", f"../notesSlides/notesSlide{n}.xml")]
            )
    ids = "".join(f'<p:sldId id="{255 + n}" r:id="rId{n}"/>' for n in range(1, len(slides) + 1))
    return archive(
        {
            **_package("ppt/presentation.xml", kinds, title),
            "ppt/presentation.xml": f'{_XML}<p:presentation xmlns:p="{_SLIDE}" xmlns:r="{_OFFICE}">'
            f"<p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(
                (f"{_OFFICE}/slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)
            ),
            **parts,
        }
    )


def _slide(root: str, shapes: Sequence[tuple[str, str]]) -> str:
    drawn = "".join(
        f'<p:sp><p:nvSpPr><p:cNvPr id="{n}" name="{kind}"/><p:cNvSpPr/><p:nvPr>'
        f'<p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>'
        + "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.split("\n"))
        + "</p:txBody></p:sp>"
        for n, (kind, text) in enumerate(shapes, 2)
    )
    return (
        f'{_XML}<p:{root} xmlns:p="{_SLIDE}" xmlns:a="{_DRAWING}" xmlns:r="{_OFFICE}"><p:cSld>'
        '<p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr>'
        f"<p:grpSpPr/>{drawn}</p:spTree></p:cSld></p:{root}>"
    )


def xlsx(sheets: Mapping[str, Sequence[Sequence[str | float]]], title: str | None = None) -> bytes:
    """A workbook of sheets, each of rows of texts and numbers."""
    kinds = {"xl/workbook.xml": "spreadsheetml.sheet.main"}
    parts: dict[str, str] = {}
    for n, rows in enumerate(sheets.values(), 1):
        kinds[f"xl/worksheets/sheet{n}.xml"] = "spreadsheetml.worksheet"
        drawn = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'{_XML}<worksheet xmlns="{_SHEET}"><sheetData>{drawn}</sheetData></worksheet>'
        )
    names = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>'
        for n, name in enumerate(sheets, 1)
    )
    return archive(
        {
            **_package("xl/workbook.xml", kinds, title),
            "xl/workbook.xml": f'{_XML}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}">'
            f"<sheets>{names}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": _relations(
                (f"{_OFFICE}/worksheet", f"worksheets/sheet{n}.xml")
                for n in range(1, len(sheets) + 1)
            ),
            **parts,
        }
    )


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"


def pdf(pages: Sequence[Sequence[str]], title: str | None = None, trailer: bytes = b"") -> bytes:
    """A PDF of lines a page, `# …` for a heading; `trailer` goes into its trailer dictionary."""
    kids = [4 + 2 * n for n in range(len(pages))]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for kid, lines in zip(kids, pages, strict=True):
        drawn = _drawn(lines)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (kid + 1),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        ]
    if title is not None:
        objects.append(b"<< /Title (%s) >>" % _quoted(title))
        trailer += b" /Info %d 0 R" % len(objects)
    body, places = b"%PDF-1.7\n", []
    for n, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (n, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return b"%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R %s >>\n" % (
        (body, len(objects) + 1, table, len(objects) + 1, trailer)
    ) + b"startxref\n%d\n%%%%EOF\n" % len(body)


def _drawn(lines: Sequence[str]) -> bytes:
    drawn = [b"BT 72 770 Td 15 TL"]
    for line in lines:
        size = 18 if line.startswith("# ") else 11
        drawn.append(b"/F1 %d Tf (%s) Tj T*" % (size, _quoted(line.removeprefix("# "))))
    return b"\n".join([*drawn, b"ET"])


def _quoted(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return escaped.encode("cp1252")
