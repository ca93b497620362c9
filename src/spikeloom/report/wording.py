"""Numbers in the words of a page."""

import math
import re

NARROW = "\u202f"  # a space that no line breaks at


def number(value: float | None, digits: int = 4) -> str:
    """``digits`` significant figures; a dash for what is not known."""
    return "–" if value is None else f"{value:.{digits}g}"


def amount(value: float | None) -> str:
    """A quantity to read in a column: three figures, and no powers of ten above a thousandth."""
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 100 or not value:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 0.001 else f"{value:#.3g}"


def percent(share: float | None) -> str:
    """A share as per cent with two decimals."""
    return "–" if share is None else f"{100 * share:.2f}{NARROW}%"


def count(value: float | None) -> str:
    """A whole number, its thousands set apart."""
    return "–" if value is None else f"{value:,.0f}".replace(",", NARROW)


def duration(seconds: float | None) -> str:
    """A time in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}{NARROW}s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = (hours, "h", minutes, "min") if hours else (minutes, "min", rest, "s")
    return NARROW.join(map(str, parts))


def quantity(metric: str, value: float | None) -> str:
    """The value of a metric: accuracies in per cent, ratios in decibels, others as they are."""
    if is_decibel(metric) and value is not None:
        return f"{value:.2f}{NARROW}dB"
    return percent(value) if is_share(metric) else number(value)


def change(metric: str, value: float | None) -> str:
    """A difference of a metric with its sign; of shares in percentage points."""
    if value is None:
        return "–"
    shown = f"{100 * value:+.2f}{NARROW}pp" if is_share(metric) else f"{value:+.4g}"
    shown = f"{value:+.2f}{NARROW}dB" if is_decibel(metric) else shown
    return shown.replace("-", "−")


def is_share(metric: str) -> bool:
    """Whether a metric, by its name, is a share of one."""
    return _last(metric) == "accuracy"


def is_decibel(metric: str) -> bool:
    """Whether a metric, by its name, is in decibels."""
    return _last(metric) == "psnr"


def _last(metric: str) -> str:
    return re.split(r"[. ]", metric)[-1]
