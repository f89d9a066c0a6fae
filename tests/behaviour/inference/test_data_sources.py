"""Chats that answer from an index: this server's own, or one of a search service elsewhere."""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.search.documents.indexes import SearchIndexClient
from tests.support.chunks import a_chunk
from tests.support.embeddings_service import EmbeddingsService, embeddings_service, vectors
from tests.support.files import until
from tests.support.running_engine import RunningEngine
from tests.support.search_service import KEY as SEARCH_KEY
from tests.support.search_service import Refusal, SearchService, search_service
from tests.support.server import Server, running_server

from linarite.indexing import relevance
from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.azure_search import AzureSearchTarget
from linarite.resources.indexes.service import Indexes

NOT_AVAILABLE = (
    "The requested information is not available in the retrieved data. Please try another query "
    "or topic."
)
TEXTS = {
    "returns": "Goods may be returned within thirty days of delivery.",
    "kiln": "Heat the kiln to 1240 degrees over nine hours.",
    "parking": "The garage opens at six in the morning.",
}
TOPICS = {
    "return": [1.0, 0.0, 0.0, 0.1],
    "kiln": [0.0, 1.0, 0.0, 0.1],
    "garage": [0.0, 0.0, 1.0, 0.1],
}


def vector(text: str) -> list[float]:
    """Tells the topic of a text; all are a little alike, as with any model."""
    return next((it for word, it in TOPICS.items() if word in text.lower()), [0.1, 0.1, 0.1, 1.0])


@pytest.fixture(scope="module")
def embeddings() -> Iterator[EmbeddingsService]:
    with embeddings_service() as running:
        running.vector = vector
        yield running


