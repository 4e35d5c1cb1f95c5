"""Adapters: each wraps one outside system or library, such as Redis or a camera. They may import base and domain."""
