"""What users pass by mistake ends in one sentence that says what was expected, before anything is read, fetched or written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image

import fiftyone_resclip as resclip
from fiftyone_resclip.clip import weights
from fiftyone_resclip.errors import (
    BackboneError,
    ConfigError,
    DatasetError,
    ImageError,
    ResCLIPError,
    VocabularyError,
    WeightsError,
)
from fiftyone_resclip.labeling.batches import LabelingReport
from fiftyone_resclip.model import ResCLIPModel

MakeDataset = Callable[..., fo.Dataset]
CLASSES = ["red cloth", "snow"]
TINY = Path(resclip.__file__).parent / "tiny"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake must be found before weights are fetched."""
    monkeypatch.setattr(weights.open_clip, "download_pretrained", lambda *_: pytest.fail("weights were fetched first"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": None}, BackboneError, "model must be a name such as 'resclip-vit-b-16', .* but got None"),
        ({"name": 3}, BackboneError, "model must be a name such as .* but got 3"),
        ({"name": ""}, BackboneError, "model must be a name such as .* but got ''"),
        ({"name": " "}, BackboneError, "model must be a name such as .* but got ' '"),
        ({"name": ["a"]}, BackboneError, r"model must be a name such as .* but got \['a'\]"),
        ({"name": Path("nowhere")}, BackboneError, "model 'nowhere' is unknown"),
        ({"name": "resclip-vit-b16"}, BackboneError, "did you mean 'resclip-vit-b-16'?"),
        ({"device": "gpu"}, ConfigError, "device must be 'cpu'.* but got 'gpu'; torch says: Expected one of cpu, cuda"),
        ({"device": "cuda:99"}, ConfigError, "device must be 'cpu'.* but got 'cuda:99'"),
        ({"device": ""}, ConfigError, "device must be 'cpu'.* but got ''"),
        ({"device": 3.5}, ConfigError, "device must be 'cpu'.* but got 3.5"),
        ({"device": "meta"}, ConfigError, "device must be 'cpu'.* but got 'meta'"),
        ({"name": "resclip-vit-b-16", "device": "gpu"}, ConfigError, "device must be"),
        ({"pretrained": ""}, WeightsError, "pretrained must be a tag or a checkpoint file, but got ''"),
        ({"pretrained": 3}, WeightsError, "pretrained must be a tag or a checkpoint file, but got 3"),
        ({"pretrained": TINY}, WeightsError, "must be a checkpoint file, but '.*tiny' is a folder; name the file in it"),
        ({"pretrained": "nowhere.pt"}, WeightsError, "an existing checkpoint file, but 'nowhere.pt' does not exist"),
        ({"name": "ViT-B-16", "pretrained": "opnai"}, WeightsError, "did you mean 'openai'?"),
        ({"classes": None}, VocabularyError, "classes must name what to look for, but got none"),
        ({"background": 3}, VocabularyError, "background must be one of the classes, but got 3"),
        ({"preset_name": "fats"}, ConfigError, "preset 'fats' is unknown; did you mean 'fast'?"),
        ({"preset_name": ""}, ConfigError, "preset '' is unknown"),
        ({"preset_name": []}, ConfigError, r"preset \[\] is unknown"),
        ({"taught": "streets"}, ConfigError, r"taught must come from load_lesson\(\) .* but got 'streets'"),
        ({"name": "resclip-vit-b-16", "taught": 3}, ConfigError, "taught must come from"),
        ({"prob_thresold": 0.1}, ConfigError, "did you mean 'prob_threshold'?"),
        ({"prob_threshold": "0.5"}, ConfigError, r"prob_threshold must be a number in \[0, 1\], but got '0.5'"),
        ({"preset": "fast"}, ConfigError, "setting 'preset' is unknown; did you mean 'preset_name'?"),
        ({"classes": {"snow": None}}, VocabularyError, "phrases of 'snow' must be a list, a text or a mapping, but got None"),
        ({"name": "resclip-vit-b-16", "sfr": "off"}, ConfigError, r"sfr must be SFR\(...\), a mapping .* but got 'off'"),
    ],
)
def test_a_model_is_refused(arguments: dict[str, Any], error: type[ResCLIPError], message: str) -> None:
    with pytest.raises(error, match=message):
        resclip.load_model(**{"name": "resclip-tiny", "classes": CLASSES, "device": "cpu", **arguments})


