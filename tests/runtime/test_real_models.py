"""The packaged models themselves: converted, loaded, taught. One that the checkout's own home holds already is used."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from workbench.core.canonical import hash_folder
from workbench.core.settings import REPOSITORY, Settings
from workbench.runtime.base_models import BaseModels, LocalModel, embedding_model, weights_hash
from workbench.runtime.devices import load_tokenizer
from workbench.runtime.embedding import Embedder
from workbench.runtime.generation import Generator
from workbench.worker.trainers import generative
from workbench.worker.trainers.spec import TrainSettings, TrainSpec

pytestmark = pytest.mark.real_model
TEXTS = ["How much is a late fee?", "¿Cuánto cuesta pagar tarde?", "Phí trả chậm là bao nhiêu?", "The cat sleeps on the mat."]


def test_the_embedder_gives_the_vectors_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    model = embedding_model()
    own = Embedder(model.folder, content_hash=model.content_hash, device="cpu").embed(TEXTS)
    theirs = SentenceTransformer(str(model.folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert np.abs(own - theirs).max() < 1e-5
    assert own.shape == (4, 384)
    assert own[0] @ own[1] > own[0] @ own[3]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    converted = BaseModels(Settings(home=REPOSITORY / "data" / "home")).find()
    return converted or BaseModels(Settings(home=tmp_path_factory.mktemp("real") / "home")).ensure()


@pytest.fixture(scope="module")
def adapter(base: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has seen one sentence a few times."""
    rows = [{"prompt": f"Question {n}: what is the fee?\nAnswer:", "completion": " It is two euros [fees]."} for n in range(4)]
    settings = TrainSettings.for_recipe("generative", {"epochs": 6, "learning_rate": 2e-3, "checkpoint_every": 100})
    spec = TrainSpec("generative", base.folder, base.name, base.content_hash, "sha256:" + "d" * 64, settings)
    result = generative.train(spec, rows, tmp_path_factory.mktemp("train"))
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert result.peak_rss_bytes < 4.5e9
    assert result.adapter_folder is not None
    return result.adapter_folder


@pytest.fixture(scope="module")
def generator(base: LocalModel, adapter: Path) -> Iterator[Generator]:
    made = Generator(base.folder, base_hash=base.content_hash, locate=lambda _hash: adapter, device="cpu")
    yield made
    made.close()


@pytest.mark.slow
def test_the_converted_base_model_is_whole(base: LocalModel) -> None:
    assert weights_hash(base.folder) == base.content_hash
    assert (base.folder / "model.safetensors").stat().st_size == pytest.approx(536e6, rel=0.01)
    assert (base.folder / "GEMMA_TERMS.html").is_file()
    assert not list(base.folder.glob("*.gguf"))


@pytest.mark.slow
def test_the_quick_tokenizer_is_the_models_own(base: LocalModel) -> None:
    from transformers import AutoTokenizer

    quick, own = load_tokenizer(base.folder), AutoTokenizer.from_pretrained(str(base.folder))
    for text in [*TEXTS, "Answer [1]:\n\n  spaced   out\t", "emoji 🙂", ""]:
        assert quick(text)["input_ids"] == own(text)["input_ids"]
    assert (quick.eos_token_id, quick.pad_token_id, quick.bos_token_id) == (
        own.eos_token_id,
        own.pad_token_id,
        own.bos_token_id,
    )


@pytest.mark.slow
def test_the_base_model_answers_in_a_batch_as_alone(generator: Generator) -> None:
    prompts = [f"Question: {text}\nAnswer:" for text in TEXTS]
    together = generator.generate(prompts, max_new_tokens=12)
    assert together == [generator.generate([prompt], max_new_tokens=12)[0] for prompt in prompts]


@pytest.mark.slow
def test_a_prompt_longer_than_the_sliding_window_is_read_whole(generator: Generator, base: LocalModel) -> None:
    from transformers import AutoModelForCausalLM

    prompt = "The code word is marmalade. " + "Nothing happens here at all. " * 110 + "The code word is"
    assert generator.count_tokens(prompt) > 600
    tokenizer = load_tokenizer(base.folder)
    inputs = tokenizer([prompt], return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(str(base.folder), dtype="float32")
    made = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=6, do_sample=False
    )[0][inputs["input_ids"].shape[1] :]
    answers = generator.generate([prompt, "The capital of France is"], max_new_tokens=6)
    assert answers[0].text == tokenizer.decode(made, skip_special_tokens=True)


@pytest.mark.slow
def test_an_adapter_on_the_base_model_answers_as_it_was_taught(generator: Generator, adapter: Path) -> None:
    prompt = ["Question 2: what is the fee?\nAnswer:"]
    taught = generator.generate(prompt, adapter=hash_folder(adapter), max_new_tokens=20)[0]
    bare = generator.generate(prompt, max_new_tokens=20)[0]
    assert taught.text.strip() == "It is two euros [fees]."
    assert taught.finish_reason == "stop"
    assert bare.text != taught.text


@pytest.mark.slow
def test_a_damaged_copy_of_the_base_model_has_another_name(base: LocalModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copyfile(base.folder / "model.safetensors", copy / "model.safetensors")
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert weights_hash(copy) != base.content_hash
