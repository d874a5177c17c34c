"""From a source to detections in its own pixels and time."""
