"""Tiny models with random weights, for tests that need no meaning: they load in a moment and behave like the real ones."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import workbench.runtime  # noqa: F401  (fixes the surroundings of the model libraries)

_TEXT = [
    "Question: what is the fee of a transfer? Answer: the fee is two euros. [1]",
    "Which team handles a lost card, a loan, a dispute, or an instalment? Tarjeta, préstamo, cuota, thẻ, khoản vay.",
]


def _tokenizer(folder: Path, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    first = special.get("bos_token") or special["cls_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    wrapped.save_pretrained(str(folder))
    return wrapped


def tiny_llama(folder: Path, *, seed: int = 0, layers: int = 4) -> Path:
    """A Llama with about 0.3 M random weights and a byte-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(folder, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder


def tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """An encoder with random weights, shaped like the embedding model."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(folder, pad_token="[PAD]", cls_token="[CLS]")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=300,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


def random_adapter(base: Path, folder: Path, *, base_hash: str, seed: int = 1, scale: float = 0.5) -> Path:
    """A generator adapter whose matrices are random, so that it acts."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from workbench.runtime.adapters import AdapterCard

    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(str(base)), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    model.save_pretrained(str(folder))
    AdapterCard("generator", base_hash, "sha256:" + "d" * 64).write(folder, "tiny")
    return folder
