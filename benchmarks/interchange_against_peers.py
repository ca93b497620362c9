"""One network, written as NIR by each library, read and run by each of them.

    python benchmarks/interchange_against_peers.py --peers PYTHON --out FOLDER

``--peers``, which may be given more than once, is an interpreter that has nir, nirtorch and some of
spikingjelly, snntorch, norse and sinabs; what none of them has is named in the table. The network
is 4 -> 3, affine and one layer of LIF; what is compared are the spikes of 50 steps. Nothing is
timed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

PEERS = ("spikingjelly", "norse", "snntorch", "sinabs")
T, IN, OUT = 50, 4, 3


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """x_seq [T, 1, 4], weight [3, 4], bias [3]."""
    torch.manual_seed(0)
    return torch.rand(T, 1, IN), torch.rand(OUT, IN), 0.1 * torch.rand(OUT)


def linear() -> nn.Linear:
    _, weight, bias = inputs()
    layer = nn.Linear(IN, OUT)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def write_spikingjelly(path: Path) -> Tensor:
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    x_seq, _, _ = inputs()
    own = layer.Linear(IN, OUT)
    own.load_state_dict(linear().state_dict())
    net = nn.Sequential(own, neuron.LIFNode(tau=2.0))
    functional.set_step_mode(net, "m")
    spikes = net(x_seq)
    functional.reset_net(net)
    export_to_nir(net, x_seq, save_path=path)
    return spikes


def read_spikingjelly(path: Path) -> Tensor:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    net, state, out = import_from_nir(path), None, []
    for x in inputs()[0]:
        y, state = net(x, state)
        out.append(y)
    return torch.stack(out)


def write_norse(path: Path) -> Tensor:
    import nir
    import norse.torch as norse

    p = norse.LIFBoxParameters(
        tau_mem_inv=torch.full((OUT,), 500.0), v_leak=torch.zeros(OUT), v_th=torch.ones(OUT)
    )
    net = norse.SequentialState(linear(), norse.LIFBoxCell(p))
    state, out = None, []
    for x in inputs()[0]:
        y, state = net(x, state)
        out.append(y)
    graph = norse.to_nir(net, inputs()[0][0, 0])
    nir.write(str(path), _arrays(graph))
    return torch.stack(out)


def read_norse(path: Path) -> Tensor:
    import nir
    import norse.torch as norse

    net, state, out = norse.from_nir(nir.read(str(path)), ignore_warnings=True), None, []
    for x in inputs()[0]:
        y, state = net(x, state)
        out.append(y)
    return torch.stack(out)


def write_snntorch(path: Path) -> Tensor:
    import nir
    import snntorch
    from snntorch.export_nir import export_to_nir

    neuron = snntorch.Leaky(
        torch.full((OUT,), 0.5), torch.ones(OUT), reset_mechanism="zero", init_hidden=True,
        reset_delay=False,
    )  # fmt: skip
    net = nn.Sequential(linear(), neuron)
    spikes = torch.stack([net(x) for x in inputs()[0]])
    nir.write(str(path), _arrays(export_to_nir(net, inputs()[0][0, 0])))
    return spikes


def read_snntorch(path: Path) -> Tensor:
    import nir
    from snntorch.import_nir import import_from_nir

    net, state, out = import_from_nir(nir.read(str(path))), None, []
    for x in inputs()[0]:
        y, state = net(x, state)
        out.append(y[0] if isinstance(y, tuple) else y)
    return torch.stack(out)


def write_sinabs(path: Path) -> Tensor:
    import nir
    import sinabs.layers as sl
    from sinabs.nir import to_nir

    neuron = sl.LIFSqueeze(
        tau_mem=torch.full((OUT,), 1.5),
        spike_threshold=torch.ones(OUT),
        norm_input=False,
        batch_size=1,
    )
    net = nn.Sequential(linear(), neuron)
    spikes = net(inputs()[0].flatten(0, 1)).reshape(T, 1, OUT)
    neuron.reset_states()
    graph = to_nir(net, inputs()[0].flatten(0, 1))
    nir.write(str(path), _arrays(graph))
    return spikes


def read_sinabs(path: Path) -> Tensor:
    import nir
    from sinabs.nir import from_nir

    net = from_nir(nir.read(str(path)), batch_size=1)
    y = net(inputs()[0].flatten(0, 1))
    return (y[0] if isinstance(y, tuple) else y).reshape(T, 1, OUT)


def _arrays(graph):
    """Tensors as arrays: some exporters leave them in the nodes."""
    for node in graph.nodes.values():
        for key, value in vars(node).items():
            if isinstance(value, Tensor):
                setattr(node, key, value.detach().numpy())
    return graph


def spikeloom_net() -> nn.Module:
    from spikeloom.layers import LIF, Linear, OverTime

    own = Linear(IN, OUT)
    own.load_state_dict(linear().state_dict())
    return nn.Sequential(OverTime(own), LIF(tau=2.0))


def write_spikeloom(path: Path, dt: float = 1e-4) -> Tensor:
    from spikeloom.deploy import to_nir

    net = spikeloom_net()
    to_nir(net, path, inputs()[0], dt=dt)
    return net(inputs()[0])


def jobs(verb: str, folder: Path) -> None:
    """What the peers' interpreter does: every peer writes its file, or reads all files."""
    log = folder / f"{verb}.json"
    errors = json.loads(log.read_text(encoding="utf-8")) if log.exists() else {}
    for peer in PEERS:
        work: Callable[[Path], Tensor] = globals()[f"{verb}_{peer}"]
        files = [folder / f"{peer}.nir"] if verb == "write" else sorted(folder.glob("*.nir"))
        for path in files:
            name = f"{verb}_{peer}_{path.stem}"
            try:
                np.save(folder / f"{name}.npy", work(path).detach().numpy())
            except ModuleNotFoundError as error:
                errors.setdefault(name, str(error))
            except Exception as error:  # whatever a library raises goes into the table
                line = str(error).strip().partition("\n")[0]
                errors[name] = f"{type(error).__name__} {line}"[:90]
    log.write_text(json.dumps(errors), encoding="utf-8")


