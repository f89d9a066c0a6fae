"""The page that a browser finds at the server's address."""

import re

import httpx
from tests.support.serving import Serving


def test_the_page_says_where_the_server_is_and_all_it_names_is_there(served: Serving):
    page = httpx.get(served.endpoint)
    named = re.findall(r'(?:href|src)="([^"]+)"', page.text)

    assert f'azure_endpoint="{served.endpoint}"' in page.text
    assert "/static/linarite.css" in named
    assert {httpx.get(served.endpoint + path).status_code for path in named} == {200}
    assert served.ready["api_key"] not in page.text


def test_the_page_runs_nothing_and_repeats_nobodys_markup(served: Serving):
    page = httpx.get(served.endpoint, headers={"host": "<b>evil</b>"})

    assert "<b>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
