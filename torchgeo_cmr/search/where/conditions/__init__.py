"""Conditions on columns: text to a tree, and the tree to matching rows."""
