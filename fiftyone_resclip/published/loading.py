"""Makes a FiftyOne dataset of a benchmark's folder; running it again goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

from fiftyone_resclip.errors import DatasetError, ImageError
from fiftyone_resclip.fields import masks, schema
from fiftyone_resclip.fields.values import relabel
from fiftyone_resclip.published.folders import VOID, Pair, absolute, benchmark, find_pairs
from fiftyone_resclip.vocabulary import Vocabulary

#: The field with the masks. They hold 1 for the first class, as predictions do, and 0 for void.
GROUND_TRUTH = "ground_truth"
#: Where a dataset of ours says what it is.
_INFO = "resclip_benchmark"


def load_benchmark(name: str, data_root: str | Path, work_dir: str | Path | None = None, limit: int | None = None) -> Any:
    """Loads a benchmark's validation part.

    Ground truth is rewritten once into ``work_dir``: palettes and raw ids would show wrong names in the App, and hide class 0.

    Args:
        name: ``"voc21"`` or one of the seven others
        data_root: the folder of the dataset, or one that holds several
        work_dir (None): where the rewritten ground truth goes; by default below FiftyOne's folder of datasets
        limit (None): only so many images, from the start

    Returns:
        a view of these images, of the persistent dataset ``resclip-<name>``, with a field :data:`GROUND_TRUTH`

    Raises:
        ConfigError: if there is no such benchmark
        DatasetError: if files are missing, a mask has a value that the dataset does not have, or another dataset has the name
    """
    pairs = find_pairs(name, data_root, limit)
    dataset = _dataset(name, absolute(data_root))
    known = dict(zip(*dataset.values(["filepath", f"{GROUND_TRUTH}.mask_path"]), strict=True))
    folder = folder_of(name, work_dir) / GROUND_TRUTH
    samples, moved = [], {}
    for pair in pairs:
        image, path = str(pair.image), folder / f"{pair.name}.png"
        if known.get(image) != str(path) or not path.is_file():  # a file that is there may be of another copy of the dataset
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
    """Gives the folder where what is made from a dataset is kept.

    Args:
        name: of the benchmark or dataset
        work_dir (None): by default below FiftyOne's folder of datasets

    Returns:
        the folder, which may not be there yet
    """
    return absolute(work_dir or Path(fo.config.default_dataset_dir) / "resclip") / name


def _dataset(name: str, root: Path) -> fo.Dataset:
    full_name, info = f"resclip-{name}", {"name": name, "data_root": str(root)}
    if not fo.dataset_exists(full_name):
        dataset = fo.Dataset(full_name, persistent=True)
        dataset.info = {_INFO: info}
        schema.declare_field(dataset, GROUND_TRUTH, schema.mask_targets(Vocabulary.preset(name)))
        return dataset
    dataset = fo.load_dataset(full_name)
    if dataset.info.get(_INFO) != info:
        raise DatasetError(
            f"dataset {full_name!r} must be this benchmark from {root}, but is {dataset.info.get(_INFO) or 'something else'}; "
            f"rename or delete it: fo.delete_dataset({full_name!r})"
        )
    return dataset


def _converted(pair: Pair, title: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        mask = masks.read_mask(fo.Segmentation(mask_path=str(pair.mask)))
    except ImageError as error:
        raise DatasetError(f"ground truth can't be used: {error}") from error
    strange = set(np.unique(mask).tolist()) - set(pair.classes)
    if strange:
        raise DatasetError(f"{pair.mask} must be a mask of {title}, but has the values {sorted(strange)[:5]}; get the file anew")
    return (relabel(mask, pair.classes, VOID) + 1).astype(np.uint8)
