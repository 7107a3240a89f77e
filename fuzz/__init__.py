"""Fuzzing of everything that reads what a stranger wrote: ``python -m fuzz --inputs 1000000``."""
