import gzip
import io
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import (
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_container_sas,
)
from tests.support.azurite import ACCOUNT, KEY, Azurite, running_azurite
from tests.support.certificates import self_signed
from tests.support.connects import watched_connects
from tests.support.identity_service import IdentityService, identity_service
from tests.support.web_site import content, redirect, web_site

from linarite.indexing.containers.blob import BlobContainer
from linarite.indexing.containers.blob_access import by_connection_string, by_identity, by_key
from linarite.indexing.containers.container import Item, Page
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.settings import OutboundSettings

PAGE = Page(
    "example.org/über-1.html",
    "<h1>Über</h1>".encode(),
    "text/html; charset=utf-8",
    "https://example.org/%C3%BCber?a=100%25",
    "Über 100% — “uns”",
    {"etag": '"ü%"', "job": "handbook"},
)


@pytest.fixture(scope="module")
def by_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    folder = tmp_path_factory.mktemp("tls")
    with running_azurite(folder / "blobs", self_signed(folder, "localhost")) as running:
        yield running


@pytest.fixture
def identity() -> Iterator[IdentityService]:
    with identity_service() as running:
        yield running


@pytest.fixture
def bucket(azurite: Azurite) -> Iterator[ContainerClient]:
    """A container as its owner has it."""
    with azurite.service() as service:
        yield service.create_container(f"docs-{secrets.token_hex(6)}")


@pytest.fixture
def outbound(azurite: Azurite) -> OutboundSettings:
    return OutboundSettings(allow=(azurite.allow,))


@pytest.fixture
def container(azurite, bucket, outbound) -> Iterator[BlobContainer]:
    one = opened(by_connection_string(azurite.connection_string, bucket.container_name, outbound))
    yield one
    one.close()


def opened(client: ContainerClient, **how) -> BlobContainer:
    return BlobContainer(client, **how)


def read(container: BlobContainer, item: Item, limit: int = 1 << 30) -> bytes:
    into = io.BytesIO()
    container.read(item, into, limit)
    return into.getvalue()


def listed(client: ContainerClient, **how) -> list[str]:
    container = BlobContainer(client, **how)
    try:
        return [item.key for item in container.list()]
    finally:
        container.close()


def test_documents_are_listed_and_read(container, bucket):
    bucket.upload_blob("a b/ü.txt", b"plain", content_settings=ContentSettings("text/plain"))
    bucket.upload_blob("long.txt", b"x" * (9 << 20))
    bucket.upload_blob("empty.txt", b"")

    items = {item.key: item for item in container.list()}

    assert set(items) == {"a b/ü.txt", "long.txt", "empty.txt"}
    assert items["a b/ü.txt"].url == f"{bucket.url}/a%20b/%C3%BC.txt"
    assert items["a b/ü.txt"].content_type == "text/plain"
    assert read(container, items["a b/ü.txt"]) == b"plain"
    assert len(read(container, items["long.txt"])) == 9 << 20
    assert read(container, items["empty.txt"]) == b""


def test_nothing_but_the_storage_is_connected_to(azurite, bucket, outbound):
    bucket.upload_blob("a.txt", b"x")
    with watched_connects() as connected:
        container = opened(
            by_connection_string(azurite.connection_string, bucket.container_name, outbound)
        )
        [item] = container.list()
        read(container, item)
        container.write(PAGE)
        container.close()

    assert {f"{host}:{port}" for host, port in connected} == {azurite.allow}


def test_a_version_is_the_same_until_the_document_changes(container, bucket):
    bucket.upload_blob("a.txt", b"one")
    [before], [again] = container.list(), container.list()
    bucket.upload_blob("a.txt", b"two", overwrite=True)
    [after] = container.list()

    assert before == again
    assert before.version != after.version
    with pytest.raises(DocumentFailed, match="changed or removed"):
        read(container, before)
    assert read(container, after) == b"two"


def test_what_cannot_be_read_is_told_of_the_document(container, bucket):
    bucket.upload_blob("a.txt", b"12345")
    [item] = container.list()

    with pytest.raises(DocumentFailed, match="longer than 4 bytes"):
        read(container, item, 4)
    bucket.delete_blob("a.txt")
    with pytest.raises(DocumentFailed, match="changed or removed"):
        read(container, item)


def test_a_document_that_lies_packed_is_unpacked_within_the_limit(container, bucket):
    packed = gzip.compress(b"x" * 1_000_000)
    bucket.upload_blob("a.txt", packed, content_settings=ContentSettings(content_encoding="gzip"))
    bucket.upload_blob("b.txt", b"plain", content_settings=ContentSettings(content_encoding="gzip"))
    good, bad = container.list()

    assert len(read(container, good)) == 1_000_000
    with pytest.raises(DocumentFailed, match="longer than 999999 bytes"):
        read(container, good, 999_999)
    with pytest.raises(DocumentFailed, match="not gzip"):
        read(container, bad)


