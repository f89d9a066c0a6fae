import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "commands.md", "engines.md"])
def test_a_generated_page_is_what_the_code_says(page):
    written = (DOCS / page).read_text(encoding="utf-8")

    assert written == generator().PAGES[page](), "run `make docs`"


def test_every_setting_says_what_it_is_for():
    rows = (DOCS / "settings.md").read_text(encoding="utf-8").splitlines()

    assert [row for row in rows if row.startswith("| `") and row.endswith("|  |")] == []
