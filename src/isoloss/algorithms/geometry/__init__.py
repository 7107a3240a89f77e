"""Networks that know the symmetries of their input, and those that do not."""
