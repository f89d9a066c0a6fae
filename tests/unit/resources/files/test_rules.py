import pytest

from linarite.errors import InvalidPayload, PayloadTooLarge
from linarite.resources.files.rules import (
    check_lifetime,
    check_name,
    check_size,
    lifetime_in,
    purpose_of,
    size_limit,
)
from linarite.settings import LimitSettings
from linarite.wire.files import UPLOAD_FORM_PURPOSES, Purpose

AZURE = LimitSettings(profile="azure")


@pytest.mark.parametrize("text", ["", "batch ", "Batch", "batch_output", "evals"])
def test_a_form_takes_only_the_purposes_of_its_own_enum(text):
    with pytest.raises(InvalidPayload, match=r"^Invalid value for purpose\.$"):
        purpose_of(text, UPLOAD_FORM_PURPOSES)


def test_a_purpose_must_be_given():
    with pytest.raises(InvalidPayload, match="`purpose` is required"):
        purpose_of(None, UPLOAD_FORM_PURPOSES)


@pytest.mark.parametrize(
    ("purpose", "filename", "refusal"),
    [
        ("fine-tune", "a.txt", "fileName contains an invalid filename: wrong suffix."),
        ("fine-tune", "jsonl", "fileName contains an invalid filename: wrong suffix."),
        ("batch", "a.json", "Invalid file format for Batch API. Must be .jsonl"),
        ("assistants", "", "The file has no name."),
        ("assistants", "x" * 1025, "The file name has 1025 characters; it may have 1024."),
    ],
)
def test_a_name_that_does_not_fit_is_refused_in_the_services_words(purpose, filename, refusal):
    with pytest.raises(InvalidPayload) as raised:
        check_name(Purpose(purpose), filename)

    assert raised.value.message == refusal


@pytest.mark.parametrize(
    ("purpose", "filename"),
    [("batch", "A.JSONL"), ("fine-tune", "зап.jsonl"), ("assistants", "no suffix")],
)
def test_a_name_that_fits_passes(purpose, filename):
    check_name(Purpose(purpose), filename)


def test_the_services_own_sizes_come_with_its_profile():
    assert size_limit(AZURE, Purpose.BATCH) == 200 << 20
    assert size_limit(AZURE, Purpose.FINE_TUNE) == 512 << 20
    assert size_limit(AZURE, None) == 512 << 20
    assert size_limit(LimitSettings(), Purpose.BATCH) == 9 << 30


def test_a_file_may_be_as_large_as_its_purpose_allows_and_no_byte_larger():
    check_size(AZURE, Purpose.BATCH, 200 << 20)
    with pytest.raises(PayloadTooLarge, match="a file with purpose batch may have 209715200 bytes"):
        check_size(AZURE, Purpose.BATCH, (200 << 20) + 1)


@pytest.mark.parametrize("spelling", ["expires_after[{}]", "expires_after.{}"])
def test_a_lifetime_is_read_in_both_spellings(spelling):
    fields = {spelling.format("seconds"): "3600", spelling.format("anchor"): "created_at"}

    assert lifetime_in(fields) == 3600


def test_no_lifetime_is_for_ever():
    assert lifetime_in({"purpose": "batch"}) is None


@pytest.mark.parametrize(
    ("seconds", "anchor"),
    [
        ("3600", None),
        (None, "created_at"),
        ("3600", "last_used_at"),
        ("", "created_at"),
        ("-3600", "created_at"),
        ("3600.0", "created_at"),
        ("٣٦٠٠", "created_at"),
        ("9" * 5000, "created_at"),
    ],
)
def test_half_a_lifetime_or_a_wrong_one_is_refused(seconds, anchor):
    fields = {"expires_after[seconds]": seconds, "expires_after[anchor]": anchor}

    with pytest.raises(InvalidPayload, match="expires_after"):
        lifetime_in({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
def test_a_lifetime_has_bounds(seconds):
    with pytest.raises(InvalidPayload, match="between 3600 and 2592000"):
        check_lifetime(LimitSettings(), seconds)
