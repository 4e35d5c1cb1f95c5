"""Inference: pops frames, runs the model and publishes results. The model families are in `adapters`."""