def test_pages_of_a_crawl_keep_what_belongs_to_them(container):
    container.write(PAGE)
    container.write(PAGE)

    [item] = container.list()

    assert (item.key, item.url, item.title, item.more) == (
        PAGE.key,
        PAGE.url,
        PAGE.title,
        PAGE.more,
    )
    assert item.content_type == PAGE.content_type
    assert read(container, item) == PAGE.body
    container.delete(PAGE.key)
    container.delete(PAGE.key)
    assert list(container.list()) == []


def test_what_somebody_noted_beside_a_document_counts(container, bucket):
    bucket.upload_blob("a", b"x", metadata={"Url": "https://wiki/a%20b", "title": "100% A"})
    bucket.upload_blob("b", b"x", metadata={"url": "javascript:alert(1)"})
    a, b = container.list()

    assert (a.url, a.title) == ("https://wiki/a%20b", "100% A")
    assert b.url == f"{bucket.url}/b"


def test_markers_of_folders_are_no_documents(container, bucket):
    bucket.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    bucket.upload_blob("marker/", b"")
    bucket.upload_blob("folder/a.txt", b"a")

    assert [item.key for item in container.list()] == ["folder/a.txt"]


def test_a_part_of_a_container_is_listed(azurite, bucket, outbound):
    for name in ("a/1.txt", "a/1.txt.old", "b/2.txt"):
        bucket.upload_blob(name, b"x")

    def client() -> ContainerClient:
        return by_key(azurite.endpoint, KEY, bucket.container_name, outbound)

    assert listed(client(), prefix="a/") == ["a/1.txt", "a/1.txt.old"]
    assert listed(client(), prefix="a/1.txt", is_single=True) == ["a/1.txt"]


def test_a_container_for_a_crawl_is_made(azurite, outbound):
    name = f"new-{secrets.token_hex(6)}"
    container = opened(by_key(azurite.endpoint, KEY, name, outbound), creates=True)

    assert list(container.list()) == []
    container.write(PAGE)
    assert [item.key for item in container.list()] == [PAGE.key]
    container.close()


@pytest.mark.parametrize("place", ["endpoint", "endpoint with container", "key", "string"])
def test_a_shared_access_signature_may_stand_where_azure_takes_it(azurite, bucket, outbound, place):
    bucket.upload_blob("a.txt", b"x")
    name = bucket.container_name
    sas = generate_container_sas(
        ACCOUNT,
        name,
        account_key=KEY,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    match place:
        case "endpoint":
            client = by_key(f"{azurite.endpoint}?{sas}", "", name, outbound)
        case "endpoint with container":
            client = by_key(f"{azurite.endpoint}/{name}?{sas}", "", name, outbound)
        case "key":
            client = by_key(azurite.endpoint, f"?{sas}", name, outbound)
        case _:
            text = f"BlobEndpoint={azurite.endpoint};SharedAccessSignature={sas}"
            client = by_connection_string(text, name, outbound)
    container = opened(client)

    [item] = container.list()

    assert item.url == f"{azurite.endpoint}/{name}/a.txt"
    assert read(container, item) == b"x"
    with pytest.raises(IngestionFailed, match="isn't authorized"):
        container.write(PAGE)
    container.close()


def test_the_endpoint_may_name_the_container(azurite, bucket, outbound):
    bucket.upload_blob("a.txt", b"x")
    name = bucket.container_name

    assert listed(by_key(f"{azurite.endpoint}/{name}/", KEY, name, outbound)) == ["a.txt"]
    with pytest.raises(IngestionFailed, match="the same in both"):
        by_key(f"{azurite.endpoint}/other", KEY, name, outbound)


def test_a_refusal_is_told_in_the_services_words(azurite, bucket, outbound):
    wrong = "d3Jvbmc="
    with pytest.raises(IngestionFailed) as refusal:
        listed(by_key(azurite.endpoint, wrong, bucket.container_name, outbound))

    assert str(refusal.value).startswith(
        "This request isn't authorized to perform this operation: the container "
    )
    assert not isinstance(refusal.value, TryLater)
    with pytest.raises(IngestionFailed, match="ContainerNotFound: the container 'none' of 127"):
        listed(by_key(azurite.endpoint, KEY, "none", outbound))


@pytest.mark.parametrize(
    "text",
    [
        f"BlobEndpoint=http://127.0.0.1:1/x;AccountName=x;AccountKey={KEY}",
        f"BlobEndpoint=http://[::1]:80/x;AccountName=x;AccountKey={KEY}",
        "UseDevelopmentStorage=true",
    ],
)
def test_the_hosts_in_a_connection_string_pass_the_guard(text):
    with pytest.raises(IngestionFailed, match=r"outbound\.allow"):
        listed(by_connection_string(text, "docs", OutboundSettings()))


def test_a_host_that_the_operator_wrote_is_open(azurite, bucket):
    client = by_connection_string(
        azurite.connection_string, bucket.container_name, OutboundSettings(), is_named=True
    )

    assert listed(client) == []


@pytest.mark.parametrize("text", ["", "x", "AccountName=x", "BlobEndpoint=x;AccountKey=y"])
def test_a_connection_string_that_cannot_be_read_is_told_without_it(text):
    with pytest.raises(IngestionFailed, match="cannot be read"):
        by_connection_string(text, "docs", OutboundSettings())


@pytest.mark.parametrize("name", ["", "ab", "Docs", "a--b", "../x", "a/b"])
def test_a_container_has_a_containers_name(name):
    with pytest.raises(IngestionFailed, match="no name that a container"):
        by_key("https://a.blob.core.windows.net", KEY, name, OutboundSettings())


def endless(request):
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"<x>" * 100_000)


