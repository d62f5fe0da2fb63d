"""Pairs of a data module to rows, one for each sensor or fused."""
