import ipaddress
import logging
import ssl
import time

import httpx
import pytest
from tests.support.certificates import self_signed
from tests.support.connects import watched_connects
from tests.support.web_site import content, redirect, web_site

from linarite.outbound import (
    Allowed,
    Gate,
    GuardedTransport,
    Outbound,
    OutboundRefused,
    OutboundTooSlow,
)
from linarite.settings import OutboundSettings


@pytest.fixture
def site():
    with web_site() as site:
        site.pages["/file"] = content(b"hello")
        yield site


def get(url: str, *allow: str, **settings) -> httpx.Response:
    with Outbound(OutboundSettings(allow=allow, **settings)).client() as client:
        return client.get(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.100.100.200",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fec0::1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:a00:1::]",
        "[::10.0.0.1]",
        "[::]",
    ],
)
def test_no_inner_address_is_fetched_however_it_is_written(host):
    with pytest.raises(OutboundRefused, match=r"outbound\.allow"):
        get(f"http://{host}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_pass(address):
    Gate().check("files.example", 443, address)


def test_a_name_with_one_inner_address_among_public_ones_is_refused():
    gate = Gate(resolver=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])

    with pytest.raises(OutboundRefused) as refusal:
        gate.addresses("files.example", 443)

    assert refusal.value.message == (
        "The address files.example (10.0.0.1) is a private address, and this server fetches "
        "public addresses only; its operator can open it in the setting `outbound.allow`."
    )


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "opens"),
    [
        ("10.20.0.0/16", "x", 80, "10.20.3.4", True),
        ("10.20.0.0/16", "x", 80, "10.21.3.4", False),
        ("10.20.3.4", "x", 80, "10.20.3.4", True),
        ("10.20.3.4:443", "x", 80, "10.20.3.4", False),
        ("10.20.3.4:443", "x", 443, "10.20.3.4", True),
        ("[fd00::1]:443", "x", 443, "fd00::1", True),
        ("fd00::/8", "x", 443, "fd00::1", True),
        ("wiki.corp", "wiki.corp", 80, "10.0.0.1", True),
        ("wiki.corp", "WIKI.corp.", 80, "10.0.0.1", True),
        ("wiki.corp:443", "wiki.corp", 80, "10.0.0.1", False),
        ("wiki.corp", "evil-wiki.corp", 80, "10.0.0.1", False),
        ("*.corp", "wiki.corp", 80, "10.0.0.1", True),
        ("*.corp", "wiki.corp.evil", 80, "10.0.0.1", False),
        ("127.0.0.0/8", "x", 80, "::ffff:127.0.0.1", True),
    ],
)
def test_the_operator_opens_networks_hosts_and_ports(entry, host, port, address, opens):
    gate = Gate([Allowed.parse(entry)], resolver=lambda _host, _port: [address])

    if opens:
        assert gate.addresses(host, port) == [address]
    else:
        with pytest.raises(OutboundRefused):
            gate.addresses(host, port)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "", "/", "wiki.corp/8"])
def test_an_entry_that_cannot_be_read_is_an_error_at_start(entry):
    with pytest.raises(ValueError, match=r"outbound\.allow"):
        GuardedTransport(OutboundSettings(allow=(entry,)))


def test_an_opened_address_is_fetched_under_its_own_name(site):
    answer = get(site.url("/file", "localhost"), "localhost")

    assert answer.content == b"hello"
    assert site.seen[0][1]["host"].startswith("localhost:")


def test_a_redirect_passes_the_same_gate(site):
    site.pages["/away"] = redirect(site.url("/file", "127.0.0.2"))

    with pytest.raises(OutboundRefused, match=r"127\.0\.0\.2"):
        get(site.url("/away"), "127.0.0.1")


def test_a_redirect_that_passes_is_followed(site):
    site.pages["/away"] = redirect("/file")

    assert get(site.url("/away"), "127.0.0.1").content == b"hello"


