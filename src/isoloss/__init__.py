"""isoloss measures algorithmic progress: how many times less of a resource a new learning algorithm needs."""

__version__ = "0.1.0"