@pytest.fixture(scope="module")
def server(
    engine: RunningEngine, embeddings: EmbeddingsService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Answers from `handbook-index` and `words-index` of its default resource."""
    models = [
        {
            "id": "chat",
            "upstream": {"base_url": engine.base_url, "model": "theirs"},
            "context_tokens": 2000,
        },
        {"id": "embed", "kind": "embedding", "upstream": {"base_url": f"{embeddings.url}/v1"}},
    ]
    more = {
        "outbound": {"allow": ["127.0.0.1"]},
        "deployments": [{"name": "limited", "model": "chat", "tokens_per_minute": 10_000}],
    }
    folder = tmp_path_factory.mktemp("data-sources")
    with running_server(folder, models=models, **more) as one:
        fill(one, "handbook-index", with_vectors=True)
        fill(one, "words-index", with_vectors=False)
        yield one


def fill(
    server: Server,
    name: str,
    *,
    with_vectors: bool,
    more: str = "",
    texts: Mapping[str, str] = TEXTS,
) -> None:
    transport = server.built.parts[Indexes].transport("default", "the test")
    target = AzureSearchTarget(ENDPOINT, AzureKeyCredential("x"), transport, name, "the test")
    target.ensure(4 if with_vectors else None)
    target.upsert(
        [
            a_chunk(
                place,
                content=text + more.replace("@", title),
                title=title.title(),
                filepath=f"{title}.md",
                url=f"https://example.org/{title}",
                vector=vector(text) if with_vectors else None,
            )
            for place, (title, text) in enumerate(texts.items())
        ]
    )
    transport.close()


def source(**parameters: Any) -> Any:
    """A data source; hybrid in `handbook-index` unless told otherwise."""
    usual: dict[str, Any] = {
        "index_name": "handbook-index",
        "query_type": "vector_simple_hybrid",
        "embedding_dependency": {"type": "deployment_name", "deployment_name": "embed"},
    }
    given = {name: value for name, value in (usual | parameters).items() if value is not None}
    return [{"type": "azure_search", "parameters": given}]


def by_words(**parameters: Any) -> Any:
    """One that asks for words alone."""
    return source(query_type="simple", embedding_dependency=None, **parameters)


def ask(server: Server, text: str, sources: Any, **more: Any) -> Any:
    messages = more.pop("messages", [{"role": "user", "content": text}])
    client = server.sdk()
    try:
        return client.chat.completions.create(
            model="chat", messages=messages, extra_body={"data_sources": sources}, **more
        )
    except openai.APIError:  # whose traceback keeps the client, and with it a connection
        client.close()
        raise


def asked_of(engine: RunningEngine) -> list[dict[str, Any]]:
    """The chats that reached the engine, whole."""
    return [it["body"] for it in engine.logged() if "messages" in it["body"]]


def shown_to(engine: RunningEngine) -> str:
    """What the model was shown last: its rules and the question with the documents."""
    return json.dumps(asked_of(engine)[-1]["messages"])


def refused(server: Server, sources: Any, **more: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as raised:
        ask(server, "How hot is the kiln?", sources, **more)
    return raised.value


def test_an_answer_tells_the_documents_that_it_comes_from(server: Server, engine: RunningEngine):
    answer = ask(server, "How hot does the kiln get? [[say 1240 degrees [doc1]. ]]", source())

    message = answer.choices[0].message
    assert answer.object == "extensions.chat.completion"
    assert message.end_turn is True
    assert message.context == {
        "citations": [
            {
                "content": TEXTS["kiln"],
                "title": "Kiln",
                "url": "https://example.org/kiln",
                "filepath": "kiln.md",
                "chunk_id": "1",
            }
        ],
        "intent": '["How hot does the kiln get? [[say 1240 degrees [doc1]. ]]"]',
    }
    shown = shown_to(engine)
    assert f"[doc1] Kiln\\n{TEXTS['kiln']}" in shown
    assert TEXTS["parking"] not in shown
    assert "data_sources" not in asked_of(engine)[-1]
    assert asked_of(engine)[-1]["temperature"] == 0


@pytest.mark.parametrize("query_type", ["vector", "vector_simple_hybrid"])
def test_a_question_in_other_words_is_found_by_its_vector(server: Server, query_type: str):
    answer = ask(server, "When is the garage accessible?", source(query_type=query_type))

    cited = answer.choices[0].message.context["citations"]
    assert [citation["filepath"] for citation in cited] == ["parking.md"]


def test_an_index_of_words_alone_answers(server: Server):
    answer = ask(server, "When can goods be returned?", by_words(index_name="words-index"))

    assert answer.choices[0].message.context["citations"][0]["filepath"] == "returns.md"


def test_a_stream_begins_with_the_context(server: Server):
    chunks = list(ask(server, "How hot is the kiln? [[say very hot]]", source(), stream=True))

    first, last = chunks[0].choices[0], chunks[-1].choices[0]
    assert {chunk.object for chunk in chunks} == {"extensions.chat.completion.chunk"}
    assert first.delta.role == "assistant"
    assert first.delta.context["citations"][0]["filepath"] == "kiln.md"
    assert (first.end_turn, last.end_turn, last.finish_reason) == (False, True, "stop")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "very hot"
    assert not any(hasattr(chunk.choices[0].delta, "context") for chunk in chunks[1:])


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_index_does_not_know_is_said_without_asking_a_model(
    server: Server, engine: RunningEngine, stream: bool
):
    before = len(asked_of(engine))
    given = ask(server, "Who won the world cup in 1998?", source(), stream=stream, n=2)

    if stream:
        chunks = [choice for chunk in given for choice in chunk.choices]
        texts = [choice.delta.content for choice in chunks if choice.delta.content]
        context = chunks[0].delta.context
    else:
        texts = [choice.message.content for choice in given.choices]
        context = given.choices[0].message.context
    assert texts == [NOT_AVAILABLE] * 2
    assert context == {"citations": [], "intent": '["Who won the world cup in 1998?"]'}
    assert len(asked_of(engine)) == before


def test_a_model_may_answer_by_itself_where_it_is_allowed_to(server: Server, engine: RunningEngine):
    answer = ask(server, "Who won the cup? [[say France]]", source(in_scope=False))

    assert asked_of(engine)[-1]["messages"] == user("Who won the cup? [[say France]]")
    assert answer.choices[0].message.content == "France"
    assert answer.choices[0].message.context["citations"] == []


def test_all_that_was_found_is_told_with_the_reason_why_it_was_left_out(server: Server):
    wanted = source(
        query_type="vector",
        top_n_documents=1,
        strictness=1,
        include_contexts=["all_retrieved_documents"],
    )
    context = ask(server, "How hot is the kiln?", wanted).choices[0].message.context

    assert set(context) == {"all_retrieved_documents"}
    first, *others = context["all_retrieved_documents"]
    assert (first["filepath"], first.get("filter_reason")) == ("kiln.md", None)
    assert first["search_queries"] == ["How hot is the kiln?"]
    assert first["data_source_index"] == 0
    assert first["original_search_score"] == pytest.approx(1.0, abs=0.01)
    assert {other["filter_reason"] for other in others} == {"score"}


def test_a_filter_holds_for_what_is_found(server: Server):
    context = (
        ask(server, "How hot is the kiln?", source(filter="filepath ne 'kiln.md'", strictness=1))
        .choices[0]
        .message.context
    )

    assert "kiln.md" not in [citation["filepath"] for citation in context["citations"]]


def test_a_short_question_is_looked_for_with_the_one_before(server: Server):
    messages = [
        {"role": "user", "content": "Tell me of the kiln."},
        {"role": "assistant", "content": "What of it?", "context": {"citations": []}},
        {"role": "user", "content": "How hot?"},
    ]
    context = ask(server, "", source(), messages=messages).choices[0].message.context

    assert context["intent"] == '["Tell me of the kiln. How hot?"]'
    assert context["citations"][0]["filepath"] == "kiln.md"


def test_a_role_is_told_beside_the_caller_s_own(server: Server, engine: RunningEngine):
    messages = [
        {"role": "system", "content": "Speak like a potter."},
        {"role": "user", "content": "How hot is the kiln?"},
    ]
    ask(server, "", source(role_information="You are a potter."), messages=messages)

    system = asked_of(engine)[-1]["messages"][0]["content"]
    assert system.startswith("Speak like a potter.\n\nYou are a potter.\n\nAnswer the question")


def test_documents_are_cut_to_the_model_s_window(server: Server, engine: RunningEngine):
    """Of 2,000 tokens 100 are the answer's; a guess of four letters a token is counted by."""
    with search_service() as service:
        service.indexes["handbook-index"] = {}
        service.found = [
            {
                "@search.score": 3.0 - n,
                "content": f"hot kiln {n} " + "words " * 700,
                "chunk_id": str(n),
            }
            for n in range(3)
        ]
        elsewhere = by_words(
            endpoint=service.url, authentication={"type": "api_key", "key": SEARCH_KEY}
        )
        answer = ask(server, "How hot is the kiln?", elsewhere, max_tokens=100)

    assert len(answer.choices[0].message.context["citations"]) == 2
    assert 6500 < len(shown_to(engine)) < 7800


def test_a_chat_that_leaves_no_room_for_documents_is_refused(server: Server):
    error = refused(server, source(), max_tokens=1990)

    assert error.status_code == 400
    assert error.code == "context_length_exceeded"


def test_a_stored_answer_is_the_chat_as_its_caller_had_it(server: Server):
    answer = ask(
        server, "How hot is the kiln? [[say hot]]", source(), store=True, metadata={"a": "b"}
    )

    stored = server.sdk().chat.completions.retrieve(answer.id)
    messages = server.sdk().chat.completions.messages.list(answer.id)
    assert stored.choices[0].message.content == "hot"
    assert messages.data[0].content == "How hot is the kiln? [[say hot]]"


def test_an_answer_that_nobody_was_asked_for_is_stored_too(server: Server):
    events = list(ask(server, "Who won the cup of 1998?", source(), store=True, stream=True))

    stored = server.sdk().chat.completions.retrieve(events[0].id)
    assert stored.choices[0].message.content == NOT_AVAILABLE


def test_the_server_s_own_address_means_its_own_indexes(server: Server):
    own = source(endpoint=server.url + "/", authentication={"type": "api_key", "key": server.key})

    answer = ask(server, "How hot is the kiln?", own)

    assert answer.choices[0].message.context["citations"][0]["filepath"] == "kiln.md"


def test_an_index_of_another_resource_is_not_there(server: Server):
    with (
        server.sdk(key=server.add_key("another")) as other,
        pytest.raises(openai.BadRequestError, match=r"404: .*handbook-index"),
    ):
        other.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "How hot is the kiln?"}],
            extra_body={"data_sources": by_words()},
        )


