"""Spoken labels, and images with the spoken names of what they show."""
