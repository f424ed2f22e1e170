"""Applies a model from FiftyOne's zoo to a dataset and evaluates it; run ``fiftyone-resclip install`` first."""

import sys

import fiftyone as fo
import fiftyone.zoo as foz

import fiftyone_resclip as resclip

name, model_name = sys.argv[1:]
dataset = fo.load_dataset(name)
classes = list(dataset.mask_targets["ground_truth"].values())
model = foz.load_zoo_model(model_name, classes=classes)
dataset.apply_model(model, label_field="resclip", batch_size=4)
print(resclip.evaluate(dataset, "resclip", "ground_truth"))
