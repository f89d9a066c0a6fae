"""What files give, read by the real child process."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support import documents, hostile_documents

from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.cracking.cracker import Cracker, cracker_version
from linarite.indexing.cracking.formats import is_supported
from linarite.indexing.failures import DocumentFailed

Crack = Callable[..., Cracked]


@pytest.fixture(scope="module")
def cracker() -> Iterator[Cracker]:
    with Cracker() as cracker:
        yield cracker


@pytest.fixture
def crack(cracker: Cracker, tmp_path: Path) -> Crack:
    def crack(name: str, body: bytes | str, content_type: str | None = None) -> Cracked:
        path = tmp_path / "document"
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        [outcome] = cracker.crack([File(path, name, content_type)])
        if isinstance(outcome, DocumentFailed):
            raise outcome
        return outcome

    return crack


def reason(crack: Crack, name: str, body: bytes | str, content_type: str | None = None) -> str:
    with pytest.raises(DocumentFailed) as failed:
        crack(name, body, content_type)
    return str(failed.value)


def test_a_text_is_itself(crack: Crack):
    cracked = crack("a.txt", "\n---\nOpening hours\r\nFrom nine to five.\n")

    assert cracked.text == "\n---\nOpening hours\nFrom nine to five.\n"
    assert cracked.title == "Opening hours"


@pytest.mark.parametrize(
    ("name", "body", "title"),
    [
        ("a.txt", "Old notes\ntitle: The right one\n", "The right one"),
        ("a.md", "---\nlayout: x\ntitle: 'In front'\n---\n# Heading\n", "In front"),
        ("a.md", "Some words.\n\n## The *second* level\n", "The *second* level"),
        ("a.md", "Only **words**.\n", "Only **words**."),
        ("a.html", "<title>A &amp;\n B</title><h1>Heading</h1><p>Text.", "A & B"),
        ("a.html", "<h2>Heading</h2><p>Text.", "Heading"),
        ("a.html", "<p>Text alone.", "Text alone."),
        ("a.csv", "a,b\nc,d\n", None),
        ("a.txt", "x" * 500, "x" * 200),
    ],
)
def test_a_title_is_what_the_document_calls_itself(crack: Crack, name, body, title):
    assert crack(name, body).title == title


def test_the_title_of_a_pdf_is_not_the_name_of_the_file_it_was_made_of(crack: Crack):
    page = [["Some words."]]

    assert crack("a.pdf", documents.pdf(page, "The handbook")).title == "The handbook"
    assert crack("a.pdf", documents.pdf(page, "Microsoft Word - notes2.doc")).title is None


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8-sig", "Grüße aus Wien \u2013 博物館"),
        ("utf-16", "Grüße aus Wien \u2013 博物館"),
        ("utf-16-le", "Plain words, without a mark at the start."),
        ("utf-32", "Grüße"),
        ("cp1252", "Le musée est fermé à Noël. L\u2019entrée coûte 5 €."),
        ("shift_jis", "博物館は九時に開きます。月曜日は休館です。"),
        ("gb18030", "博物馆九点开门。星期一闭馆。" * 10),
        ("cp1251", "Музей открывается в девять часов утра."),
        ("cp1251", "Киты поют в море, и их слышно далеко. " * 2),
    ],
)
def test_the_charset_of_a_text_is_found(crack: Crack, charset, text):
    assert crack("a.txt", text.encode(charset)).text == text


def test_a_charset_that_is_declared_is_believed_when_it_fits(crack: Crack):
    page = '<html><head><meta charset="Shift_JIS"></head><body><p>九時に開く</p></body></html>'

    assert crack("a.html", page.encode("shift_jis")).text.strip() == "九時に開く"
    assert crack("a.txt", "Čas".encode("cp1250"), "text/plain; charset=windows-1250").text == "Čas"
    assert crack("a.txt", "Čas".encode(), "text/plain; charset=utf-16").text == "Čas"
    assert crack("a.txt", "Čas".encode(), "text/plain; charset=nonsense").text == "Čas"


def test_a_small_page_is_taken_whole_but_for_its_menu(crack: Crack):
    cracked = crack(
        "a.html",
        "<html><head><title>Hours</title><style>x{}</style></head><body><nav><a href=b>Menu</a>"
        "</nav><h1>When we open</h1><p>At nine &amp; at two.</p><ul><li>Monday</li></ul>"
        "<table><tr><th>Day</th><th>Hours</th></tr><tr><td>Tue</td><td>9</td></tr></table>"
        "<script>alert(1)</script></body></html>",
    )

    assert cracked.text.startswith("# When we open\n\nAt nine & at two.\n\n- Monday\n")
    assert "| Tue | 9" in cracked.text
    assert not any(word in cracked.text for word in ("Menu", "alert", "x{}"))


def test_a_large_page_is_taken_without_what_is_around_its_article(crack: Crack):
    article = "".join(f"<h2>Part {n}</h2><p>Rocks are many minerals, {n}.</p>" for n in range(90))
    around = "<div class=sidebar>" + "<a href=x>Other page</a> " * 30 + "</div>"

    text = crack(
        "a.html", f"<html><body>{around}<article><h1>Rocks</h1>{article}</article></body></html>"
    ).text

    assert "## Part 89\n\nRocks are many minerals, 89." in text
    assert "Other page" not in text


def test_a_pdf_gives_its_lines_in_order(crack: Crack):
    text = crack(
        "a.pdf", documents.pdf([["# Rules", "Do not touch (please)."], ["# Prices", "12 euros."]])
    ).text

    assert [
        text.index(words) for words in ("Rules", "(please)", "# Prices", "12 euros.")
    ] == sorted(text.index(words) for words in ("Rules", "(please)", "# Prices", "12 euros."))


def test_a_word_document_keeps_headings_and_tables(crack: Crack):
    cracked = crack(
        "a.docx",
        documents.docx(["# Prices", "For & against", [["Who", "Price"], ["Child", "5"]]], "Fees"),
    )

    assert cracked.text.strip() == (
        "# Prices\n\nFor & against\n\n| Who | Price |\n| --- | --- |\n| Child | 5 |"
    )
    assert cracked.title == "Fees"


def test_a_long_table_of_a_word_document_repeats_its_header(crack: Crack):
    rows = [[str(n), f"stone {n}"] for n in range(50)]

    text = crack("a.docx", documents.docx(["Before", [["No", "Name"], *rows], "After"])).text

    assert text.count("| No | Name |\n| --- | --- |\n") == 3
    assert [line for line in text.splitlines() if "stone" in line] == [
        f"| {n} | stone {n} |" for n in range(50)
    ]
    assert text.strip().endswith("| 49 | stone 49 |\n\nAfter")


def test_slides_keep_what_the_speaker_says(crack: Crack):
    cracked = crack(
        "a.pptx", documents.pptx([("Welcome", "One\nTwo", "Wait for silence."), ("End", "Bye", "")])
    )

    assert "\n".join(cracked.text.split("\n\n")).strip() == (
        "## Welcome\nOne\nTwo\nNotes: Wait for silence.\n## End\nBye"
    )


def test_every_row_of_a_workbook_names_its_columns(crack: Crack):
    cracked = crack(
        "a.xlsx",
        documents.xlsx(
            {
                "Minerals": [["Name", "Hardness", "Note"], ["Quartz", 7, ""], ["Talc", 1, "a; b"]],
                "Empty": [],
                "Figures": [[1, 2], [3, 4.5]],
            }
        ),
    )

    assert cracked.text == (
        "## Minerals\n\nName: Quartz; Hardness: 7\nName: Talc; Hardness: 1; Note: a; b\n\n"
        "## Figures\n\n1 | 2\n3 | 4.5\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        'Name,Price\n"Quartz, clear",3\nTalc,\n',
        'Name;Price\n"Quartz, clear";3\nTalc;\n',
        "Name\tPrice\nQuartz, clear\t3\nTalc\t\n",
        'Name,Price\r"Quartz,\r\nclear",3\r\n\r\nTalc,\r',
    ],
    ids=["comma", "semicolon", "tab", "newlines"],
)
def test_every_row_of_a_csv_names_its_columns(crack: Crack, body):
    assert crack("a.csv", body).text == "Name: Quartz, clear; Price: 3\nName: Talc"


def test_a_csv_without_a_header_has_its_cells_joined(crack: Crack):
    assert crack("a.csv", "1,2\n3,4\n").text == "1 | 2\n3 | 4"


def test_a_cell_may_hold_a_whole_article(crack: Crack):
    article = "Many words. " * 20_000

    assert crack("a.csv", f'name,text\nQuartz,"{article}"\n').text.endswith(article.strip())


@pytest.mark.parametrize("sign", ["\u2028", "\x85"])
def test_a_line_of_json_ends_where_the_line_does(crack: Crack, sign: str):
    body = json.dumps({"a": f"b{sign}c"}, ensure_ascii=False) + '\r\n{"a": 1}\n'

    assert crack("a.jsonl", body).text.split() == ["a:", "b", "c", "a:", "1"]


def test_every_line_of_a_json_file_tells_where_it_stands(crack: Crack):
    body = {
        "name": "Museum",
        "open": True,
        "rooms": [{"no": 1, "of": {"stone": "quartz"}}, {"no": 2.50, "of": None}],
        "days": ["Tue", "Wed"],
    }

    assert crack("a.json", json.dumps(body)).text.strip() == (
        "name: Museum\nopen: true\n\nrooms[0].no: 1\nrooms[0].of.stone: quartz\n\n"
        "rooms[1].no: 2.5\ndays: Tue, Wed"
    )
    assert crack("a.jsonl", '{"a": 1}\n\n{"a": 1e999}\n').text.strip() == "a: 1\n\na: 1e999"


def test_a_file_is_what_it_is_whatever_it_is_called(crack: Crack):
    page = documents.pdf([["Words in a PDF."]])

    assert "Words in a PDF." in crack("a.txt", page).text
    assert "Words in a PDF." in crack("a.docx", page).text
    assert crack("page", "<p>Words", "text/html; charset=utf-8").text.strip() == "Words"
    assert crack("a.pdf", "<p>Words", "text/html").text.strip() == "Words"
    assert crack("a.txt", "<!doctype html><p>Words", "text/html").text.strip() == "Words"
    assert crack("a.csv", "a,b\n1,2\n", "text/plain").text == "a: 1; b: 2"


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("a.png", b"\x89PNG", "Documents of the type .png are not read; these are: .txt, "),
        ("a.txt", b"", "No text was found."),
        ("a.txt", " \n\t\n", "No text was found."),
        ("a.csv", " , ,\n", "No text was found."),
        ("a.json", "[null, {}]", "No text was found."),
        ("a.pdf", documents.pdf([[]]), "No text was found; scanned pages are not read."),
        ("a.pdf", hostile_documents.encrypted_pdf(), "The PDF is encrypted."),
        ("a.pdf", documents.pdf([["Words"]])[:-40], "The PDF is cut off: its end is missing."),
        ("a.pdf", b"%PDF-1.7\nwhat?\n%%EOF", "The file is damaged or is not a PDF: "),
        ("a.pdf", "<!doctype html><p>Log in", "The file is not a PDF."),
        (
            "a.docx",
            documents.docx(["Words"])[:900],
            "The file is damaged or is not a Word document",
        ),
        ("a.docx", documents.archive({"x": b"y"}), "The file is damaged or is not a Word document"),
        (
            "a.docx",
            hostile_documents.encrypted_office(),
            "The file is encrypted; a Word document is",
        ),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1old", "The file is of an old Office format,"),
        ("a.txt", bytes(range(256)) * 4, "The file is not text: it holds binary data."),
        ("a.json", '{"a": 1', "The file is not JSON: Expecting ',' delimiter in line 1, column 8."),
        ("a.jsonl", '{"a": 1}\n{"a"', "The file is not JSON: Expecting ':' delimiter in line 2."),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "bytes",
)
def test_what_cannot_be_read_is_told(crack: Crack, name, body, told):
    assert reason(crack, name, body).startswith(told)


@pytest.mark.parametrize("depth", [150, 100_000])
def test_json_that_nests_without_end_is_refused(crack: Crack, depth):
    assert "nests deeper than 100" in reason(crack, "a.json", "[" * depth + "1" + "]" * depth)


def test_no_text_comes_back_that_a_database_refuses(crack: Crack):
    assert crack("a.txt", "some words\0" + "and more words " * 20).text.startswith("some words and")
    assert crack("a.json", r'"a \ud83d b \u0000 c"').text.strip() == "a ? b   c"


def test_a_bomb_costs_little(crack: Crack):
    assert "holds more than is read" in reason(crack, "a.docx", hostile_documents.docx_bomb())
    assert "No text" in reason(crack, "a.pdf", hostile_documents.pdf_bomb())


def test_a_little_json_that_grows_is_cut_off(crack: Crack):
    body = json.dumps({"k" * 100_000: [{"a": 1}] * 20_000})

    assert reason(crack, "a.json", body) == "The text is longer than 16,000,000 characters."


def test_entities_bring_nothing_in(crack: Crack, tmp_path: Path):
    (tmp_path / "secret").write_text("the secret")

    xxe = crack("a.docx", hostile_documents.docx_with_entity(f"file://{tmp_path}/secret"))

    assert "secret" not in xxe.text
    assert len(crack("a.docx", hostile_documents.docx_of_laughs()).text) < 100


def test_a_package_that_climbs_writes_nothing(crack: Crack, tmp_path: Path):
    target = tmp_path / "climbed"

    crack("a.docx", hostile_documents.docx_that_climbs(str(target)))

    assert not target.exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ("a.docx", hostile_documents.docx_in_depth()),
        lambda: ("a.docx", hostile_documents.nested_zip()),
        lambda: ("a.pdf", hostile_documents.pdf_of_circles()),
        lambda: ("a.html", "<html><body>" + "<div>" * 100_000 + "text"),
        lambda: ("a.html", "<b>" * 20_000 + "text" + "<p>para " * 20_000),
        lambda: ("a.html", "<p " + 'a="b" ' * 300_000 + ">text"),
        lambda: ("a.md", "> " * 100_000),
        lambda: ("a.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 40),
    ],
    ids=[
        "deep tables",
        "zips in zips",
        "circle",
        "deep html",
        "open tags",
        "attrs",
        "quotes",
        "junk",
    ],
)
def test_what_is_odd_ends_soon_one_way_or_the_other(crack: Crack, make):
    """Which way is the libraries' matter; that the next document is read as ever is not."""
    with suppress(DocumentFailed):
        crack(*make())

    assert crack("a.txt", "words").text == "words"


@pytest.mark.parametrize(
    ("name", "content_type", "is_read"),
    [
        ("a/b.PDF", None, True),
        ("notes", "text/plain; charset=utf-8", True),
        ("page.php", "text/html", True),
        ("a.docx", "application/octet-stream", True),
        ("a.png", "image/png", False),
        ("a.doc", None, False),
        ("folder.pdf/readme", None, False),
        ("", "", False),
    ],
)
def test_what_is_read_is_known_before_it_is_fetched(name, content_type, is_read):
    assert is_supported(name, content_type) is is_read


def test_the_version_names_the_libraries():
    assert " xberg-" in cracker_version()
    assert " trafilatura-" in cracker_version()
