"""The examples in the docstrings run, with the public names at hand."""

import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import nn

from spikeloom import layers

MODULES = [module.name for module in pkgutil.walk_packages(layers.__path__, "spikeloom.layers.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    public = {public: getattr(layers, public) for public in layers.__all__}
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch, "nn": nn, **public})
    assert result.failed == 0
