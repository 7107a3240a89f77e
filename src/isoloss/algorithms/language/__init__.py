"""Language models: what a byte-level laboratory compares."""
