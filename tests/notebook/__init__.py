"""Notebooks, run as users run them: in a real kernel, and in JupyterLab in a real browser."""
