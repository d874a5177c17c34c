"""Where the configs are."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """Where the configs are: beside the package in a checkout, in it where a wheel was installed.

    Raises:
        FileNotFoundError: if a part of the installation is missing.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"tdcnet's configs are neither in {package} nor beside it; install it again")
