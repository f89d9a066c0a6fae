"""Does the embedded engine say what the model says? Asked once, when a model is added.

The engine answers a few prompts greedily; the reference reads prompt and answer in one pass. Every
word the engine chose must be the reference's own choice or within `MARGIN` of it in logits: half
precision may decide a near tie the other way, a wrongly read weight does not stay near.

    python -m linarite.engines.agreement IR_FOLDER [ADAPTER] < prompts > answers
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from linarite.engines import reference
from linarite.engines.architecture import Architecture
from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel
from linarite.engines.sampling import Sampling

MARGIN = 0.5
SAME = 0.8
ANSWER_TOKENS = 12


def check(
    arch: Architecture,
    hf_folder: Path,
    ir_folder: Path,
    prompts: Sequence[Sequence[int]],
    adapter: Path | None = None,
) -> float:
    """Compare the engine with the reference.

    Args:
        arch: the model's numbers.
        hf_folder: what the reference reads; where there is an adapter, with it merged in.
        ir_folder: what the engine loads.
        prompts: token ids.
        adapter: a PEFT folder that the engine loads too.

    Returns:
        The share of words on which both agree exactly.

    Raises:
        UnusableModel: they differ by more than rounding explains.
    """
    answers = _ask_engine(ir_folder, adapter, prompts)
    sequences = [[*prompt, *said] for prompt, said in zip(prompts, answers, strict=True)]
    same, total = 0, 0
    for prompt, said, rows in zip(
        prompts, answers, reference.logits(arch, hf_folder, sequences), strict=True
    ):
        for place, token in enumerate(said):
            row = rows[len(prompt) - 1 + place]
            best = int(np.argmax(row))
            gap = float(row[best] - row[token])
            if gap > MARGIN:
                raise _differs(f"word {place + 1} is {gap:.2f} below the best")
            same += best == token
            total += 1
    if same < SAME * total:
        raise _differs(f"only {same} of {total} words are the same")
    return same / total


def _differs(how: str) -> UnusableModel:
    return UnusableModel(
        f"The embedded engine does not answer as this model does ({how}). {UPSTREAM_HINT}"
    )


def _ask_engine(
    ir_folder: Path, adapter: Path | None, prompts: Sequence[Sequence[int]]
) -> list[list[int]]:
    command = [sys.executable, "-m", "linarite.engines.agreement", str(ir_folder)]
    command += [] if adapter is None else [str(adapter)]
    given = json.dumps([list(prompt) for prompt in prompts])
    ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise UnusableModel(f"The embedded engine cannot run this model: {reason} {UPSTREAM_HINT}")
    answers: list[list[int]] = json.loads(ended.stdout.splitlines()[-1])
    return answers


def _answer(prompts: list[list[int]], ir_folder: Path, adapter: Path | None) -> list[list[int]]:
    from linarite.engines.pipeline import Pipeline

    pipeline = Pipeline.load(ir_folder, slots=len(prompts), cache_bytes=1 << 28, adapter=adapter)
    sampling = Sampling(max_tokens=ANSWER_TOKENS, temperature=0.0, ignore_eos=True)
    handles = [pipeline.add(prompt, sampling) for prompt in prompts]
    said: list[list[int]] = [[] for _ in handles]
    while pipeline.is_busy():
        pipeline.step()
        for tokens, handle in zip(said, handles, strict=True):
            tokens += handle.read().tokens
    return said


if __name__ == "__main__":
    loaded, changed_by = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    sys.stdout.write(json.dumps(_answer(json.load(sys.stdin), loaded, changed_by)) + "\n")
