"""What tests need of the system besides Python: an ssh server, several hosts.

Where that cannot be had, they are left out (`tests.left_out`).
"""