def test_a_name_with_a_separator_is_pointed_out(caplog: pytest.LogCaptureFixture) -> None:
    resclip.Vocabulary.parse(["snow: white", "road"])
    assert "'snow: white' is read as one name" in caplog.text
    caplog.clear()
    resclip.Vocabulary.parse(["snow", "wall-other"])
    resclip.Vocabulary.parse({"car": "car, sedan"})
    assert not caplog.text


def test_a_lesson_about_other_classes_is_refused(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    taught = resclip.learn(fast_model, make_dataset(2), "ground_truth", unlabelled=0).taught
    with pytest.raises(ConfigError, match="examples taught .*red cloth.* but none of these is a class here"):
        resclip.load_model("resclip-tiny", ["dog", "cat"], sfr=None, device="cpu", taught=taught)
    assert "taught by 2 examples" in repr(resclip.load_model("resclip-tiny", CLASSES, sfr=None, device="cpu", taught=taught))


def test_nothing_to_learn_from_is_said(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, caplog: pytest.LogCaptureFixture
) -> None:
    resclip.learn(fast_model, make_dataset(1).limit(0), "ground_truth", unlabelled=0)
    assert "none of the samples has a mask in 'ground_truth'" in caplog.text


@pytest.mark.parametrize(
    ("image", "got"), [(None, "None"), ("[a.png]", "a.png"), (np.zeros((4, 4), np.uint8), r"\(4, 4\) uint8")]
)
def test_what_is_no_image_is_refused(fast_model: ResCLIPModel, image: Any, got: str) -> None:
    given = ["a.png"] if isinstance(image, str) else image
    with pytest.raises(ImageError, match=f"must be an .* uint8 RGB array, or the path of a file, but got .*{got}"):
        fast_model.segment(given)


def test_whole_numbers_may_be_written_with_a_point(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    batch_size: Any = 4.0
    assert resclip.label(make_dataset(1), fast_model, batch_size=batch_size, num_workers=batch_size / 2).labelled == 1


def test_masks_of_others_need_the_name_of_their_field(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    before = dataset.values("ground_truth.id")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match="holds 2 masks that no labelling run made; .* give its name again"):
            resclip.label(dataset, fast_model, "ground_truth", overwrite=overwrite)
    with pytest.raises(
        ConfigError, match="overwrite, unless it is the name 'ground_truth', must be True or False, but got 'grund_truth'"
    ):
        resclip.label(dataset, fast_model, "ground_truth", overwrite="grund_truth")
    dataset.reload()
    assert dataset.values("ground_truth.id") == before
    assert resclip.label(dataset, fast_model, "ground_truth", overwrite="ground_truth").labelled == 2
    assert str(resclip.label(dataset, fast_model, "ground_truth")) == "nothing to label: 2 images had a label already"


def test_a_key_that_is_the_name_of_another_field_deletes_nothing(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(1)
    for field in ("my field", "my_field"):
        resclip.label(dataset, fast_model, field, summary=False)
    with pytest.raises(DatasetError, match="run 'my_field' fills field 'my field', and field 'my_field' has another run"):
        resclip.delete_run(dataset, "my_field")
    resclip.rename_run(dataset, "my_field", "first")
    resclip.delete_run(dataset, "first")
    assert dataset.has_field("my_field") and not dataset.has_field("my field")


def test_runs_belong_to_whole_datasets(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    with pytest.raises(DatasetError, match=f"must not be a view, .* pass fo.load_dataset\\('{dataset.name}'\\)"):
        resclip.list_runs(dataset.limit(1))


def test_a_path_is_a_model() -> None:
    assert resclip.load_model(TINY, CLASSES, device="cpu").segmenter.backbone.name == str(TINY)


@pytest.mark.parametrize("ending", [".pt", ".bin", ".json", ".safetensors"])
@pytest.mark.parametrize("content", [b"junkjunkjunk", b"", b"hello"])
def test_junk_is_no_checkpoint(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="weights.* must fit 'resclip-tiny'.*(a checkpoint must be|deserializing header)"):
        resclip.load_model("resclip-tiny", CLASSES, device="cpu", pretrained=path)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (1, 5000), (5000, 1)])
def test_an_image_without_a_patch_is_refused(fast_model: ResCLIPModel, size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"an image can't be used: it is {size[1]}x{size[0]} px, too thin"):
        fast_model.predict(np.zeros((*size, 3), np.uint8))


def test_a_file_without_a_patch_costs_only_itself(make_dataset: MakeDataset, fast_model: ResCLIPModel, tmp_path: Path) -> None:
    dataset = make_dataset(1)
    Image.new("RGB", (5000, 1)).save(tmp_path / "thin.png")
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "thin.png")))
    report = resclip.label(dataset, fast_model)
    assert (report.labelled, report.failed) == (1, 1)
    assert "it is 5000x1 px, too thin" in str(report)


