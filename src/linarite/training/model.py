"""A language model with an adapter on it that learns: loading, looking ahead, handing out.

The base is frozen. Where the hardware has bf16 it is used for the products (the adapter stays
fp32); on a processor without it, and that is most of them, everything is fp32.
"""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging
from transformers.utils.import_utils import is_flash_attn_2_available

from linarite.training.faults import TrainingFailure, explained
from linarite.training.losses import label_log_probs
from linarite.training.writing import Tokens

RANK = 16
ALPHA = 32
_CPU_MEMORY_BYTES = 2 * 2**30
_GPU_MEMORY_SHARE = 0.4


class TunedModel:
    """A base model and its adapter."""

    def __init__(self, model: PeftModel, device: torch.device, *, has_bf16: bool) -> None:
        self.model = model
        self.device = device
        self._language_model = cast(PreTrainedModel, model.get_base_model())
        self._decoder = self._language_model.get_decoder()
        head: Tensor = self._language_model.get_output_embeddings().weight
        self._head = head.to(torch.bfloat16) if has_bf16 else head
        self._has_bf16 = has_bf16
        self._saves_memory = False
        self.weights: dict[str, torch.nn.Parameter] = {
            name: weight for name, weight in model.named_parameters() if weight.requires_grad
        }
        """The adapter's, by name."""

    @classmethod
    def load(
        cls, hf_folder: Path, adapter: Path | None, seed: int, *, in_bf16: bool | None = None
    ) -> "TunedModel":
        """Load a base model, and on it an adapter to go on from or a fresh one.

        Args:
            hf_folder: of the base.
            adapter: the folder of the one to go on from.
            seed: of the fresh one's weights.
            in_bf16: how products are worked out; None: in bf16 where the hardware has it.

        Raises:
            TrainingFailure: the folder of the model or of the adapter cannot be used.
        """
        logging.disable_progress_bar()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        has_bf16 = _has_bf16(device) if in_bf16 is None else in_bf16
        on_gpu = device.type == "cuda"
        try:
            base = AutoModelForCausalLM.from_pretrained(
                hf_folder,
                dtype=torch.bfloat16 if on_gpu and has_bf16 else torch.float32,
                attn_implementation=_attention(halves=on_gpu and has_bf16),
                local_files_only=True,
                use_safetensors=True,
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise explained(error) or TrainingFailure(
                "invalid_model",
                f"The base model cannot be loaded, add it again: {error}".replace(
                    str(hf_folder), "its folder"
                ),
                "model",
            ) from error
        base.config.use_cache = False
        base.requires_grad_(False)
        torch.manual_seed(seed)
        model = _with_adapter(base, adapter)
        return cls(model.to(device), device, has_bf16=has_bf16)

    @property
    def width(self) -> int:
        """Of its hidden layers."""
        return int(self._language_model.config.hidden_size)

    @property
    def longest(self) -> int:
        """Tokens that it can see at once."""
        return int(self._language_model.config.max_position_embeddings)

    def piece_budget(self) -> int:
        """Tokens, padding included, whose way back fits the memory set aside for it."""
        config = self._language_model.config
        feed_forward = int(getattr(config, "intermediate_size", 4 * self.width))
        values = int(config.num_hidden_layers) * (14 * self.width + 5 * feed_forward)
        memory = _CPU_MEMORY_BYTES
        if self.device.type == "cuda":
            memory = int(_GPU_MEMORY_SHARE * torch.cuda.mem_get_info()[1])
        return max(256, memory // (values * (2 if self._has_bf16 else 4)))

    def target_log_probs(self, examples: Sequence[Tokens]) -> tuple[Tensor, Tensor, list[int]]:
        """Log-probabilities of all targets of some examples, one example after the other.

        Returns:
            log_probs: shape (N,), differentiable where gradients are on.
            hits: whether each target was the likeliest token, shape (N,).
            counts: targets of each example.
        """
        longest = max(len(example) for example in examples)
        ids = torch.zeros((len(examples), longest), dtype=torch.long)
        places, labels = [], []
        for row, example in enumerate(examples):
            ids[row, : len(example)] = torch.tensor(example.ids, dtype=torch.long)
            targets = torch.tensor(example.targets, dtype=torch.long)
            places.append(row * longest + targets - 1)
            labels.append(ids[row].index_select(0, targets))
        with self._autocast():
            # padding on the right and a causal mask: no token sees padding, so none is masked
            states = self._decoder(input_ids=ids.to(self.device)).last_hidden_state  # (B, T, H)
        hidden = states.flatten(0, 1).index_select(0, torch.cat(places).to(self.device))
        log_probs, hits = label_log_probs(hidden, self._head, torch.cat(labels).to(self.device))
        return log_probs, hits, [len(example.targets) for example in examples]

    def _autocast(self) -> Any:
        if not self._has_bf16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def learns(self, *, saves_memory: bool) -> None:
        """Be ready for a way back; to save memory, layers are worked out twice."""
        self.model.train()
        if saves_memory == self._saves_memory:
            return
        self._saves_memory = saves_memory
        if saves_memory:
            self._language_model.activation_checkpointing_enable({"use_reentrant": False})
        else:
            self._language_model.activation_checkpointing_disable()

    def looks(self) -> None:
        """Be ready to be judged."""
        self.model.eval()

    def adapter_tensors(self) -> dict[str, Tensor]:
        """The adapter's weights under PEFT's names, on the processor."""
        tensors = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def adapter_config(self, base: str) -> dict[str, Any]:
        """What PEFT's ``adapter_config.json`` says, in an order that is always the same.

        Args:
            base: the name of the base model.
        """
        config = self.model.peft_config["default"].to_dict()
        config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = base
        config["inference_mode"] = True
        return {key: config[key] for key in sorted(config)}


def _with_adapter(base: PreTrainedModel, adapter: Path | None) -> PeftModel:
    with warnings.catch_warnings():  # PEFT asks transformers in a way that will be gone one day
        warnings.simplefilter("ignore", FutureWarning)
        return _put_adapter(base, adapter)


def _put_adapter(base: PreTrainedModel, adapter: Path | None) -> PeftModel:
    if adapter is None:
        config = LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules=_linear_layers(base), task_type="CAUSAL_LM"
        )
        return get_peft_model(base, config)
    try:
        return PeftModel.from_pretrained(
            base, str(adapter), is_trainable=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingFailure(
            "invalid_model", f"The model to go on from cannot be loaded: {error}", "model"
        ) from error


def _linear_layers(base: PreTrainedModel) -> list[str]:
    """The names of the linear layers of every block; the head is none of them."""
    layers = {
        name.rpartition(".")[2]
        for name, module in base.get_decoder().named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    return sorted(layers)


def _attention(*, halves: bool) -> str:
    """FlashAttention where it is installed and the model is of 16 bits, as it wants them."""
    return "flash_attention_2" if halves and is_flash_attn_2_available() else "sdpa"


def _has_bf16(device: torch.device) -> bool:
    """Whether products of 16 bits are quicker here than those of 32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    words = set(flags.read_text().split()) if flags.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16"})
