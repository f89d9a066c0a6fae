"""A process that tries structures before an engine takes them, and may perish over one.

    python -m linarite.engines.rehearsal HF_FOLDER FD

A step that fails ends an engine for all whom it answers, and one that takes long holds them up.
So each structure is first followed here, by the library's own pipeline over a model without
weights, to which every token is equally likely. Lines of JSON come in,
``{"number": …, "asked": …}`` with ``{"schema": …}``, ``{"object": null}``, ``{"calls": …}`` or
``{"grammar": …}``, and go out with the same number: ``{"grammar": …, "bytes": …}`` or
``{"refused": why, "context": […]}``, ``"doubtful"`` where this process may only be worn out. What
takes more than `SECONDS` of the processor or `BYTES` of memory ends the process; when it keeps too
much of all structures together, it ends itself after an answer.
"""

import math
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
import orjson
from openvino import Model, PartialShape, Type, op, opset15

from linarite.engines.json_grammar import SchemaRefused, grammar_of, grammar_of_any_object
from linarite.engines.sampling import Structure
from linarite.engines.structures import TOO_INVOLVED
from linarite.engines.tool_calls import grammar_of_calls
from linarite.engines.vocabulary import tokenizer, words_of
from linarite.lifeline import die_with_parent

SECONDS = 3
BYTES = 1 << 30
"""What one structure may take while it is compiled; what is kept of it is far less."""
KEPT_BYTES = 128 << 20
TOKEN_SECONDS = 0.02
"""Of the processor: the step that makes a token has all other answers wait."""
MOST_BYTES = 1 << 20
"""Of a grammar's text."""
_WORN_BYTES = 256 << 20
_TOKENS = 16
_TIMES = 4
"""How far and how often a structure is followed once it is compiled."""
_VIRTUAL, _RESIDENT = 0, 1
"""Places in ``/proc/self/statm``."""


class Rehearsal:
    """The library's pipeline without a model.

    Args:
        tokenizer: the library's; what is compiled here is known to all who share it.
        vocabulary: how many tokens there are; the last one ends an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._end = vocabulary - 1
        with tempfile.TemporaryDirectory() as folder:
            openvino.save_model(_even_model(vocabulary), f"{folder}/openvino_model.xml")
            self._pipeline = openvino_genai.LLMPipeline(
                folder, tokenizer, "CPU", ATTENTION_BACKEND="SDPA"
            )

    def follow(self, structure: Structure, tokens: int, seed: int = 0) -> list[int]:
        """An answer by chance that keeps to a structure; other threads run meanwhile.

        Raises:
            RuntimeError: the library cannot follow it.
        """
        config = openvino_genai.GenerationConfig()
        config.apply_chat_template = False
        config.max_new_tokens = tokens
        config.eos_token_id = self._end
        config.stop_token_ids = {self._end}
        config.do_sample = True
        config.top_k = 0
        config.rng_seed = seed
        form = {structure.kind: structure.text}
        config.structured_output_config = openvino_genai.StructuredOutputConfig(**form)
        one = openvino.Tensor(np.ones((1, 1), dtype=np.int64))
        answer = self._pipeline.generate(openvino_genai.TokenizedInputs(one, one), config)
        said: list[int] = answer.tokens[0]
        return said


def _even_model(vocabulary: int) -> Any:
    """A graph that takes tokens as a language model does, and prefers none."""
    inputs = []
    for name, kind in (
        ("input_ids", Type.i64),
        ("attention_mask", Type.i64),
        ("position_ids", Type.i64),
        ("beam_idx", Type.i32),
    ):
        shape = PartialShape(["?"] if name == "beam_idx" else ["?", "?"])
        given = op.Parameter(kind, shape)
        given.output(0).tensor.add_names({name})
        inputs.append(given)
    rows = opset15.constant(np.array([vocabulary], np.int64))
    shape = opset15.concat([opset15.shape_of(inputs[0]), rows], 0)
    logits = opset15.broadcast(opset15.constant(np.float32(0)), shape)
    logits.output(0).tensor.add_names({"logits"})
    return Model([opset15.result(logits)], inputs, "even")


def rehearse(
    rehearsal: Rehearsal | None, asked: dict[str, Any], writable: Collection[int] = range(256)
) -> dict[str, Any]:
    """What is said of one structure; nothing good where the model's words are not known.

    Args:
        rehearsal: of the model's words.
        asked: a schema, any object, calls of tools or a grammar.
        writable: the bytes that the model can write one by one.
    """
    if rehearsal is None:
        return _refused(
            "this model's tokenizer is of a kind that no structure can be followed with."
        )
    before = _memory_bytes(_RESIDENT)
    try:
        grammar = _grammar(asked, writable)
        if len(grammar.encode()) > MOST_BYTES:
            return _refused(TOO_INVOLVED)
        seconds = _seconds_per_token(rehearsal, Structure("grammar", grammar))
    except SchemaRefused as refused:
        return {"refused": refused.why, "context": refused.context}
    except RecursionError:
        return _refused(TOO_INVOLVED)
    except RuntimeError:
        return {**_refused("this model's engine cannot follow it."), "doubtful": True}
    except MemoryError:
        os._exit(1)  # nothing that comes after it is to be believed
    kept = _memory_bytes(_RESIDENT) - before
    if kept > KEPT_BYTES or seconds > TOKEN_SECONDS:
        return _refused(TOO_INVOLVED)
    return {"grammar": grammar, "bytes": max(kept, 0)}


def _refused(why: str) -> dict[str, Any]:
    return {"refused": why, "context": []}


def _grammar(asked: dict[str, Any], writable: Collection[int]) -> str:
    if "schema" in asked:
        return grammar_of(asked["schema"], writable)
    if "calls" in asked:
        return grammar_of_calls(asked["calls"], writable)
    return grammar_of_any_object() if "object" in asked else str(asked["grammar"])


def _seconds_per_token(rehearsal: Rehearsal, structure: Structure) -> float:
    """How long the processor takes for a token once the structure is compiled.

    Raises:
        RuntimeError: the library cannot follow it.
    """
    rehearsal.follow(structure, 1)
    began = time.process_time()
    tokens = sum(len(rehearsal.follow(structure, _TOKENS, seed)) for seed in range(_TIMES))
    return (time.process_time() - began) / max(1, tokens)


def _limit_processor() -> None:
    """Let the process be killed when what comes next takes too long, however busy the machine."""
    used = math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, resource.RLIM_INFINITY))


def _limit_memory() -> None:
    limit = _memory_bytes(_VIRTUAL) + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _memory_bytes(kind: int) -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[kind])
    return pages * resource.getpagesize()


def main() -> None:
    """Answer line by line until the other side closes the socket."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # to perish is nothing to look into
    words = words_of(Path(sys.argv[1]))
    rehearsal = None if words is None else Rehearsal(tokenizer(words), len(words))
    writable = {word[0] for word in words or () if len(word) == 1}
    if rehearsal is not None:
        rehearse(rehearsal, {"object": None})
    at_first = _memory_bytes(_RESIDENT)
    with socket.socket(fileno=int(sys.argv[2])) as link, link.makefile("rwb") as lines:
        lines.write(b"{}\n")
        lines.flush()
        for line in lines:
            _limit_processor()
            _limit_memory()
            asked = orjson.loads(line)
            said = rehearse(rehearsal, asked["asked"], writable)
            lines.write(orjson.dumps({"number": asked["number"], **said}) + b"\n")
            lines.flush()
            if _memory_bytes(_RESIDENT) - at_first > _WORN_BYTES:
                return


if __name__ == "__main__":
    main()
