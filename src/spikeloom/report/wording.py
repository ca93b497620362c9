"""Numbers in the words of a page."""

import math


def number(value: float | None, digits: int = 4) -> str:
    """``digits`` significant figures; a dash for what is not known."""
    return "–" if value is None else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """A share as per cent with two decimals."""
    return "–" if share is None else f"{100 * share:.2f} %"


def count(value: float | None) -> str:
    """A whole number, its thousands set apart."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """A time in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def quantity(metric: str, value: float | None) -> str:
    """The value of a metric: accuracies and rates in per cent, others as they are."""
    return percent(value) if is_share(metric) else number(value)


def change(metric: str, value: float | None) -> str:
    """A difference of a metric with its sign; of shares in percentage points."""
    if value is None:
        return "–"
    shown = f"{100 * value:+.2f} pp" if is_share(metric) else f"{value:+.4g}"
    return shown.replace("-", "−")


def is_share(metric: str) -> bool:
    """Whether a metric, by its name, is a share of one."""
    return metric.rpartition(".")[2] == "accuracy"
