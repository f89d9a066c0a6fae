"""The official Python SDK as each kind of user makes its client."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai
from tests.support.blocking import Blocking, running_loop

VARIANTS = ("azure", "openai", "async azure", "async openai")
"""For Azure and plain, sync and async; async ones are asked as if they were sync."""

Request = Any
"""The SDK's request: of httpx or of its successor, by version."""


def http_client(variant: str, on_request: Callable[[Request], None]) -> Any:
    """The HTTP client that the SDK makes for itself, which tells of each request it sends."""

    async def on_request_async(request: Request) -> None:
        on_request(request)

    is_async = "async" in variant
    client: Any = openai.DefaultAsyncHttpxClient() if is_async else openai.DefaultHttpxClient()
    client.event_hooks = {"request": [on_request_async if is_async else on_request]}
    return client


@contextmanager
def sdk_client(variant: str, server: Mapping[str, Any], **options: Any) -> Iterator[Any]:
    """A client of the installed SDK.

    Args:
        variant: one of `VARIANTS`.
        server: what a server's ready file says: `endpoint`, `api_key`, `api_version`.
        options: further ones of the client.
    """
    is_async, is_azure = "async" in variant, "azure" in variant
    given = {"api_key": server["api_key"]} | options
    if is_azure:
        given |= {"azure_endpoint": server["endpoint"], "api_version": server["api_version"]}
    else:
        given |= {"base_url": f"{server['endpoint']}/openai/v1/"}
    client = _CLASSES[is_async, is_azure](**given)
    if not is_async:
        with client:
            yield client
        return
    with running_loop() as loop:
        blocking = Blocking(client, loop)
        yield blocking
        blocking.close()


_CLASSES: Mapping[tuple[bool, bool], Any] = {
    (False, False): openai.OpenAI,
    (False, True): openai.AzureOpenAI,
    (True, False): openai.AsyncOpenAI,
    (True, True): openai.AsyncAzureOpenAI,
}
