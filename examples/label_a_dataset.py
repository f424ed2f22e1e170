"""Labels a folder of images with classes from the command line."""

import sys

import fiftyone as fo

import fiftyone_resclip as resclip

folder, model_name, *classes = sys.argv[1:]
dataset = fo.Dataset.from_images_dir(folder)
model = resclip.load_model(model_name, classes=classes)
print(resclip.label(dataset, model, "resclip"))
