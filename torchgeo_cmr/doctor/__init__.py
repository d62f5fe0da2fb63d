"""Whether this installation works: versions, faults with their cures, and what the machine offers."""
