"""What others wrote, such as models, caches, names and paths, can't run code, leave its folder, leak files or change results."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fiftyone_resclip.app.forms import words
from fiftyone_resclip.app.operators.evaluate import Evaluate
from fiftyone_resclip.app.operators.segment import Segment
from fiftyone_resclip.app.operators.use_kept import UseKept
from fiftyone_resclip.app.panels.error_explorer import ErrorExplorer
from fiftyone_resclip.app.panels.labelling import Labelling
from fiftyone_resclip.app.panels.playground import Playground
from fiftyone_resclip.app.panels.review import Review
from fiftyone_resclip.clip import weights as module
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
from fiftyone_resclip.clip.weights import fingerprint
from fiftyone_resclip.config import RCS
from fiftyone_resclip.errors import BackboneError, DatasetError, ResCLIPError, VocabularyError, WeightsError
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.explore import review, saved_vocabularies
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.model import load_model
from fiftyone_resclip.published import folders, run
from fiftyone_resclip.text_files import LARGEST
from fiftyone_resclip.vocabulary import Vocabulary
from tests.app import conftest as app
from tests.conftest import CLASSES
from tests.faults import processes

TINY = Path(module.__file__).parents[1] / "tiny"
MakeDataset = Callable[..., fo.Dataset]
context_of = app.make_context  # the fixture


def config(**text: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((TINY / "open_clip_config.json").read_text())
    content["model_cfg"]["text_cfg"].update(text)
    return content


def folder_with(path: Path, content: dict[str, Any]) -> str:
    path.mkdir(exist_ok=True)
    (path / "open_clip_config.json").write_text(json.dumps(content))
    shutil.copy(TINY / "model.safetensors", path)
    return str(path)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A transformers that writes a file if a tokenizer is asked of it."""
    marker = tmp_path / "fetched"
    code = f"import pathlib\nclass AutoTokenizer:\n    from_pretrained = lambda *a, **k: pathlib.Path({str(marker)!r}).touch()\n"
    (tmp_path / "transformers.py").write_text(code + "T5TokenizerFast = AutoTokenizer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    return marker


class TestWeights:
    @pytest.mark.parametrize("pretrained", ["/nope.pt", "openai", "laion2b_s34b_b88k", ""])
    @pytest.mark.parametrize("as_folder", [False, True])
    def test_weights_that_are_not_there_are_refused_everywhere(self, as_folder: bool, pretrained: str, tmp_path: Path) -> None:
        model = folder_with(tmp_path / "model", config()) if as_folder else "resclip-tiny"
        missing = f"must be an existing checkpoint file, but {pretrained!r} does not exist"
        with pytest.raises(WeightsError, match=missing if pretrained else "must be a tag or a checkpoint file, but got ''"):
            Backbone.load(model, pretrained, "cpu")

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    @pytest.mark.parametrize("as_folder", [False, True])
    def test_given_weights_replace_those_of_a_folder(self, as_folder: bool, suffix: str, tmp_path: Path) -> None:
        model = folder_with(tmp_path / "model", config()) if as_folder else "resclip-tiny"
        state = load_file(TINY / "model.safetensors")
        state["visual.proj"] *= 2
        file = tmp_path / f"mine{suffix}"
        save_file(state, file) if suffix == ".safetensors" else torch.save({"state_dict": state}, file)
        loaded = Backbone.load(model, file, "cpu")
        assert torch.equal(loaded.model.visual.proj, state["visual.proj"])
        assert fingerprint(loaded.model) != fingerprint(Backbone.load(model, None, "cpu").model)

    @pytest.mark.parametrize("model", ["hf-hub:someone/model", "hf-hub:timm/vit_base_patch16_clip_224.openai"])
    def test_no_repository_takes_the_place_of_given_weights(self, model: str) -> None:
        with pytest.raises(BackboneError, match="is unknown"):
            Backbone.load(model, TINY / "model.safetensors", "cpu")

    def test_a_folder_does_not_take_the_place_of_an_architecture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder_with(tmp_path / "ViT-B-16", config())
        monkeypatch.chdir(tmp_path)
        with pytest.raises(WeightsError, match="model 'ViT-B-16' needs pretrained"):
            Backbone.load("ViT-B-16", None, "cpu")
        assert Backbone.load("./ViT-B-16", None, "cpu").n_blocks == 12

    def test_several_checkpoints_in_a_folder_are_not_chosen_by_chance(self, tmp_path: Path) -> None:
        model = Path(folder_with(tmp_path / "model", config()))
        (model / "model.safetensors").rename(model / "a.safetensors")
        assert Backbone.load(str(model), None, "cpu").n_blocks == 12
        shutil.copy(model / "a.safetensors", model / "b.safetensors")
        with pytest.raises(WeightsError, match="must have one checkpoint, but has a.safetensors, b.safetensors"):
            Backbone.load(str(model), None, "cpu")
        assert Backbone.load(str(model), model / "b.safetensors", "cpu").n_blocks == 12


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def retried(marker: Path) -> bytes:
    """A pickle that makes the restricted unpickler raise a TypeError, after which open_clip uses the other one."""
    fails = b"ccollections\nOrderedDict\n)RNb0"  # a state of None, which only the restricted one can't set
    return b"\x80\x02" + fails + pickle.dumps(Attack(marker), protocol=2)[2:]


@pytest.mark.filterwarnings("ignore")
class TestCheckpoints:
    @pytest.fixture
    def marker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        return tmp_path / "attacked"

    @pytest.mark.parametrize("kind", ["object", "retried", "script"])
    @pytest.mark.parametrize("where", ["tiny", "folder", "json"])
    def test_no_code_of_a_checkpoint_runs(self, kind: str, where: str, marker: Path, tmp_path: Path) -> None:
        file = tmp_path / "pytorch_model.bin"
        if kind == "script":
            torch.jit.script(torch.nn.Linear(1, 1)).save(file)
        elif kind == "object":
            torch.save({"visual.proj": Attack(marker)}, file)
        else:
            torch.save({}, file)
            archive(file, retried(marker))
        model, pretrained = "resclip-tiny", str(file)
        if where == "folder":
            model, pretrained = folder_with(tmp_path / "model", config()), None
            Path(model, "model.safetensors").unlink()
            shutil.copy(file, model)
        elif where == "json":
            (tmp_path / "mine.json").write_text(json.dumps(config()["model_cfg"]))
            model = str(tmp_path / "mine.json")
        with pytest.raises(WeightsError, match="must be a safetensors file, or a state dict of tensors"):
            Backbone.load(model, pretrained, "cpu")
        assert not marker.exists()


def archive(file: Path, content: bytes) -> None:
    """Replaces the pickle in a file of torch.save."""
    import zipfile

    with zipfile.ZipFile(file) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(file, "w") as new:
        for name, part in parts.items():
            new.writestr(name, content if name.endswith("data.pkl") else part)


class TestConfigs:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("hf_tokenizer_name", "someone/tokenizer"),
            ("tokenizer_kwargs", {"trust_remote_code": True}),
            ("tokenizer_kwargs", {"reduction_mask": "syntax"}),
            ("tokenizer_kwargs", {"bpe_path": "/etc/passwd"}),
            ("tokenizer_mode", "clips"),
            ("hf_model_pretrained", True),
            ("custom_tokenizer", "module.Class"),
        ],
    )
    @pytest.mark.parametrize("as_json", [False, True])
    def test_a_config_can_not_choose_a_tokenizer(
        self, as_json: bool, key: str, value: Any, tmp_path: Path, fetched: Path
    ) -> None:
        content = config(**{"hf_tokenizer_name": "someone/tokenizer", key: value} if key == "tokenizer_kwargs" else {key: value})
        model, pretrained = folder_with(tmp_path / "model", content), None
        if as_json:
            (tmp_path / "mine.json").write_text(json.dumps(content["model_cfg"]))
            model, pretrained = str(tmp_path / "mine.json"), TINY / "model.safetensors"
        with pytest.raises(BackboneError, match=f"must only describe the towers .* but it sets .*{key} in text_cfg"):
            Backbone.load(model, pretrained, "cpu")
        assert not fetched.exists()

    def test_neither_can_its_file_name(self, tmp_path: Path, tiny: Backbone, fetched: Path) -> None:
        (tmp_path / "my-siglip2.json").write_text(json.dumps(config(hf_tokenizer_name="", tokenizer_kwargs={})["model_cfg"]))
        loaded = Backbone.load(str(tmp_path / "my-siglip2.json"), TINY / "model.safetensors", "cpu")
        assert torch.equal(loaded.tokenizer(["a cat"]), tiny.tokenizer(["a cat"]))
        assert not fetched.exists()

    @pytest.mark.parametrize(
        "change", [{"multimodal_cfg": {"x": 1}}, {"pretrained_image": True}, {"cast_dtype": "x"}, {"output_dict": True}]
    )
    def test_other_keys_are_refused(self, change: dict[str, Any], tmp_path: Path) -> None:
        content = config()
        content["model_cfg"] |= change
        with pytest.raises(BackboneError, match="must only describe|it is a CoCa"):
            Backbone.load(folder_with(tmp_path / "model", content), None, "cpu")

    def test_a_config_does_not_replace_an_architecture(self, tmp_path: Path) -> None:
        (tmp_path / "ViT-B-16.json").write_text(json.dumps(config()["model_cfg"]))
        Backbone.load(str(tmp_path / "ViT-B-16.json"), TINY / "model.safetensors", "cpu")
        assert Backbone.random("ViT-B-16", 0).feature_width == 512

    @pytest.mark.parametrize("content", ["[" * 100_000, "", "\udcff", '{"model_cfg": []}', "x" * (LARGEST + 1)])
    def test_a_broken_config_is_refused(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "mine.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(BackboneError, match="must be a readable JSON file|must have embed_dim"):
            Backbone.load(str(tmp_path / "mine.json"), TINY / "model.safetensors", "cpu")

    @pytest.mark.parametrize("preprocess", [{"mean": "abc"}, {"std": [0, 1, 1]}, {"mean": [1, 2]}, {"mean": [[], 1, 1]}])
    def test_broken_colours_are_refused(self, preprocess: Any, tmp_path: Path) -> None:
        with pytest.raises(BackboneError, match="must have three numbers each as mean and std"):
            Backbone.load(folder_with(tmp_path / "model", {**config(), "preprocess_cfg": preprocess}), None, "cpu")


class TestTextCache:
    @pytest.fixture
    def cached(self, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, list[Path]]:
        monkeypatch.setenv("FIFTYONE_RESCLIP_CACHE", str(tmp_path / "cache"))
        expected = text_features(tiny, ["snow", "gravel"])
        return expected, sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())

    def test_a_flipped_bit_never_changes_a_vector(self, tiny: Backbone, cached: tuple[torch.Tensor, list[Path]]) -> None:
        expected, (file, _) = cached
        whole = file.read_bytes()
        for position in range(0, len(whole), 3):
            broken = bytearray(whole)
            broken[position] ^= 1 << position % 8
            file.write_bytes(broken)
            assert torch.equal(text_features(tiny, ["snow", "gravel"]), expected), position
            assert file.read_bytes() == whole, "the broken file must be written again"

    @pytest.mark.parametrize("damage", ["empty", "short", "long", "exchanged", "not normalised", "pipe", "folder", "nowhere"])
    def test_no_file_that_is_not_what_was_written_is_used(
        self, damage: str, tiny: Backbone, cached: tuple[torch.Tensor, list[Path]]
    ) -> None:
        expected, (file, other) = cached
        whole = file.read_bytes()
        content = {"empty": b"", "short": whole[:-1], "long": whole + b"\0", "exchanged": other.read_bytes()}
        content["not normalised"] = np.full(tiny.feature_width, 3, np.float32).tobytes() + whole[-16:]
        file.unlink()
        if damage in content:
            file.write_bytes(content[damage])
        elif damage == "pipe":
            os.mkfifo(file)
        elif damage == "folder":
            file.mkdir()
        else:
            file.symlink_to(file.with_name("nowhere"))
        assert torch.equal(text_features(tiny, ["snow", "gravel"]), expected)
        assert damage == "folder" or (not file.is_symlink() and file.read_bytes() == whole)
        assert list(file.parent.glob("*.partial")) == []
        assert not file.with_name("nowhere").exists()

    def test_processes_that_write_at_once_agree(self, tiny: Backbone, tmp_path: Path) -> None:
        code = """
import torch
from fiftyone_resclip.clip.backbone import Backbone
from fiftyone_resclip.clip.text_cache import text_features
tiny = Backbone.load("resclip-tiny", device="cpu")
for _ in range(6):
    for path in __import__("pathlib").Path(__import__("os").environ["FIFTYONE_RESCLIP_CACHE"]).rglob("*.feature"):
        path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(text_features(tiny, ["snow"]), tiny.encode_text(["snow"]), atol=0, rtol=0)
"""
        environment = {**os.environ, "FIFTYONE_RESCLIP_CACHE": str(tmp_path / "cache")}
        for process in [processes.start_plain(code, environment) for _ in range(2)]:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err


