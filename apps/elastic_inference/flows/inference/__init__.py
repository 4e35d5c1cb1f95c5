"""Inference: pop frames, run the model, publish results; the model families are in `adapters`."""
