"""The page that shows a stream in a browser."""
