import threading
import time

import pytest
import sqlalchemy as sa
from tests.support.files import an_import, error_of, objects, settled, until
from tests.support.server import Server, running_server
from tests.support.web_site import WebSite, content, redirect, web_site

from linarite.outbound import Outbound
from linarite.resources.files.fetching import Interrupted
from linarite.resources.files.importing import Importer
from linarite.resources.files.service import Files
from linarite.storage.tables import files as rows

LINES = b'{"a":1}\n' * 1000


@pytest.fixture
def site():
    with web_site() as site:
        site.pages["/file"] = content(LINES)
        yield site


@pytest.fixture
def server(tmp_path, database_url):
    """A server whose operator opened loopback, and whose small files end at 1,000 bytes."""
    with running_server(
        tmp_path / "data",
        database_url=database_url,
        outbound={"allow": ("127.0.0.1",), "read_seconds": 1},
        limits={"small_file_bytes": 1000, "file_bytes": 100_000, "stored_bytes": 150_000},
    ) as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def working(server):
    with server.working():
        yield


def source_of(server: Server, file_id: str) -> str | None:
    with server.built.database.reading() as connection:
        query = sa.select(rows.c.source_url).where(rows.c.id == file_id)
        return connection.execute(query).scalar_one()


def failed(client, site: WebSite, path: str = "/file", **body: str) -> str:
    """Why the import of a page fails."""
    file = settled(client, an_import(client, site.url(path), **body)["id"])
    assert (file["status"], file["bytes"]) == ("error", None)
    content_answer = error_of(client.get(f"/openai/files/{file['id']}/content"))
    assert content_answer == (400, "fileImportFailed", file["status_details"])
    return str(file["status_details"])


def test_an_import_is_pending_then_a_file(server, client, site):
    answer = client.post(
        "/openai/files/import",
        json={"purpose": "batch", "filename": "a.jsonl", "content_url": site.url("/file")},
    )
    file = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{server.url}/openai/files/{file['id']}"
    assert (file["status"], file["bytes"], file["filename"]) == ("pending", None, "a.jsonl")
    assert error_of(client.get(f"/openai/files/{file['id']}/content"))[:2] == (
        409,
        "unexpectedEntityState",
    )
    with server.working():
        done = settled(client, file["id"])
    assert (done["status"], done["bytes"]) == ("processed", len(LINES))
    assert client.get(f"/openai/files/{file['id']}/content").content == LINES


def test_the_source_is_a_secret_that_is_sealed_and_then_forgotten(server, client, site):
    file = an_import(client, site.url("/file?sig=s3cret"))

    sealed = source_of(server, file["id"])
    assert sealed
    assert "s3cret" not in sealed
    assert site.address not in sealed
    with server.working():
        settled(client, file["id"])
    assert source_of(server, file["id"]) is None
    assert site.seen[0][0] == "/file?sig=s3cret"


def test_an_import_is_running_while_it_is_fetched(server, client, site, working):
    go_on = threading.Event()

    def page(request):
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"a")
        go_on.wait(5)
        request.wfile.write(b"b")

    site.pages["/slow"] = page
    file = an_import(client, site.url("/slow"))

    until(
        lambda: client.get(f"/openai/files/{file['id']}").json()["status"] == "running",
        "the import runs",
    )
    go_on.set()
    assert settled(client, file["id"])["status"] == "processed"


def test_an_import_that_is_deleted_while_it_runs_leaves_nothing(server, client, site, working):
    def page(request):
        request.send_response(200)
        request.end_headers()
        for _ in range(1000):
            request.wfile.write(b"x" * 10)
            time.sleep(0.01)

    site.pages["/slow"] = page
    file = an_import(client, site.url("/slow"))
    until(
        lambda: client.get(f"/openai/files/{file['id']}").json()["status"] == "running",
        "the import runs",
    )

    client.delete(f"/openai/files/{file['id']}")

    until(lambda: objects(server) == [], "nothing is stored any more")
    assert client.get(f"/openai/files/{file['id']}").status_code == 404


def test_an_import_that_breaks_off_is_fetched_anew(client, site, working):
    broken = []

    def page(request):
        if broken:
            return content(LINES)(request)
        broken.append(True)
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"x" * 50)
        raise ConnectionError

    site.pages["/file"] = page

    done = settled(client, an_import(client, site.url("/file"))["id"])

    assert (done["status"], done["bytes"]) == ("processed", len(LINES))


