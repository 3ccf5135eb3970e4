"""Measures the venue and its servers on this machine: `python -m benchmarks --help`. What each figure means: docs/benchmarks.md."""
