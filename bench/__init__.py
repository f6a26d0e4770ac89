"""Benchmarks: one workload per file, one adapter per peer, measured by taking turns."""
