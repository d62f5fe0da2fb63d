"""Published benchmarks whose pairs are cut into files."""
