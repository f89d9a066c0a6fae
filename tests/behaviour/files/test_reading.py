import pytest
from tests.support.files import a_file, error_of

CONTENT = bytes(range(256)) * 10_000


@pytest.fixture(scope="module")
def shared(shared_server):
    with shared_server.client() as client:
        yield client


@pytest.fixture
def path(shared):
    file = a_file(shared, CONTENT, filename="größe.bin")
    return f"/openai/files/{file['id']}/content"


def test_content_comes_whole_with_its_name_its_length_and_its_tag(shared, path):
    answer = shared.get(path, headers={"accept": "application/binary"})

    assert (answer.status_code, answer.content) == (200, CONTENT)
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["content-disposition"] == (
        "attachment; filename=\"gr__e.bin\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.bin"
    )
    assert headers["accept-ranges"] == "bytes"
    assert headers["etag"].startswith('"')
    assert headers["last-modified"].endswith(" GMT")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=1048570-1048590", 1048570, 1048591), ("bytes=-7", -7, None)],
)
def test_a_part_of_the_content_comes_when_it_is_asked_for(shared, path, wanted, start, end):
    answer = shared.get(path, headers={"range": wanted})

    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    size = len(CONTENT)
    first = start % size
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_part_outside_the_content_is_refused(shared, path):
    answer = shared.get(path, headers={"range": "bytes=2560000-"})

    assert error_of(answer) == (
        416,
        "invalidPayload",
        "The content has 2560000 bytes; the range asked for holds none of them.",
    )
    assert answer.headers["content-range"] == "bytes */2560000"


def test_several_parts_at_once_get_the_whole(shared, path):
    answer = shared.get(path, headers={"range": "bytes=0-1,5-6"})

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_who_has_the_content_gets_it_not_again(shared, path):
    etag = shared.get(path).headers["etag"]

    again = shared.get(path, headers={"if-none-match": etag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


def test_a_broken_download_goes_on_only_with_the_same_content(shared, path):
    etag = shared.get(path).headers["etag"]

    same = shared.get(path, headers={"range": "bytes=10-", "if-range": etag})
    other = shared.get(path, headers={"range": "bytes=10-", "if-range": '"other"'})

    assert (same.status_code, same.content) == (206, CONTENT[10:])
    assert (other.status_code, other.content) == (200, CONTENT)


@pytest.mark.parametrize("path", ["/openai/files/file-x", "/openai/files/file-x/content"])
def test_a_file_that_is_not_there_is_not_found(shared, path):
    assert error_of(shared.get(path)) == (404, "notFound", "There is no file 'file-x'.")


@pytest.mark.parametrize("file_id", ["%00", "a%00b", "%ff", "file-%F0%9F%92%A9", "x" * 4000])
def test_no_id_is_too_odd_for_a_plain_refusal(shared, file_id):
    for answer in (
        shared.get(f"/openai/files/{file_id}"),
        shared.get(f"/openai/files/{file_id}/content"),
        shared.delete(f"/openai/files/{file_id}"),
    ):
        assert answer.status_code in {400, 404}, answer.text


def ids(answer) -> list[str]:
    return [file["id"] for file in answer.json()["data"]]


def test_files_are_listed_newest_first(client):
    made = [a_file(client)["id"] for _ in range(3)]

    answer = client.get("/openai/files")

    assert ids(answer) == made[::-1]
    assert answer.json() | {"data": []} == {
        "object": "list",
        "data": [],
        "first_id": made[2],
        "last_id": made[0],
        "has_more": False,
    }


def test_an_empty_list_has_no_first_and_no_last(client):
    answer = client.get("/openai/files").json()

    assert answer == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_together_are_the_list(client, order):
    made = [a_file(client)["id"] for _ in range(5)]
    seen: list[str] = []
    more, after = True, {}

    while more:
        page = client.get("/openai/files", params={"limit": 2, "order": order, **after})
        seen += ids(page)
        more, after = page.json()["has_more"], {"after": page.json()["last_id"]}

    assert seen == (made if order == "asc" else made[::-1])


def test_the_official_client_pages_to_the_end(server, client):
    made = [a_file(client)["id"] for _ in range(5)]

    listed = [file.id for file in server.sdk().files.list(limit=2)]

    assert listed == made[::-1]


def test_a_client_that_pages_until_nothing_comes_is_not_kept_for_ever(client):
    last = a_file(client)["id"]

    answer = client.get("/openai/files", params={"after": last})

    assert answer.json()["data"] == []


def test_a_list_may_be_of_one_purpose(client):
    batch = a_file(client, b"{}", purpose="batch", filename="a.jsonl")["id"]
    a_file(client)

    assert ids(client.get("/openai/files", params={"purpose": "batch"})) == [batch]
    assert ids(client.get("/openai/files", params={"purpose": "fine-tune"})) == []


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"purpose": "evals"}, "Invalid value for purpose."),
        ({"after": "file-x"}, "`after` is 'file-x', which is not an item of this list"),
        ({"limit": "0"}, "`limit` is '0'; it must be between 1 and 10000."),
        ({"limit": "10001"}, "`limit` is '10001'"),
        ({"order": "up"}, "`order` is 'up'; it must be asc or desc."),
    ],
    ids=str,
)
def test_a_list_of_what_there_is_not_is_refused(shared, params, refusal):
    status, code, message = error_of(shared.get("/openai/files", params=params))

    assert (status, code) == (400, "invalidPayload")
    assert refusal in message


def test_another_resources_file_is_no_place_to_go_on_from(shared_server, shared):
    file = a_file(shared)

    with shared_server.client(key=shared_server.add_key("pager")) as other:
        answer = other.get("/openai/files", params={"after": file["id"]})

    assert error_of(answer)[:2] == (400, "invalidPayload")
