import pytest
from fastapi import Request
from tests.support.small_app import client_of, small_app

from linarite.http.links import link

FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "ai.corp, inner"}


def location(path: str = "/openai/files", headers: dict[str, str] | None = None, **app) -> str:
    served = small_app(**app)

    @served.get(path)
    async def answer(request: Request) -> str:
        return link(request, "/files/file-1")

    class FromLoopback:  # the test client has a name where a socket has an address
        async def __call__(self, scope, receive, send):
            await served(scope | {"client": ("10.0.0.7", 1)}, receive, send)

    return client_of(FromLoopback()).get(path, headers=headers).json()


def test_a_link_has_the_host_the_caller_used():
    assert location(headers={"host": "here:81"}) == "http://here:81/openai/files/file-1"


def test_a_link_has_the_base_the_caller_used():
    assert location("/openai/v1/files") == "http://testserver/openai/v1/files/file-1"


def test_the_public_url_wins():
    found = location(headers=FORWARDED, public_url="https://public.corp", trusted="10.0.0.0/8")

    assert found == "https://public.corp/openai/files/file-1"


def test_a_trusted_proxy_names_scheme_and_host():
    found = location(headers=FORWARDED, trusted="10.0.0.0/8")

    assert found == "https://ai.corp/openai/files/file-1"


@pytest.mark.parametrize("trusted", [None, "192.168.0.0/16", "2001:db8::/32"])
def test_nobody_else_does(trusted: str | None):
    found = location(headers=FORWARDED, trusted=trusted)

    assert found == "http://testserver/openai/files/file-1"


@pytest.mark.parametrize("host", ["", 'a"b', "a/b", "a b", "user@a", "a:port", "[::1", "a:80:80"])
def test_a_host_that_is_none_makes_no_link(host: str):
    assert location(headers={"host": host}) == "http://testserver:80/openai/files/file-1"


@pytest.mark.parametrize("scheme", ["javascript", "file", ""])
def test_a_scheme_that_is_none_makes_no_link(scheme: str):
    headers = {"x-forwarded-proto": scheme}

    assert location(headers=headers, trusted="10.0.0.0/8").startswith("http://testserver/")
