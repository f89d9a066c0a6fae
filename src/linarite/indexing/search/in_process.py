"""Azure's official search clients over an index of this process: no HTTP, no key that is checked.

azure-core keeps its usual transport, over a session whose adapter hands each request to the
dialect; what it makes of answers and failures is its own code.
"""

import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from linarite.indexing.search.calls import SearchCall
from linarite.indexing.search.dialect import answer
from linarite.indexing.search.store import Store

ENDPOINT = "http://embedded-index"
"""What such clients are given as their endpoint; nothing is reached under it."""


def in_process_transport(store: Store, resource: str, maker: str) -> RequestsTransport:
    """What a client takes as `transport` to use the indexes of `resource`.

    Args:
        store: where they lie.
        resource: whose they are.
        maker: in whose name they are made and written to, such as ``ingestion job handbook``.
    """
    session = requests.Session()
    session.trust_env = False
    session.mount(ENDPOINT, _Adapter(store, resource, maker))
    return RequestsTransport(session=session)


class _Adapter(BaseAdapter):
    def __init__(self, store: Store, resource: str, maker: str) -> None:
        super().__init__()
        self._store, self._resource, self._maker = store, resource, maker

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer one request at once."""
        address = urlsplit(str(request.url))
        call = SearchCall(
            self._resource,
            self._maker,
            str(request.method),
            unquote(address.path),
            dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): str(value) for name, value in request.headers.items()},
            _bytes(request.body),
            ENDPOINT,
        )
        return _response(request, self._store, call)

    def close(self) -> None:
        """Nothing is open."""


def _response(
    request: requests.PreparedRequest, store: Store, call: SearchCall
) -> requests.Response:
    answered = answer(store, call)
    response = requests.Response()
    response.status_code = answered.status
    response.headers.update(answered.headers)
    response.raw = HTTPResponse(
        io.BytesIO(answered.body), dict(answered.headers), answered.status, preload_content=False
    )
    response.url, response.request = str(request.url), request
    return response


def _bytes(body: Any) -> bytes:
    if hasattr(body, "read"):  # a client may be given its JSON ready made, as a file
        body = body.read()
    return body.encode() if isinstance(body, str) else body or b""
