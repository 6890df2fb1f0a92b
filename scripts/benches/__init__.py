"""Benchmarks: each module has a `run(say) -> list[Figure]`."""
