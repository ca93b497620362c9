"""The page that says what works together says what is found."""

from tests.compose.composition import BASE, COMMAND, PAGE, cases, names, page, walk


def test_every_pair_of_parts_trains_or_says_why_not_as_the_page_has_it() -> None:
    found = walk()
    assert all(len(reason) > 20 for reason in found.values() if reason), "a reason, not a word"
    assert PAGE.read_text(encoding="utf-8") == page(found), f"out of date: run {COMMAND}"


def test_pairs_hold_every_part_of_every_kind() -> None:
    seen = {part for case in cases() for part in case}
    assert seen == {(kind, name) for kind in BASE for name in names(kind)}
    assert {"dspike", "esg", "im_loss"} <= set(names("callback"))
    assert "tebn" in names("norm")
    assert "eicil" in names("learner")
