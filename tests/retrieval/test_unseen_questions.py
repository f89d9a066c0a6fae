"""What answers cite for questions that nothing was set by; see README.md."""

import json
from pathlib import Path

import pytest
from tests.retrieval.conftest import citations

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]

QUESTIONS = json.loads((Path(__file__).parent / "unseen_questions.json").read_text())
OTHERS, FEWER = slice(1, None, 2), slice(1, None, 4)
"""The thresholds of strictness were set by the even ones; half of the others is quicker."""


@pytest.mark.parametrize(
    ("name", "which", "least_right", "least_passages", "most_near", "most_far"),
    [("museum", OTHERS, 13, 11, 10, 1), ("messages", FEWER, 10, 6, 6, 1)],
)
def test_what_is_cited_for_questions_that_nobody_has_seen(
    name, which, least_right, least_passages, most_near, most_far, client, request
):
    index = request.getfixturevalue(name)
    asked = QUESTIONS[name]["answered"][which]
    answered = [(each, citations(client, index, each["question"])) for each in asked]

    def misled(questions: list[str]) -> int:
        return sum(bool(citations(client, index, question)) for question in questions)

    near, far = misled(QUESTIONS[name]["unanswered"][which]), misled(QUESTIONS["neither"][which])

    right = sum(
        any(it["filepath"] in each["documents"] for it in found) for each, found in answered
    )
    passages = sum(
        any(each["evidence"] in " ".join(it["content"].split()) for it in found)
        for each, found in answered
    )
    print(  # noqa: T201
        f"{name}: of {len(asked)} {right} cite the document and {passages} the passage; "
        f"with nothing to cite {near} cite near their subject and {far} far from it"
    )
    assert right >= least_right
    assert passages >= least_passages
    assert near <= most_near
    assert far <= most_far
