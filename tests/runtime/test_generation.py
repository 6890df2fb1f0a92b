"""Generation: batches, adapters, streaming, cancelling."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny_models import random_adapter, tiny_llama
from workbench.core.artifacts import ArtifactStore
from workbench.core.errors import Conflict, IntegrityError, NotFound, TooLarge, Unavailable
from workbench.runtime.base_models import weights_hash
from workbench.runtime.generation import Generator, Request

PROMPTS = [f"Question {'and more ' * (number % 7)}{number}: what is the fee? Answer:" for number in range(40)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def adapters(base: Path, store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Content hashes of five adapters of the base."""
    folder = tmp_path_factory.mktemp("adapters")
    return [
        store.put_folder(random_adapter(base, folder / str(seed), base_hash=weights_hash(base), seed=seed)) for seed in range(5)
    ]


@pytest.fixture(scope="module")
def generator(base: Path, store: ArtifactStore) -> Iterator[Generator]:
    made = Generator(base, base_hash=weights_hash(base), locate=store.verify, device="cpu", capacity=2)
    yield made
    made.close()


def test_a_batch_answers_as_each_prompt_alone_would_be_answered(generator: Generator) -> None:
    together = generator.generate(PROMPTS, max_new_tokens=12)
    alone = [generator.generate([prompt], max_new_tokens=12)[0] for prompt in PROMPTS]
    assert together == alone
    assert len({answer.text for answer in together}) > 5


