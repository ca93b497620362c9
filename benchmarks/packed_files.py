"""Packed files of trained runs: their size, and whether they predict what the runs do.

Each run is exported as a packed file, which is read back and tested on the whole test set, image by
image against the network as it was trained. ``spikes`` are those of one test image, of the hidden
layers, over all steps (means over the images that rates are measured on); ``operations`` what the
network does for it, by the counts of ``spikeloom eval --energy``.

    python benchmarks/packed_files.py RUN RUN ... > packed_files.md
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from spikeloom.run.energy import account
from spikeloom.run.export import export
from spikeloom.run.packed import score_packed
from spikeloom.run.record import stored_config


def row(run: Path, folder: Path, samples: int) -> list[str]:
    """The cells of a run."""
    file = folder / "net.packed"
    packed = export(run, packed=file)["packed"]
    scored = score_packed(file, against=run)
    found: dict[str, Any] = account(run, samples=samples)
    done = next(n for n in found["networks"] if n["network"] == "spiking")
    operations = done["macs"] + done["acs"]
    config = stored_config(run).run
    return [
        config.arm, str(config.seed), f"{packed['bytes']:,}", f"{packed['int8']:,}",
        f"{packed['float32']:,}", f"{packed['float32'] / packed['bytes']:.1f}",
        f"{scored['agreeing']:,} of {scored['compared']:,}", f"{scored['largest_error']:.1e}",
        f"{scored['accuracy']:.1%}", f"{done['spikes']:,.0f}", f"{operations / 1e6:.2f} M",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=64, help="test images to count on")
    given = parser.parse_args()
    names = [
        "arm", "seed", "packed (bytes)", "as int8", "as float32", "times smaller",
        "predictions as the run", "largest difference of a logit", "test", "spikes", "operations",
    ]  # fmt: skip
    print("| " + " | ".join(names) + " |\n" + "| --- " * len(names) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for run in given.runs:
            print("| " + " | ".join(row(run, Path(folder), given.samples)) + " |", flush=True)


if __name__ == "__main__":
    main()
