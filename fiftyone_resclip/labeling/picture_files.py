"""Writes masks and overlays to a folder, named like the images, for people and programs that don't use FiftyOne."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_resclip.drawing.pictures import VOID, overlay, with_legend
from fiftyone_resclip.errors import ImageError, StorageError
from fiftyone_resclip.fields import masks
from fiftyone_resclip.fields.colour_scheme import class_colours
from fiftyone_resclip.fields.images import read_image
from fiftyone_resclip.fields.mask_files import storing
from fiftyone_resclip.fields.private import dataset_of

#: The file that says which mask value is which class.
LEGEND = "resclip-classes.json"
_LONGEST_PX = 1600


def write_pictures(samples: Any, label_field: str, folder: Path) -> int:
    """Writes ``masks/<image>.png``, ``overlays/<image>.jpg`` and :data:`LEGEND`.

    Args:
        samples: a FiftyOne dataset or view of images
        label_field: field of masks; images without one are left out
        folder: output folder, created if it is missing; files of an earlier call are replaced

    Returns:
        the number of images

    Raises:
        StorageError: if the folder can't be written, or has masks of other classes
    """
    targets = {int(value): name for value, name in dataset_of(samples).mask_targets[label_field].items()}
    refuse_other_classes(folder, targets)
    named = class_colours(dataset_of(samples), [*targets.values()], label_field)
    colours = [named[targets[value]] if value in targets else VOID for value in range(1, max(targets) + 1)]
    labelled = samples.exists(label_field).select_fields(label_field)
    names = _names(labelled.values("filepath"))
    written = []
    with storing(folder, "pictures"):
        for sample in labelled.iter_samples():
            name = names[sample.filepath]
            mask, picture = folder / "masks" / f"{name}.png", folder / "overlays" / f"{name}.jpg"
            values = masks.read_mask(sample[label_field])
            masks.write_mask(values, mask)
            _write_overlay(sample.filepath, values, colours, targets, picture)
            files = {"mask": str(mask.relative_to(folder)), "overlay": str(picture.relative_to(folder))}
            written.append({"image": sample.filepath, **files, "shares": _shares(values, targets)})
        write_legend(folder, {value: (name, colours[value - 1]) for value, name in targets.items()}, written)
    return len(written)


def write_legend(folder: Path, classes: Mapping[int, tuple[str, str]], images: Sequence[Mapping[str, Any]] = ()) -> None:
    """Writes which mask value is which class.

    Args:
        folder: the folder of the masks
        classes: name and hex colour by mask value
        images (()): what is to be said about each image
    """
    named = {str(value): {"name": name, "colour": colour} for value, (name, colour) in classes.items()}
    content = {"unlabelled": 0, "classes": named, "images": list(images)}
    (folder / LEGEND).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_legend(folder: Path) -> dict[int, str] | None:
    """Returns the class name by mask value that :func:`write_legend` wrote; ``None`` if it did not."""
    try:
        classes = json.loads((folder / LEGEND).read_text(encoding="utf-8"))["classes"]
        return {int(value): entry["name"] for value, entry in classes.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def refuse_other_classes(folder: Path, targets: Mapping[int, str]) -> None:
    """Refuses a folder with masks whose values stand for other classes: they would be mixed.

    Args:
        folder: as for :func:`write_pictures`
        targets: class name by mask value

    Raises:
        StorageError: if it has such masks
    """
    found = read_legend(folder)
    if found is not None and found != dict(targets):
        raise StorageError(
            f"{str(folder)!r} has masks of other classes ({', '.join(map(str, found.values()))}), and the two would be mixed; "
            "choose another folder (--out) and, for other classes, another field (--field), or delete that folder"
        )


def common_folder(paths: list[str]) -> str:
    """Returns the innermost folder that has all files in it; ``paths`` must not be empty."""
    return os.path.commonpath([str(Path(path).parent) for path in paths])


def below_common_folder(paths: list[str]) -> dict[str, Path]:
    """Returns the path of each file below the innermost folder that has all files in it."""
    root = common_folder(paths) if paths else ""
    return {path: Path(path).relative_to(root) for path in paths}


def _names(paths: list[str]) -> dict[str, str]:
    """Names each file by its path below the folder that all have in common, without its ending where that is clear."""
    short = below_common_folder(paths)
    count = Counter(str(name.with_suffix("")).lower() for name in short.values())
    return {
        path: str(name.with_suffix("") if count[str(name.with_suffix("")).lower()] == 1 else name) for path, name in short.items()
    }


def _write_overlay(image: str, mask: NDArray[np.integer], colours: list[str], targets: Mapping[int, str], path: Path) -> None:
    try:
        picture = read_image(image)
    except ImageError:  # it was there when it was labelled; its mask is written all the same
        return
    picture.thumbnail((_LONGEST_PX, _LONGEST_PX))
    small = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
    path.parent.mkdir(parents=True, exist_ok=True)
    legend = [(targets[value], colours[value - 1]) for value in np.unique(mask).tolist() if value in targets]
    with_legend(overlay(picture, np.asarray(small), colours), legend).save(path, quality=88)


def _shares(mask: NDArray[np.integer], targets: dict[int, str]) -> dict[str, float]:
    values, pixels = np.unique(mask, return_counts=True)
    found = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    return {name: round(found[value] / mask.size, 4) for value, name in targets.items() if value in found}