def test_redirects_come_to_an_end(site):
    site.pages["/loop"] = redirect("/loop")

    with pytest.raises(httpx.TooManyRedirects):
        get(site.url("/loop"), "127.0.0.1", redirects=3)
    assert len(site.seen) == 4


@pytest.mark.parametrize("url", ["ftp://8.8.8.8/x", "file:///etc/passwd"])
def test_only_http_is_spoken(url):
    with pytest.raises((OutboundRefused, httpx.UnsupportedProtocol)):
        get(url)


def test_the_environment_names_no_proxy(site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert get(site.url("/file"), "127.0.0.1").content == b"hello"


def test_what_is_asked_of_a_proxy_is_vetted_first(site):
    with pytest.raises(OutboundRefused):
        get("http://10.0.0.1/file", proxy=site.url(""))
    with pytest.raises(OutboundRefused, match=r"known to the proxy at most"):
        get("http://intranet.invalid/file", proxy=site.url(""))
    assert site.seen == []


def test_a_name_that_only_the_proxy_knows_is_fetched_when_it_is_allowed(site):
    with web_site() as proxy:
        proxy.pages["http://intranet.invalid/file"] = content(b"by proxy")

        answer = get("http://intranet.invalid/file", "intranet.invalid", proxy=proxy.url(""))

    assert answer.content == b"by proxy"


def test_failures_are_those_of_httpx(site):
    def breaks(request):
        request.send_response(200)
        request.send_header("Content-Length", "10")
        request.end_headers()
        request.wfile.write(b"12345")
        raise ConnectionError

    site.pages["/short"] = breaks

    with pytest.raises(httpx.RemoteProtocolError):
        get(site.url("/short"), "127.0.0.1")
    with pytest.raises(httpx.ConnectError):
        get("http://127.0.0.1:1/", "127.0.0.1")


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_comes_drop_by_drop_is_given_up(site, part):
    """Bytes come every 20 ms, well within the read time-out, but 50 a second are too few."""

    def drips(request):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        if part == "body":
            request.wfile.write(head)
        for _ in range(200):
            request.wfile.write(b"HTTP"[:1] if part == "head" else b"x")
            time.sleep(0.02)

    site.pages["/drip"] = drips

    with pytest.raises(OutboundTooSlow, match="slower than 1000 bytes a second"):
        get(site.url("/drip"), "127.0.0.1", read_seconds=0.3, min_bytes_per_second=1000)


def test_a_download_has_an_end_however_fast_it_is(site):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 1000)
            time.sleep(0.01)

    site.pages["/endless"] = endless

    with pytest.raises(OutboundTooSlow, match=r"longer than 0\.2 seconds"):
        get(site.url("/endless"), "127.0.0.1", total_seconds=0.2)


def test_no_url_is_logged_for_it_may_hold_a_secret(site, caplog):
    caplog.set_level(logging.DEBUG)

    get(site.url("/file?sig=s3cret"), "127.0.0.1")

    assert "s3cret" not in caplog.text


def test_only_vetted_addresses_are_connected_to(site):
    with watched_connects() as connected:
        with pytest.raises(OutboundRefused):
            get(site.url("/file", "localhost"))

        assert connected == []
        get(site.url("/file", "localhost"), "localhost")
        assert [address[1] for address in connected] == [int(site.address.rpartition(":")[2])]


def test_tls_is_checked_against_the_name_and_the_operators_authorities(tmp_path):
    certificate, key = self_signed(tmp_path, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    with web_site(tls) as site:
        site.pages["/file"] = content(b"hello")
        url = site.url("/file", "localhost").replace("http:", "https:")

        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            get(url, "localhost")
        trusted = get(url, "localhost", ca_bundle=certificate)
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            get(
                url.replace("localhost", "127.0.0.1"),
                "127.0.0.1",
                ca_bundle=certificate,
            )

    assert trusted.content == b"hello"


def test_the_allowed_network_of_one_address_is_that_address():
    assert Allowed.parse("10.1.2.3").network == ipaddress.ip_network("10.1.2.3/32")
