"""Converts FiftyOne fields to arrays and back: images, masks, mask targets and colours, group slices. Runs no model."""
