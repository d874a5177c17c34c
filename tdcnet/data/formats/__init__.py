"""Readers of published data sets, one module per layout.

Each module has

- ``CLASSES``: the names that labels index into;
- ``read(root, split, *, problems=None, cache_dir=None) -> list[Sequence]`` with ``split`` ``"train"`` or ``"val"``.

``data/README.md`` says how to get each set and how it must lie on disk.
"""
