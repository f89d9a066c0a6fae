"""One job from its folder to its adapter: read, write down, plan, learn."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from linarite.training.data import (
    DataFile,
    Message,
    NothingToLearn,
    preference,
    read_examples,
    supervised,
)
from linarite.training.dpo import Dpo, Pair, reference_log_probs
from linarite.training.faults import TrainingFailure
from linarite.training.journal import Journal
from linarite.training.loop import Training
from linarite.training.method import Check, Method
from linarite.training.model import TunedModel
from linarite.training.plan import Plan, make_plan, trained_tokens
from linarite.training.spec import Spec
from linarite.training.supervised import Supervised
from linarite.training.writing import Tokens, Writer

_Example = TypeVar("_Example", Tokens, Pair)


def train(folder: Path, spec: Spec, journal: Journal, check: Check, *, keep_seconds: float) -> None:
    """Train to the end, which is told in the journal.

    Args:
        folder: the job's; checkpoints and state go there.
        spec: what is to be done.
        journal: the folder's log.
        check: see `Check`.
        keep_seconds: after how much work the state is kept.

    Raises:
        Interrupted: `check` raised it.
        TrainingFailure: the job cannot succeed.
    """
    config = _config(spec.base)
    reader = _Reader(spec, Writer.of_model(spec.base / "hf", _longest(config)), journal, check)
    if spec.method == "supervised":
        training, validation = reader.both(reader.tokens)
        plan, model = _prepare(spec, config, training, journal)
        method: Method = Supervised(model, training, validation)
    else:
        pairs, validation_pairs = reader.both(reader.pair)
        plan, model = _prepare(spec, config, pairs, journal)
        kept = folder / "state" / "reference.safetensors"
        reference = reference_log_probs(model, [*pairs, *validation_pairs], kept, check)
        method = Dpo(model, pairs, validation_pairs, reference, plan.beta)
    base = _name(spec.base)
    run = Training(
        folder, plan, model, method, journal, check, base=base, keep_seconds=keep_seconds
    )
    run.run()
    journal.succeeded(trained_tokens(plan, method.lengths))


class _Reader:
    """Reads the files of one job as tokens of its model."""

    def __init__(self, spec: Spec, writer: Writer, journal: Journal, check: Check) -> None:
        self._spec = spec
        self._writer = writer
        self._journal = journal
        self._check = check

    def tokens(self, line: Message) -> Tokens:
        """A line of the method "supervised"; raises BadLine."""
        self._check()
        tokens = self._writer.write(supervised(line))
        if not tokens.targets:
            raise NothingToLearn
        return tokens

    def pair(self, line: Message) -> Pair:
        """A line of the method "dpo"; raises BadLine."""
        self._check()
        read = preference(line)
        pair = Pair(self._writer.write_chat(read.preferred), self._writer.write_chat(read.rejected))
        if not pair.chosen.targets or not pair.rejected.targets:
            raise NothingToLearn
        return pair

    def both(
        self, learn_from: Callable[[Message], _Example]
    ) -> tuple[list[_Example], list[_Example]]:
        """The examples of the training file and, if there is one, of the validation file."""
        training = self._read(DataFile(self._spec.training_file), learn_from)
        if self._spec.validation_file is None:
            return training, []
        file = DataFile(self._spec.validation_file, is_validation=True)
        return training, self._read(file, learn_from)

    def _read(self, file: DataFile, learn_from: Callable[[Message], _Example]) -> list[_Example]:
        examples, left_out = read_examples(file, learn_from)
        if not examples:
            raise file.failure("There is nothing to learn in it: no words of an assistant.")
        if not self._journal.has_plan:
            self._warn(file, examples, left_out)
        return examples

    def _warn(self, file: DataFile, examples: Sequence[Tokens | Pair], left_out: int) -> None:
        parts = [
            part
            for example in examples
            for part in ((example,) if isinstance(example, Tokens) else example.ends)
        ]
        cut = sum(part.is_truncated for part in parts)
        unlike = sum(part.turns_left_out for part in parts)
        name = file.name.capitalize()
        counts = {
            f"{name} data: {cut} of {len(parts)} texts were longer than "
            f"{self._writer.longest} tokens and were truncated.": cut,
            f"{name} data: {left_out} example(s) were left out, as nothing in them is to be "
            "learned (weight 0, or truncated before the assistant speaks).": left_out,
            f"{name} data: {unlike} assistant turn(s) were not learned, as the model's chat "
            "template writes them down differently once the chat goes on.": unlike,
        }
        for text, count in counts.items():
            if count:
                self._journal.message(text, "warning")


def _prepare(
    spec: Spec, config: dict[str, Any], examples: Sequence[Any], journal: Journal
) -> tuple[Plan, TunedModel]:
    plan = make_plan(
        spec.method,
        spec.wishes,
        examples=len(examples),
        width=int(config["hidden_size"]),
        seed=spec.seed,
    )
    trained_tokens(plan, [len(example) for example in examples])
    model = TunedModel.load(spec.base / "hf", spec.adapter, spec.seed)
    if not journal.has_plan:
        journal.plan(plan.hyperparameters(), plan.steps, plan.examples)
    return plan, model


def _config(base: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((base / "hf" / "config.json").read_text())
        _longest(config)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingFailure(
            "invalid_model", f"The base model cannot be read ({error}); add it again.", "model"
        ) from error
    return config


def _longest(config: dict[str, Any]) -> int:
    return int(config["max_position_embeddings"])


def _name(base: Path) -> str:
    """The name of the base model, as its folder states it."""
    stated = base / "model.json"
    return str(json.loads(stated.read_text())["id"]) if stated.exists() else base.name
