"""The eight benchmarks from their usual folders into FiftyOne; nothing is downloaded.

``folders`` knows where files lie and what their values mean, ``loading`` makes a FiftyOne dataset of them, and ``published`` has
the numbers of the paper.
"""
