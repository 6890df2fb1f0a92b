"""Base models: found, adopted, converted once, and whole after a kill."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.tiny_models import tiny_llama
from workbench.core.errors import InvalidInput, Unavailable
from workbench.core.settings import Settings
from workbench.runtime import base_models
from workbench.runtime.base_models import BaseModels, embedding_model, weights_hash
from workbench.runtime.convert import Step

SLOW_CONVERTER = """
import sys, time
from pathlib import Path
from workbench.core.settings import Settings
from workbench.runtime import base_models

def convert(folder, step):
    step("assemble", 0.0)
    (folder / "model.safetensors").write_bytes(b"half of the wei")
    step("read weights", 0.02)
    print("converting", flush=True)
    time.sleep(600)

base_models.convert_gemma = convert
base_models.BaseModels(Settings(home=Path(sys.argv[1]))).ensure()
"""


def quick_convert(folder: Path, step: Step) -> None:
    """Stands in for the conversion, which takes minutes; what happens around it is real."""
    step("assemble", 0.0)
    tiny_llama(folder)
    step("verify", 0.92)


def test_the_packaged_model_is_converted_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def convert(folder: Path, step: Step) -> None:
        calls.append(folder)
        quick_convert(folder, step)

    monkeypatch.setattr(base_models, "convert_gemma", convert)
    models = BaseModels(settings)
    assert models.find() is None
    with pytest.raises(Unavailable, match="not ready"):
        models.require()
    stages: list[tuple[str, float]] = []
    made = models.ensure(lambda stage, fraction: stages.append((stage, fraction)))
    assert made == BaseModels(settings).ensure() == models.require()
    assert len(calls) == 1
    assert stages == [("assemble", 0.0), ("verify", 0.92)]
    assert made.folder == settings.home / "models" / "gemma3-270m"
    assert made.content_hash == weights_hash(made.folder)
    card = json.loads((made.folder / "workbench.json").read_text())
    assert card["content_hash"] == made.content_hash
    assert "Gemma Terms" in card["terms"]
    assert models.progress() is None


def test_two_that_convert_at_once_share_one_conversion(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def convert(folder: Path, step: Step) -> None:
        calls.append(folder)
        quick_convert(folder, step)
        time.sleep(0.5)

    monkeypatch.setattr(base_models, "convert_gemma", convert)
    found = []
    threads = [threading.Thread(target=lambda: found.append(BaseModels(settings).ensure())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_converter_that_is_killed_leaves_no_model_and_the_next_one_starts_cleanly(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_CONVERTER)
    with subprocess.Popen(
        [sys.executable, str(script), str(settings.home)], stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"converting\n"
        models = BaseModels(settings)
        progress = models.progress()
        assert progress is not None
        assert (progress.stage, progress.fraction) == ("read weights", 0.02)
        assert progress.seconds < 60
        with pytest.raises(Unavailable, match="Another process"):
            models.ensure(wait=False)
        process.kill()
    assert models.find() is None
    assert models.progress() is None
    assert list(models.root.glob(".gemma3-270m.tmp-*"))

    monkeypatch.setattr(base_models, "convert_gemma", quick_convert)
    made = models.ensure()
    assert made.content_hash == weights_hash(made.folder)
    assert not list(models.root.glob(".gemma3-270m.tmp-*"))


def test_a_conversion_that_fails_leaves_nothing_and_can_be_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, step: Step) -> None:
        (folder / "model.safetensors").write_bytes(b"x")
        raise OSError("No space left on device")

    monkeypatch.setattr(base_models, "convert_gemma", fail)
    models = BaseModels(settings)
    with pytest.raises(OSError, match="No space"):
        models.ensure()
    assert models.find() is None
    assert not [path for path in models.root.iterdir() if path.is_dir()]
    monkeypatch.setattr(base_models, "convert_gemma", quick_convert)
    assert models.ensure().name == "gemma3-270m"


def test_a_folder_of_ones_own_is_used_where_it_lies(home: Path, tmp_path: Path) -> None:
    own = tiny_llama(tmp_path / "My Model")
    models = BaseModels(Settings(home=home, base_model=str(own)))
    made = models.ensure()
    assert made.folder == own
    assert made.content_hash == weights_hash(own)
    assert made.name.startswith("my-model-")
    assert models.find() == made


def test_a_folder_of_ones_own_whose_weights_change_gets_a_new_hash(home: Path, tmp_path: Path) -> None:
    own = tiny_llama(tmp_path / "own", seed=1)
    models = BaseModels(Settings(home=home, base_model=str(own)))
    first = models.ensure()
    tiny_llama(own, seed=2)
    assert models.find() is None
    assert models.ensure().content_hash != first.content_hash


@pytest.mark.parametrize(
    ("wanted", "message"), [("nobody/nothing", "WORKBENCH_ALLOW_HUB"), ("/no/such/folder", "no folder here")]
)
def test_a_name_that_is_no_model_here_is_refused_without_asking_a_hub(home: Path, wanted: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        BaseModels(Settings(home=home, base_model=wanted)).ensure()


def test_weights_that_are_pickles_are_refused(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (own / name).write_text("{}")
    with pytest.raises(InvalidInput, match="safetensors"):
        BaseModels(Settings(home=home, base_model=str(own))).ensure()


def test_a_models_name_is_its_weights_alone(tmp_path: Path) -> None:
    first, second = tiny_llama(tmp_path / "a", seed=1), tiny_llama(tmp_path / "b", seed=1)
    (second / "config.json").write_text((second / "config.json").read_text() + "\n")
    assert weights_hash(first) == weights_hash(second)
    assert weights_hash(tiny_llama(tmp_path / "c", seed=2)) != weights_hash(first)


def test_the_embedding_model_is_installed_with_the_workbench() -> None:
    model = embedding_model()
    assert model.content_hash.startswith("sha256:")
    assert (model.folder / "config.json").is_file()
