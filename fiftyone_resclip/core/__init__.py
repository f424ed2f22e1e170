"""The method as pure functions on tensors, written as formulas; :mod:`fiftyone_resclip.core.kernels` has faster versions."""
