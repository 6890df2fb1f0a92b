"""Both recipes on tiny models: they learn, report, stop, resume, and leave adapters that the runtime takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import tiny_bert, tiny_llama
from workbench.core.canonical import hash_folder
from workbench.core.errors import Conflict, InvalidInput
from workbench.runtime.base_models import weights_hash
from workbench.runtime.classification import Classifier
from workbench.runtime.embedding import Embedder
from workbench.runtime.generation import Generator
from workbench.worker.trainers import checkpoints, generative, triage
from workbench.worker.trainers.spec import Progress, TrainResult, TrainSettings, TrainSpec

TEAMS = {"cards": "my card was lost in", "loans": "repay the loan before", "disputes": "dispute a charge from"}
TRIAGE = [
    {"text": f"{text} {place} {number}", "label": label}
    for label, text in TEAMS.items()
    for number, place in enumerate(["Hanoi", "Madrid", "Paris", "Lima", "Rome", "Quito", "Bonn", "Oslo"])
]
PAIRS = [
    {"prompt": f"Question: what is the fee of {n}? Answer:", "completion": f" The fee of {n} is two euros. [1]"}
    for n in range(12)
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base") / "llama")


def spec_of(
    recipe: str, base: Path, *, continue_from: Path | None = None, labels: tuple[str, ...] = (), **settings: Any
) -> TrainSpec:
    quick = {"epochs": 4, "batch_size": 4, "checkpoint_every": 3, **settings}
    return TrainSpec(
        recipe=recipe,
        base_folder=base,
        base_name="tiny",
        base_hash=weights_hash(base),
        dataset_hash="sha256:" + "d" * 64,
        settings=TrainSettings.for_recipe(recipe, quick),
        continue_from=continue_from,
        labels=labels,
        device="cpu",
    )


RECIPES: list[tuple[Any, str, str, list[dict[str, str]]]] = [
    (triage.train, "triage", "bert", TRIAGE),
    (generative.train, "generative", "llama", PAIRS),
]
both = pytest.mark.parametrize(("train", "recipe", "base_name", "rows"), RECIPES, ids=["triage", "generative"])


class StopAt:
    """Asks to stop after a number of steps."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def on_progress(self, progress: Progress) -> None:
        self.seen = progress.step

    def __call__(self) -> bool:
        return self.seen >= self.step


