"""The catalogue lists what a recipe can name, and what of it comes from a paper."""

import pytest

from spikeloom.registry import UnknownNameError, entries
from spikeloom.run.catalogue import arguments, catalogue, methods, shelves, uses
from spikeloom.run.config import load, recipes


def test_every_registered_name_is_on_a_shelf() -> None:
    for shelf in shelves()[3:]:
        kind = shelf.removesuffix("es" if shelf.endswith("sses") else "s")
        assert [row["name"] for row in catalogue(shelf)] == [e.name for e in entries(kind)]
        assert all(row["summary"] and "``" not in row["summary"] for row in catalogue(shelf))
    assert len(catalogue("recipes")) == len(recipes())


def test_arguments_are_those_that_a_recipe_may_set() -> None:
    assert arguments("neuron", "lif")["v_threshold"] == 1.0
    assert arguments("schedule", "steps") == {"at": "...", "gamma": 0.1, "warmup": 0.0}
    assert arguments("encoder", "constant") == {}
    for kind, name in (("neuron", "lif"), ("norm", "bn"), ("model", "spiking_vgg5")):
        assert not {"shape", "channels", "in_shape", "neuron"} & arguments(kind, name).keys()


def test_uses_finds_nested_parts_by_kind() -> None:
    overrides = ["model.neuron.surrogate={name='triangle'}", "data.augment=['flip']"]
    found = uses(load("digits_vgg", overrides))
    assert {("surrogate", "triangle"), ("augment", "flip"), ("dataset", "digits")} <= found
    # The same name of another kind does not count.
    assert ("encoder", "constant") in found
    assert ("schedule", "constant") not in found


def test_methods_name_the_recipes_that_use_them() -> None:
    rows = {(row["kind"], row["name"]): row for row in methods()}
    for name in recipes():
        for part in uses(load(name)) & rows.keys():
            assert name.partition("/")[2] in rows[part]["recipes"]


def test_unknown_shelf_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'losses'"):
        catalogue("loses")
