"""Under which names the server is served, and which it gives in its links."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.server import Server, running_server

FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "ai.corp"}
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with a `[server]` section; it ends with the test."""
    with ExitStack() as running:
        yield lambda **section: running.enter_context(
            running_server(tmp_path / "data", server=section)
        )


def link(server: Server, headers: dict[str, str] | None = None) -> str:
    """A link that the server gives: the endpoint that its page names."""
    page = httpx.get(server.url, headers=headers).text
    return page.partition('azure_endpoint="')[2].partition('"')[0]


def test_links_have_the_host_the_caller_used(start: Start):
    server = start()

    assert link(server) == server.url
    assert link(server, {"host": "other:81"}) == "http://other:81"


def test_a_host_cannot_write_into_the_page(start: Start):
    server = start()

    assert link(server, {"host": '"><script>'}) == server.url


def test_links_have_the_public_url_where_there_is_one(start: Start):
    server = start(public_url="https://public.corp/")

    assert link(server, FORWARDED) == "https://public.corp"


def test_forwarded_headers_count_from_a_trusted_proxy(start: Start):
    server = start(trusted_proxies=["127.0.0.0/8"])

    assert link(server, FORWARDED) == "https://ai.corp"


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
def test_forwarded_headers_count_from_nobody_else(start: Start, trusted: list[str]):
    server = start(trusted_proxies=trusted)

    assert link(server, FORWARDED) == server.url


def test_an_unknown_host_is_refused_where_hosts_are_named(start: Start):
    server = start(hosts=["ai.corp"])

    with server.client() as client:
        refused = client.get("/openai/fine_tuning/jobs")
        served = client.get("/openai/fine_tuning/jobs", headers={"host": "ai.corp"})
        probe = client.get("/readyz")

    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "forbidden"
    assert (served.status_code, probe.status_code) == (200, 200)


def test_the_region_is_the_one_that_was_set(start: Start):
    server = start(region="cellar")

    assert httpx.get(server.url).headers["x-ms-region"] == "cellar"


def test_the_azure_profile_takes_ten_headers_of_a_clients_own(tmp_path: Path):
    own = {f"x-own-{number}": "1" for number in range(11)}

    with running_server(tmp_path, limits={"profile": "azure"}) as server, server.client() as client:
        assert client.get("/openai/fine_tuning/jobs", headers=own).status_code == 431
        own.popitem()
        assert client.get("/openai/fine_tuning/jobs", headers=own).status_code == 200
