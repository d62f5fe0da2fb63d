"""Transforms: what is done to a sample before an encoder sees it."""

from .logmel import LogMel

__all__ = ('LogMel',)
