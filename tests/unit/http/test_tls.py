"""The certificate that a server makes for itself."""

import datetime
import stat
from pathlib import Path

from cryptography import x509

from linarite.http import tls


def names(cert: Path) -> set[str]:
    loaded = x509.load_pem_x509_certificate(cert.read_bytes())
    found = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_it_answers_to_the_names_asked_for_and_to_local_ones(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, ["ai.corp", "10.0.0.7"])

    assert {"ai.corp", "10.0.0.7", "localhost", "127.0.0.1", "::1"} <= names(made.cert)


def test_it_is_kept_as_long_as_it_serves(tmp_path: Path) -> None:
    first = tls.self_signed(tmp_path, ["ai.corp"]).cert.read_bytes()

    assert tls.self_signed(tmp_path, ["ai.corp"]).cert.read_bytes() == first


def test_new_names_bring_a_new_certificate_of_the_same_authority(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, ["ai.corp"])
    first, authority = made.cert.read_bytes(), made.authority.read_bytes()

    tls.self_signed(tmp_path, ["other.corp"])

    assert made.cert.read_bytes() != first
    assert made.authority.read_bytes() == authority
    assert "other.corp" in names(made.cert)


def test_one_that_runs_out_is_made_anew(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, [])
    loaded = x509.load_pem_x509_certificate(made.cert.read_bytes())
    wanted = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    soon = loaded.not_valid_after_utc - datetime.timedelta(days=29)

    assert not tls._serves(made.cert, wanted, soon)
    assert tls._serves(made.cert, wanted, soon - datetime.timedelta(days=5))


def test_its_keys_are_their_owners_alone(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, [])

    for key in (made.key, tmp_path / "ca-key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
