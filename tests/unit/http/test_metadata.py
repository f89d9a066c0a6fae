import pytest

from linarite.errors import InvalidPayload
from linarite.http.metadata import check_metadata


@pytest.mark.parametrize("metadata", [None, {}, {"a": "b"}, {"k" * 64: "v" * 512}])
def test_good_metadata_passes(metadata):
    check_metadata(metadata)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("x", "Invalid type for 'metadata': expected an object, but got a string instead."),
        ({"x": []}, "Invalid type for 'metadata.x': expected a string, but got an array instead."),
        ({"x": 5}, "Invalid type for 'metadata.x': expected a string, but got an integer instead."),
        ({"x": None}, "Invalid type for 'metadata.x': expected a string, but got null instead."),
        (
            {str(n): "v" for n in range(24)},
            "Invalid 'metadata': too many properties. Expected an object with at most 16 "
            "properties, but got an object with 24 properties instead.",
        ),
        (
            {"x": "v" * 513},
            "Invalid 'metadata.x': string too long. Expected a string with maximum length 512, "
            "but got a string with length 513 instead.",
        ),
        (
            {"k" * 65: "v"},
            "Invalid 'metadata': key too long. Expected a string with maximum length 64, "
            "but got a string with length 65 instead.",
        ),
    ],
)
def test_bad_metadata_is_refused_in_openais_words(metadata, message):
    with pytest.raises(InvalidPayload) as refusal:
        check_metadata(metadata)

    assert refusal.value.message == message


def test_every_fault_is_told():
    with pytest.raises(InvalidPayload) as refusal:
        check_metadata({"a": 1, "b": "fine", "c": []})

    assert [fault.target for fault in refusal.value.faults] == ["$.metadata.a", "$.metadata.c"]
