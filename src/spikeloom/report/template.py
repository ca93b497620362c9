"""Fills the page templates."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spikeloom.report import palette, wording


@dataclass(frozen=True)
class Shown:
    """A figure and its caption."""

    svg: Markup
    caption: str


HERE = Path(__file__).parent


def render(template: str, **values: object) -> str:
    """The template with its values; text is escaped, :class:`Markup` is not.

    Raises:
        jinja2.UndefinedError: a value that the template asks for is missing.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "amount": wording.amount,
        "percent": wording.percent,
        "count": wording.count,
        "duration": wording.duration,
    }
    style = palette.stylesheet() + "\n" + (HERE / "page.css").read_text("utf-8")
    return environment.get_template(template).render(style=Markup(style), **values)
