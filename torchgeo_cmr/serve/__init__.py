"""A server of tools: archives that a language model may describe and search, and nothing else."""
