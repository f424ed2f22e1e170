"""What ``make bench`` measures: the method's speed and memory, each tuned form, labelling end to end, start-up.

Every time is a ratio of two things timed side by side in one run, the median of several rounds, so that a busy machine slows
both. Nothing here is needed to use the package.
"""
