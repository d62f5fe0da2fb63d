"""Other published methods under the same task base, to compare with; one file each."""
