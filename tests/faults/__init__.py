"""Faults, each really done: processes killed, disks filled, clocks set back, versions mixed. `make test-faults`."""
