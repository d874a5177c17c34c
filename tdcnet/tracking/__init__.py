"""Tracks of targets that are a few pixels wide."""
