"""Elastic Inference: video inference at the edge that scales with the cameras."""

__version__ = "0.1.0"