_FIELD = [
    ("", "a field needs a name, but the name is empty"),
    (" ", "a field needs a name, but the name is empty"),
    (None, "the name of a field must be text, but got NoneType"),
    (3, "the name of a field must be text, but got int"),
]


@pytest.mark.parametrize(("field", "message"), [*_FIELD, ("a.b", r"can't start with _ or contain \. .* but got 'a.b'")])
def test_a_field_to_label_is_refused(make_dataset: MakeDataset, fast_model: ResCLIPModel, field: Any, message: str) -> None:
    dataset = make_dataset(1)
    before = dataset.get_field_schema()
    with pytest.raises(DatasetError, match=message):
        resclip.label(dataset, fast_model, field)
    assert dataset.get_field_schema() == before


@pytest.mark.parametrize(("field", "message"), [*_FIELD, ("a.b", "field 'a.b' is unknown")])
def test_a_field_to_read_is_refused(make_dataset: MakeDataset, fast_model: ResCLIPModel, field: Any, message: str) -> None:
    dataset = make_dataset(1)
    for use in (
        lambda: resclip.evaluate(dataset, field, "ground_truth"),
        lambda: resclip.evaluate(dataset, "ground_truth", field),
        lambda: resclip.learn(fast_model, dataset, field),
    ):
        with pytest.raises(DatasetError, match=message):
            use()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "resclip-tiny"}, ConfigError, r"model must come from load_model\(name, classes\), but got 'resclip-tiny'"),
        ({"model": None}, ConfigError, "model must come from load_model"),
        ({"samples": "my-dataset"}, DatasetError, r"dataset or view, but got str; pass fo.load_dataset\('my-dataset'\)"),
        ({"samples": None}, DatasetError, "samples must be a FiftyOne dataset or view, but got NoneType"),
        ({"batch_size": "4"}, ConfigError, "batch_size must be a whole number of at least 1, but got '4'; leave it out"),
        ({"batch_size": 0}, ConfigError, "batch_size must be a whole number of at least 1, but got 0"),
        ({"batch_size": 1.5}, ConfigError, "batch_size must be a whole number"),
        ({"batch_size": True}, ConfigError, "batch_size must be a whole number"),
        ({"num_workers": "4"}, ConfigError, "num_workers must be a whole number of at least 0, but got '4'"),
        ({"num_workers": None}, ConfigError, "num_workers must be a whole number of at least 0, but got None"),
        ({"overwrite": "no"}, ConfigError, "must be True or False, but got 'no'"),
        ({"output_dir": ""}, ConfigError, "output_dir must be a path, but got ''"),
        ({"output_dir": 3}, ConfigError, "output_dir must be a path, but got 3"),
        ({"regions": 3}, DatasetError, "the name of a field of regions must be text, but got int"),
        ({"regions": ""}, DatasetError, "a field of regions needs a name"),
        ({"present": ["tags"]}, DatasetError, "the name of a field of classes that are present must be text, but got list"),
        ({"engine": None}, ConfigError, "engine None is unknown. Known: local, ray"),
        ({"shard": "0/2"}, ConfigError, "shard must be an index from 0"),
        ({"progress": "yes"}, ConfigError, "progress must be True, False, None or a function, but got 'yes'"),
    ],
)
def test_what_can_not_be_labelled_is_refused(
    make_dataset: MakeDataset, fast_model: ResCLIPModel, arguments: dict[str, Any], error: type[ResCLIPError], message: str
) -> None:
    dataset = make_dataset(1)
    with pytest.raises(error, match=message):
        resclip.label(**{"samples": dataset, "model": fast_model, **arguments})
    assert not dataset.has_field("resclip")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"samples": "d"}, DatasetError, "samples must be a FiftyOne dataset or view, but got str"),
        ({"ignore_index": "x"}, ConfigError, "ignore_index must be mask values of at least 0 or '#rrggbb' colours, but got 'x'"),
        ({"mapping": "x"}, ConfigError, "mapping must be names of classes, .* but got 'x'"),
        ({"mapping": ["a"]}, ConfigError, "mapping must be names of classes"),
        ({"overwrite": "no"}, ConfigError, "must be True or False, but got 'no'"),
        ({"include_background": "no"}, ConfigError, "include_background must be True or False"),
        ({"eval_key": ""}, DatasetError, "eval key '' can't be used"),
    ],
)
def test_what_can_not_be_evaluated_is_refused(
    make_dataset: MakeDataset, arguments: dict[str, Any], error: type[ResCLIPError], message: str
) -> None:
    dataset = make_dataset(1)
    dataset.clone_sample_field("ground_truth", "pred")
    dataset.mask_targets = {**dataset.mask_targets, "pred": dataset.mask_targets["ground_truth"]}
    with pytest.raises(error, match=message):
        resclip.evaluate(**{"samples": dataset, "pred_field": "pred", "gt_field": "ground_truth", **arguments})


