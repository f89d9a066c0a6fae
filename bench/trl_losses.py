"""TRL's own loss of given batches, step by step: ``trl_losses.py MODEL JOB OUT METHOD ENDING``.

Its trainer learns from the adapter, the batches and the rates in JOB, all in fp32, and writes the
loss of every step to OUT/losses.json. ENDING is ``turn``, where a chat ends with the token that
ends the last turn, or ``newline``, where it goes on as the model's template writes it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from trl_peer import MARKED, PLAIN, dataset, pairs

_NEWLINE = "'<|im_end|>' + '\n'}}"
_NO_LAST_NEWLINE = (
    "'<|im_end|>'}}{% if not (loop.last and message['role'] == 'assistant') %}{{'\n'}}{% endif %}"
)


class _Given:
    """Examples in a given order, as a sampler."""

    def __init__(self, order: list[int]) -> None:
        self._order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


class _Noting:
    """What is added to TRL's trainers: a given order, and losses that are noted unrounded."""

    order: list[int]
    losses: list[float]

    def _get_train_sampler(self, *_: Any) -> _Given:
        return _Given(self.order)

    def compute_loss(self, *given: Any, **named: Any) -> Any:
        loss = super().compute_loss(*given, **named)  # type: ignore[misc]
        self.losses.append(loss.item())
        return loss


class _Supervised(_Noting, SFTTrainer):
    pass


class _Dpo(_Noting, DPOTrainer):
    pass


def main(model: str, job: str, out: str, method: str, ending: str) -> None:
    """Learn and write the losses down."""
    told = json.loads((Path(job) / "batches.json").read_text())
    rows = [json.loads(line) for line in (Path(job) / "training.jsonl").read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    tuned = PeftModel.from_pretrained(base, told["adapter"], is_trainable=True)
    options = {
        "output_dir": out,
        "num_train_epochs": 1,
        "per_device_train_batch_size": len(told["batches"][0]),
        "max_grad_norm": 1.0,
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "max_length": 1024,
    }
    shared = {
        "model": tuned,
        "processing_class": tokenizer,
        "optimizers": _optimizer(tuned, told["rates"], told["weight_decay"]),
    }
    if method == "supervised":
        tokenizer.chat_template = _replaced(tokenizer.chat_template, PLAIN, MARKED)
        config = SFTConfig(**options, packing=False, assistant_only_loss=True)
        trainer = _Supervised(args=config, train_dataset=dataset(rows, out), **shared)
    else:
        if ending == "turn":
            tokenizer.chat_template = _replaced(tokenizer.chat_template, _NEWLINE, _NO_LAST_NEWLINE)
        config = DPOConfig(**options, beta=told["beta"])
        trainer = _Dpo(args=config, train_dataset=dataset(pairs(rows), out), **shared)
    trainer.order = [place for batch in told["batches"] for place in batch]
    trainer.losses = []
    trainer.train()
    (Path(out) / "losses.json").write_text(json.dumps(trainer.losses))


def _replaced(template: str, old: str, new: str) -> str:
    assert old in template, template
    return template.replace(old, new)


def _optimizer(
    model: PeftModel, rates: list[float], weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1.0, weight_decay=weight_decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [*rates, 0.0][step])
    return optimizer, rate


if __name__ == "__main__":
    main(*sys.argv[1:])
