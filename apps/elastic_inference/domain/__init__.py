"""The domain: names, frames, results and errors. Pure Python; it imports no other floor and no I/O library."""