@pytest.mark.parametrize("dataset", [None, 3, "my-dataset", []])
def test_runs_belong_to_a_dataset(dataset: Any) -> None:
    for use in (
        lambda: resclip.list_runs(dataset),
        lambda: resclip.load_run(dataset, "a"),
        lambda: resclip.compare_runs(dataset, "a", "b"),
        lambda: resclip.rename_run(dataset, "a", "b"),
        lambda: resclip.delete_run(dataset, "a"),
    ):
        with pytest.raises(DatasetError, match="dataset must be a FiftyOne dataset, but got .*; load it with fo.load_dataset"):
            use()


def test_a_single_class_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        resclip.load_model("resclip-tiny", ["snow"], device="cpu")
        assert "'snow' is the only class, so every pixel gets it; name what else is in the pictures" in caplog.text
        caplog.clear()
        resclip.load_model("resclip-tiny", CLASSES, device="cpu")
        assert caplog.text == ""


def test_a_mode_varies_the_settings_of_the_model() -> None:
    fast = resclip.load_model("resclip-tiny", CLASSES, device="cpu", preset_name="fast").segmenter.config
    assert fast == resclip.load_model("resclip-tiny", CLASSES, device="cpu", sfr=None).segmenter.config
    assert fast.window == resclip.Window(96, 48)


def test_each_call_of_progress_gets_a_report_of_its_own(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    reports: list[LabelingReport] = []
    resclip.label(make_dataset(3), fast_model, batch_size=1, progress=reports.append)
    assert [report.labelled for report in reports] == [0, 1, 2, 3]


def test_miou_is_in_percent_everywhere(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> None:
    dataset = make_dataset(2)
    resclip.label(dataset, fast_model)
    results = resclip.evaluate(dataset.limit(1), "resclip", "ground_truth", "one")
    (own,) = dataset.limit(1).values("one_miou")
    present = {name for name, value in results.recall.items() if not np.isnan(value)}
    assert own == pytest.approx(float(torch.tensor([results.iou[name] for name in present]).mean()), abs=1e-4)
    assert own > 1
