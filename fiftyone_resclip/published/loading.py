"""Creates a FiftyOne dataset from a benchmark's folder; running it again reuses the files that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.names import slug
from fiftyone_resclip.fields.values import relabel
from fiftyone_resclip.published.folders import VOID, Pair, absolute, benchmark, find_pairs
from fiftyone_resclip.vocabulary import Vocabulary

#: Field with the true masks. As in predictions, the first class has value 1; void is 0.
GROUND_TRUTH = "ground_truth"
#: Key in a dataset's info that records which benchmark it is.
_INFO = "resclip_benchmark"


def load_benchmark(name: str, data_root: str | Path, work_dir: str | Path | None = None, limit: int | None = None) -> Any:
    """Loads the validation images of a benchmark.

    The ground truth is rewritten once into ``work_dir``, because the App would show wrong names for raw ids and hide class 0.

    Args:
        name: ``"voc21"`` or one of the seven others
        data_root: the folder of the dataset, or a folder that holds several datasets
        work_dir (None): folder for the rewritten ground truth; by default below FiftyOne's dataset folder
        limit (None): maximum number of images, from the start

    Returns:
        a view of these images in the persistent dataset ``resclip-<name>``, with a field :data:`GROUND_TRUTH`

    Raises:
        ConfigError: if there is no such benchmark
        DatasetError: if files are missing, a mask has an unknown value, or the name belongs to another dataset
    """
    pairs = find_pairs(name, data_root, limit)
    dataset = _dataset(name, absolute(data_root))
    known = dict(zip(*dataset.values(["filepath", f"{GROUND_TRUTH}.mask_path"]), strict=True))
    folder = folder_of(name, work_dir) / GROUND_TRUTH
    samples, moved = [], {}
    for pair in pairs:
        image, path = str(pair.image), folder / f"{pair.name}.png"
        if known.get(image) != str(path) or not path.is_file():  # a file may be from another copy of the dataset
            masks.write_mask(_converted(pair, benchmark(name).title), path)
        if image not in known:
            samples.append(fo.Sample(image, **{GROUND_TRUTH: fo.Segmentation(mask_path=str(path))}))
        elif known[image] != str(path):
            moved[image] = str(path)
    dataset.add_samples(samples, progress=False)
    if moved:
        dataset.set_values(f"{GROUND_TRUTH}.mask_path", moved, key_field="filepath")
    return dataset.select_by("filepath", [str(pair.image) for pair in pairs], ordered=True)


def folder_of(name: str, work_dir: str | Path | None = None) -> Path:
    """Returns the folder for files that are made from a dataset.

    Args:
        name: name of the benchmark or dataset
        work_dir (None): parent folder; by default in FiftyOne's dataset folder

    Returns:
        the folder, which may not exist yet
    """
    return absolute(work_dir or Path(fo.config.default_dataset_dir) / "resclip") / slug(name)


def _dataset(name: str, root: Path) -> fo.Dataset:
    full_name, info = f"resclip-{name}", {"name": name, "data_root": str(root)}
    if not fo.dataset_exists(full_name):
        dataset = fo.Dataset()
        dataset.info = {_INFO: info}
        schema.declare_field(dataset, GROUND_TRUTH, schema.mask_targets(Vocabulary.preset(name)))
        dataset.name, dataset.persistent = full_name, True  # last, so that a dataset of this name is always known as ours
        return dataset
    dataset = fo.load_dataset(full_name)
    if dataset.info.get(_INFO) != info:
        raise DatasetError(
            f"dataset {full_name!r} must be this benchmark from {root}, but is {dataset.info.get(_INFO) or 'something else'}; "
            f"rename it: fo.load_dataset({full_name!r}).name = 'another name'"
        )
    return dataset


def _converted(pair: Pair, title: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        mask = masks.read_mask(fo.Segmentation(mask_path=str(pair.mask)))
    except ImageError as error:
        raise DatasetError(f"ground truth can't be used: {error}") from error
    strange = set(np.unique(mask).tolist()) - set(pair.classes)
    if strange:
        raise DatasetError(f"{pair.mask} must be a mask of {title}, but has the values {sorted(strange)[:5]}; replace the file")
    return (relabel(mask, pair.classes, VOID) + 1).astype(np.uint8)
