"""The version, of both distributions: read by their setup.cfg without importing anything else."""

__version__ = "0.2.0"
