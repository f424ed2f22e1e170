"""Regions and presence while labelling: real files, real fields."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import fiftyone_resclip as resclip
from fiftyone_resclip.errors import DatasetError
from fiftyone_resclip.evaluation.metrics import confusion_matrix, miou
from fiftyone_resclip.fields import schema
from fiftyone_resclip.model import ResCLIPModel
from fiftyone_resclip.tiny.scenes import COLOURS_AND_GROUNDS, class_map, dense_scene
from fiftyone_resclip.vocabulary import Vocabulary


@pytest.fixture
def scenes(tmp_path: Path) -> fo.Dataset:
    """Six scenes; ``outlines`` has the true regions without their classes, ``names`` what is in the image."""
    dataset = fo.Dataset()
    schema.declare_field(dataset, "truth", schema.mask_targets(Vocabulary.parse(list(COLOURS_AND_GROUNDS))))
    for index in range(6):
        scene = dense_scene(80_000 + index)
        path = tmp_path / f"{index}.png"
        Image.fromarray(scene.image).save(path)
        truth = class_map(scene, COLOURS_AND_GROUNDS)
        names = [COLOURS_AND_GROUNDS[value - 1] for value in np.unique(truth)]
        outlines = fo.Segmentation(mask=scene.truth + 1)
        dataset.add_sample(fo.Sample(str(path), truth=fo.Segmentation(mask=truth), outlines=outlines, names=names))
    return dataset


@pytest.fixture(scope="module")
def model() -> ResCLIPModel:
    return resclip.load_model("resclip-tiny", COLOURS_AND_GROUNDS, sfr=None, device="cpu")


def quality(dataset: fo.Dataset, field: str) -> float:
    pairs = [(sample.truth.mask.astype(int) - 1, sample[field].mask.astype(int) - 1) for sample in dataset]
    return miou(sum(confusion_matrix(truth, found, len(COLOURS_AND_GROUNDS)) for truth, found in pairs))


def test_true_outlines_and_names_make_masks_better(scenes: fo.Dataset, model: ResCLIPModel) -> None:
    reports = [
        resclip.label(scenes, model, "plain"),
        resclip.label(scenes, model, "voted", regions="outlines"),
        resclip.label(scenes, model, "named", present="names"),
        resclip.label(scenes, model, "both", regions="outlines", present="names"),
    ]
    assert all((report.labelled, report.without_regions, report.without_presence) == (6, 0, 0) for report in reports)
    plain, voted, named, both = (quality(scenes, field) for field in ("plain", "voted", "named", "both"))
    assert voted > plain and named >= plain and both > plain + 0.03
    for sample in scenes:
        for value in np.unique(sample.outlines.mask):
            assert len(np.unique(sample.voted.mask[sample.outlines.mask == value])) == 1
        assert {COLOURS_AND_GROUNDS[value - 1] for value in np.unique(sample.named.mask)} <= set(sample.names)


def test_images_without_regions_or_names_get_the_masks_they_would_get_anyway(scenes: fo.Dataset, model: ResCLIPModel) -> None:
    first, second, third = scenes.limit(3)
    first["outlines"], second["names"] = None, ["unheard of"]
    third["outlines"] = fo.Segmentation(mask_path="/nowhere.png")
    for sample in (first, second, third):
        sample.save()
    resclip.label(scenes, model, "plain")
    report = resclip.label(scenes, model, "pred", regions="outlines")
    assert (report.without_regions, report.failures) == (2, {}) and "2 have no regions" in str(report)
    named = resclip.label(scenes, model, "named", present="names")
    assert named.without_presence == 1 and "1 name none of the classes" in str(named)
    for field, sample in (("pred", first), ("named", second), ("pred", third)):
        sample.reload()
        assert np.array_equal(sample[field].mask, sample.plain.mask)


def test_masks_with_and_without_evidence_are_not_mixed(scenes: fo.Dataset, model: ResCLIPModel) -> None:
    resclip.label(scenes.limit(1), model, "pred")
    with pytest.raises(DatasetError, match="evidence.regions"):
        resclip.label(scenes, model, "pred", regions="outlines")
    resclip.label(scenes, model, "pred", regions="outlines", overwrite=True)
    run = resclip.load_run(scenes, "pred")
    assert run.recipe["evidence"] == {"regions": "outlines"}


def test_regions_of_video_frames_vote(scenes: fo.Dataset, model: ResCLIPModel) -> None:
    video = fo.Dataset()
    video.media_type = "video"
    sample = fo.Sample("/nowhere.mp4")
    for number, scene in enumerate(scenes, start=1):
        sample.frames[number] = fo.Frame(filepath=scene.filepath, outlines=scene.outlines.copy())
    video.add_sample(sample)
    frames = video.to_frames(sample_frames=True)
    report = resclip.label(frames, model, "pred", regions="outlines")
    assert (report.labelled, report.without_regions) == (6, 0)
    resclip.label(scenes, model, "voted", regions="outlines")
    found = video.values("frames[].pred.mask")
    assert all(np.array_equal(mask, expected) for mask, expected in zip(found, scenes.values("voted.mask"), strict=True))


def test_fields_without_evidence_are_refused_before_anything_is_written(scenes: fo.Dataset, model: ResCLIPModel) -> None:
    for arguments in ({"regions": "names"}, {"regions": "no"}, {"present": "truth"}, {"present": "no"}):
        with pytest.raises(DatasetError, match="must name a field of"):
            resclip.label(scenes, model, "pred", **arguments)
    assert not scenes.has_field("pred") and resclip.list_runs(scenes) == []
