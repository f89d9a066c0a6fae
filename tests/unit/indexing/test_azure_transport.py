import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from azure.core import PipelineClient
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.policies import HttpLoggingPolicy, RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse
from tests.support.web_site import WebSite, content, redirect, web_site

from linarite.indexing.azure_transport import guarded_transport
from linarite.outbound import OutboundFailed, OutboundRefused, OutboundTooSlow
from linarite.settings import OutboundSettings


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site() as site:
        site.pages["/file"] = content(b"hello")
        yield site


@contextmanager
def a_client(allow: str = "127.0.0.1", **settings) -> Iterator[PipelineClient]:
    transport = guarded_transport(OutboundSettings(allow=(allow,), **settings))
    policies = [RetryPolicy(retry_backoff_factor=0.01), HttpLoggingPolicy()]
    with PipelineClient("", transport=transport, policies=policies) as client:
        yield client


def ask(url: str, **how) -> HttpResponse:
    with a_client(**how) as client:
        return client.send_request(HttpRequest("GET", url))


def stream(url: str) -> Iterator[bytes]:
    with a_client() as client:
        yield from client.send_request(HttpRequest("GET", url), stream=True).iter_raw()


def test_what_was_closed_unused_asks_nobody(site):
    transport = guarded_transport(OutboundSettings())
    transport.close()

    with pytest.raises(ValueError, match="already been closed"):
        transport.send(HttpRequest("GET", site.url("/file")))
    assert site.seen == []


def test_an_opened_endpoint_is_asked(site):
    answer = ask(site.url("/file"))

    assert (answer.status_code, answer.read()) == (200, b"hello")
    assert "accept-encoding" not in site.seen[0][1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "2130706433"])
def test_an_endpoint_that_is_not_open_is_refused_at_once(site, host):
    with pytest.raises(OutboundRefused, match=r"outbound\.allow"):
        ask(site.url("/file", host), allow="10.0.0.1")

    assert site.seen == []


def test_a_redirect_is_told_and_not_followed(site):
    site.pages["/away"] = redirect(site.url("/file"))

    with pytest.raises(OutboundFailed, match="redirects to another address"):
        ask(site.url("/away?sig=s3cret"))

    assert len(site.seen) == 1


def test_failures_are_azures_and_its_policies_try_again(site):
    answers = iter([content(b"", 503), content(b"", 503), content(b"there")])
    site.pages["/busy"] = lambda request: next(answers)(request)

    assert ask(site.url("/busy")).read() == b"there"
    with pytest.raises(ServiceRequestError):
        ask("http://127.0.0.1:1/", allow="127.0.0.1")


@pytest.mark.parametrize("how", [lambda url: ask(url).read(), lambda url: list(stream(url))])
def test_an_answer_that_breaks_off_is_a_failure(site, how):
    def breaks(request):
        request.send_response(200)
        request.send_header("Content-Length", "10")
        request.end_headers()
        request.wfile.write(b"12345")
        raise ConnectionError

    site.pages["/short"] = breaks

    with pytest.raises(AzureError):
        how(site.url("/short"))


def test_silence_is_a_failure_after_the_read_time_out(site):
    site.pages["/silent"] = lambda _request: time.sleep(0.5)

    with pytest.raises((ServiceResponseError, OutboundTooSlow)):
        ask(site.url("/silent"), read_seconds=0.05)


@pytest.mark.parametrize("how", [ask, lambda url: list(stream(url))])
def test_an_answer_has_an_end(site, how):
    def long(request):
        request.send_response(200)
        request.end_headers()
        for _ in range(70):
            request.wfile.write(bytes(1 << 20))

    site.pages["/long"] = long

    with pytest.raises(OutboundFailed, match="more than 64 MiB at once"):
        how(site.url("/long"))


def test_an_error_is_bounded_however_it_was_asked_for(site):
    def bomb(request):
        request.send_response(400)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", "3")
        request.end_headers()
        request.wfile.write(b"xyz")

    site.pages["/bomb"] = bomb

    with pytest.raises(OutboundFailed, match="answered compressed"):
        list(stream(site.url("/bomb")))


def test_each_call_has_the_whole_time(site):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 1000)
            time.sleep(0.01)

    site.pages["/endless"] = endless

    with a_client(total_seconds=0.3, read_seconds=5) as client:
        for _ in range(3):
            client.send_request(HttpRequest("GET", site.url("/file")))
            time.sleep(0.15)
        with pytest.raises(OutboundTooSlow):
            client.send_request(HttpRequest("GET", site.url("/endless")))


def test_no_secret_of_an_address_is_logged(site, caplog):
    caplog.set_level(logging.DEBUG)
    request = HttpRequest("GET", site.url("/file?sig=s3cret"), headers={"api-key": "k3y"})

    with a_client() as client:
        client.send_request(request)

    assert "s3cret" not in caplog.text
    assert "k3y" not in caplog.text
