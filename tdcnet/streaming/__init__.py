"""Cameras and files as frames with time, and what a detector makes of them while they come."""
