"""What a moderation endpoint's categories and scores mean in Azure's words."""

import asyncio

import pytest
from tests.support.running_engine import scripted_engine

from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace
from linarite.resources.inference.moderation import (
    CATEGORIES,
    SEVERITIES,
    Judgement,
    NoJudgement,
    TextsRefused,
    judge,
    worst,
)
from linarite.settings import Upstream


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with scripted_engine(tmp_path_factory.mktemp("moderation")) as running:
        yield running


def judged(endpoint, *texts):
    place = ModelPlace("filter", upstream=Upstream(base_url=endpoint.base_url))

    async def ask(folder="/nowhere"):
        async with Engines(folder) as engines:
            return await judge(engines, place, texts, 1)

    return asyncio.run(ask())


def severities(judgement):
    told = {name: SEVERITIES[level] for name, level in judgement.severities.items()}
    return {name: level for name, level in told.items() if level != "safe"}


@pytest.mark.parametrize(
    ("score", "severity"),
    [
        ("0.19", "safe"),
        ("0.2", "low"),
        ("0.49", "low"),
        ("0.5", "medium"),
        ("0.79", "medium"),
        ("0.8", "high"),
        ("1.0", "high"),
    ],
)
def test_a_score_makes_a_severity(endpoint, score, severity):
    (one,) = judged(endpoint, f"hate={score}")

    assert SEVERITIES[one.severities["hate"]] == severity


@pytest.mark.parametrize(
    ("theirs", "ours"), [(theirs, ours) for ours, all_of in CATEGORIES.items() for theirs in all_of]
)
def test_each_category_has_its_place(endpoint, theirs, ours):
    flagged, scored = judged(endpoint, f"{theirs}!", f"{theirs}=0.9")

    assert severities(flagged) == {ours: "medium"}
    assert severities(scored) == {ours: "high"}


def test_what_azure_has_no_word_for_is_passed_over(endpoint):
    (one,) = judged(endpoint, "illicit! illicit=0.9 something-new!")

    assert (severities(one), one.jailbreak) == ({}, None)


def test_an_attack_is_told_only_where_it_is_looked_for(endpoint):
    (one,) = judged(endpoint, "jailbreak!")

    assert one.jailbreak is True


def test_no_text_asks_nobody(endpoint):
    endpoint.forget()

    assert judged(endpoint) == []
    assert endpoint.asked()["total"] == 0


@pytest.mark.parametrize(
    "failure",
    [
        "[[fail 401]]",
        "[[fail 403]]",
        "[[fail 404]]",
        "[[fail 429]]",
        "[[garbage]]",
        "[[drop]]",
        "[[hang]]",
    ],
)
def test_what_is_no_judgement_is_none(endpoint, failure):
    with pytest.raises(NoJudgement):
        judged(endpoint, failure)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_texts_that_are_not_taken_are_no_matter_of_waiting(endpoint, status):
    with pytest.raises(TextsRefused, match=str(status)):
        judged(endpoint, f"fail={status}")


def test_a_connection_that_broke_is_tried_once_more(endpoint):
    assert len(judged(endpoint, "[[drop x1]]")) == 1


def test_the_worst_of_several_counts():
    safe = dict.fromkeys(CATEGORIES, 0)
    texts = [Judgement(safe | {"hate": 2}), Judgement(safe | {"hate": 1, "sexual": 3}, False)]

    assert worst(texts) == Judgement(safe | {"hate": 2, "sexual": 3}, False)
    assert worst([]) == Judgement(safe)
