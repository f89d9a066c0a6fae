from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from linarite.http.faults import invalid_body


class Inner(BaseModel):
    path: int = 0


class Body(BaseModel):
    items: list[Inner] = []
    metadata: dict[str, Annotated[str, Field(max_length=3)]] = {}
    name: Annotated[str, Field(min_length=1)] = "a"


def targets(value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(value)
    return [str(fault.target) for fault in invalid_body(caught.value.errors()).faults]


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ([], "$"),
        ({"name": ""}, "$.name"),
        ({"items": [{}, {"path": "x"}]}, "$.items[1].path"),
        ({"metadata": {"k": "long"}}, "$.metadata.k"),
        ({"metadata": {"k" * 500: "long"}}, "$.metadata." + "k" * 80 + "…"),
    ],
    ids=["whole", "field", "item", "key", "long-key"],
)
def test_a_fault_stands_at_its_path(value: object, target: str):
    assert targets(value) == [target]


def test_faults_beyond_fifty_are_not_told():
    assert len(targets({"metadata": {str(number): "long" for number in range(60)}})) == 50
