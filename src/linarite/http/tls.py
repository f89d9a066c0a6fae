"""A certificate for servers that have none: a local authority, and what it vouches for.

Made once and kept in a folder; the server's certificate is made anew when it runs out or the names
it must answer to change, the authority stays, so that who trusts it goes on trusting.
"""

import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397  # what browsers accept at most
_RENEW_DAYS = 30
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class SelfSigned:
    """PEM files: what clients are told to trust, and what the server shows and keeps."""

    authority: Path
    cert: Path
    key: Path


def self_signed(folder: Path, names: Sequence[str]) -> SelfSigned:
    """The certificate of a server that answers to `names` (hosts or addresses) and locally.

    Makes what is missing, outdated or of other names.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = SelfSigned(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority_key = folder / "ca-key.pem"
    wanted = _subject_names(dict.fromkeys([*_LOCAL_NAMES, socket.gethostname(), *names]))
    now = datetime.datetime.now(datetime.UTC)
    if not (files.authority.is_file() and authority_key.is_file()):
        key, authority = _make_authority(now)
        _write(authority_key, _key_pem(key))
        _write(files.authority, _pem(authority))
        files.cert.unlink(missing_ok=True)
    if not (files.key.is_file() and _serves(files.cert, wanted, now)):
        loaded = serialization.load_pem_private_key(authority_key.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
        key, certificate = _make_certificate(loaded, authority, wanted, now)
        _write(files.key, _key_pem(key))
        _write(files.cert, _pem(certificate) + _pem(authority))
    return files


def how_to_trust(authority: Path) -> str:
    """What to set so that clients trust the server, in shell lines."""
    path = authority.absolute()
    return (
        f"export SSL_CERT_FILE={path}         # curl, Python's openai\n"
        f"export REQUESTS_CA_BUNDLE={path}    # Azure's tools and libraries\n"
        f"export NODE_EXTRA_CA_CERTS={path}   # Node"
    )


def _subject_names(names: Sequence[str] | dict[str, None]) -> x509.SubjectAlternativeName:
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def _serves(cert: Path, wanted: x509.SubjectAlternativeName, now: datetime.datetime) -> bool:
    if not cert.is_file():
        return False
    found = x509.load_pem_x509_certificate(cert.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    lasting = found.not_valid_after_utc - now > datetime.timedelta(days=_RENEW_DAYS)
    return lasting and set(names) == set(wanted)


def _make_authority(
    now: datetime.datetime,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Linarite local authority")])
    builder = (
        _builder(name, name, key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, builder.sign(key, hashes.SHA256())


def _make_certificate(
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    names: x509.SubjectAlternativeName,
    now: datetime.datetime,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Linarite")])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(name, authority.subject, key.public_key(), now, _SERVER_DAYS)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, builder.sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # for clocks that are behind
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