def test_a_batch_answers_as_the_library_itself_would(generator: Generator, base: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base))
    model = AutoModelForCausalLM.from_pretrained(str(base))
    answers = generator.generate(PROMPTS[:4], max_new_tokens=12)
    for prompt, answer in zip(PROMPTS, answers, strict=False):
        inputs = tokenizer([prompt], return_tensors="pt")
        made = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=12, do_sample=False
        )[0]
        tail = made[inputs["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(tail, skip_special_tokens=True)


def test_an_adapter_changes_answers_and_switching_back_restores_them(generator: Generator, adapters: list[str]) -> None:
    bare = generator.generate(PROMPTS[:4], max_new_tokens=12)
    first = generator.generate(PROMPTS[:4], adapter=adapters[0], max_new_tokens=12)
    second = generator.generate(PROMPTS[:4], adapter=adapters[1], max_new_tokens=12)
    assert len({tuple(a.text for a in answers) for answers in (bare, first, second)}) == 3
    assert generator.generate(PROMPTS[:4], max_new_tokens=12) == bare
    assert generator.generate(PROMPTS[:4], adapter=adapters[0], max_new_tokens=12) == first


def test_only_so_many_adapters_stay_in_memory_and_evicted_ones_come_back_the_same(
    generator: Generator, adapters: list[str]
) -> None:
    before = [generator.generate(PROMPTS[:2], adapter=adapter, max_new_tokens=8) for adapter in adapters]
    assert generator.resident == adapters[-2:]
    assert [generator.generate(PROMPTS[:2], adapter=adapter, max_new_tokens=8) for adapter in adapters] == before


def test_threads_that_ask_for_different_adapters_get_their_own_answers(generator: Generator, adapters: list[str]) -> None:
    choices = [None, *adapters[:3]]
    expected = {adapter: generator.generate(PROMPTS[:3], adapter=adapter, max_new_tokens=8) for adapter in choices}
    wrong: list[object] = []

    def ask(adapter: str | None, background: bool) -> None:
        for _ in range(3):
            got = generator.generate(PROMPTS[:3], adapter=adapter, max_new_tokens=8, background=background)
            if got != expected[adapter]:
                wrong.append((adapter, got))

    threads = [threading.Thread(target=ask, args=(adapter, number % 2 == 0)) for number, adapter in enumerate(choices * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_person_goes_before_a_background_batch_that_is_under_way(generator: Generator, adapters: list[str]) -> None:
    order: list[str] = []
    started = threading.Event()
    long = Request(PROMPTS[0], adapters[0], max_new_tokens=400, temperature=1.0, background=True)
    long.on_text = lambda _piece: started.set()
    long.future.add_done_callback(lambda _future: order.append("batch"))
    generator.submit([long])
    assert started.wait(20)
    generator.generate(PROMPTS[:1], adapter=adapters[1], max_new_tokens=4)
    order.append("person")
    long.future.result(timeout=60)
    assert order == ["person", "batch"]
    undisturbed = generator.generate([PROMPTS[0]], adapter=adapters[0], max_new_tokens=400, temperature=1.0)[0]
    assert long.future.result() == undisturbed


def test_sampling_follows_its_seed_whoever_else_is_in_the_batch(generator: Generator) -> None:
    alone = generator.generate([PROMPTS[5]], temperature=1.0, top_p=0.9, seed=7, max_new_tokens=10)[0]
    batch = [
        Request(prompt, max_new_tokens=10, temperature=1.0, top_p=0.9, seed=seed) for seed, prompt in enumerate(PROMPTS[:8], 2)
    ]
    generator.submit(batch)
    assert batch[5].seed == 7
    assert batch[5].future.result(timeout=30) == alone
    others = {generator.generate([PROMPTS[5]], temperature=1.0, seed=seed, max_new_tokens=10)[0].text for seed in range(5)}
    assert len(others) > 1


def test_a_stop_text_ends_the_answer_before_it_and_never_leaks_into_the_stream(generator: Generator) -> None:
    whole = generator.generate([PROMPTS[1]], max_new_tokens=24)[0].text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    answer = generator.generate([PROMPTS[1]], max_new_tokens=24, stop=[stop])[0]
    assert answer.text == whole[: whole.find(stop)]
    assert answer.finish_reason == "stop"
    assert "".join(generator.stream(PROMPTS[1], max_new_tokens=24, stop=[stop])) == answer.text


def test_streamed_pieces_add_up_to_the_answer(generator: Generator) -> None:
    pieces = list(generator.stream(PROMPTS[2], max_new_tokens=20))
    assert len(pieces) > 3
    assert "".join(pieces) == generator.generate([PROMPTS[2]], max_new_tokens=20)[0].text


def test_a_consumer_that_stops_reading_holds_nobody_up(generator: Generator) -> None:
    stream = generator.stream(PROMPTS[0], max_new_tokens=900, temperature=1.0)
    next(stream)
    stream.close()
    assert generator.generate(PROMPTS[:1], max_new_tokens=4)[0].output_tokens <= 4


def test_max_new_tokens_is_kept_and_named_as_the_reason(generator: Generator) -> None:
    answer = generator.generate([PROMPTS[0]], max_new_tokens=3)[0]
    assert (answer.output_tokens, answer.finish_reason) == (3, "length")
    assert answer.input_tokens == generator.count_tokens(PROMPTS[0])


def test_a_prompt_that_is_too_long_is_refused_and_not_cut(generator: Generator) -> None:
    with pytest.raises(TooLarge, match="tokens"):
        generator.generate(["fee " * 9_000])


def test_an_unknown_adapter_is_refused(generator: Generator) -> None:
    with pytest.raises(NotFound):
        generator.generate(["hello"], adapter="sha256:" + "0" * 64)
    assert generator.generate(["hello"], max_new_tokens=2)[0].output_tokens <= 2


def test_an_adapter_with_a_changed_byte_is_never_loaded(
    generator: Generator, base: Path, tmp_path: Path, store: ArtifactStore
) -> None:
    content_hash = store.put_folder(random_adapter(base, tmp_path / "a", base_hash=weights_hash(base), seed=99))
    weights = store.path(content_hash) / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(IntegrityError, match="altered"):
        generator.generate(["hello"], adapter=content_hash)
    assert content_hash not in generator.resident


def test_an_adapter_of_another_base_model_is_refused(
    generator: Generator, base: Path, tmp_path: Path, store: ArtifactStore
) -> None:
    content_hash = store.put_folder(random_adapter(base, tmp_path / "a", base_hash="sha256:" + "1" * 64))
    with pytest.raises(Conflict, match="another base model"):
        generator.generate(["hello"], adapter=content_hash)


def test_a_folder_with_a_pickle_in_it_is_no_adapter(
    generator: Generator, base: Path, tmp_path: Path, store: ArtifactStore
) -> None:
    folder = random_adapter(base, tmp_path / "a", base_hash=weights_hash(base), seed=5)
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    content_hash = store.put_folder(folder)
    with pytest.raises(IntegrityError, match=r"adapter_model\.bin"):
        generator.generate(["hello"], adapter=content_hash)


def test_an_adapter_that_does_not_fit_is_refused_and_others_still_work(
    generator: Generator, base: Path, tmp_path: Path, store: ArtifactStore, adapters: list[str]
) -> None:
    from safetensors.torch import load_file, save_file

    folder = random_adapter(base, tmp_path / "a", base_hash=weights_hash(base), seed=6)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: torch.ones(3, 3) for name in tensors}, folder / "adapter_model.safetensors")
    content_hash = store.put_folder(folder)
    expected = generator.generate(["hello"], adapter=adapters[0], max_new_tokens=6)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="does not fit"):
            generator.generate(["hello"], adapter=content_hash)
    assert generator.generate(["hello"], adapter=adapters[0], max_new_tokens=6) == expected


def test_a_switch_that_does_nothing_is_noticed(base: Path, store: ArtifactStore, adapters: list[str]) -> None:
    made = Generator(base, base_hash=weights_hash(base), locate=store.verify, device="cpu")
    try:
        made.generate(["hello"], adapter=adapters[0], max_new_tokens=2)
        made._pool._fingerprints[adapters[0]] += 1.0
        made.generate(["hello"], max_new_tokens=2)
        with pytest.raises(IntegrityError, match="before"):
            made.generate(["hello"], adapter=adapters[0], max_new_tokens=2)
        assert adapters[0] not in made.resident
    finally:
        made.close()


def test_a_base_model_that_an_adapter_was_merged_into_takes_no_further_adapter(
    base: Path, store: ArtifactStore, adapters: list[str]
) -> None:
    made = Generator(base, base_hash=weights_hash(base), locate=store.verify, device="cpu")
    try:
        made.generate(["hello"], adapter=adapters[0], max_new_tokens=2)
        with torch.no_grad():
            next(made._model.parameters()).mul_(1.5)  # What a merge does to the weights below an adapter.
        with pytest.raises(IntegrityError, match="changed in memory"):
            made.generate(["hello"], adapter=adapters[1], max_new_tokens=2)
    finally:
        made.close()


def test_closing_ends_what_waits_with_a_clear_error(base: Path, tmp_path: Path, store: ArtifactStore) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    made = Generator(copy, base_hash=weights_hash(copy), locate=store.verify, device="cpu")
    running = Request(PROMPTS[0], max_new_tokens=900, temperature=1.0)
    began = threading.Event()
    running.on_text = lambda _piece: began.set()
    made.submit([running])
    began.wait(20)
    made.close()
    assert running.future.result(timeout=5).finish_reason in ("cancelled", "length", "stop")
    with pytest.raises(Unavailable):
        made.generate(["hello"])