def listing(blobs, marker):
    text = (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>'
        f"{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )
    return content(text.encode(), Content_Type="application/xml")


def with_new_markers(request):
    listing("", secrets.token_hex(4))(request)


A_BLOB = (
    "<Blob><Name>a</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length>"
    "<BlobType>BlockBlob</BlobType></Properties></Blob>"
)
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 12))


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (endless, "more than 64 MiB"),
        (content(gzip.compress(bytes(1 << 20)), Content_Encoding="gzip"), "answered compressed"),
        (redirect("http://169.254.169.254/"), "redirects to another address"),
        (content(b"<html>", Content_Type="text/html"), "answers in no way that a storage does"),
        (content(b"{}", Content_Type="application/json"), "answers in no way that a storage does"),
        (
            content(
                b'<!DOCTYPE x [<!ENTITY l0 "l">' + LAUGHS + b"]><x>&l11;</x>",
                Content_Type="application/xml",
            ),
            "answers in no way that a storage does",
        ),
        (listing(A_BLOB, "same"), "to an end"),
        (with_new_markers, "to an end"),
        (listing(A_BLOB.replace(">a<", f">{'a' * 5000}<"), ""), "in no way that a storage does"),
    ],
    ids=["endless", "compressed", "redirect", "html", "json", "laughs", "same", "empty", "long"],
)
def test_a_storage_that_means_harm_is_held(page, why):
    with web_site() as site:
        site.pages["/x/docs"] = page
        outbound = OutboundSettings(allow=("127.0.0.1",))
        with pytest.raises(IngestionFailed, match=why):
            listed(by_key(site.url("/x"), KEY, "docs", outbound))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_storage_is_asked_again_later(status):
    with web_site() as site:
        site.pages["/x/docs"] = content(b"", status, Retry_After="7")
        outbound = OutboundSettings(allow=("127.0.0.1",))
        client = by_key(site.url("/x"), KEY, "docs", outbound)
        with pytest.raises(TryLater, match=f"answers {status}") as failure:
            listed(client)

    assert failure.value.after_seconds == 7


def test_a_storage_that_is_away_is_asked_again_later():
    with pytest.raises(TryLater, match=r"The container 'docs' of 127\.0\.0\.1 cannot be reached"):
        listed(by_key("http://127.0.0.1:1/x", KEY, "docs", OutboundSettings(allow=("127.0.0.1",))))


def test_the_servers_identity_is_shown_to_hosts_that_the_operator_listed():
    with pytest.raises(IngestionFailed, match=r"outbound\.identity_hosts"):
        by_identity(
            "https://a.blob.core.windows.net",
            "docs",
            OutboundSettings(),
            hosts=["*.blob.core.usgovcloudapi.net", "b.blob.core.windows.net"],
        )
    with pytest.raises(IngestionFailed, match="https only"):
        by_identity(
            "http://a.blob.core.windows.net",
            "docs",
            OutboundSettings(),
            hosts=["*.blob.core.windows.net"],
        )


def own(by_tls: Azurite, name: str) -> BlobContainer:
    """A container of the emulator, by the identity of this machine."""
    outbound = OutboundSettings(allow=("localhost",), ca_bundle=by_tls.certificate)
    client = by_identity(by_tls.endpoint, name, outbound, hosts=["localhost"])
    return opened(client, creates=True)


@pytest.mark.parametrize("form", ["app_service", "imds"])
def test_a_container_is_read_over_tls_by_the_identity_of_this_machine(
    form, by_tls, identity, monkeypatch
):
    for name, value in getattr(identity, form).items():
        monkeypatch.setenv(name, value)
    container = own(by_tls, f"by-{form.replace('_', '-')}")

    container.write(PAGE)
    [item] = container.list()

    assert read(container, item) == PAGE.body
    assert set(identity.asked_for) == {"https://storage.azure.com"}
    container.close()


def test_a_machine_without_identity_is_not_taken_for_one_that_is_refused(
    by_tls, identity, monkeypatch
):
    for name, value in {**identity.app_service, "IDENTITY_HEADER": "another"}.items():
        monkeypatch.setenv(name, value)
    container = own(by_tls, "docs")

    with pytest.raises(IngestionFailed, match="'docs' of localhost: this server has no identity"):
        list(container.list())
    container.close()


def test_a_storage_whose_certificate_nobody_trusts_is_not_asked(by_tls):
    outbound = OutboundSettings(allow=("localhost",))
    container = opened(by_key(by_tls.endpoint, KEY, "docs", outbound))

    with pytest.raises(TryLater, match="CERTIFICATE_VERIFY_FAILED"):
        list(container.list())
    container.close()