def test_an_import_that_is_bad_jsonl_is_in_error_for_that(client, site, working, server):
    for size in (10, 2000):  # judged with the fetching, and after it
        site.pages["/bad"] = content(b'{"a":1}\n' * size + b"nonsense")
        file = an_import(client, site.url("/bad"), purpose="fine-tune", filename="a.jsonl")

        done = settled(client, file["id"])

        assert done["status"] == "error"
        assert done["status_details"].startswith("Validation of jsonl file failed: Line 1:")
        assert error_of(client.get(f"/openai/files/{file['id']}/content"))[1] == (
            "jsonlValidationFailed"
        )
    until(lambda: objects(server) == [], "their bytes are gone")


def test_an_import_says_why_it_fails(server, client, site, working):
    site.pages["/gone"] = content(b"", 403, x_ms_error_code="AuthenticationFailed")
    site.pages["/inside"] = redirect(site.url("/file", "127.0.0.2"))
    site.pages["/huge"] = content(b"x" * 100_001)

    assert failed(client, site, "/gone?sig=s") == (
        "The import failed. The address answered 403 Forbidden (AuthenticationFailed)."
    )
    assert failed(client, site, "/inside") == (
        "The import failed. The address 127.0.0.2 is a loopback address, and this server fetches "
        "public addresses only; its operator can open it in the setting `outbound.allow`."
    )
    assert failed(client, site, "/huge") == (
        "The import failed. This is too large: a file with purpose assistants may have 100000 "
        "bytes."
    )
    assert objects(server) == []


def test_an_import_over_the_quota_fails_for_it(server, client, site, working):
    site.pages["/large"] = content(b"x" * 80_000)
    assert settled(client, an_import(client, site.url("/large"))["id"])["status"] == "processed"

    file = settled(client, an_import(client, site.url("/large"))["id"])

    assert file["status_details"].startswith("The import failed. 80000 of the 150000 bytes")
    until(lambda: len(objects(server)) == 1, "nothing of it is kept")


def test_an_import_that_comes_too_slowly_is_given_up(tmp_path, site):
    def page(request):
        request.send_response(200)
        request.end_headers()
        for _ in range(500):
            request.wfile.write(b"x")
            time.sleep(0.01)

    site.pages["/drip"] = page
    outbound = {"allow": ("127.0.0.1",), "read_seconds": 0.3, "min_bytes_per_second": 1000}
    with (
        running_server(tmp_path / "other", outbound=outbound) as server,
        server.client() as client,
        server.working(),
    ):
        details = failed(client, site, "/drip")

    assert "slower than 1000 bytes a second" in details


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"content_url": "ftp://x/y"}, "whole http or https URL"),
        ({"content_url": "nonsense"}, "whole http or https URL"),
        ({"content_url": f"https://x/{'y' * 9000}"}, "`content_url` is longer than 8192"),
        ({"purpose": "evals"}, "`purpose`"),
        ({"purpose": "batch"}, "Must be .jsonl"),
        ({"filename": ""}, "`filename`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_import_that_cannot_be_is_refused_at_once(client, body, refusal):
    asked = {"purpose": "assistants", "filename": "a", "content_url": "https://x/y", **body}

    status, code, message = error_of(client.post("/openai/files/import", json=asked))

    assert (status, code) == (400, "invalidPayload")
    assert refusal in message


def test_a_purpose_that_the_service_makes_may_be_imported(client, site, working):
    file = an_import(client, site.url("/file"), purpose="batch_output")

    assert settled(client, file["id"])["status"] == "processed"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Interrupted("The address answered 503."), "The import failed. The address answered 503."),
        (RuntimeError("a traceback"), "The import failed. The server failed."),
    ],
    ids=["interrupted", "bug"],
)
def test_an_import_that_failed_often_enough_is_settled(server, client, site, error, told):
    file = an_import(client, site.url("/file"))
    importer = Importer(server.built.parts[Files], Outbound(server.settings.outbound))

    importer.give_up(file["id"], error)

    given_up = client.get(f"/openai/files/{file['id']}").json()
    assert (given_up["status"], given_up["status_details"]) == ("error", told)
    assert source_of(server, file["id"]) is None
