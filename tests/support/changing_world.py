"""What jobs of ingestion take from and ask, all on this machine, to run in spite of killed workers:
a folder and a site whose documents change, come and go, and an embedding model.
"""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.documents import docx, pdf
from tests.support.embeddings_service import embeddings_service
from tests.support.hostile_site import html
from tests.support.web_site import Page, WebSite, web_site

FILES, PAGES = 250, 50
KINDS = ["txt", "md", "html"] * 8 + ["pdf", "docx"]
STYLE = f"<style>{'p { margin: 0 }' * 12_000}</style>"
"""So much that a lane does not take all documents at once."""
EMBEDS = [{"deploymentName": "embed"}]
CHUNKING = {"maxChunkSizeInTokens": 128}
HANDBOOK = {
    "kind": "UserCompute",
    "workspaceId": "here",
    "datasource": {
        "kind": "Dataset",
        "datasetId": "handbook",
        "datasetType": "uri_folder",
        "chunking": CHUNKING,
        "embeddings": EMBEDS,
    },
}


class Passage:
    """Where those who pass take a while, so that they can be seen there."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inside = 0
        self._lock = threading.Lock()

    def is_used(self) -> bool:
        return self._inside > 0

    def pass_through(self) -> None:
        with self._lock:
            self._inside += 1
        time.sleep(self._seconds)
        with self._lock:
            self._inside -= 1


def vector_of(text: str) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def text_of(number: int, edition: int, parts: int) -> list[str]:
    told = f"This is what document {number} says in edition {edition}"
    return [f"{told}, part {part}. " + f"Word {part} of many. " * 6 for part in range(parts)]


def write(folder: Path, number: int, edition: int = 0, parts: int | None = None) -> None:
    """Write a document; so many parts are about as many chunks."""
    kind = KINDS[number % len(KINDS)]
    title, parts = f"Document {number}", 1 + number % 4 if parts is None else parts
    text = text_of(number, edition, parts)
    paragraphs = "".join(f"<p>{part}</p>" for part in text)
    content = {
        "txt": lambda: "\n\n".join(text).encode(),
        "md": lambda: "\n\n".join([f"# {title}", *text]).encode(),
        "html": lambda: f"<title>{title}</title>{STYLE}<article>{paragraphs}</article>".encode(),
        "pdf": lambda: pdf([[part[:90], part[90:180]] for part in text], title),
        "docx": lambda: docx([f"# {title}", *text], title),
    }
    (folder / f"{number:04}.{kind}").write_bytes(content[kind]())


def change(folder: Path, edition: int) -> None:
    """Shorten, lengthen, rewrite, break and remove documents, and add others."""
    files = sorted(folder.iterdir())
    files = [*files, *files][70 * edition % len(files) :]
    for path in files[:15]:
        path.unlink()
    for path in files[15:18]:
        path.write_bytes(b"%PDF-1.7 and nothing" if path.suffix == ".pdf" else b"\0\1\2\3" * 99)
    for path in files[18:78]:
        number = int(path.stem)
        write(folder, number, edition, (1, 6, None)[number % 3])
    for number in range(1_000 * edition, 1_000 * edition + 15):
        write(folder, number, edition)


def publish(site: WebSite, passage: Passage, edition: int) -> None:
    """Have the site's first page lead to all others; every tenth differs, every twentieth goes."""

    def page(number: int) -> Page:
        told = edition if number % 10 == 0 else 0
        shown = html(f"<title>Page {number}</title><p>{'<p>'.join(text_of(number, told, 2))}")

        def slow(request: Any) -> None:
            passage.pass_through()
            shown(request)

        return slow

    numbers = [n for n in range(1, PAGES) if not edition or n % 20 != 7 + edition]
    site.pages = {f"/{number}": page(number) for number in numbers}
    anchors = "".join(f'<a href="/{number}">{number}</a>' for number in numbers)
    site.pages["/"] = html(f"<title>All</title><p>All pages are here.</p>{anchors}")


@dataclass
class World:
    """What jobs take from, and ask."""

    folder: Path
    documents: Path
    site: WebSite
    fetching: Passage
    embedding: Passage
    config: Path
    pages: dict[str, Any]

    def change_folder(self, edition: int) -> None:
        change(self.documents, edition)

    def change_site(self, edition: int) -> None:
        publish(self.site, self.fetching, edition)


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    documents, config = folder / "documents", folder / "linarite.toml"
    documents.mkdir()
    with web_site() as site, embeddings_service() as engine:
        config.write_text(
            f"""
            [datasets.handbook]
            type = "uri_folder"
            path = "{documents}"
            [outbound]
            allow = ["{site.address}"]
            [ingestion]
            parallel = 1
            [tasks]
            poll_seconds = 0.02
            [[models]]
            id = "tiny"
            kind = "embedding"
            upstream = {{ base_url = "{engine.url}/v1" }}
            [[deployments]]
            name = "embed"
            model = "tiny"
            """
        )
        pages = {
            "kind": "SystemCompute",
            "completionAction": "cleanUpTempAssets",
            "datasource": {
                "kind": "Urls",
                "urls": [site.url("/")],
                "connection": {"kind": "RelativeConnection"},
                "containerName": "pages",
                "chunking": CHUNKING,
                "embeddings": EMBEDS,
            },
        }
        world = World(folder, documents, site, Passage(0.01), Passage(0.02), config, pages)
        for number in range(FILES):
            write(documents, number)
        world.change_site(0)
        engine.vector = vector_of
        engine.pause = world.embedding.pass_through
        yield world
