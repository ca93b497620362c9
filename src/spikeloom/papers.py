"""The card of a paper: what a method is cited by."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Paper:
    """Where a method was published.

    ``key`` and ``form`` are those of the BibTeX entry; ``url`` is the page of record; ``code`` the
    authors' code, if public.
    """

    key: str
    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    url: str = ""
    code: str = ""
    form: Literal["inproceedings", "article", "misc"] = "inproceedings"

    def bibtex(self) -> str:
        """The paper as one BibTeX entry."""
        fields = {
            "title": "{" + self.title + "}",
            "author": " and ".join(self.authors),
            {"article": "journal", "misc": "howpublished"}.get(self.form, "booktitle"): self.venue,
            "year": str(self.year),
            "url": self.url,
        }
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
        return f"@{self.form}{{{self.key},\n{body}\n}}"
