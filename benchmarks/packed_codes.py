"""Packed networks of one bit and less: per layer and whole, against torch and ONNX Runtime.

Per layer: convolution 3x3 without bias + BatchNorm + LIF in evaluation, spikes [4, N, C, S, S],
(C, S) = (64, 32), (128, 16), (256, 8), (512, 4). Whole: a spiking VGG-11 for 3x32x32 images
(max-pooling, T = 4), whose first and last layers stay float32. Norms are set so that spikes have
the wanted rate. Columns:

    torch            the training-time network: float32, channels last, oneDNN
    torch, folded    the same with the norm in the weights, and constant input computed once
    packed           signs and spikes as bits, counted; of a layer alone, with reading its input and
                     writing its spikes as floats, which a network does at its ends only
    packed, 4 more   a row of five layers: four layers more tell what one takes in a network
    packed, 4/9 bit  the same from a codebook: equally fast, since it is expanded when loaded
    onnx int8        ONNX Runtime, quantised statically (weights int8 per channel, inputs uint8)
    onnx float32     ONNX Runtime as it is

Results are compared first: packed must give the spikes or logits of torch but for rounding; of
ONNX Runtime the share of spikes or predictions that are the same is printed. Bytes of the files are
printed with the whole network.

    python benchmarks/packed_codes.py --batch 1 32 --threads 1 --json packed_codes.jsonl
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from interleave import Column, Row, in_turns, record, show
from torch import Tensor, nn

from spikeloom.deploy import bytes_of, infer, read_packed, to_onnx, write_packed
from spikeloom.functional import encode, factor
from spikeloom.layers import LIF, BatchNorm, Conv2d, OverTime, transform_weights
from spikeloom.layers.binary import Binary, binary
from spikeloom.layers.sub_bit import SubBit, sub_bit
from spikeloom.models import SpikingVGG

LAYERS = ((64, 32), (128, 16), (256, 8), (512, 4))
PLAN = (64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512)
STEPS = 4
MORE = 4  # packed layers in a row
TURNED = 1e-4  # share of spikes that rounding may turn
Run = Callable[[], Tensor]


def fires(rate: float, norm: BatchNorm, neurons: LIF, current: Tensor) -> None:
    """Shifts the norm's output until the neurons fire at the rate."""
    norm.train()(current)
    norm.eval()
    low, high = -4.0, 4.0
    for _ in range(12):
        nn.init.constant_(norm.bias, (low + high) / 2)
        reached = float(neurons(norm(current)).mean())
        low, high = ((low + high) / 2, high) if reached < rate else (low, (low + high) / 2)


def layer(channels: int, make: Callable[..., nn.Module], x_seq: Tensor, rate: float) -> nn.Module:
    """One coded layer."""
    conv = OverTime(Conv2d(channels, channels, 3, padding=1, bias=False))
    norm, neurons = BatchNorm(channels, momentum=1.0), LIF(decay=factor(0.5))
    net = nn.Sequential(conv, norm, neurons)
    transform_weights(net, make)
    fires(rate, norm, neurons, conv(x_seq))
    return net.eval()


def network(make: Callable[..., nn.Module | None], x_seq: Tensor, rate: float) -> nn.Module:
    """The whole network, every layer firing at the rate."""
    model = SpikingVGG(
        PLAN, (), in_shape=(3, 32, 32), num_classes=10, pool="max",
        neuron=lambda shape: LIF(decay=factor(0.5)), norm=partial(BatchNorm, momentum=1.0),
    )  # fmt: skip
    transform_weights(model, make)
    model.eval()
    found: dict[int, Tensor] = {}
    modules = list(model.modules())
    norms = [m for m in modules if isinstance(m, BatchNorm)]
    neurons = [m for m in modules if isinstance(m, LIF)]
    for norm, fire in zip(norms, neurons, strict=True):
        hook = norm.register_forward_pre_hook(lambda m, x: found.update({id(m): x[0]}))
        model(x_seq)
        hook.remove()
        fires(rate, norm, fire, found[id(norm)])
    return model


def plain(model: nn.Module) -> nn.Module:
    """The same network with its weights computed once, channels last."""
    for module in model.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")
    return model.to(memory_format=torch.channels_last)


def onnx(model: nn.Module, x_seq: Tensor, folder: Path) -> dict[str, Run]:
    """The network in ONNX Runtime, as float32 and quantised to int8; none without the package."""
    try:
        import onnxruntime
        from onnxruntime import quantization
    except ImportError:
        print("onnxruntime is not installed: its columns are left out")
        return {}
    floats, ints = folder / "float.onnx", folder / "int8.onnx"
    to_onnx(model, floats, torch.cat([x_seq, x_seq], 1) if x_seq.shape[1] == 1 else x_seq)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()

    def session(path: Path) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    name = session(floats).get_inputs()[0].name

    class Sample(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{name: x_seq.contiguous().numpy()}]

        def get_next(self) -> dict[str, object] | None:
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        floats, ints, Sample(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
    )  # fmt: skip
    print(f"onnx: float32 {floats.stat().st_size:,} bytes, int8 {ints.stat().st_size:,} bytes")

    def runs(path: Path) -> Run:
        made, given = session(path), {name: x_seq.contiguous().numpy()}
        return lambda: torch.from_numpy(made.run(None, given)[0])

    return {"onnx int8": runs(ints), "onnx float32": runs(floats)}


