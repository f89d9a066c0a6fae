from pathlib import Path

import pytest
from tests.contract.deviations import ADDED, GATEWAY_CODES, REPLACED

PAGE = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", sorted({*REPLACED, *ADDED}), ids=".".join)
def test_a_field_that_differs_from_the_contract_is_on_the_page(field):
    assert f"`{'.'.join(field)}`" in PAGE


@pytest.mark.parametrize("code", sorted({*GATEWAY_CODES} - {"429"}))
def test_a_code_of_the_gateway_is_on_the_page(code):
    assert f"`{code}`" in PAGE
