"""Masks against ground truth: matching classes, counting pixels, metrics, runs that are kept, error masks. Needs no torch."""
