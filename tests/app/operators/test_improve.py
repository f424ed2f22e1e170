"""*Improve the rest*: kept masks teach, and all other images are labelled again, into a new field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import pytest

from fiftyone_resclip.app import background
from fiftyone_resclip.app.operators.improve import Improve
from fiftyone_resclip.app.panels.labelling import Labelling
from fiftyone_resclip.evaluation.evaluate import evaluate
from fiftyone_resclip.explore import review
from fiftyone_resclip.explore.review_pictures import earlier_field
from fiftyone_resclip.fields import masks
from fiftyone_resclip.labeling.label import label
from fiftyone_resclip.labeling.runs import load_run
from fiftyone_resclip.model import ResCLIPModel
from tests.app.conftest import MakeContext, MakeDataset, asked, labels_of, notices, opened_panel, until

N_IMAGES, N_KEPT = 14, 4


def share_right(sample: fo.Sample) -> float:
    return float((masks.read_mask(sample.ground_truth) == masks.read_mask(sample.pred)).mean())


@pytest.fixture
def dataset(make_dataset: MakeDataset, fast_model: ResCLIPModel) -> fo.Dataset:
    """Scenes with masks in ``pred``: the best four are kept, one is discarded, one has no mask."""
    dataset = make_dataset(N_IMAGES, sizes=((144, 192),))
    label(dataset[:-1], fast_model, "pred", progress=False)
    ids = [sample.id for sample in sorted(dataset[:-1], key=share_right, reverse=True)]
    review.mark(dataset, "pred", ids[:N_KEPT], "keep")
    review.mark(dataset, "pred", ids[-1:], "discard")
    return dataset


@pytest.fixture
def run(in_the_app: None, make_context: MakeContext) -> Callable[[Any], Any]:
    """Runs the operator as the App does; returns the context of the page that shows the outcome."""

    def run_it(context: Any) -> Any:
        Improve().execute(context)
        jobs = background.jobs(context.dataset)
        if not jobs:
            return context
        until(lambda: not jobs[-1].is_live)
        page = make_context(context.dataset, panel_id="runs", panel_state={})
        Labelling().on_tick(page)
        return page

    return run_it


def test_kept_masks_make_the_rest_better(dataset: fo.Dataset, make_context: MakeContext, run: Any) -> None:
    form = Improve().resolve_input(make_context(dataset, label_field="pred"))
    expected = "4 kept masks will teach; the other 10 images are labelled into 'pred_improved'."
    assert labels_of(form)["preview"] == expected
    kept = review.kept(dataset, "pred").values("id")
    rest = dataset.exists("pred").exclude(kept).values("id")  # without a verdict, or discarded
    before = {sample.id: masks.read_mask(sample.pred) for sample in dataset.exists("pred")}
    in_modal = {"current_sample": dataset.first().id}
    context = run(make_context(dataset, in_modal, label_field="pred", panel_id="mine"))
    assert [variant for variant, _ in notices(context)] == ["success"]
    dataset.reload()
    assert {sample.id for sample in dataset.exists("pred_improved")} == {*kept, *rest, dataset.last().id}
    assert review.counts(dataset, "pred_improved") == {"keep": N_KEPT, "discard": 0, "fix later": 0, "open": len(rest) + 1}
    assert all((dataset[each].pred_improved.mask == before[each]).all() for each in kept)
    assert all((sample.pred.mask == before[sample.id]).all() for sample in dataset.exists("pred"))
    assert dataset.mask_targets["pred_improved"] == dataset.mask_targets["pred"]
    others = dataset.select(rest)
    mious = [evaluate(others, field, "ground_truth", progress=False).miou for field in ("pred", "pred_improved")]
    assert mious[1] > mious[0]
    assert earlier_field(dataset, "pred_improved") == "pred" and earlier_field(dataset, "pred") is None
    assert ("patch_panel_state", {"state": {"field": "pred_improved"}, "panel_id": "mine"}) in asked(context)
    assert "Learned: 4 examples of" in background.jobs(dataset)[-1].lines[0]


def test_a_second_round_uses_another_field_and_all_kept_masks(dataset: fo.Dataset, make_context: MakeContext, run: Any) -> None:
    run(make_context(dataset, label_field="pred", panel_id="closed meanwhile"))
    dataset.reload()
    review.mark(dataset, "pred_improved", review.still_open(dataset, "pred_improved").limit(1).values("id"), "keep")
    context = run(make_context(dataset, label_field="pred_improved"))
    assert opened_panel(context) == ("review", {"field": "pred_improved_2"})
    dataset.reload()
    taught = load_run(dataset, "pred_improved_2").recipe["examples"]
    assert set(taught["sample_ids"]) == set(review.kept(dataset, "pred_improved").values("id"))
    assert taught["strength"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("none kept", "no mask of 'pred' is kept yet, so there is nothing to learn from"),
        ("all kept", "every mask of 'pred' is kept, so there is nothing left to improve"),
        ("no run", "masks of 'pred' must be of a labelling run"),
        ("other weights", "the masks were made with other weights than those that 'resclip-tiny' has now"),
        ("other field", "there is no field 'nothing' of masks to review"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    dataset: fo.Dataset, make_context: MakeContext, run: Any, change: str, words: str
) -> None:
    field = "pred"
    if change == "none kept":
        review.mark(dataset, "pred", dataset.values("id"), None)
    elif change == "all kept":
        label(dataset, _model_of(dataset), "pred", progress=False)
        review.mark(dataset, "pred", dataset.values("id"), "keep")
    elif change == "no run":
        dataset.delete_run("pred")
    elif change == "other weights":
        config = dataset.get_run_info("pred").config
        config.recipe = {**config.recipe, "weights": "others"}
        dataset.update_run_config("pred", config)
    else:
        field = "nothing"
    form = Improve().resolve_input(make_context(dataset, label_field=field)).type.properties
    if change != "other weights":  # known once the model is loaded
        assert form["problem"].invalid and words in form["problem"].view.label
    context = run(make_context(dataset, label_field=field))
    assert [variant for variant, _ in notices(context)] == ["error"] and words in notices(context)[0][1]
    assert not dataset.has_sample_field("pred_improved")


def _model_of(dataset: fo.Dataset) -> ResCLIPModel:
    from fiftyone_resclip.app import models
    from fiftyone_resclip.labeling.recipe import model_of

    return model_of(load_run(dataset, "pred").recipe, models.backbone("resclip-tiny"))
