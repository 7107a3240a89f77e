"""The run database and the run table that leaves it."""
