"""What of a stream is stored, and what its caller gets of it meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from linarite.clock import SystemClock
from linarite.engines.refusals import EngineUnreachable
from linarite.http.metrics import Metrics
from linarite.http.pages import Page
from linarite.resources.deployments.records import DeploymentRecord, Target
from linarite.resources.inference.storing import Storing
from linarite.resources.inference.streams import PassedStream
from linarite.resources.models.records import ModelRecord
from linarite.resources.stored_completions.service import StoredCompletions, Wanted
from linarite.resources.stored_completions.writing import GroupWriter
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database

TARGET = Target(DeploymentRecord("chat", "me", "model", 0, 0, 0), ModelRecord("model", "chat"))
DONE = b"data: [DONE]\n\n"


def piece(text=None, *, end=None, index=0, **more):
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": end}
    return b"data: " + orjson.dumps({"choices": [choice], **more}) + b"\n\n"


STAMP = {"created": 5, "model": "model"}
USAGE = {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}


class Streaming:
    """Streams through one `Storing` after the other, over a database of their own."""

    def __init__(self, database: Database) -> None:
        self.metrics = Metrics()
        self._database = database
        self._streams = 0

    def passed(self, *chunks, taken=None, breaks=False, **asked):
        """What a caller gets who takes so many chunks of an engine's, or all."""
        return asyncio.run(self._passed(chunks, taken, breaks, asked))

    async def _passed(self, chunks, taken, breaks, asked):
        writer = GroupWriter(self._database)
        asked = {"messages": [{"role": "user", "content": "Hello"}], **asked}
        storing = Storing(writer, self.metrics, "me", TARGET, asked, "request")

        async def engine():
            for chunk in chunks:
                yield chunk
            if breaks:
                raise EngineUnreachable("gone")

        got, left, ends_at_once = [], asyncio.Event(), taken == len(chunks)

        async def send(message):
            if left.is_set():
                await asyncio.Event().wait()
            if body := message.get("body"):
                got.append(body)
            if len(got) == taken:
                left.set()
                if ends_at_once:
                    await asyncio.Event().wait()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        self._streams += 1
        stamp = {"id": f"chatcmpl-{self._streams}", **STAMP}
        events = storing.events(engine(), stamp, shows_usage=True)
        await PassedStream(events, AsyncExitStack())({"type": "http"}, receive, send)
        del events
        await asyncio.sleep(0.01)  # the loop closes what nobody holds, in some turns
        await writer.close()
        return b"".join(got)

    def stored(self):
        """The choices of all that is stored."""
        service = StoredCompletions(self._database, SystemClock(), StoredCompletionSettings())
        page, _ = service.page("me", Page(10), Wanted())
        return [record.to_wire().choices for record in page.items]

    def counted(self, outcome):
        return self.metrics.stored_completions.labels(outcome)._value.get()


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[Streaming]:
    database = Database(f"sqlite:///{tmp_path / 'linarite.sqlite3'}")
    database.migrate()
    yield Streaming(database)
    database.close()


def test_a_stream_is_stored_and_passes_on_with_this_servers_id(streaming):
    got = streaming.passed(piece("H"), piece("i") + piece(end="stop", **USAGE), DONE)

    assert got.count(b'"id":"chatcmpl-1"') == 3
    assert got.endswith(DONE)
    [[choice]] = streaming.stored()
    assert choice.message.content == "Hi"
    assert streaming.counted("stored") == 1


def test_lines_may_be_cut_anywhere_and_the_last_may_have_no_end(streaming):
    whole = b": a comment\r\n\r\n" + piece("Hi") + piece(end="stop") + DONE.rstrip()

    cut = streaming.passed(*(whole[at : at + 7] for at in range(0, len(whole), 7)))

    assert cut.startswith(b": a comment\r\n\r\ndata: ")
    assert cut.endswith(b"data: [DONE]")
    assert streaming.stored()[0][0].message.content == "Hi"


def test_a_last_event_without_an_end_belongs_to_the_answer(streaming):
    got = streaming.passed(piece("Hi"), piece(" there", end="stop").rstrip())

    assert got.count(b"chatcmpl-1") == 2
    assert streaming.stored()[0][0].message.content == "Hi there"


def test_who_leaves_with_the_last_word_has_it_stored(streaming):
    streaming.passed(piece("Hi"), piece(end="stop"), piece(**USAGE), DONE, taken=2)
    streaming.passed(piece("Hi"), piece(end="stop") + DONE, taken=2)

    assert [one[0].message.content for one in streaming.stored()] == ["Hi", "Hi"]
    assert streaming.counted("stored") == 2


def test_who_leaves_before_it_has_nothing_stored(streaming):
    streaming.passed(piece("Hi"), piece(" there"), piece(end="stop"), DONE, taken=1)
    streaming.passed(piece("Hi"), piece(end="stop"), piece("Hi", index=1), DONE, taken=2, n=2)

    assert streaming.stored() == []
    assert (streaming.counted("stored"), streaming.counted("failed")) == (0, 0)


def test_what_breaks_off_is_not_stored(streaming):
    streaming.passed(piece("Hi"), breaks=True)
    streaming.passed(piece("Hi"), b'data: {"error": {"message": "no"}}\n\n', DONE)

    assert streaming.stored() == []
    assert (streaming.counted("stored"), streaming.counted("failed")) == (0, 0)


@pytest.mark.parametrize(
    "strange", [b"data: what\n\n", b"data: []\n\n", b'data: {"choices": 1}\n\n']
)
def test_an_event_that_nobody_understands_passes_and_the_failure_is_counted(streaming, strange):
    got = streaming.passed(piece("Hi"), strange, piece(end="stop"), DONE)

    assert strange in got
    assert streaming.stored() == []
    assert streaming.counted("failed") == 1


def test_an_answer_that_cannot_be_stored_goes_out_to_its_end(streaming):
    call = {"index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    without_id = b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"

    got = streaming.passed(without_id, DONE)

    assert got.endswith(DONE)
    assert streaming.stored() == []
    assert streaming.counted("failed") == 1


def test_each_of_several_answers_is_put_together(streaming):
    pieces = [piece("a", index=1), piece("b", index=0), piece("A", index=1)]

    streaming.passed(*pieces, piece(end="stop", index=1), piece(end="length", index=0), DONE, n=2)

    [[first, second]] = streaming.stored()
    assert (first.message.content, first.finish_reason) == ("b", "length")
    assert (second.message.content, second.finish_reason) == ("aA", "stop")
