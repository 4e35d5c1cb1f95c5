"""Benchmarks: `python -m tests.bench -h`. Figures are ratios within one run; no absolute time decides pass or fail."""
