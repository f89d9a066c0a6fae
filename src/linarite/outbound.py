"""HTTP to addresses that a caller named, without lending the caller our place in the network.

Every connect resolves the name once, vets every address it got and connects to a vetted one; the
name still goes into Host and SNI. A redirect opens a connection of its own and so passes the same
gate. Only public addresses pass, and what the operator opened in `outbound.allow`. Whoever answers
drop by drop, in the head or in the body, is given up.
"""

import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from linarite.errors import InvalidPayload
from linarite.settings import OutboundSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOST_SERVICES = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Global by its number, yet a service of the machine's own host (Azure's platform address)."""


class OutboundFailed(InvalidPayload):
    """An address that a caller named cannot be fetched, now or ever."""


class OutboundRefused(OutboundFailed):
    """An address may not be fetched for a caller."""


class OutboundTooSlow(OutboundFailed):
    """An address answers too slowly, or takes too long in all."""


@dataclass(frozen=True)
class Allowed:
    """One entry of `outbound.allow`: a network, or a host (``*.corp``), perhaps with one port."""

    network: Network | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> "Allowed":
        """Read ``10.20.0.0/16``, ``10.1.2.3:8080``, ``[fd00::1]:443``, ``wiki.corp:443``.

        Raises:
            ValueError: it is none of these.
        """
        name, port = _split_port(entry.strip())
        try:
            return cls(ipaddress.ip_network(name, strict=False), name, port)
        except ValueError:
            if not name or "/" in name:
                raise ValueError(
                    f"outbound.allow: {entry!r} is neither a network nor a host"
                ) from None
        return cls(None, name.lower(), port)

    def opens(self, host: str, port: int, address: Address | None) -> bool:
        """Whether it opens `port` of `address`, or of the name `host`."""
        if self.port not in {None, port}:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`, as this machine's resolver orders them.

    Raises:
        httpx.ConnectError: there are none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"the name {host} could not be resolved: {error}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True)
class Gate:
    """Which addresses may be connected to.

    Args:
        allowed: what is open beside the public addresses.
        resolver: gives the addresses of a name for a port.
    """

    allowed: Sequence[Allowed] = ()
    resolver: Callable[[str, int], Sequence[str]] = resolve

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of `host`, all of them vetted.

        Raises:
            OutboundRefused: one of them is not open.
            httpx.ConnectError: the name has none.
        """
        addresses = self.resolver(host, port)
        for address in addresses:
            self.check(host, port, address)
        return addresses

    def check(self, host: str, port: int, address: str) -> None:
        """Raise OutboundRefused unless `address`, got for the name `host`, is open."""
        meant = _meant(ipaddress.ip_address(address))
        rule = next(filter(None, map(_why_not_public, meant)), None)
        if rule is None or self.is_allowed(host, port, meant[0]):
            return
        name = host if host == address else f"{host} ({address})"
        raise OutboundRefused(
            f"The address {name} is {rule}, and this server fetches public addresses only; its "
            "operator can open it in the setting `outbound.allow`."
        )

    def is_allowed(self, host: str, port: int, address: Address | None = None) -> bool:
        """Whether the operator opened the name or the address."""
        bare = host.lower().rstrip(".")
        return any(entry.opens(bare, port, address) for entry in self.allowed)


def opened(settings: OutboundSettings, url: str) -> OutboundSettings:
    """The settings with the host and port of `url` open too: for what the operator named itself."""
    named = httpx.URL(url)
    port = named.port or {"http": 80, "https": 443}.get(named.scheme)
    host = f"[{named.host}]" if ":" in named.host else named.host
    return settings.model_copy(update={"allow": (*settings.allow, f"{host}:{port}")})


