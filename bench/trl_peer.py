"""TRL at its best on a processor, as a process: ``trl_peer.py MODEL DATA OUT METHOD``.

fp32 (with bf16 autocast where the processor has it), the assistant's words only, no packing,
chats in batches of about one length, the same LoRA, batch size and optimizer as ours.
"""

import json
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

BATCH = 8
PLAIN = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
MARKED = (
    "{% if message['role'] == 'assistant' %}{{'<|im_start|>assistant\n'}}"
    "{% generation %}{{message['content'] + '<|im_end|>'}}{% endgeneration %}{{'\n'}}"
    "{% else %}" + PLAIN + "{% endif %}"
)
_LORA = LoraConfig(
    r=16,
    lora_alpha=32,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    task_type="CAUSAL_LM",
)


def main(model: str, data: str, out: str, method: str) -> None:
    """Train one epoch and save the adapter."""
    rows = [json.loads(line) for line in Path(data).read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(model)
    flags = set(Path("/proc/cpuinfo").read_text().split())
    options = {
        "output_dir": out,
        "num_train_epochs": 1,
        "per_device_train_batch_size": BATCH,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine",
        "use_cpu": True,
        "bf16": bool(flags & {"avx512_bf16", "amx_bf16"}),
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "max_length": 1024,
    }
    base = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    shared = {"model": base, "processing_class": tokenizer, "peft_config": _LORA}
    if method == "supervised":
        assert PLAIN in tokenizer.chat_template
        tokenizer.chat_template = tokenizer.chat_template.replace(PLAIN, MARKED)
        config = SFTConfig(
            **options,
            packing=False,
            assistant_only_loss=True,
            train_sampling_strategy="group_by_length",
        )
        trainer = SFTTrainer(args=config, train_dataset=dataset(rows, out), **shared)
    else:
        config = DPOConfig(**options, beta=0.1)
        trainer = DPOTrainer(args=config, train_dataset=dataset(pairs(rows), out), **shared)
    trainer.train()
    trainer.save_model(out)


def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Preferences as TRL names their parts."""
    return [
        {
            "prompt": row["input"]["messages"],
            "chosen": row["preferred_output"],
            "rejected": row["non_preferred_output"],
        }
        for row in rows
    ]


def dataset(rows: list[dict[str, Any]], out: str) -> Dataset:
    """Rows as TRL takes them; what it makes of them lies in `out`."""
    path = Path(out) / "rows.jsonl"
    path.parent.mkdir()
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Dataset.from_json(str(path), cache_dir=out)


if __name__ == "__main__":
    main(*sys.argv[1:])
