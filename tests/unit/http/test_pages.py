from typing import Annotated

import pytest
from fastapi import Depends
from starlette.testclient import TestClient
from tests.support.small_app import client_of, small_app

from linarite.http.pages import Page, listed, page_query


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = small_app()

    @app.get("/")
    async def answer(page: Annotated[Page, Depends(page_query(20, 100))]) -> Page:
        return page

    return client_of(app)


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", Page(20)),
        ("limit=1", Page(1)),
        ("limit=100&order=asc", Page(100, None, descending=False)),
        ("after=file-1&order=desc", Page(20, "file-1")),
        ("after=", Page(20)),
        ("limit=3&limit=4", Page(4)),
    ],
)
def test_a_page_is_read_from_the_query(client: TestClient, query: str, page: Page):
    assert Page(**client.get(f"/?{query}").json()) == page


@pytest.mark.parametrize(
    "limit", ["0", "101", "-1", "abc", "", "1.0", "+1", " 1", "1e1", "٣", "9" * 5000, "0x1", "1_0"]
)
def test_a_limit_out_of_bounds_is_refused(client: TestClient, limit: str):
    answer = client.get("/", params={"limit": limit})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["target"] == "limit"
    assert error["message"].endswith("; it must be between 1 and 100.")
    assert len(error["message"]) < 120


@pytest.mark.parametrize("order", ["", "up", "DESC", "asc,desc"])
def test_an_order_that_is_none_is_refused(client: TestClient, order: str):
    answer = client.get("/", params={"order": order})

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "order"


def test_one_row_more_than_the_limit_tells_that_more_follow():
    assert listed([1, 2, 3], Page(2)).items == [1, 2]
    assert listed([1, 2, 3], Page(2)).has_more
    assert not listed([1, 2], Page(2)).has_more
