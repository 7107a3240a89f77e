"""Where algorithmic progress came from: the published accounting, re-indexed, with intervals, and open to what-ifs."""
