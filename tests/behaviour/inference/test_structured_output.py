"""Answers of the embedded model that fit a schema, through the whole server and its client."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pytest
from pydantic import BaseModel, Field
from tests.support.embedded import CHAT
from tests.support.server import Server

from linarite.engines.place import host_socket

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

TEXTS = [
    "Describe a holiday in Rome.",
    "Tell me about your favourite animal.",
    "Ada and Tim meet on Friday for the science fair.",
    "The invoice of 12 May is for 230 euros.",
    "Which book should I read next?",
    "Plan a dinner for four.",
    "What is the weather like in autumn?",
    "Invent a hero of a story.",
    "Rate this film: it was long, but I liked it.",
    "List what one needs for a walk in the hills.",
]
SHORT = {"type": "string", "maxLength": 24}
WORDS = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 12},
    "maxItems": 3,
}


def an_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def an_array(items: Any, least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


KIND = {"type": "string", "enum": ["red", "green", "blue"]}
CIRCLE = an_object(shape={"const": "circle", "type": "string"}, radius={"type": "integer"})
SQUARE = an_object(shape={"const": "square", "type": "string"}, side={"type": "number"})
NODE = {
    **an_object(
        name={"$ref": "#/$defs/name"},
        then={"anyOf": [{"$ref": "#/$defs/last"}, {"type": "null"}]},
    ),
    "$defs": {"name": SHORT, "last": an_object(name={"$ref": "#/$defs/name"})},
}
BOUNDED = [
    an_object(name=SHORT),
    an_object(colour=KIND, why=SHORT),
    an_object(is_good={"type": "boolean"}, score={"type": "integer", "minimum": 1, "maximum": 5}),
    an_object(share={"type": "number", "minimum": 0, "maximum": 1}),
    an_object(words=WORDS),
    an_object(point=an_array({"type": "integer", "minimum": -9, "maximum": 9}, 2, 2)),
    an_object(rows=an_array(an_array({"type": "boolean"}, 1, 2), 1, 3)),
    an_object(inner=an_object(more=an_object(deep=SHORT))),
    an_object(people=an_array(an_object(name=SHORT, age={"type": "integer", "minimum": 0}), 1, 2)),
    an_object(what={"anyOf": [CIRCLE, SQUARE]}),
    an_object(any={"anyOf": [SHORT, {"type": "integer"}, {"type": "null"}]}),
    an_object(maybe={"type": ["string", "null"], "maxLength": 10}),
    an_object(day={"type": "string", "format": "date"}, at={"type": "string", "format": "time"}),
    an_object(id={"type": "string", "format": "uuid"}),
    an_object(code={"enum": [1, 2, "three", None, True]}),
    an_object(level={"const": 7}, note=SHORT),
    an_object(tags=an_array(KIND, 0, 4)),
    {"type": "object", "properties": {"a": SHORT, "b": {"type": "integer"}}, "required": ["b"]},
    NODE,
    an_object(shapes=an_array({"oneOf": [CIRCLE, SQUARE]}, 1, 2)),
]
OPEN = [
    an_object(story={"type": "string"}),
    an_object(steps={"type": "array", "items": {"type": "string"}}),
    {"type": "object", "additionalProperties": {"type": "string"}},
    {"type": "object"},
]


def a_form(schema: Any, *, strict: bool = False) -> Any:
    inner = {"name": "answer", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": inner}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(embedded: Server) -> Iterator[openai.AzureOpenAI]:
    with embedded.sdk(timeout=300) as one:
        yield one


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[Colour] = Field(max_length=2)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Pet(BaseModel):
    name: str = Field(max_length=16)
    pet: Dog | Cat
    friend: Cat | None


def test_pydantic_models_come_back_as_themselves(client):
    answer = client.chat.completions.parse(
        model=CHAT, messages=user("I have a dog."), response_format=Pet, max_tokens=400, seed=3
    )

    assert answer.choices[0].finish_reason == "stop"
    assert isinstance(answer.choices[0].message.parsed, Pet)


def test_every_answer_whole_or_streamed_keeps_to_it(client):
    asked = {"model": CHAT, "messages": user(TEXTS[0]), "seed": 5, "max_tokens": 80, "n": 2}
    asked["response_format"] = a_form(BOUNDED[8], strict=True)

    whole = client.chat.completions.create(**asked)
    texts = ["", ""]
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""

    for text in [*texts, *(choice.message.content for choice in whole.choices)]:
        jsonschema.validate(json.loads(text), BOUNDED[8])


def test_any_object_is_given_where_json_is_asked_for(client):
    answer = client.chat.completions.create(
        model=CHAT,
        messages=user("Give the capital of France as JSON."),
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=120,
    )

    choice = answer.choices[0]
    assert (choice.message.content or "").startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content or ""), dict)


def test_an_answer_at_its_limit_says_so(client):
    answer = client.chat.completions.create(
        model=CHAT, messages=user(TEXTS[7]), response_format=a_form(BOUNDED[8]), max_tokens=5
    )

    assert answer.choices[0].finish_reason == "length"
    assert '{"people":'.startswith(answer.choices[0].message.content or "-")


def test_a_stop_string_cuts_it(client):
    answer = client.chat.completions.create(
        model=CHAT, messages=user(TEXTS[7]), response_format=a_form(BOUNDED[8]), stop=['"age"']
    )

    assert answer.choices[0].finish_reason == "stop"
    assert '"age"' not in (answer.choices[0].message.content or "")


def test_a_schema_that_cannot_be_kept_to_is_refused_by_its_place(client):
    schema = an_object(a={"type": "string", "pattern": "^a$"})

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=CHAT, messages=user("Hello"), response_format=a_form(schema, strict=True)
        )

    assert refused.value.param == "response_format"
    assert "In context=('properties', 'a'), 'pattern' is not supported" in refused.value.message


def test_a_stored_answer_is_kept_as_it_was(client):
    answer = client.chat.completions.create(
        model=CHAT,
        messages=user(TEXTS[1]),
        response_format=a_form(BOUNDED[1]),
        max_tokens=60,
        store=True,
    )

    kept = client.chat.completions.retrieve(answer.id)
    assert kept.choices[0].message.content == answer.choices[0].message.content


@pytest.mark.slow
def test_200_answers_fit_20_schemas(embedded):
    async def one(client: openai.AsyncAzureOpenAI, text: str, schema: Any, seed: int) -> str:
        answer = await client.chat.completions.create(
            model=CHAT,
            messages=user(text),
            response_format=a_form(schema),
            seed=seed,
            max_tokens=400,
        )
        assert answer.choices[0].finish_reason == "stop", answer.choices[0].message.content
        return answer.choices[0].message.content or ""

    async def go() -> list[str]:
        async with asynchronous(embedded) as client:
            return await asyncio.gather(
                *(
                    one(client, text, schema, seed)
                    for seed, (text, schema) in enumerate(itertools.product(TEXTS, BOUNDED))
                )
            )

    answers = asyncio.run(go())

    assert len(answers) == 200
    for text, (_, schema) in zip(answers, itertools.product(TEXTS, BOUNDED), strict=True):
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.slow
def test_an_answer_without_bounds_fits_or_says_that_it_is_cut(embedded):
    async def go() -> list[tuple[Any, Any]]:
        async with asynchronous(embedded) as client:
            asked = list(itertools.product(TEXTS, OPEN))
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=CHAT,
                        messages=user(text),
                        response_format=a_form(schema),
                        max_tokens=120,
                    )
                    for text, schema in asked
                )
            )
            return [
                (answer.choices[0], schema)
                for answer, (_, schema) in zip(answers, asked, strict=True)
            ]

    said = asyncio.run(go())

    assert {choice.finish_reason for choice, _ in said} == {"stop", "length"}
    for choice, schema in said:
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content), schema)


@pytest.mark.slow
def test_a_schema_that_breaks_the_compiler_hurts_none_of_32_others(embedded, tmp_path):
    breaking = an_array(
        an_array(an_array({"type": "string", "maxLength": 250}, 0, 1000), 0, 1000), 0, 1000
    )
    breaking = an_object(**{f"p{at}": {**breaking, "minItems": at} for at in range(90)})

    async def go() -> tuple[list[Any], Exception | None]:
        async with asynchronous(embedded) as client:
            held = {"response_format": a_form(BOUNDED[8])}
            await client.chat.completions.create(model=CHAT, messages=user(TEXTS[0]), **held)
            others = [
                asyncio.create_task(
                    client.chat.completions.create(
                        model=CHAT,
                        messages=user(TEXTS[at % 10]),
                        max_tokens=100,
                        **(held if at % 2 else {}),
                    )
                )
                for at in range(32)
            ]
            await asyncio.sleep(1)
            refused = None
            try:
                await client.chat.completions.create(
                    model=CHAT, messages=user("Hello"), response_format=a_form(breaking)
                )
            except openai.BadRequestError as error:
                refused = error
            return await asyncio.gather(*others), refused

    before = engine_pids(embedded)
    answers, refused = asyncio.run(go())

    assert refused is not None
    assert "too large or too involved" in str(refused)
    assert len(answers) == 32
    choices = [answer.choices[0] for answer in answers]
    assert all(choice.finish_reason in ("stop", "length") for choice in choices)
    for choice in choices[1::2]:
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content), BOUNDED[8])
    assert engine_pids(embedded) == before


def asynchronous(server: Server) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(
        azure_endpoint=server.url,
        api_key=server.key,
        api_version="2025-02-01-preview",
        max_retries=0,
        timeout=500,
    )


def engine_pids(server: Server) -> list[int]:
    transport = httpx.HTTPTransport(uds=str(host_socket(server.built.settings.data)))
    with httpx.Client(transport=transport, base_url="http://engines") as host:
        return [one["pid"] for one in host.get("/engines").json()["engines"]]
