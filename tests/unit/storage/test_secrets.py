import pytest

from linarite.storage.secrets import Secrets, UnreadableSecret, kept_key


def test_a_sealed_secret_opens_with_its_key_and_cannot_be_read_without(tmp_path):
    secrets = Secrets(kept_key(tmp_path))

    sealed = secrets.seal("https://store/x?sig=s3cret")

    assert "s3cret" not in sealed
    assert Secrets(kept_key(tmp_path)).open(sealed) == "https://store/x?sig=s3cret"


def test_another_key_does_not_open_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sealed = Secrets(kept_key(tmp_path / "a")).seal("x")

    with pytest.raises(UnreadableSecret):
        Secrets(kept_key(tmp_path / "b")).open(sealed)


def test_the_key_is_for_its_owner_alone(tmp_path):
    kept_key(tmp_path)

    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]
