"""The verbs of the command line as Python calls, by what they read; `isoloss.api` gathers them."""
