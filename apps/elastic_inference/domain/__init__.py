"""The domain: names, frames, results, API documents and errors. It does no I/O and imports no other layer."""
