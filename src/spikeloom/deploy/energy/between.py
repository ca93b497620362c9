"""What a network does between its layers: additions, products of activations, and views."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikeloom.deploy.energy.ledger import Ledger, Origin
from spikeloom.deploy.energy.tally import count
from spikeloom.deploy.energy.values import Values

ADDITIONS = {"add", "__add__", "__radd__", "add_", "__iadd__", "sub", "__sub__", "__rsub__"}
FACTORS = {"mul", "__mul__", "__rmul__", "mul_", "div", "__truediv__", "true_divide"}
PRODUCTS = {"einsum", "matmul", "__matmul__", "__rmatmul__", "bmm", "mm"}
SUMS = {"sum", "mean"}
JOINS = {"cat", "concat", "concatenate"}
VIEWS = {
    "flatten", "unflatten", "reshape", "view", "view_as", "expand", "expand_as", "__getitem__",
    "transpose", "permute", "movedim", "moveaxis", "squeeze", "unsqueeze", "contiguous",
    "repeat", "select", "narrow",
}  # fmt: skip
FREE = {
    "clone", "detach", "to", "float", "double", "type_as", "requires_grad_", "__get__",
    "new_empty", "new_zeros", "new_full", "new_ones", "zeros_like", "ones_like", "empty_like",
    "as_tensor", "tensor", "zeros", "ones", "arange",
}  # fmt: skip


def note_function(
    ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: Any, out: Tensor
) -> None:
    """Note a function that the network called; what is not known is listed as uncounted."""
    name = getattr(func, "__name__", str(func))
    tensors = [a for a in args if isinstance(a, Tensor) and a.dim()]
    if name in VIEWS and tensors:
        _view(ledger, func, args, kwargs, out)
        return
    if name in FREE:
        return
    for value in args[0] if name in JOINS else tensors:
        ledger.read_by(value)
    if name in JOINS:
        touched = [ledger.touched(x) for x in args[0]]
        ledger.set_origin(out, Origin(touched=func(touched, *args[1:], **kwargs)))
    elif name in ADDITIONS and tensors:
        _sum(ledger, tensors, out)
    elif name in PRODUCTS and sum(isinstance(a, Tensor) for a in args) == 2:
        _product(ledger, func, args, kwargs, out)
    elif name in FACTORS and len(tensors) == 1:
        # one number for all goes into the weights that read the result
        ledger.set_origin(out, ledger.origin(tensors[0])._replace(map=None))
    elif name in FACTORS or name in SUMS:
        _elementwise(ledger, name, tensors, out)
    else:
        ledger.uncounted[f"{name} after {ledger.last}"] = None


def _view(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: Any, out: Tensor) -> None:
    origin = ledger.origin(args[0])
    if origin.touched is not None:
        origin = origin._replace(touched=func(origin.touched, *args[1:], **kwargs))
    ledger.set_origin(out, origin)


def _sum(ledger: Ledger, tensors: list[Tensor], out: Tensor) -> None:
    """An addition is due where the sparser side is not zero: the other is there already."""
    same = len(tensors) == 2 and tensors[0].shape == tensors[1].shape
    row = ledger.between("shortcut" if same else "bias", "sum")
    row.out_size = ledger.size(out)
    row.calls += out.numel() / row.out_size
    row.dense_adds += out.numel()
    if not same:
        row.adds += out.numel()
        return
    sparser = min(tensors, key=count)
    row.read(sparser, row.out_size)
    row.adds += count(sparser)
    touched = ledger.touched(tensors[0]) | ledger.touched(tensors[1])
    ledger.set_origin(out, Origin(touched=touched))


def _product(ledger: Ledger, func: Any, args: tuple[Any, ...], kwargs: Any, out: Tensor) -> None:
    """Activations with activations: a pair counts where both are not zero."""
    row = ledger.between("product", "product")

    def pairs(of: Callable[[Tensor], Tensor]) -> float:
        given = [of(a) if isinstance(a, Tensor) else a for a in args]
        return float(func(*given, **kwargs).double().sum())

    row.pairs += pairs(lambda x: (x != 0).float())
    row.dense += pairs(lambda x: torch.ones_like(x, dtype=torch.float32))
    left, right = (a for a in args if isinstance(a, Tensor))
    row.others = row.others or Values()
    row.others.see(right)
    row.read(left, ledger.size(left))
    row.in_size += ledger.size(right)
    row.events += count(right)
    row.write(out, ledger.size(out))
    row.calls += out.numel() / row.out_size


def _elementwise(ledger: Ledger, name: str, tensors: list[Tensor], out: Tensor) -> None:
    """Sums over axes, and products of values in the same place."""
    row = ledger.between(name, "sum" if name in SUMS else "product")
    row.out_size = ledger.size(out)
    row.calls += out.numel() / row.out_size
    if name in SUMS and tensors:
        row.read(tensors[0], ledger.size(tensors[0]))
        row.adds += count(tensors[0])
        row.dense_adds += tensors[0].numel()
    else:
        row.multiplies += count(out)


__all__ = ["note_function"]
