"""Ranking: vectors in, row numbers and scores out; nothing here knows geometry."""
