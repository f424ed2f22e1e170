"""Loads the eight benchmarks from their usual folders into FiftyOne and measures models on them. Downloads nothing.

``folders`` knows where the files are and what their values mean, ``loading`` creates a FiftyOne dataset from them, ``run``
measures a model, ``numbers`` has the results from the paper, and ``provenance`` records how a number was measured.
"""
