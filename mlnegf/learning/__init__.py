"""Losses, networks, the training loop and weights files; knows no physics but the constants a loss may need.

Names: `losses.LOSSES`, `losses.Loss`, `networks.NETWORKS`, `networks.Network`, `training.train`, `weights.read_tensors`
and `write_tensors`. A new loss is a class in `losses`, a new network a file in `networks`.
Imports `units` and `_common` alone.
"""
