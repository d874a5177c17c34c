"""Pages of the reports: Jinja templates beside this file, on which nothing that comes from data is markup."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from tdcnet.shown import printable


def render(template: str, **values: object) -> bytes:
    """A page of a template's name and what it shows."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown
    )
    return environment.get_template(template).render(**values).encode()


def _source(name: str) -> str:
    return resources.files("tdcnet.report").joinpath(name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Text on the page; what the page makes itself has been through here."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
