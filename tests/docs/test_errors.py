import re
from collections.abc import Iterator
from pathlib import Path

from linarite import errors
from linarite.errors import InferenceRefused, LinariteError

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
TREE = errors.__doc__ or ""


def every_class(base: type[LinariteError] = LinariteError) -> Iterator[type[LinariteError]]:
    for one in base.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
        yield from every_class(one)


def test_the_page_names_every_code_with_its_status_and_no_other():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \| .+ \|$", PAGE, re.MULTILINE)

    raised = {(one.code, str(one.status)) for one in every_class() if one is not InferenceRefused}

    assert set(rows) == raised
    assert len(rows) == len(set(rows))


def test_the_tree_is_drawn_as_it_is():
    drawn = re.findall(r"[├└]── (\w+)\s+(\d+|any)", TREE)

    assert dict(drawn) == {
        one.__name__: "any" if one is InferenceRefused else str(one.status) for one in every_class()
    }