def compare(found: dict[str, Run], spikes: bool) -> None:
    """Every column against the first; exact ones must agree.

    ONNX Runtime adds in another order. That turns next to no spike of a layer; in the whole
    network, whose weights are random, one turned spike turns others: its share is only printed.
    """
    want = found["torch"]()
    for name, run in found.items():
        got = run().reshape(want.shape)
        if spikes:
            same = float((got == want).float().mean())
        else:
            same = float((got.mean(0).argmax(-1) == want.mean(0).argmax(-1)).float().mean())
        error = float((got - want).abs().max())
        print(f"  {name}: {'spikes' if spikes else 'predictions'} the same {same:.4%}, {error:.1e}")
        free = name == "onnx int8" or (name == "onnx float32" and not spikes)
        assert free or same >= 1 - TURNED, name


def timed(
    title: str, found: dict[str, Run], given: argparse.Namespace, setting: dict[str, object]
) -> list[Row]:
    rows = in_turns([Column(name, run) for name, run in found.items()], seconds=given.seconds)
    show(title, rows)
    record(given.json, "packed_codes", setting, rows)
    return rows


def one_layer(channels: int, size: int, batch: int, given: argparse.Namespace) -> None:
    """A layer's time in a packed network: that of one more of them in a row."""
    torch.manual_seed(0)
    x_seq = (torch.rand(STEPS, batch, channels, size, size) < given.rate).float()
    layers, spikes = [], x_seq
    for _ in range(1 + MORE):
        layers.append(layer(channels, lambda place: Binary(), spikes, given.rate))
        spikes = layers[-1](spikes)
    enter = LIF(decay=factor(0.0), v_threshold=0.5)  # spikes pass through
    one = infer(nn.Sequential(enter, layers[0]).eval(), x_seq)
    row = infer(nn.Sequential(enter, *layers).eval(), x_seq)
    net = plain(layers[0])
    wide = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    wide = wide.unflatten(0, (STEPS, batch))
    found: dict[str, Run] = {"torch": lambda: net(wide), "packed": lambda: one(x_seq)}
    with tempfile.TemporaryDirectory() as folder:
        found |= onnx(net, x_seq, Path(folder)) if given.onnx else {}
        compare(found, spikes=True)
        found[f"packed, {MORE} more"] = lambda: row(x_seq)
        setting = {"layer": [channels, size], "batch": batch, "T": STEPS, "rate": given.rate}
        title = f"conv {channels} -> {channels} at {size} x {size}, batch {batch}"
        rows = {row.name: row for row in timed(title, found, given, setting)}
    took = (rows[f"packed, {MORE} more"].wall - rows["packed"].wall) / MORE
    print(f"a packed layer: {took:.3f} ms", end="")
    for name in ("torch", "onnx int8", "onnx float32"):
        print(f", {rows[name].wall / took:.1f}x over {name}" if name in rows else "", end="")
    terms = STEPS * batch * 9 * channels**2 * size**2
    print(f"; {terms / took / 1e6:.0f} G terms a second")


def whole_network(batch: int, given: argparse.Namespace) -> None:
    torch.manual_seed(0)
    x_seq = encode.constant(torch.randn(batch, 3, 32, 32), STEPS)
    makes: dict[str, Callable[..., nn.Module | None]] = {
        "packed": binary, "packed, 4/9 bit": partial(sub_bit, bits=4)
    }  # fmt: skip
    for column, make in makes.items():
        model = network(make, x_seq, given.rate)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.packed"
            bytes_ = write_packed(infer(model, x_seq), file)
            packed, _ = read_packed(file)
            if given.plan:
                print(packed)
            sizes = bytes_of(packed.program)
            kinds = (Binary, SubBit)
            coded = sum(isinstance(module, kinds) for module in model.modules())
            print(
                f"\n{column}: file {bytes_:,} bytes; weights as float32 {sizes.float32:,}, as int8 "
                f"{sizes.int8:,}; {coded} coded layers, {sizes.coded:,} coded weights, "
                f"{sizes.floats:,} floats"
            )
            net = plain(model)
            dense = infer(net, x_seq, break_even=0.0)
            found: dict[str, Run] = {
                "torch": partial(net, x_seq), column: partial(packed, x_seq),
                "torch, folded": partial(dense, x_seq),
            }  # fmt: skip
            found |= onnx(net, x_seq, Path(folder)) if given.onnx else {}
            compare(found, spikes=False)
            setting = {
                "layer": f"whole, {column}", "batch": batch, "T": STEPS, "rate": given.rate
            }  # fmt: skip
            timed(f"whole network, batch {batch}", found, given, setting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rate", type=float, default=0.15, help="share of spikes that are set")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each table")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch has them")
    parser.add_argument("--no-onnx", dest="onnx", action="store_false")
    parser.add_argument("--only", choices=("layers", "whole"), help="else both")
    parser.add_argument("--plan", action="store_true", help="print the plans")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with torch.no_grad():
        for batch in given.batch:
            if given.only != "whole":
                for channels, size in LAYERS:
                    one_layer(channels, size, batch, given)
            if given.only != "layers":
                whole_network(batch, given)


if __name__ == "__main__":
    main()
