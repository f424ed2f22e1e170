"""Compares masks with ground truth: class matching, pixel counts, metrics, stored runs and error masks. Needs no torch."""
