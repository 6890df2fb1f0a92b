"""Which device and number format the models use."""

import os
from typing import Any

import torch


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
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=choose_dtype(device),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.to(device).eval(), tokenizer


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