def spikes_of(name: str, folder: Path) -> Tensor | str:
    """What a peer's job gave, or its error."""
    path = folder / f"{name}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    errors = json.loads((folder / f"{name.partition('_')[0]}.json").read_text(encoding="utf-8"))
    return str(errors.get(name, "no file"))


def shared(one: Tensor | str, other: Tensor | str) -> str:
    """Share of equal spikes, or the reason why there is none."""
    for each in (one, other):
        if isinstance(each, str):
            return f"error: {each}"
    return f"{float((one.reshape(-1) == other.reshape(-1)).double().mean()):.1%}"


def loomed(path: Path, convention: str | None, dt: float | None = None) -> Tensor | str:
    """Spikeloom reading a file."""
    from spikeloom.deploy import from_nir

    try:
        return from_nir(path, convention=convention, dt=dt)(inputs()[0]).detach()
    except ValueError as error:
        return str(error).partition("\n")[0][:90]


def matrix(pythons: list[str], folder: Path) -> list[list[str]]:
    """A row for every file and reader."""
    for python in pythons:
        subprocess.run([python, __file__, "--job", "write", "--file", str(folder)], check=True)
    own = {peer: spikes_of(f"write_{peer}_{peer}", folder) for peer in PEERS}
    for name, dt in (("spikeloom", 1e-4), ("spikeloom_1ms", 1e-3)):
        own[name] = write_spikeloom(folder / f"{name}.nir", dt).detach()
        (folder / f"{name}.data.nir").unlink()
    for python in pythons:
        subprocess.run([python, __file__, "--job", "read", "--file", str(folder)], check=True)
    rows = []
    for writer, spikes in own.items():
        path = folder / f"{writer}.nir"
        count = spikes if isinstance(spikes, str) else f"{int(spikes.sum())}"
        if not path.exists():
            rows.append([writer, count, "", "", ""])
            continue
        rows.append([writer, count, "spikeloom", shared(loomed(path, None), spikes), ""])
        if writer in PEERS:
            rows.append([writer, count, "spikeloom, convention named after the writer",
                         shared(loomed(path, writer), spikes), ""])  # fmt: skip
        if writer == "norse":  # it writes dt times the tau that it reads
            mended = loomed(path, writer, dt=1e-6)
            rows.append([writer, count, "spikeloom, convention norse and dt = 1e-6",
                         shared(mended, spikes), ""])  # fmt: skip
        for reader in PEERS:
            theirs = spikes_of(f"read_{reader}_{path.stem}", folder)
            under = loomed(path, reader)
            rows.append([writer, count, reader, shared(theirs, spikes), shared(under, theirs)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", action="append", help="interpreter that has the peers")
    parser.add_argument("--out", type=Path, help="folder for table.md and table.json")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        jobs(args.job, args.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = matrix(args.peers or [sys.executable], Path(folder))
        rows = [[cell.replace(f"{folder}/", "") for cell in row] for row in rows]
    head = [
        "written by", "its spikes", "read by", "as the writer",
        "Spikeloom, convention named after the reader: as the reader",
    ]  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    print("\n".join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        table = [dict(zip(head, row, strict=True)) for row in rows]
        (args.out / "table.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
