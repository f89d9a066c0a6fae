"""A structure is tried in a process of its own, which may perish over it; nobody else does."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from tests.support.tiny_models import tiny_config, write_tiny_model
from tokenizers import Tokenizer, decoders, models

from linarite.engines.refusals import EngineFailure
from linarite.engines.sampling import Structure
from linarite.engines.structures import Refused, Structures

INVOLVED = {"grammar": 'root ::= ((([a-z]{0,999}) ","){0,999} ";"){0,999}'}
ENDLESS = {"grammar": "root ::= nothing"}
NUMBER = {"schema": {"type": "integer"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "hf", tiny_config())


@asynccontextmanager
async def opened(folder):
    structures = Structures(folder)
    try:
        yield structures
    finally:
        structures.close()


def test_one_that_ends_its_process_is_refused_and_the_next_is_taken(folder):
    async def go():
        async with opened(folder) as structures:
            tried = [await structures.admit(one) for one in (INVOLVED, NUMBER, ENDLESS)]
            return [*tried, await structures.admit({"object": None})]

    involved, number, endless, anything = asyncio.run(go())

    assert isinstance(number, Structure)
    assert involved == Refused("it is too large or too involved for this model's engine.")
    assert isinstance(endless, Refused)
    assert isinstance(anything, Structure)


def test_one_that_is_known_costs_nothing_and_many_who_ask_are_told_together(folder):
    async def go():
        async with opened(folder) as structures:
            first = await asyncio.gather(*(structures.admit(NUMBER) for _ in range(8)))
            began = time.perf_counter()
            again = [await structures.admit(NUMBER) for _ in range(100)]
            return {id(one) for one in (*first, *again)}, time.perf_counter() - began

    told, seconds = asyncio.run(go())

    assert len(told) == 1
    assert seconds < 0.1


def test_many_in_turn_are_tried_once_each(folder):
    async def go():
        async with opened(folder) as structures:
            for _ in range(2):
                for value in range(150):
                    await structures.admit({"schema": {"const": value}})
                yield structures.kept_bytes

    async def kept():
        return [kept_bytes async for kept_bytes in go()]

    first, second = asyncio.run(kept())

    assert first == second


def test_one_who_goes_away_does_not_take_it_from_the_others(folder):
    async def go():
        async with opened(folder) as structures:
            leaving = asyncio.create_task(structures.admit(NUMBER))
            await asyncio.sleep(0)
            leaving.cancel()
            return await structures.admit(NUMBER)

    assert isinstance(asyncio.run(go()), Structure)


def test_an_answer_too_long_to_be_read_is_nobody_elses(folder):
    long = {"schema": {"properties": {"a" * (17 << 20): {"pattern": "b"}}}}

    async def go():
        async with opened(folder) as structures:
            return [await structures.admit(one) for one in (NUMBER, long, {"object": None})]

    number, refused, anything = asyncio.run(go())

    assert isinstance(refused, Refused)
    assert isinstance(anything, Structure)
    assert anything != number


def test_not_more_than_some_wait_and_none_is_tried_for_those_who_left(folder):
    async def go():
        async with opened(folder) as structures:
            many = [{"schema": {"const": at}} for at in range(65)]
            asked = [asyncio.create_task(structures.admit(one)) for one in many]
            await asyncio.sleep(0)
            with pytest.raises(EngineFailure) as refused:
                await asked.pop()
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            before = structures.kept_bytes
            return refused.value, await structures.admit(NUMBER), structures.kept_bytes - before

    refused, number, kept_bytes = asyncio.run(go())

    assert refused.headers["retry-after"] == "5"
    assert isinstance(number, Structure)
    assert kept_bytes < 3 << 20  # of the one that was being tried and of this one


def test_a_schema_nested_too_deep_is_refused(folder):
    schema = {}
    for _ in range(300):
        schema = {"items": schema}

    async def go():
        async with opened(folder) as structures:
            return await structures.admit({"schema": schema})

    assert isinstance(asyncio.run(go()), Refused)


def test_a_schema_is_refused_by_its_place(folder):
    async def go():
        async with opened(folder) as structures:
            return await structures.admit({"schema": {"properties": {"a": {"pattern": "b"}}}})

    assert asyncio.run(go()) == Refused(
        "'pattern' is not supported by this model's engine.", ("properties", "a")
    )


def test_a_tokenizer_of_another_kind_can_follow_none(tmp_path):
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1}))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    async def go():
        async with opened(tmp_path) as structures:
            return await structures.admit(NUMBER)

    assert "tokenizer" in asyncio.run(go()).why
