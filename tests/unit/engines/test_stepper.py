"""What a stepper tells of requests that its pipeline does not take."""

import dataclasses
import json
import socket
import threading
from typing import Any

import pytest

from linarite.engines.admission import Admission
from linarite.engines.generation import Said
from linarite.engines.sampling import Piece, Sampling, Structure
from linarite.engines.stepper import Commands, Stepper


class Refusing:
    """A pipeline that objects to everything."""

    def prepare(self, structure: Structure) -> None:
        raise RuntimeError("no such structure")

    def add(self, prompt: Any, sampling: Sampling) -> None:
        raise RuntimeError("no such values")

    def is_busy(self) -> bool:
        return False

    def step(self) -> None:
        pass


def adding(sampling: Sampling, structure: Structure | None, *ids: int) -> dict[str, Any]:
    plain = dataclasses.asdict(sampling)
    requests = [{"id": one, "prompt": [1], "sampling": plain, "is_batch": True} for one in ids]
    return {"add": requests, "structure": structure and dataclasses.asdict(structure)}


@pytest.mark.parametrize("structure", [None, Structure("grammar", "root ::= unknown")])
def test_a_request_that_is_not_taken_is_told_as_every_other(structure: Structure | None):
    pipeline: Any = Refusing()
    stepper = Stepper(pipeline, Admission(8))
    stepper.obey(adding(Sampling(max_tokens=5), structure, 7))

    said = []
    for _ in range(100):
        said += stepper.step()
        if said:
            break

    request_id, *told = said[0]
    expected: Said = (0, [], "refused", [])
    assert (request_id, told) == (7, list(expected[1:]))
    assert not stepper.is_busy()


class Patient(Refusing):
    """A pipeline that prepares when it is told to, and notes what it is given."""

    def __init__(self) -> None:
        self.may_prepare = threading.Event()
        self.prepared: list[str] = []
        self.added: list[Sampling] = []

    def prepare(self, structure: Structure) -> None:
        self.prepared.append(structure.text)
        assert self.may_prepare.wait(10)

    def add(self, prompt: Any, sampling: Sampling) -> Any:
        self.added.append(sampling)
        return Saying()


class Saying:
    """An answer of three tokens that has not ended."""

    def __init__(self) -> None:
        self.tokens = [1, 2, 3]

    def read(self) -> Piece:
        tokens, self.tokens = self.tokens, []
        return Piece(tokens, None)

    def cancel(self) -> None:
        pass


def test_a_structure_is_prepared_once_for_all_answers_and_for_nobody_who_left():
    pipeline: Any = Patient()
    stepper = Stepper(pipeline, Admission(8))
    for text, ids in (("one", (1, 2)), ("two", (3, 4)), ("three", (5, 6))):
        stepper.obey(adding(Sampling(max_tokens=5), Structure("grammar", text), *ids))

    for request_id in (3, 4, 5):
        stepper.obey({"cancel": request_id})
    pipeline.may_prepare.set()
    for _ in range(100):
        stepper.step()

    assert pipeline.prepared == ["one", "three"]
    assert [one.structure.text for one in pipeline.added] == ["one", "one", "three"]


def test_an_answer_that_stepped_back_does_not_choose_again_as_at_its_beginning():
    pipeline: Any = Patient()
    stepper = Stepper(pipeline, Admission(64))
    stepper.obey(adding(Sampling(max_tokens=5, seed=2**32 - 1), None, *range(20)))
    stepper.step()
    chat = adding(Sampling(max_tokens=5), None, 20)
    chat["add"][0]["is_batch"] = False
    stepper.obey(chat)
    stepper.step()
    for request_id in range(21):
        stepper.obey({"cancel": request_id} if request_id % 5 else {"cancel": 20})
    stepper.step()

    went_on = [one for one in pipeline.added if one.max_tokens == 2]
    assert went_on
    assert {one.seed for one in went_on} == {2}


def test_commands_are_whole_lines_however_they_come():
    ours, theirs = socket.socketpair()
    commands = Commands(theirs)
    sent = [{"cancel": 1}, {"cancel": 2}, {"text": "a" * (3 << 20)}, {"cancel": 3}]
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in sent)

    def send() -> None:
        for at in range(0, len(lines), 70_001):
            ours.sendall(lines[at : at + 70_001])

    sending = threading.Thread(target=send)
    sending.start()
    taken: list[dict[str, Any]] = []
    while len(taken) < len(sent):
        taken += commands.take(wait=True)
    sending.join()

    assert taken == sent
    assert commands.take(wait=False) == []
    ours.close()
    with pytest.raises(EOFError):
        commands.take(wait=True)
    theirs.close()
