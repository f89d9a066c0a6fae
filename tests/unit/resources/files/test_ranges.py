import pytest

from linarite.resources.files.ranges import (
    Span,
    Unsatisfiable,
    attachment,
    is_known,
    wanted_span,
)

ETAG, MODIFIED = '"abc"', "Tue, 24 Nov 2026 09:00:00 GMT"


def span(size: int = 10, **headers: str) -> Span | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wanted_span(named, size, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=3-99", 3, 10),
        ("bytes=9-", 9, 10),
        ("bytes=-1", 9, 10),
        ("bytes=-99", 0, 10),
        ("BYTES=2-3", 2, 4),
        ("bytes= 2-3", 2, 4),
    ],
)
def test_one_range_is_the_bytes_that_it_names(wanted, start, end):
    assert span(range=wanted) == Span(start, end)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_without_a_byte_is_not_satisfiable(wanted):
    with pytest.raises(Unsatisfiable):
        span(range=wanted)


def test_no_range_of_an_empty_content_is_satisfiable():
    with pytest.raises(Unsatisfiable):
        span(size=0, range="bytes=0-")


@pytest.mark.parametrize(
    "wanted",
    ["", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "0-1"],
)
def test_what_is_no_single_range_gets_the_whole(wanted):
    assert span(range=wanted) is None


def test_a_range_of_content_that_has_changed_gets_the_whole():
    assert span(range="bytes=0-1", if_range='"old"') is None
    assert span(range="bytes=0-1", if_range=ETAG) == Span(0, 2)
    assert span(range="bytes=0-1", if_range=MODIFIED) == Span(0, 2)


@pytest.mark.parametrize("known", ['"abc"', 'W/"abc"', '"x", "abc"', "*"])
def test_a_caller_who_has_the_content_says_so_by_its_tag(known):
    assert is_known({"if-none-match": known}, ETAG)


@pytest.mark.parametrize("known", ["", '"x"', "abc"])
def test_another_tag_is_not_known(known):
    assert not is_known({"if-none-match": known}, ETAG)


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a b.jsonl", 'attachment; filename="a b.jsonl"'),
        (
            "größe.jsonl",
            "attachment; filename=\"gr__e.jsonl\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.jsonl",
        ),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
        ("../x", 'attachment; filename="../x"'),
    ],
)
def test_any_name_goes_into_a_header(filename, header):
    assert attachment(filename) == header
