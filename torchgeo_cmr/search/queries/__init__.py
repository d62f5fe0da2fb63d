"""Queries: rows of a table, by name, by place, by example, or blended."""