EVIL = "http://evil.invalid"
NAMES = {
    1: f"![x]({EVIL}/1.png)",
    2: f"[x]({EVIL}/2) www.evil.invalid me@evil.invalid",
    3: f"<img src='{EVIL}/3'> <a href='{EVIL}/4'>x</a>",
    4: f"# a | b `c` **d** <{EVIL}/5>",
}
#: What must not reach Markdown from these names, and what must not reach plotly.
LIVE = re.compile(r"(?<!\\)[\[<]|(?<!\\)\*\*d|https?://|(?<!\\)`c|www\.|\w@|a \|")
HTML = re.compile(r"<(?!br>|/?extra>)")


def rendered(part: Any) -> Iterator[tuple[str, str]]:
    """Yields the kind and the text of everything that the App renders as Markdown or in a plot."""
    if isinstance(part, dict):
        view = part.get("view") or {}
        yield from (("markdown", view[key]) for key in ("label", "description", "caption") if view.get(key))
        if view.get("name") == "MarkdownView":
            yield "markdown", part.get("default") or (part.get("type") or {}).get("default") or ""
        if view.get("name") == "PlotlyView":
            yield from (("plot", text) for text in texts([view.get("data"), view.get("layout")]))
        for value in part.values():
            yield from rendered(value)
    elif isinstance(part, list):
        for value in part:
            yield from rendered(value)


def texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, (dict, list)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from texts(value)


class TestNamesInTheApp:
    @pytest.fixture
    def dataset(self, make_dataset: MakeDataset, tmp_path: Path) -> fo.Dataset:
        dataset = make_dataset(2)
        dataset.default_classes = list(NAMES.values())
        dataset.mask_targets = {"gt": NAMES, "pred": NAMES, "other": {1: NAMES[1], 2: "[y](y)", 3: f"<{EVIL}>"}}
        for sample in dataset:
            mask = np.tile(np.arange(1, 5, dtype=np.uint8), (8, 2))
            for field, values in (("gt", mask), ("pred", 5 - mask), ("other", mask)):
                sample[field] = fo.Segmentation(mask=values)
            sample.save()
        evaluate(dataset, "pred", "gt", "before")
        evaluate(dataset, "pred", "gt", "ev")
        review.mark(dataset, "pred", dataset.values("id")[:1], "keep")
        label(dataset, load_model("resclip-tiny", list(NAMES.values()), sfr=None, device="cpu"), "evil", progress=False)
        return dataset

    @pytest.mark.parametrize(
        ("part", "values"),
        [
            (Segment, {"words_from": "dataset"}),
            (Segment, {"classes": NAMES[1], "label_field": NAMES[2], "model": "resclip-tiny"}),
            (Segment, {"classes": f"{NAMES[1]}\n{NAMES[1]}"}),
            (Segment, {"words_from": "file", "class_file": f"/{NAMES[3]}.txt"}),
            (Evaluate, {"pred_field": "pred", "gt_field": "gt", "edit_mapping": True}),
            (Evaluate, {"pred_field": "other", "gt_field": "gt"}),
            (Evaluate, {"pred_field": "pred", "gt_field": "gt", "eval_key": "ev"}),
            (Evaluate, {"pred_field": "pred", "gt_field": NAMES[1]}),
            (UseKept, {"label_field": "pred", "to_field": NAMES[2]}),
            (UseKept, {"label_field": NAMES[1]}),
            (Playground, {"words_from": "dataset", "model": "resclip-tiny", "point": [3, 3]}),
            (Playground, {"words_from": "saved", "vocabulary": NAMES[1], "model": "resclip-tiny"}),
            (ErrorExplorer, {"eval_key": "ev", "compare_key": "before"}),
            (ErrorExplorer, {"eval_key": NAMES[1]}),
            (ErrorExplorer, {"eval_key": "ev", "by_words": True, "words_from": "dataset"}),
            (Labelling, {}),
            (Review, {"field": "pred"}),
            (Review, {"field": NAMES[3]}),
        ],
    )
    def test_names_are_text_wherever_the_app_renders(
        self,
        part: Any,
        values: dict[str, Any],
        dataset: fo.Dataset,
        context_of: Any,
    ) -> None:
        if hasattr(part, "render"):
            form = part().render(context_of(dataset, panel_id="p", panel_state=values))
        else:
            form = part().resolve_input(context_of(dataset, **values))
        found = list(rendered(form.to_json()))
        assert found
        for kind, text in found:
            live = (LIVE if kind == "markdown" else HTML).search(text)
            assert live is None, (kind, text)

    def test_the_table_of_words_is_text(self, dataset: fo.Dataset, context_of: Any) -> None:
        state = {"eval_key": "ev", "by_words": True, "words_from": "dataset", "model": "resclip-tiny", "mode": "fast"}
        context = context_of(dataset, panel_id="p", panel_state=state)
        ErrorExplorer().on_words(context)
        assert app.notices(context) == []
        app.until(lambda: "counting" not in ErrorExplorer().render(context).type.properties)
        told = ErrorExplorer().render(context).type.properties["taken"].default
        assert "evil" in told and not LIVE.search(told)

    def test_a_click_on_an_escaped_name_finds_its_class(
        self,
        dataset: fo.Dataset,
        context_of: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
        state = {"eval_key": "ev"}
        form = ErrorExplorer().render(context_of(dataset, panel_id="p", panel_state=state))
        bars = form.type.properties["iou"].view.data[0]["y"]
        shown = next(text for text in bars if "img" in text)
        context = context_of(dataset, panel_id="p", panel_state=state, y=shown, x=1)
        ErrorExplorer().on_class(context)
        assert context.panel_state["class_name"] == NAMES[3]
        context = context_of(dataset, panel_id="p", panel_state=state, y=NAMES[3])
        ErrorExplorer().on_class_images(context)
        assert app.notices(context) == [("info", f"2 images: errors on {NAMES[3]}")]

    @pytest.mark.parametrize("wrong", [{"$ne": None}, ["pred"], 7])
    @pytest.mark.parametrize(
        ("part", "values", "name"),
        [
            (Segment, {"classes": "snow"}, "label_field"),
            (Segment, {}, "classes"),
            (Segment, {"words_from": "file"}, "class_file"),
            (Segment, {"words_from": "saved"}, "vocabulary"),
            (Segment, {"words_from": "field"}, "class_field"),
            (Segment, {"classes": "snow", "background": "own words"}, "background_words"),
            (Segment, {"classes": "snow"}, "background"),
            (Evaluate, {}, "gt_field"),
            (Evaluate, {}, "pred_field"),
            (Evaluate, {"pred_field": "pred", "gt_field": "gt"}, "eval_key"),
            (UseKept, {}, "label_field"),
        ],
    )
    def test_a_value_of_the_wrong_type_is_refused_in_a_sentence(
        self,
        part: Any,
        values: dict[str, Any],
        name: str,
        wrong: Any,
        dataset: fo.Dataset,
        context_of: Any,
    ) -> None:
        form = part().resolve_input(context_of(dataset, **{**values, name: wrong}))
        texts = [str(each.error_message or each.view.label) for each in form.type.properties.values() if each.invalid]
        assert texts and not any("unexpected error" in text for text in texts), texts


class TestPaths:
    @pytest.mark.parametrize("name", ["../../../esc", "/abs/x", ".."])
    def test_error_masks_stay_in_their_folder(
        self,
        name: str,
        make_dataset: MakeDataset,
        context_of: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        inside = tmp_path / "a" / "b" / "c" / "d"
        monkeypatch.setattr(fo.config, "default_dataset_dir", str(inside))
        dataset = make_dataset(1)
        dataset.name = f"{tmp_path}{name} trust" if name.startswith("/") else f"{name} trust"
        dataset.mask_targets = {"gt": {1: "a", 2: "b"}, "pred": {1: "a", 2: "b"}}
        sample = dataset.first()
        sample["gt"], sample["pred"] = (fo.Segmentation(mask=np.full((4, 4), value, np.uint8)) for value in (1, 2))
        sample.save()
        evaluate(dataset, "pred", "gt", "ev")
        context = context_of(dataset, panel_id="p", panel_state={"eval_key": "ev"}, x="b", y="a")
        ErrorExplorer().on_cell(context)
        assert app.notices(context) == [("info", "1 image: a taken for b")]
        written = Path(dataset.first()["ev_errors"].mask_path)
        assert written.is_file() and written.parents[2] == inside / "resclip"

    def test_results_of_a_dataset_stay_in_their_folders(self, make_dataset: MakeDataset, tiny: Backbone, tmp_path: Path) -> None:
        dataset = make_dataset(1)
        dataset.name = "../../../esc trust"
        inside = tmp_path / "a" / "b" / "c" / "d"
        changes = {"sfr": None, "rcs": RCS(), "short_side_px": 48, "window": {"crop_px": 48, "stride_px": 48}}
        setup = run.Setup(lambda: tiny, "resclip-tiny", changes, work_dir=inside)
        record = run.run_dataset(dataset.name, "ground_truth", list(CLASSES), setup)
        written = run.write(record, inside / "out")
        assert written.parent == inside / "out"
        assert Path(dataset.first()[record["field"]].mask_path).is_relative_to(inside)
        assert {path.name for path in tmp_path.iterdir()} <= {"a"} | {path.name for path in tmp_path.glob("*.png")}
        for name, gt_field in (({"$ne": None}, "ground_truth"), (dataset.name, ["ground_truth"]), (None, "x")):
            with pytest.raises(DatasetError, match="must be text, but got"):
                run.run_dataset(name, gt_field, None, setup)  # type: ignore[arg-type]

    @pytest.mark.parametrize("listed", ["../../../esc", "/abs/x"])
    def test_a_list_of_images_can_not_name_paths(self, listed: str, tmp_path: Path) -> None:
        listing = tmp_path / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
        listing.parent.mkdir(parents=True)
        listing.write_text(f"{listed}\n")
        with pytest.raises(DatasetError, match="must list names of files, but lists the path"):
            folders.find_pairs("voc21", tmp_path)


class TestVocabularies:
    HARD = Vocabulary(
        ("car, red", "C# book", "a: b", "back\\slash\\", " spaced ", "two\nlines", "notes.txt", "\\,", "déjà"),
        (("car, red",), ("C# book", "x, y"), ("a: b", "#"), ("\\",), ("s",), ("t\r\nu", "v"), ("notes.txt",), ("w",), ("é:",)),
        "a: b",
    )

    @pytest.fixture(autouse=True)
    def emptied(self) -> Iterator[None]:
        yield
        for name in saved_vocabularies.names():
            saved_vocabularies.delete(name)

    def test_what_is_saved_comes_back(self) -> None:
        saved_vocabularies.save("hard", self.HARD)
        assert saved_vocabularies.load("hard") == self.HARD
        assert saved_vocabularies.load(" hard ") == self.HARD

    def test_an_entry_of_an_earlier_version_is_still_read(self) -> None:
        saved_vocabularies._store().set("old", {"classes": "car: car, taxi\nback\\slash, sky", "background": "sky"})
        expected = Vocabulary(("car", "back\\slash", "sky"), (("car", "taxi"), ("back\\slash",), ("sky",)), "sky")
        assert saved_vocabularies.load("old") == expected

    @pytest.mark.parametrize("name", [{"$ne": None}, {"$gt": ""}, None, 3, ["mine"], "", " "])
    @pytest.mark.parametrize("call", ["load", "delete", "save"])
    def test_a_name_that_is_not_text_is_refused(self, call: str, name: Any) -> None:
        saved_vocabularies.save("mine", self.HARD)
        arguments = (name, self.HARD) if call == "save" else (name,)
        with pytest.raises(VocabularyError, match="the name of a saved vocabulary must be text|the name is empty"):
            getattr(saved_vocabularies, call)(*arguments)
        assert saved_vocabularies.names() == ["mine"]

    @pytest.mark.parametrize("entry", [3, {}, {"classes": 3, "background": None}, {"class_names": ["a"], "phrases": [[1]]}])
    def test_a_damaged_entry_is_refused(self, entry: Any) -> None:
        saved_vocabularies._store().set("bad", entry)
        with pytest.raises(VocabularyError, match="'bad' must hold classes, but its entry is damaged"):
            saved_vocabularies.load("bad")


class TestClassFiles:
    SECRET = "pa55word"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (f"road\n\n{SECRET}: ,\n", "line 3 has a blank class or phrase"),
            (f"# {SECRET}\nroad: {SECRET}, {SECRET}\n", "line 2 has a phrase twice"),
            (f"{SECRET}\r\nsky\r\n{SECRET}\r\n", "line 3 repeats the class of line 1"),
            (f"# {SECRET}", "classes must name at least one class"),
            (f"{SECRET}\xff".encode("latin-1"), "it is not UTF-8"),
            (f"{SECRET}\n" * LARGEST, "it is larger than 1 MiB"),
        ],
    )
    def test_errors_name_the_line_and_do_not_quote_it(self, content: str | bytes, reason: str, tmp_path: Path) -> None:
        file = tmp_path / "classes.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for read in (lambda: Vocabulary.parse(file), lambda: words.read({"words_from": "file", "class_file": str(file)}, None)):
            with pytest.raises(VocabularyError, match=reason) as caught:
                read()
            assert self.SECRET not in str(caught.value)

    @pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/etc"])
    def test_the_app_reads_class_files_only(self, path: str) -> None:
        with pytest.raises(VocabularyError, match=r"must end in '\.txt'") as caught:
            words.read({"words_from": "file", "class_file": path}, None)
        assert "root" not in str(caught.value)

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.txt")
        with pytest.raises(VocabularyError, match="but it is not a regular file"):
            Vocabulary.parse(tmp_path / "pipe.txt")

    def test_typed_text_is_never_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text(self.SECRET)
        path = str(tmp_path / "secret.txt")
        assert words.read({"classes": path}, None).class_names == (path,)


def test_all_errors_above_can_be_caught_at_once() -> None:
    assert issubclass(VocabularyError, ResCLIPError) and issubclass(WeightsError, ResCLIPError)
