"""A convolutional and a recurrent network, written as NIR for each library and run by it.

    python benchmarks/interchange_networks.py --peers PYTHON --out FOLDER

``--peers`` is an interpreter that has nir, nirtorch and some of spikingjelly, snntorch, norse and
sinabs. Each file is written with what suits its reader (dt, rule, reset, firing above), so that a
difference is one of the graph, not of the neurons. What the reader puts out is compared with the
network. snnTorch also writes its own recurrent layer, which Spikeloom reads. Nothing is timed.
"""

import argparse
import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PEERS = ("spikingjelly", "norse", "snntorch", "sinabs")
T, IMAGE, UNITS = 12, (2, 8, 8), 6


def inputs(kind: str) -> Tensor:
    """x_seq [T, 1, *] of a network."""
    torch.manual_seed(1)
    return torch.rand(T, 1, *(IMAGE if kind == "convolutional" else (UNITS,)))


def network(kind: str, reader: str) -> tuple[nn.Module, dict[str, Any]]:
    """A network with neurons that the reader has, and how to write it for that reader."""
    from spikeloom.deploy import Graph
    from spikeloom.functional import exponential
    from spikeloom.layers import LIF, BatchNorm, Linear, OverTime
    from spikeloom.models import SpikingVGG

    torch.manual_seed(0)
    how = {"dt": 1e-3 if reader == "norse" else 1e-4}
    options: dict[str, Any] = {"v_threshold": 0.3, "strict": reader != "spikingjelly"}
    options |= {"decay_input": reader != "snntorch", "tau": 2.0}
    if reader == "sinabs":
        how = {"dt": 1.0, "rule": "exponential"}
        # high, as neurons there may fire several times in a step
        options = {
            "decay": exponential(2.0),
            "v_threshold": 1.0 if kind == "convolutional" else 0.6,
            "reset": "soft",
        }
    if kind == "recurrent":
        layers = {"in": OverTime(Linear(UNITS, UNITS)), "fire": LIF(**options),
                  "back": OverTime(Linear(UNITS, UNITS))}  # fmt: skip
        edges = [("input", "in"), ("in", "fire"), ("fire", "back"), ("back", "fire")]
        return Graph(layers, [*edges, ("fire", "output")], in_shape=(UNITS,)), how
    net = SpikingVGG(
        (4, "P", 8), (10,), in_shape=IMAGE, num_classes=5, pool="average", norm=BatchNorm,
        neuron=lambda shape: LIF(**options),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(5):
            net(3 * torch.rand(4, 3, *IMAGE))
    return net.eval(), how


def read_spikingjelly(path: Path, x_seq: Tensor) -> Tensor:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return stepped(import_from_nir(path), x_seq)


def read_norse(path: Path, x_seq: Tensor) -> Tensor:
    import nir
    import norse.torch as norse

    return stepped(norse.from_nir(nir.read(str(path)), ignore_warnings=True), x_seq)


def read_snntorch(path: Path, x_seq: Tensor) -> Tensor:
    import nir
    from snntorch.import_nir import import_from_nir

    return stepped(import_from_nir(nir.read(str(path))), x_seq)


def read_sinabs(path: Path, x_seq: Tensor) -> Tensor:
    import nir
    from sinabs.nir import from_nir

    # of a whole sequence at once, an edge that leads back would bring nothing
    return stepped(from_nir(nir.read(str(path)), batch_size=1), x_seq)


def stepped(net: Any, x_seq: Tensor) -> Tensor:
    """What a network with an explicit state puts out, a step at a time."""
    state, out = None, []
    for x in x_seq:
        y, state = net(x, state)
        out.append(y[0] if isinstance(y, tuple) else y)
    return torch.stack(out)


def write_snntorch(path: Path, x_seq: Tensor) -> Tensor:
    """Its own recurrent layer."""
    import nir
    import snntorch
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    neuron = snntorch.RLeaky(
        torch.full((UNITS,), 0.5), linear_features=UNITS, threshold=torch.full((UNITS,), 0.3),
        reset_mechanism="zero", init_hidden=True, reset_delay=False,
    )  # fmt: skip
    net = nn.Sequential(nn.Linear(UNITS, UNITS), neuron)
    y_seq = torch.stack([net(x) for x in x_seq])
    graph = export_to_nir(net, x_seq[0, 0])
    for each in graph.nodes.values():
        for node in getattr(each, "nodes", {"": each}).values():
            for key, value in vars(node).items():
                if isinstance(value, Tensor):
                    setattr(node, key, value.detach().numpy())
    nir.write(str(path), graph)
    return y_seq


def jobs(folder: Path) -> None:
    """What the peers' interpreter does; whatever a library raises goes into the table."""
    errors = {}
    works = [(f"{kind}_{peer}", globals()[f"read_{peer}"], kind)
             for kind in ("convolutional", "recurrent") for peer in PEERS]  # fmt: skip
    for name, work, kind in [*works, ("own_snntorch", write_snntorch, "recurrent")]:
        try:
            found = work(folder / f"{name}.nir", inputs(kind))
            np.save(folder / f"{name}.npy", found.detach().numpy())
        except Exception as error:  # whatever a library raises goes into the table
            errors[name] = f"{type(error).__name__} {str(error).strip().partition(chr(10))[0]}"[:90]
    (folder / "errors.json").write_text(json.dumps(errors), encoding="utf-8")


def said(name: str, folder: Path, own: Tensor) -> str:
    """Share of equal values, or the error."""
    path = folder / f"{name}.npy"
    if not path.exists():
        return "error: " + json.loads((folder / "errors.json").read_text(encoding="utf-8"))[name]
    theirs = torch.from_numpy(np.load(path))
    if theirs.numel() != own.numel():
        return f"puts out {tuple(theirs.shape)}, not {tuple(own.shape)}"
    return f"{float(torch.isclose(theirs.reshape(own.shape), own, atol=1e-5).double().mean()):.1%}"


def table(python: str, folder: Path) -> list[str]:
    """Write all files, let the peers read them, compare."""
    from spikeloom.deploy import from_nir, to_nir

    nets = {}
    for kind in ("convolutional", "recurrent"):
        for peer in PEERS:
            net, how = network(kind, peer)
            to_nir(net, folder / f"{kind}_{peer}.nir", inputs(kind), **how)
            nets[kind, peer] = net
    subprocess.run([python, __file__, "--job", str(folder)], check=True)
    lines = ["| network | written by | read by | equal values |", "| --- | --- | --- | --- |"]
    for (kind, peer), net in nets.items():
        with torch.no_grad():
            own, named = net(inputs(kind)), folder / f"{kind}_{peer}.nir"
            lines.append(f"| {kind} | spikeloom | {peer} | {said(f'{kind}_{peer}', folder, own)} |")
            done = folder / f"{kind}_{peer}.npy"
            if done.exists():
                theirs = torch.from_numpy(np.load(done))
                read = partial(from_nir, named, convention=peer)
                under = said_or(read, inputs(kind), theirs)
                lines.append(f"| {kind} | spikeloom | spikeloom, as {peer}: as {peer} | {under} |")
    path = folder / "own_snntorch.npy"
    if path.exists():
        theirs = torch.from_numpy(np.load(path))
        read = partial(from_nir, folder / "own_snntorch.nir", convention="snntorch")
        found = said_or(read, inputs("recurrent"), theirs)
    else:
        found = said("own_snntorch", folder, torch.zeros(0))
    lines.append(f"| recurrent | snntorch (RLeaky) | spikeloom, as snntorch | {found} |")
    return lines


def said_or(read: Any, x_seq: Tensor, own: Tensor) -> str:
    """Share of equal values of a network as read, or why it was refused."""
    try:
        found = read()(x_seq)
        if found.numel() != own.numel():
            return f"puts out {tuple(found.shape)}, the reader {tuple(own.shape)}"
        found = found.reshape(own.shape)
    except ValueError as error:
        return f"refused: {error}".partition("\n")[0][:90]
    return f"{float(torch.isclose(found, own, atol=1e-5).double().mean()):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="interpreter that has the peers")
    parser.add_argument("--out", type=Path, help="folder for networks.md")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        jobs(args.job)
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = [line.replace(f"{folder}/", "") for line in table(args.peers, Path(folder))]
    print("\n".join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "networks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
