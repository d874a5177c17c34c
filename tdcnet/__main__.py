"""``python -m tdcnet``: the command ``tdcnet`` of this Python."""

from tdcnet.cli import main

main()
