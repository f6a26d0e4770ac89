"""Adapters: what each system needs to run a workload, and no more."""
