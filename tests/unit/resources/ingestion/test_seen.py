import pytest

from linarite.resources.ingestion.seen import Seen


def test_what_a_listing_showed_is_in_it_and_all_that_came_later():
    seen = Seen(100, 1_000)

    seen.add([100, 107, 108, 999, 1_000, 5_000])

    shown = [one for one in range(100, 1_001) if one in seen]
    assert shown == [100, 107, 108, 999, 1_000]
    assert 1_001 in seen


@pytest.mark.parametrize(("added", "are_all"), [([1, 2, 3], True), ([1, 3], False)])
def test_whether_all_were_shown_is_known_by_their_number(added, are_all):
    seen = Seen(1, 3)

    seen.add([*added, 17])

    assert seen.are_all(3) is are_all


def test_a_job_without_documents_has_shown_them_all():
    assert Seen(0, 0).are_all(0)