@both
def test_training_lowers_the_loss_and_reports_each_step(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    steps: list[Progress] = []
    points: list[tuple[str, int, float]] = []
    spec = spec_of(recipe, request.getfixturevalue(base_name), epochs=8, learning_rate=5e-3)
    result: TrainResult = train(
        spec, rows, tmp_path, held_out=rows[:4], on_progress=steps.append, on_metric=lambda *point: points.append(point)
    )
    assert [at.step for at in steps] == list(range(1, result.steps + 1))
    assert steps[-1].remaining_seconds == 0
    assert result.losses[-1] < 0.7 * result.losses[0]
    assert result.metrics["examples"] == len(rows)
    assert {name for name, _step, _value in points} >= {"validation_loss"}
    assert result.metrics["validation_loss"] == points[-2][2]
    assert result.peak_rss_bytes > 50_000_000
    assert result.tokens > 0


@both
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(base_name)
    made = [
        hash_folder(train(spec_of(recipe, base, epochs=1, seed=seed), rows, tmp_path / str(n)).adapter_folder)
        for n, seed in enumerate([3, 3, 4])
    ]
    assert made[0] == made[1] != made[2]


@both
def test_an_adapter_carries_no_path_of_this_machine(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(base_name)
    adapter = train(spec_of(recipe, base, epochs=1), rows, tmp_path).adapter_folder
    for file in adapter.iterdir():
        assert str(base).encode() not in file.read_bytes()
        assert file.suffix in (".json", ".safetensors")


@both
def test_a_run_that_was_stopped_goes_on_to_the_very_adapter_of_an_undisturbed_run(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    spec = spec_of(recipe, request.getfixturevalue(base_name))
    stop = StopAt(4)
    stopped: TrainResult = train(spec, rows, tmp_path / "a", on_progress=stop.on_progress, should_stop=stop)
    assert stopped.stopped
    assert stopped.adapter_folder is None
    resumed: TrainResult = train(spec, rows, tmp_path / "a")
    undisturbed: TrainResult = train(spec, rows, tmp_path / "b")
    assert resumed.resumed_from_step == 4
    assert len(resumed.losses) == resumed.steps - 4
    assert resumed.losses == pytest.approx(undisturbed.losses[4:], abs=1e-5)
    assert hash_folder(resumed.adapter_folder or tmp_path) == hash_folder(undisturbed.adapter_folder or tmp_path)


@both
def test_a_checkpoint_with_a_flipped_byte_is_not_resumed_from(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    spec = spec_of(recipe, request.getfixturevalue(base_name))
    stop = StopAt(5)
    train(spec, rows, tmp_path, on_progress=stop.on_progress, should_stop=stop)
    damaged = max((tmp_path / "checkpoints").glob("checkpoint-*/*.safetensors"), key=lambda file: file.parent.name)
    assert damaged.parent.name == "checkpoint-5"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    resumed: TrainResult = train(spec, rows, tmp_path)
    assert resumed.resumed_from_step == 3
    assert not resumed.stopped


@both
def test_a_checkpoint_of_other_settings_or_other_rows_is_not_resumed_from(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(base_name)
    stop = StopAt(4)
    train(spec_of(recipe, base), rows, tmp_path, on_progress=stop.on_progress, should_stop=stop)
    assert train(spec_of(recipe, base, seed=99), rows, tmp_path).resumed_from_step == 0


@both
def test_continuing_an_incumbent_begins_where_it_was(
    train: Any, recipe: str, base_name: str, rows: list[dict[str, str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base = request.getfixturevalue(base_name)
    first: TrainResult = train(spec_of(recipe, base, epochs=8, learning_rate=5e-3), rows, tmp_path / "a")
    spec = spec_of(recipe, base, epochs=1, continue_from=first.adapter_folder)
    second: TrainResult = train(spec, rows, tmp_path / "b")
    assert second.losses[0] < 0.75 * first.losses[0]
    assert second.settings["continued"] is True
    assert hash_folder(second.adapter_folder or tmp_path) != hash_folder(first.adapter_folder or tmp_path)


def test_continuing_an_adapter_of_another_base_model_is_refused(bert: Path, tmp_path: Path) -> None:
    first = triage.train(spec_of("triage", bert, epochs=1), TRIAGE, tmp_path / "a")
    other = tiny_bert(tmp_path / "other", seed=5)
    with pytest.raises(Conflict, match="does not fit"):
        triage.train(spec_of("triage", other, continue_from=first.adapter_folder), TRIAGE, tmp_path / "b")


def test_a_triage_adapter_classifies_in_the_runtime_and_leaves_the_embedder_alone(bert: Path, tmp_path: Path) -> None:
    texts = [row["text"] for row in TRIAGE]
    embedder = Embedder(bert, content_hash=weights_hash(bert), device="cpu", cached=0)
    before = embedder.embed(texts)
    result = triage.train(spec_of("triage", bert, epochs=12, learning_rate=5e-3), TRIAGE, tmp_path)
    adapter = result.adapter_folder
    assert adapter is not None
    name = hash_folder(adapter)
    classifier = Classifier(bert, base_hash=weights_hash(bert), locate=lambda _hash: adapter, device="cpu")
    found = classifier.classify(texts, name)
    assert [answer.label for answer in found] == [row["label"] for row in TRIAGE]
    assert all(
        sum(answer.scores.values()) == pytest.approx(1) and answer.score == max(answer.scores.values()) for answer in found
    )
    assert [classifier.classify([text], name)[0].label for text in texts] == [answer.label for answer in found]
    assert classifier.labels(name) == sorted(TEAMS)
    # The classifier's encoder does say something else now; the embedder says the same to the last bit.
    assert (embedder.embed(texts) == before).all()


def test_a_generator_adapter_answers_in_the_runtime_as_it_was_taught(llama: Path, tmp_path: Path) -> None:
    result = generative.train(
        spec_of("generative", llama, epochs=25, learning_rate=1e-2, last_layers=0, dropout=0.0), PAIRS, tmp_path
    )
    adapter = result.adapter_folder
    assert adapter is not None
    generator = Generator(llama, base_hash=weights_hash(llama), locate=lambda _hash: adapter, device="cpu")
    try:
        answers = generator.generate([row["prompt"] for row in PAIRS], adapter=hash_folder(adapter), max_new_tokens=60)
        right = sum(answer.text == row["completion"] for answer, row in zip(answers, PAIRS, strict=True))
        assert right >= 8
        assert all(answer.finish_reason == "stop" for answer in answers)
    finally:
        generator.close()


def test_only_the_last_layers_learn_when_asked(llama: Path, tmp_path: Path) -> None:
    result = generative.train(spec_of("generative", llama, epochs=1, last_layers=1), PAIRS, tmp_path)
    config = json.loads((Path(str(result.adapter_folder)) / "adapter_config.json").read_text())
    assert config["target_modules"]
    assert all(".layers.3." in name for name in config["target_modules"])


def test_the_loss_is_that_of_the_completion_alone(llama: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(llama))
    model = AutoModelForCausalLM.from_pretrained(str(llama))
    examples, _left_out = generative.encode(PAIRS[:1], tokenizer, 512)
    ids, labels = torch.tensor([examples[0]["input_ids"]]), torch.tensor([examples[0]["labels"]])
    loss, _right, count, _outputs = generative.completion_loss(model, ids, torch.ones_like(ids), labels)
    assert float(loss) == pytest.approx(float(model(input_ids=ids, labels=labels).loss), abs=1e-5)
    assert count == int((labels != generative.IGNORED).sum())
    assert int(ids[0, -1]) == tokenizer.eos_token_id


def test_an_example_that_is_too_long_is_left_out_and_counted(llama: Path, tmp_path: Path) -> None:
    rows = [*PAIRS, {"prompt": "word " * 400, "completion": " x"}]
    result = generative.train(spec_of("generative", llama, epochs=1, max_length=128), rows, tmp_path)
    assert (result.metrics["examples"], result.metrics["left_out_too_long"]) == (12, 1)
    with pytest.raises(InvalidInput, match="no example"):
        generative.train(spec_of("generative", llama, epochs=1, max_length=128), rows[-1:], tmp_path)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([{"text": "a", "label": "x"}], (), "two labels"),
        ([{"text": " ", "label": "x"}], (), "no text"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "z"}], ("x", "y"), "z"),
    ],
)
def test_rows_that_a_classifier_cannot_learn_from_are_named(
    rows: list[dict[str, str]], labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        triage.labels_of(rows, labels)


def test_a_label_without_examples_keeps_its_output(bert: Path, tmp_path: Path) -> None:
    result = triage.train(spec_of("triage", bert, epochs=1, labels=("loans", "cards", "disputes", "fraud")), TRIAGE, tmp_path)
    assert result.labels == ["loans", "cards", "disputes", "fraud"]
    assert result.metrics["fewest_examples_of_a_label"] == 0


@pytest.mark.parametrize("given", [{"epochs": 0}, {"rank": "8"}, {"learning_rate": 5.0}, {"nonsense": 1}, {"batch_size": True}])
def test_settings_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        TrainSettings.for_recipe("triage", given)


def test_an_unsealed_checkpoint_does_not_verify(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "weights.safetensors").write_bytes(b"w")
    assert not checkpoints.verifies(checkpoint, "run")
    checkpoints.seal(checkpoint, "run")
    assert checkpoints.verifies(checkpoint, "run")
    assert not checkpoints.verifies(checkpoint, "other run")
    (checkpoint / "added.pth").write_bytes(b"p")
    assert not checkpoints.verifies(checkpoint, "run")
    assert checkpoints.newest(tmp_path, "run") is None
    assert not checkpoint.exists()