@dataclass(frozen=True)
class Outbound:
    """Makes clients for addresses that callers name.

    Args:
        settings: the ``[outbound]`` section.
    """

    settings: OutboundSettings

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client that follows redirects; it raises OutboundFailed and httpx's own errors.

        What it does may take `outbound.total_seconds` in all.
        """
        # httpx logs every URL at INFO, and the URLs that come here hold secrets in their query.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        with httpx.Client(
            transport=GuardedTransport(self.settings),
            trust_env=False,
            follow_redirects=True,
            max_redirects=self.settings.redirects,
            timeout=httpx.Timeout(
                self.settings.read_seconds, connect=self.settings.connect_seconds
            ),
            headers={"user-agent": "linarite", "accept-encoding": "identity"},
        ) as client:
            yield client


class GuardedTransport(httpx.BaseTransport):
    """httpx's transport over connections that passed a `Gate`.

    Args:
        settings: the ``[outbound]`` section. With a `proxy`, the proxy is connected to unvetted,
            as the operator named it, and what is asked of it is vetted here first; a name that
            only the proxy can resolve is refused unless it is allowed by name.
        resolver: gives the addresses of a name for a port.

    Raises:
        ValueError: an entry of `allow` cannot be read.
    """

    def __init__(
        self,
        settings: OutboundSettings,
        resolver: Callable[[str, int], Sequence[str]] = resolve,
    ) -> None:
        self._gate = Gate([Allowed.parse(entry) for entry in settings.allow], resolver)
        self._by_proxy = settings.proxy is not None
        self._network = _Network(None if self._by_proxy else self._gate, settings)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trust(settings),
            proxy=_proxy(settings.proxy) if settings.proxy else None,
            network_backend=self._network,
        )

    def begin(self, seconds: float) -> None:
        """What this thread does from now on may take `seconds` in all.

        For a transport that lives longer than one download; `outbound.total_seconds`, counted
        from its making, is what holds without this.
        """
        self._network.begin(seconds)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        url = request.url
        if url.scheme not in {"http", "https"}:
            raise OutboundRefused(f"The scheme {url.scheme!r} is not fetched; use https or http.")
        if self._by_proxy:
            self._vet_for_proxy(url)
        with _httpx_errors():
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme,
                        host=url.raw_host,
                        port=url.port,
                        target=url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _vet_for_proxy(self, url: httpx.URL) -> None:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        if self._gate.is_allowed(url.host, port):
            return
        try:
            self._gate.addresses(url.host, port)
        except httpx.ConnectError:
            raise OutboundRefused(
                f"The name {url.host} is known to the proxy at most, so its address cannot be "
                "vetted; the operator can open it by name in the setting `outbound.allow`."
            ) from None


class _Network(httpcore.NetworkBackend):
    """Sockets whose answers are paced, to vetted addresses only where there is a gate."""

    def __init__(self, gate: Gate | None, settings: OutboundSettings) -> None:
        self._gate = gate
        self._settings = settings
        self._from_start = _Until(settings.total_seconds)
        self._own = threading.local()
        self._sockets = httpcore.SyncBackend()

    def begin(self, seconds: float) -> None:
        """Give the calling thread that long from now on."""
        self._own.until = _Until(seconds)

    def check_time(self) -> None:
        """Raise OutboundTooSlow once the calling thread's time is over."""
        until: _Until = getattr(self._own, "until", self._from_start)
        if time.monotonic() > until.moment:
            raise OutboundTooSlow(
                f"The answer took longer than {until.seconds:g} seconds in all (the setting "
                "`outbound.total_seconds`)."
            )

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first vetted address that answers."""
        addresses = [host] if self._gate is None else self._gate.addresses(host, port)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, timeout, local_address, socket_options)
        return self._connect(addresses[-1], port, timeout, local_address, socket_options)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Refuse: no caller's address is a path."""
        raise OutboundRefused(f"The socket {path} is not fetched.")

    def _connect(self, address: str, port: int, *how: Any) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(address, port, *how)
        return _PacedStream(stream, _Pace(self._settings, self))


class _Until:
    """A moment that lies some seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.moment = time.monotonic() + seconds


class _Pace:
    """How fast the other side answers, by the time that reading waited for it."""

    def __init__(self, settings: OutboundSettings, network: _Network) -> None:
        self._settings = settings
        self._network = network
        self._bytes, self._seconds = 0, 0.0

    def note(self, size: int, seconds: float) -> None:
        """Note that `size` bytes were waited for; raises OutboundTooSlow."""
        least, window = self._settings.min_bytes_per_second, self._settings.read_seconds
        self._network.check_time()
        self._bytes += size
        self._seconds += seconds
        if self._seconds < window:
            return
        if self._bytes < least * self._seconds:
            raise OutboundTooSlow(
                f"The answer came in slower than {least} bytes a second (the setting "
                "`outbound.min_bytes_per_second`)."
            )
        self._bytes, self._seconds = 0, 0.0


class _PacedStream(httpcore.NetworkStream):
    """A connection whose reads are noted."""

    def __init__(self, stream: httpcore.NetworkStream, pace: _Pace) -> None:
        self._stream = stream
        self._pace = pace

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it."""
        began = time.monotonic()
        piece = self._stream.read(max_bytes, timeout)
        self._pace.note(len(piece), time.monotonic() - began)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted."""
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _PacedStream(stream, self._pace)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


class _Body(httpx.SyncByteStream):
    """A response's body, whose failures are httpx's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._pieces

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpx's exception of the same name for each of httpcore's."""
    try:
        yield
    except _HTTPCORE_ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


_HTTPCORE_ERRORS = (
    httpcore.ConnectTimeout,
    httpcore.ReadTimeout,
    httpcore.WriteTimeout,
    httpcore.PoolTimeout,
    httpcore.ConnectError,
    httpcore.ReadError,
    httpcore.WriteError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.LocalProtocolError,
    httpcore.RemoteProtocolError,
)


def _trust(settings: OutboundSettings) -> ssl.SSLContext:
    """Trust in the usual authorities, in the machine's own, and in the operator's bundle."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    if settings.ca_bundle is not None:
        context.load_verify_locations(settings.ca_bundle)
    return context


def _proxy(url: str) -> httpcore.Proxy:
    """The proxy at `url`, which may hold a user and a password.

    Raises:
        ValueError: it is no http or https address.
    """
    proxy = httpx.Proxy(url)
    if proxy.url.scheme not in {"http", "https"}:
        raise ValueError("outbound.proxy must be an http:// or https:// address")
    return httpcore.Proxy(str(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)


def _meant(address: Address) -> list[Address]:
    """Where a connect to `address` ends; of tunnels also what their IPv6 address wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return [address, *filter(None, [address.sixtofour]), *(address.teredo or ())]


def _why_not_public(address: Address) -> str | None:
    """What kind of inner address it is, or None for a public one."""
    kinds = (
        (address in _HOST_SERVICES, "a service of the cloud's host"),
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (getattr(address, "is_site_local", False), "a site-local address"),
        (address.is_reserved, "a reserved address"),
        (address.is_private, "a private address"),
        (not address.is_global, "not a global address"),
    )
    return next((kind for applies, kind in kinds if applies), None)


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if colon and port.isdecimal() and (bracketed or ":" not in name):
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None
