"""FiftyOne fields to arrays and back: images, masks, mask targets and colours, group slices. Nothing here runs a model."""
