"""Ways to an Azure Blob container: a connection string, a key, this server's own identity.

Nothing is asked yet when a client is made, but what is written in a connection is read, so that
one that cannot work is told. Every host passes the guard when it is connected to.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient, LinearRetry

from linarite.indexing.azure_transport import guarded_transport
from linarite.indexing.failures import IngestionFailed
from linarite.outbound import Allowed, opened
from linarite.settings import OutboundSettings

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_NAME = re.compile(r"\$root|\$web|\$logs|[a-z0-9](?:-?[a-z0-9]){2,62}")
_RANGE_BYTES = 4 << 20
_RETRIES = 2  # of one request, at once; a run tries again after a while


def by_connection_string(
    text: str, container: str, outbound: OutboundSettings, *, is_named: bool = False
) -> ContainerClient:
    """A client of the container in the account that a connection string names.

    With ``UseDevelopmentStorage=true`` that is the emulator on this machine, which is reached
    where the operator opened ``127.0.0.1:10000``.

    Args:
        text: with an account key or a shared access signature.
        container: its name.
        outbound: the ``[outbound]`` section.
        is_named: whether the operator wrote the connection, whose host is open then.

    Raises:
        IngestionFailed: it cannot be read.
    """
    name = _container(container)
    try:
        plain = ContainerClient.from_connection_string(text, name)
        where = _checked(plain.primary_endpoint)
        if plain.credential is None and "sig=" not in plain.url:
            raise ValueError("nothing that authorizes")
        reach = opened(outbound, where) if is_named else outbound
        return ContainerClient.from_connection_string(text, name, **_how(reach))
    except ValueError:
        raise IngestionFailed(
            "The connection string of the storage cannot be read: it needs BlobEndpoint, or "
            "AccountName, and AccountKey or SharedAccessSignature."
        ) from None


def by_key(
    endpoint: str, key: str, container: str, outbound: OutboundSettings, *, is_named: bool = False
) -> ContainerClient:
    """A client of the container at an endpoint, by an account key or a shared access signature.

    Args:
        endpoint: the account's address; the container, and a signature, may stand in it.
        key: the account key or the signature; empty where the endpoint has one.
        container: its name.
        outbound: the ``[outbound]`` section.
        is_named: whether the operator wrote the connection, whose host is open then.

    Raises:
        IngestionFailed: it cannot be read.
    """
    account_url = _account_url(endpoint, container)
    credential = _credential(account_url, key or urlsplit(endpoint).query)
    return _client(account_url, container, credential, outbound, is_named=is_named)


def by_identity(
    endpoint: str,
    container: str,
    outbound: OutboundSettings,
    *,
    hosts: Sequence[str],
    is_named: bool = False,
    credential: "TokenCredential | None" = None,
) -> ContainerClient:
    """A client of the container at an endpoint, by this server's own identity.

    Args:
        endpoint: the account's address, https; the container may stand in it.
        container: its name.
        outbound: the ``[outbound]`` section.
        hosts: who may be shown the identity: entries such as ``*.blob.core.windows.net``.
        is_named: whether the operator wrote the connection, which is then trusted with it.
        credential: the identity; by default what azure-identity finds on this machine.

    Raises:
        IngestionFailed: it cannot be read, or the host may not be shown the identity.
    """
    account_url = _account_url(endpoint, container)
    parts = urlsplit(account_url)
    host = (parts.hostname or "").rstrip(".")
    trusted = map(Allowed.parse, hosts)
    if not is_named and not any(entry.opens(host, parts.port or 443, None) for entry in trusted):
        raise IngestionFailed(
            f"The storage {host} may not be shown this server's identity; its operator can list "
            "it in the setting `outbound.identity_hosts`."
        )
    if parts.scheme != "https":
        raise IngestionFailed(
            f"The storage {host} is not reached by https, and an identity is shown by https only."
        )
    return _client(account_url, container, credential or _own(), outbound, is_named=is_named)


def _client(
    account_url: str,
    container: str,
    credential: Any,
    outbound: OutboundSettings,
    *,
    is_named: bool,
) -> ContainerClient:
    reach = opened(outbound, account_url) if is_named else outbound
    try:
        return ContainerClient(account_url, _container(container), credential, **_how(reach))
    except ValueError:
        raise IngestionFailed(
            "The endpoint and key of the storage do not fit together; the endpoint is "
            "https://ACCOUNT.blob.core.windows.net, the key an account key or a shared access "
            "signature."
        ) from None


def _how(outbound: OutboundSettings) -> dict[str, Any]:
    return {
        "transport": guarded_transport(outbound),
        "retry_policy": LinearRetry(backoff=1, retry_total=_RETRIES, random_jitter_range=0),
        "max_single_put_size": _RANGE_BYTES,
        "max_single_get_size": _RANGE_BYTES,
        "max_chunk_get_size": _RANGE_BYTES,
    }


def _checked(url: str) -> str:
    """The address without its query; raises ValueError unless it is one of the web."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError("no address of the web")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _account_url(endpoint: str, container: str) -> str:
    """The address of the account, whether or not the container stands in it."""
    try:
        url = _checked(endpoint.strip())
    except ValueError:
        raise IngestionFailed(
            "The endpoint of the storage is no address such as "
            "https://ACCOUNT.blob.core.windows.net."
        ) from None
    parts = urlsplit(url)
    folders = [part for part in parts.path.split("/") if part]
    account = folders[:1] if _is_by_path(parts.hostname or "") else []
    rest = folders[len(account) :]
    if rest not in ([], [container]):
        raise IngestionFailed(
            f"The endpoint of the storage names {'/'.join(rest)!r} and `containerName` says "
            f"{container!r}; name the container in one of them, or the same in both."
        )
    return "/".join([f"{parts.scheme}://{parts.netloc}", *account])


def _is_by_path(host: str) -> bool:
    """Whether accounts are the first part of the path, as with the emulator, not of the host."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host
    return True


def _credential(account_url: str, key: str) -> Any:
    if "sig=" in key:
        return key.removeprefix("?")
    parts = urlsplit(account_url)
    by_path = _is_by_path(parts.hostname or "")
    account = parts.path.strip("/") if by_path else (parts.hostname or "").partition(".")[0]
    return AzureNamedKeyCredential(account, key) if account and key else key


def _container(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise IngestionFailed(f"{name[:80]!r} is no name that a container of Azure Blob can have.")
    return name


def _own() -> "TokenCredential":
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
