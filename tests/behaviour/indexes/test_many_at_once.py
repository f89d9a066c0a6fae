"""Those who wait for an index hold up nobody but each other."""

import fcntl
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import httpx
from tests.support.server import API_VERSION, Server


def test_many_who_wait_to_write_hold_up_nothing_else(server: Server, rest: httpx.Client):
    lock = Path(server.settings.data) / "indexes" / "default" / "books" / "lock"
    write = {"value": [{"id": "more", "title": "Another"}]}
    # 8 write, 64 wait for them, and the others are refused at once
    with lock.open("r+b") as held, ThreadPoolExecutor(80) as callers:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = [
            callers.submit(rest.post, "/indexes/books/docs/index", json=write, timeout=60)
            for _ in range(80)
        ]
        try:
            refused = [one.result() for one in islice(as_completed(waiting, timeout=20), 8)]
            found = rest.post("/indexes/books/docs/search", json={"search": "words"}, timeout=5)
            version = {"api-version": API_VERSION}
            files = rest.get("/openai/files", params=version, timeout=5)
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)
        answers = [one.result() for one in waiting]

    told = [(answer.status_code, answer.headers["retry-after"]) for answer in refused]
    assert told == [(503, "2")] * 8
    assert len(found.json()["value"]) == 3
    assert files.status_code == 200
    assert [answer.status_code for answer in answers].count(200) == 72
