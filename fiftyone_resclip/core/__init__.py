"""The method as pure functions on tensors: no device choice, no files, no FiftyOne."""