def test_an_index_that_is_made_anew_is_weighed_anew(server: Server):
    asked = source(index_name="anew-index")
    fill(server, "anew-index", with_vectors=True, texts={"a": "Nothing.", "b": "Not a thing."})
    before = ask(server, "How hot is the kiln?", asked).choices[0].message.context
    transport = server.built.parts[Indexes].transport("default", "the test")
    with SearchIndexClient(ENDPOINT, AzureKeyCredential("x"), transport=transport) as indexes:
        indexes.delete_index("anew-index")
    fill(server, "anew-index", with_vectors=True)

    after = ask(server, "How hot is the kiln?", asked).choices[0].message.context

    assert before["citations"] == []
    assert [citation["filepath"] for citation in after["citations"]] == ["kiln.md"]


@pytest.mark.parametrize(
    "made", [[vector("kiln")], [vector("kiln"), *[[1.0]] * 8]], ids=["too few", "of other lengths"]
)
def test_a_deployment_that_makes_no_vector_for_a_text_is_told_of_and_asked_again(
    embeddings: EmbeddingsService, engine: RunningEngine, tmp_path: Path, made: list[list[float]]
):
    models = [
        {"id": "chat", "upstream": {"base_url": engine.base_url, "model": "theirs"}},
        {"id": "embed", "kind": "embedding", "upstream": {"base_url": f"{embeddings.url}/v1"}},
    ]
    with running_server(tmp_path, models=models) as server:
        fill(server, "handbook-index", with_vectors=True)
        embeddings.answers = [(200, {}, vectors(made))]
        error = refused(server, source())
        answer = ask(server, "How hot is the kiln?", source())

    assert (error.status_code, error.code) == (502, "serviceUnavailable")
    assert "one vector for each text" in str(error.body)
    assert answer.choices[0].message.context["citations"]


