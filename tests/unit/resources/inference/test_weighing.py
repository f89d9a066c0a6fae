"""How much passages have to do with a question, and for how long that is remembered."""

import asyncio
from collections.abc import Sequence

import pytest

from linarite.errors import InferenceRefused
from linarite.indexing.retrieval import Passage
from linarite.resources.inference.embedding import Embedding, Vectors
from linarite.resources.inference.weighing import Weighing, _Memory

QUESTION = [1.0, 0.0]
AT = ("default", "handbook-index", "embed")


class Model:
    """Finds the question in all that says hot, and counts what it is asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.embedding = Embedding("embed", self.embed)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return [QUESTION if "hot" in text else [0.0, 1.0] for text in texts]


def passage(content: str, similarity: float | None) -> Passage:
    return Passage(content, None, None, None, "0", similarity=similarity)


def weighed(
    weighing: Weighing, model: Model, found: Sequence[Passage], background: float = 0.0
) -> None:
    asyncio.run(weighing.weigh(model.embedding, QUESTION, found, 1, background))


def test_a_sentence_within_a_passage_counts_as_much_as_the_whole():
    found = [
        passage("The garage opens at six. It has three floors.", 0.5),
        passage("The shed is old. The kiln is hot today. The yard is wet.", 0.3),
        passage("The oven is hot by noon.", None),
    ]

    weighed(Weighing(lambda: 0), Model(), found)

    assert [it.meaning for it in found] == pytest.approx([0.25, 0.65, 0.65])


def test_only_the_first_and_the_nearest_are_looked_at():
    found = [passage(f"The kiln number {n} is hot.", n / 100) for n in range(40)]
    model = Model()

    weighed(Weighing(lambda: 0), model, found)

    assert [n for n, it in enumerate(found) if it.meaning] == [*range(5), *range(35, 40)]
    assert len(model.texts) == 10


def test_where_no_vectors_were_asked_nothing_is_weighed():
    found = [passage("The kiln is hot.", None)]
    model = Model()

    weighed(Weighing(lambda: 0), model, found)

    assert found[0].meaning is None
    assert model.texts == []


def test_sentences_and_backgrounds_are_remembered_for_ten_minutes():
    now, model = [1_000], Model()
    weighing = Weighing(lambda: now[0])
    found = [passage("The kiln is hot.", 0.2)]
    others = [[0.0, 1.0], [1.0, 1.0]]

    measured = asyncio.run(weighing.measure(model.embedding, QUESTION, others, [found, found], AT))
    weighed(weighing, model, found)
    within = (weighing.background(AT), len(model.texts))
    now[0] += 600
    weighed(weighing, model, found)

    assert within == (measured, 1)
    assert weighing.background(AT) is None
    assert len(model.texts) == 2


def test_vectors_of_another_length_are_refused():
    class Longer(Model):
        async def embed(self, texts: Sequence[str]) -> Vectors:
            return [[0.0, 0.0, 1.0] for _ in texts]

    with pytest.raises(InferenceRefused, match="differ in length"):
        weighed(Weighing(lambda: 0), Longer(), [passage("The kiln is hot.", 0.2)])


def test_what_takes_too_long_is_done_without_and_not_remembered():
    class Slow(Model):
        async def embed(self, texts: Sequence[str]) -> Vectors:
            if any("slow" in text for text in texts):
                await asyncio.sleep(60)
            return await super().embed(texts)

    many = [passage(f"The kiln number {n} is hot.", 0.4) for n in range(65)]
    slow = passage("The kiln is slow.", 0.3)
    weighing, model = Weighing(lambda: 0), Slow()

    async def measured() -> float:
        soon = asyncio.get_running_loop().time() + 0.1
        others, likest = [QUESTION, list(QUESTION)], [many, [slow]]
        return await weighing.measure(model.embedding, QUESTION, others, likest, AT, soon)

    async def later() -> list[float | None]:
        await weighing.weigh(model.embedding, QUESTION, [many[0], slow], 1, 0.0, 0.0)
        return [many[0].meaning, slow.meaning]

    assert asyncio.run(measured()) == pytest.approx((0.7 + 0.3) / 2)
    assert weighing.background(AT) is None
    assert asyncio.run(later()) == pytest.approx([0.7, 0.3])  # what was made is remembered
    assert len(model.texts) == 64


def test_where_an_index_cannot_be_asked_for_anything_the_question_is_held_against_that():
    measured = Weighing(lambda: 0).measure(Model().embedding, QUESTION, [[0.6, 0.8]], [], AT)

    assert asyncio.run(measured) == pytest.approx(0.6)


def test_long_texts_with_short_vectors_fill_what_is_remembered():
    memory = _Memory[str](10_000, lambda: 0)

    for number in range(5):
        memory.keep((str(number) * 3_000,), "x", 8)
    memory.keep(("y" * 20_000,), "too large", 8)

    kept = [memory.get((str(number) * 3_000,)) for number in range(5)]
    assert kept == [None, None, None, "x", "x"]
    assert memory.get(("y" * 20_000,)) is None
