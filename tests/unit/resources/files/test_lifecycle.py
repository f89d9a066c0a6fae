import pytest

from linarite.resources.files.lifecycle import FILE
from linarite.resources.uploads.lifecycle import UPLOAD
from linarite.wire.files import FileState
from linarite.wire.uploads import UploadStatus


@pytest.mark.parametrize(("life", "first"), [(FILE, "pending"), (UPLOAD, "pending")])
def test_every_state_is_reached_from_the_first(life, first):
    reached, waiting = set(), [first]
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting += life.moves[state] - reached

    assert reached == set(life.moves)


def test_a_file_is_never_in_the_states_kept_for_compatibility():
    assert set(FileState) - set(FILE.moves) == {FileState.UPLOADED, FileState.DELETING}


def test_nothing_follows_the_end_of_an_upload():
    assert set(UPLOAD.final) == set(UploadStatus) - {UploadStatus.PENDING}


def test_a_processed_file_never_goes_back_to_work():
    assert FILE.moves[FileState.PROCESSED] == {FileState.DELETED}