def test_a_key_of_another_resource_opens_nothing(server: Server):
    key = server.add_key("a-third")
    foreign = by_words(endpoint=server.url, authentication={"type": "api_key", "key": key})

    error = refused(server, foreign)

    assert error.status_code == 400
    assert error.param == "data_sources[0].parameters.authentication"
    assert key not in str(error.body)


class TestElsewhere:
    """A search service that the caller names."""

    @pytest.fixture
    def service(self) -> Iterator[SearchService]:
        with search_service() as running:
            running.indexes["docs"] = {"name": "docs", "fields": []}
            running.documents["docs"] = {}
            yield running

    def there(self, service: SearchService, key: str = SEARCH_KEY, **more: Any) -> Any:
        authentication = {"type": "api_key", "key": key}
        named = {"endpoint": service.url, "index_name": "docs", "authentication": authentication}
        return {**named, **more}

    def test_it_is_asked_for_words_and_vectors_in_its_own_form(
        self, server: Server, service: SearchService
    ):
        service.found = [
            {"@search.score": 0.95, "text": "The kiln is hot.", "name": "Kiln", "metadata": "{}"}
        ]
        mapping = {"content_fields": ["text"], "title_field": "name", "vector_fields": ["vec"]}
        elsewhere = source(**self.there(service, fields_mapping=mapping, filter="year gt 2000"))

        context = ask(server, 'How "hot" is the (kiln)?', elsewhere).choices[0].message.context

        assert context["citations"][0]["title"] == "Kiln"
        words, vectors, *others = service.bodies("search.post.search")
        assert words == {
            "search": "How  hot  is the  kiln ?",
            "filter": "year gt 2000",
            "queryType": "simple",
            "searchMode": "any",
            "top": 50,
        }
        assert vectors == {
            "filter": "year gt 2000",
            "top": 50,
            "vectorQueries": [
                {"kind": "vector", "vector": vector("kiln"), "k": 50, "fields": "vec"}
            ],
        }
        assert len(others) == 8  # what it has for anything
        assert {(it["top"], it["vectorQueries"][0]["fields"]) for it in others} == {(3, "vec")}

        ask(server, "How hot is the kiln?", elsewhere)

        assert len(service.bodies("search.post.search")) == 12  # is remembered

    def test_it_ranks_by_meaning_where_it_is_asked_to(self, server: Server, service: SearchService):
        service.found = [
            {"@search.score": 0.03, "@search.rerankerScore": score, "content": f"kiln {score}"}
            for score in (3.0, 1.0)
        ]
        semantic = source(
            **self.there(
                service, query_type="vector_semantic_hybrid", semantic_configuration="default"
            )
        )

        context = ask(server, "How hot is the kiln?", semantic).choices[0].message.context

        told = [(it["content"], it["rerank_score"]) for it in context["citations"]]
        assert told == [("kiln 3.0", 3.0)]
        [body] = service.bodies("search.post.search")
        assert body["queryType"] == "semantic"
        assert body["semanticConfiguration"] == "default"
        assert body["search"] == "How hot is the kiln?"
        assert len(body["vectorQueries"]) == 1

    def test_its_refusal_is_told_without_the_key(self, server: Server, service: SearchService):
        error = refused(server, by_words(**self.there(service, key="a-wrong-key")))

        assert error.status_code == 400
        assert "refused the key" in str(error.body)
        assert "a-wrong-key" not in str(error.body)

    def test_fields_of_other_names_must_be_mapped(self, server: Server, service: SearchService):
        service.found = [{"@search.score": 1.0, "text": "The kiln is hot."}]

        error = refused(server, by_words(**self.there(service)))

        assert "fields_mapping.content_fields" in str(error.body)

    def test_the_question_may_be_embedded_elsewhere_too(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        service.found = [{"@search.score": 0.95, "content": "The kiln is hot."}]
        dependency = {
            "type": "endpoint",
            "endpoint": f"{embeddings.url}/openai/deployments/ada/embeddings",
            "authentication": {"type": "api_key", "key": "the-key-of-the-endpoint"},
        }
        asked = source(**self.there(service, query_type="vector", embedding_dependency=dependency))

        answer = ask(server, "How hot is the kiln?", asked)

        assert len(answer.choices[0].message.context["citations"]) == 1
        path, headers, _body = embeddings.seen[-1]
        assert path.startswith("/openai/deployments/ada/embeddings?api-version=")
        assert headers["api-key"] == "the-key-of-the-endpoint"

    def test_a_token_for_what_embeds_goes_over_https_only(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        before = len(embeddings.seen)
        dependency = {
            "type": "endpoint",
            "endpoint": f"{embeddings.url}/openai/deployments/ada/embeddings",
            "authentication": {"type": "access_token", "access_token": "a-token"},
        }
        asked = source(**self.there(service, query_type="vector", embedding_dependency=dependency))

        error = refused(server, asked)

        assert (error.status_code, error.param) == (400, "data_sources")
        assert "a token is not sent" in str(error.body)
        assert "a-token" not in str(error.body)
        assert len(embeddings.seen) == before

    def test_one_that_is_busy_is_asked_once(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        dependency = {
            "type": "endpoint",
            "endpoint": f"{embeddings.url}/openai/deployments/busy/embeddings",
            "authentication": {"type": "api_key", "key": "x"},
        }
        asked = source(**self.there(service, query_type="vector", embedding_dependency=dependency))
        embeddings.answers = [(503, {}, {}), (503, {}, {})]
        service.refusals = [Refusal("search.post.search", 503, times=2)]

        embedding = refused(server, asked).status_code
        left = len(embeddings.answers)
        embeddings.answers = []
        searching = refused(server, by_words(**self.there(service))).status_code

        assert (embedding, searching) == (503, 503)
        assert (left, service.refusals[0].times) == (1, 1)

    def test_those_that_do_not_answer_hold_up_no_index_of_this_server_and_nobody_else(
        self, server: Server, service: SearchService
    ):
        service.found = [{"@search.score": 3.0, "content": "The kiln is hot."}]
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            ThreadPoolExecutor(20) as threads,
            ExitStack() as connections,
        ):
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            there = {"endpoint": address, "authentication": {"type": "api_key", "key": "x"}}
            body = {
                "model": "chat",
                "messages": [{"role": "user", "content": "How hot is the kiln?"}],
                "data_sources": by_words(**there),
            }
            url, key = f"{server.url}/openai/v1/chat/completions", {"api-key": server.key}
            post = partial(httpx.post, url, json=body, headers=key, timeout=30)
            waiting = [threads.submit(post) for _ in range(20)]
            silent.settimeout(10)
            for _ in range(16):
                connections.enter_context(silent.accept()[0])

            answer = ask(server, "How hot is the kiln?", source(), timeout=5)
            others = httpx.post(
                url,
                json=body | {"data_sources": by_words(**self.there(service))},
                headers={"api-key": server.add_key("another-caller")},
                timeout=5,
            )

            silent.close()
            connections.close()
            assert answer.choices[0].message.context["citations"]
            assert others.json()["choices"][0]["message"]["context"]["citations"]
            assert {it.result().status_code for it in waiting} == {503}

    def test_a_score_that_is_none_is_the_lowest(self, server: Server, service: SearchService):
        service.found = [
            {"@search.score": "much", "content": "The kiln is hot."},
            {"content": "How hot the kiln is."},
        ]

        context = ask(server, "How hot is the kiln?", by_words(**self.there(service))).choices[0]

        assert len(context.message.context["citations"]) == 2

    def test_an_endpoint_may_come_to_embed_by_another_model(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        service.found = [{"@search.score": 0.95, "content": "The kiln is hot."}]
        dependency = {
            "type": "endpoint",
            "endpoint": f"{embeddings.url}/openai/deployments/changes/embeddings",
            "authentication": {"type": "api_key", "key": "x"},
        }
        asked = source(**self.there(service, query_type="vector", embedding_dependency=dependency))
        ask(server, "How hot is the kiln?", asked)

        embeddings.vector = lambda text: [*vector(text), 0.0]
        try:
            answer = ask(server, "How hot is the kiln?", asked)
        finally:
            embeddings.vector = vector

        assert answer.choices[0].message.context["citations"]

    @pytest.mark.parametrize("after", [0, 1])
    def test_half_a_result_is_enough_where_the_caller_says_so(
        self, server: Server, service: SearchService, after: int
    ):
        service.found = [{"@search.score": 1.0, "content": "How hot the kiln is."}]
        asked = self.there(service, fields_mapping={"vector_fields": [f"half{after}"]})
        service.refusals = [Refusal("search.post.search", 400, after=after)]
        one_failed = ask(server, "How hot is the kiln?", source(**asked, allow_partial_result=True))
        service.refusals = [Refusal("search.post.search", 400, after=after)]
        unasked = refused(server, source(**asked))

        assert one_failed.choices[0].message.context["citations"]
        assert unasked.status_code == 400

    def test_words_are_enough_where_the_question_cannot_be_embedded_and_the_caller_says_so(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        service.found = [{"@search.score": 1.0, "content": "How hot the kiln is."}]
        there = self.there(service, embedding_dependency=self.endpoint(embeddings, "away"))
        embeddings.answers = [(503, {}, {})] * 2

        answer = ask(server, "How hot is the kiln?", source(**there, allow_partial_result=True))
        vectors_alone = source(**there | {"query_type": "vector"}, allow_partial_result=True)
        error = refused(server, vectors_alone)

        assert answer.choices[0].message.context["citations"]
        [body] = service.bodies("search.post.search")
        assert "vectorQueries" not in body
        assert error.status_code == 503

    def test_a_text_that_the_endpoint_refuses_is_the_caller_s_fault(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        asked = source(**self.there(service, embedding_dependency=self.endpoint(embeddings, "x")))
        embeddings.most_characters = 60
        try:
            error = refused(server, asked, messages=[{"role": "user", "content": "kiln " * 20}])
        finally:
            embeddings.most_characters = 30_000

        assert (error.status_code, error.param) == (400, "data_sources")
        assert "maximum context length" in str(error.body)

    def endpoint(self, embeddings: EmbeddingsService, name: str, key: str = "a-key") -> Any:
        return {
            "type": "endpoint",
            "endpoint": f"{embeddings.url}/openai/deployments/{name}/embeddings",
            "authentication": {"type": "api_key", "key": key},
        }

    def test_sentences_may_fail_to_be_embedded_where_the_question_was(
        self, server: Server, embeddings: EmbeddingsService
    ):
        asked = source(embedding_dependency=self.endpoint(embeddings, "is-soon-busy"))
        question = vectors([vector("kiln"), *[vector("")] * len(relevance.BACKGROUND)])
        embeddings.answers = [(200, {}, question), *[(503, {}, {})] * 2]

        answer = ask(server, "How hot is the kiln?", asked)

        cited = answer.choices[0].message.context["citations"]
        assert [citation["filepath"] for citation in cited] == ["kiln.md"]
        assert embeddings.answers == []

    def test_searches_for_anything_may_fail_where_the_question_s_went_well(
        self, server: Server, service: SearchService
    ):
        service.found = [{"@search.score": 0.95, "content": "The kiln is hot."}]
        mapping = {"vector_fields": ["fails"]}
        asked = source(**self.there(service, query_type="vector", fields_mapping=mapping))
        service.refusals = [Refusal("search.post.search", 503, after=1)]

        answers = [ask(server, "How hot is the kiln?", asked) for _ in range(2)]

        assert all(answer.choices[0].message.context["citations"] for answer in answers)
        assert len(service.bodies("search.post.search")) == 2 + 9  # is tried again

    def test_what_is_remembered_of_an_endpoint_is_its_resource_s_own(
        self, server: Server, service: SearchService, embeddings: EmbeddingsService
    ):
        service.found = [{"@search.score": 0.95, "content": "The kiln is at its hottest."}]
        for name in ("first", "second"):
            dependency = self.endpoint(embeddings, "shared", f"{name}-key")
            there = self.there(service, query_type="vector", embedding_dependency=dependency)
            body = {
                "model": "chat",
                "messages": [{"role": "user", "content": "How hot is the kiln?"}],
                "data_sources": source(**there),
            }
            key = {"api-key": server.add_key(f"shares-{name}")}
            httpx.post(f"{server.url}/openai/v1/chat/completions", json=body, headers=key)

        keys = [
            headers["api-key"]
            for path, headers, body in embeddings.seen
            if "/shared/" in path and "The kiln is at its hottest." in body["input"]
        ]
        assert keys == ["first-key", "second-key"]


KEYLESS = {"type": "system_assigned_managed_identity"}


@pytest.mark.parametrize(
    ("sources", "param", "told"),
    [
        ("x", "data_sources", "exactly one element"),
        ([*by_words(), *by_words()], "data_sources", "exactly one element"),
        ([{"type": "pinecone", "parameters": {}}], "data_sources[0].type", "'pinecone' is not"),
        ([{"parameters": {"index_name": "x"}}], "data_sources[0].type", "required"),
        (by_words(index_name=None), "data_sources[0].parameters.index_name", "required"),
        (by_words(strictness=6), "data_sources[0].parameters.strictness", "less than or equal"),
        (by_words(top_n_documents=0), "data_sources[0].parameters.top_n_documents", "greater"),
        (by_words(surprise=1), "data_sources[0].parameters.surprise", "not permitted"),
        (source(embedding_dependency=None), None, "embedding_dependency"),
        (source(query_type="simple"), None, "Only allowed when `query_type` has vectors"),
        (source(query_type="vector_semantic_hybrid"), None, "semantic_configuration"),
        (
            by_words(endpoint="https://x.example", authentication=None),
            "data_sources",
            "`authentication` is required",
        ),
        (
            by_words(endpoint="https://x.example", authentication=KEYLESS),
            "data_sources",
            "identity is not lent to chats",
        ),
        (
            by_words(authentication={"type": "api_key", "key": "a key\n"}),
            "data_sources[0].parameters.authentication.api_key.key",
            "pattern",
        ),
        (
            source(
                embedding_dependency={
                    "type": "endpoint",
                    "endpoint": "https://x.example/openai/deployments/ada/embeddings?api-version=1",
                    "authentication": {"type": "api_key", "key": "x"},
                }
            ),
            "data_sources[0].parameters.embedding_dependency.endpoint.endpoint",
            "without a query",
        ),
        (by_words(index_name="missing-index"), "data_sources", "404"),
        (source(index_name="n" * 300), "data_sources", "40"),
        (source(index_name="../another/handbook-index"), "data_sources", "40"),
        (by_words(filter="nonsense"), "data_sources", "400"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(
    server: Server, sources: Any, param: str | None, told: str
):
    error = refused(server, sources)

    assert error.status_code == 400
    assert told.lower() in str(error.body).lower()
    assert param is None or error.param == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
            "tools",
        ),
    ],
)
def test_what_does_not_go_with_a_source_is_refused(
    server: Server, more: dict[str, Any], param: str
):
    error = refused(server, source(), **more)

    assert (error.status_code, error.param) == (400, param)


def test_documents_count_against_the_rate_limit(server: Server):
    left = []
    for sources in ([], source(), source()):
        asked = server.sdk().chat.completions.with_raw_response.create(
            model="limited",
            messages=[{"role": "user", "content": "How hot does the kiln get?"}],
            max_tokens=10,
            extra_body={"data_sources": sources},
        )
        left.append(int(asked.headers["x-ratelimit-remaining-tokens"]))

    bare, grounded, again = 10_000 - left[0], left[0] - left[1], left[1] - left[2]
    assert grounded == again > bare + 40


def test_sentences_are_embedded_a_few_at_once(server: Server, embeddings: EmbeddingsService):
    facts = " ".join(f"Here is number {n} of the facts about @." for n in range(11))
    fill(server, "long-index", with_vectors=True, more=" " + facts)
    before = len(embeddings.seen)

    ask(server, "How hot is the kiln?", source(index_name="long-index"))

    sent = [body["input"] for _path, _headers, body in embeddings.seen[before:]]
    assert max(map(len, sent)) == 32
    assert sum(map(len, sent)) >= 3 * 11 + 1


def test_first_questions_at_once_have_an_index_measured_once(
    server: Server, embeddings: EmbeddingsService
):
    kilns = {f"kiln {n}": f"Kiln number {n} is hot." for n in range(30)}
    oaks = {f"oak {n}": f"Oak number {n} is old." for n in range(9)}  # alike to anything
    fill(server, "busy-index", with_vectors=True, texts=kilns | oaks)
    before, question = len(embeddings.seen), "How hot is the kiln?"
    embeddings.pause = partial(time.sleep, 0.2)
    try:
        with ThreadPoolExecutor(6) as callers:
            asked = [
                callers.submit(ask, server, question, source(index_name="busy-index"))
                for _ in range(6)
            ]
            for one in asked:
                assert one.result().choices
    finally:
        embeddings.pause = lambda: None

    sent = Counter(text for _, _, body in embeddings.seen[before:] for text in body["input"])
    assert {times for text, times in sent.items() if text.startswith("Oak")} == {1}


def test_an_embedding_deployment_that_is_not_there_is_refused(server: Server):
    missing = {"type": "deployment_name", "deployment_name": "missing"}

    error = refused(server, source(embedding_dependency=missing))

    assert (error.status_code, error.code) == (404, "DeploymentNotFound")


def test_the_content_filter_judges_the_documents_that_a_model_is_shown(
    engine: RunningEngine, tmp_path: Path
):
    """What the scripted judge finds is written in the text: ``violence=0.9``."""
    upstream = {"base_url": engine.base_url}
    judge = {"base_url": engine.base_url, "model": "judge"}
    models = [{"id": "chat", "upstream": upstream}]
    with running_server(tmp_path, models=models, content_filter=judge) as server:
        fill(server, "words-index", with_vectors=False)
        words = by_words(index_name="words-index")
        chunks = list(ask(server, "How many degrees has the kiln?", words, stream=True))
        fill(server, "bad-index", with_vectors=False, more=" violence=0.9")
        error = refused(server, by_words(index_name="bad-index", strictness=1))

    assert chunks[0].choices == []
    assert chunks[0].prompt_filter_results
    assert chunks[1].choices[0].delta.context["citations"][0]["filepath"] == "kiln.md"
    assert "content_filter_results" in chunks[1].choices[0].model_extra
    assert error.code == "content_filter"


def test_lines_of_a_batch_answer_from_an_index_too(server: Server, engine: RunningEngine):
    lines = {
        "known": {"messages": user("How hot is the kiln? [[say hot]]"), "data_sources": source()},
        "unknown": {"messages": user("Who won the cup?"), "data_sources": source()},
        "wrong": {"messages": user("Hello"), "data_sources": by_words(index_name="missing")},
    }
    with server.working():
        answers = batched(server, lines)

    known = answers["known"]["response"]["body"]["choices"][0]["message"]
    assert known["content"] == "hot"
    assert known["context"]["citations"][0]["filepath"] == "kiln.md"
    unknown = answers["unknown"]["response"]["body"]["choices"][0]["message"]
    assert unknown["content"] == NOT_AVAILABLE
    assert answers["wrong"]["response"]["status_code"] == 400
    assert "missing" in answers["wrong"]["response"]["body"]["error"]["message"]


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def batched(server: Server, bodies: dict[str, Any]) -> dict[str, Any]:
    """The lines of both files of a batch over chats, by their custom id."""
    sdk = server.sdk()
    whole = {"method": "POST", "url": "/chat/completions"}
    text = "\n".join(
        json.dumps({"custom_id": name, **whole, "body": {"model": "chat", **body}})
        for name, body in bodies.items()
    )
    file = sdk.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"
    )
    until(lambda: sdk.batches.retrieve(batch.id).status == "completed", "the batch is over")
    ended = sdk.batches.retrieve(batch.id)
    texts = [sdk.files.content(it or "").text for it in (ended.output_file_id, ended.error_file_id)]
    answers = [json.loads(line) for text in texts for line in text.splitlines()]
    return {answer["custom_id"]: answer for answer in answers}
