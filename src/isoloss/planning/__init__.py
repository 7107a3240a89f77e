"""Rounds: what to run next, as a pure function of the study and what the ledger holds."""
