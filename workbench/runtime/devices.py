"""Which device and number format the models use."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from workbench.core.errors import InvalidInput


def choose_device(wanted: str = "auto") -> torch.device:
    """CUDA when there is one, else the CPU."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA; float32 on a CPU, where it is as fast and gives the same answer alone and in a batch."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def use_threads(count: int) -> None:
    """Let torch use this many CPU threads; 0: all cores."""
    torch.set_num_threads(count or os.cpu_count() or 1)


def load_causal(folder: str, device: torch.device) -> tuple[Any, Any]:
    """The model and tokenizer of a folder of safetensors. Code that lies in the folder is never run."""
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(Path(folder))
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=choose_dtype(device),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.to(device).eval(), tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, from its tokenizer.json alone.

    AutoTokenizer takes a vocabulary of 262,144 apart and builds it anew, which costs 5 s instead of 2 and holds Python's lock.
    """
    from transformers import PreTrainedTokenizerFast

    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(name)
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str):
            special[name] = content
    if "eos_token" not in special:
        raise InvalidInput(
            f"The tokenizer in {folder.name} names no end token.", todo="Set eos_token in its tokenizer_config.json."
        )
    special.setdefault("pad_token", special["eos_token"])
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **special)


def load_encoder(folder: str, device: torch.device) -> tuple[Any, Any]:
    """The encoder and tokenizer of a folder of safetensors, in float32."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model: Any = AutoModel.from_pretrained(
        folder,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.to(device).eval(), tokenizer


def mean_pooled(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean of the hidden states (batch, tokens, width) over real tokens: (batch, width)."""
    weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
