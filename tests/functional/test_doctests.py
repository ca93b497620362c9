"""The examples in the docstrings run, with the public names at hand."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from spikeloom import functional

MODULES = [
    module.name for module in pkgutil.walk_packages(functional.__path__, "spikeloom.functional.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    public = {public: getattr(functional, public) for public in functional.__all__}
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch, **public})
    assert result.failed == 0


@pytest.mark.parametrize("stem", ["encode", "neurons.lif", "neurons.alif", "neurons.cuba"])
def test_examples_are_found(stem):
    module = importlib.import_module(f"spikeloom.functional.{stem}")
    assert any(test.examples for test in doctest.DocTestFinder().find(module))
