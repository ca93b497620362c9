"""ONNX and torch.export: the whole sequence of every family, checked in onnxruntime."""

from functools import partial

import pytest
import torch
from torch import nn

from spikeloom.deploy import DamagedFileError, Unsupported, run_onnx, to_exported, to_onnx
from spikeloom.deploy.exchange import onnx_file
from spikeloom.layers import (
    ALIF,
    LI,
    LIF,
    BatchNorm,
    OSQuant,
    OverTime,
    RecurrentLIF,
    transform_of,
    transform_weights,
)
from spikeloom.layers.sub_bit import sub_bit
from spikeloom.models import SpikingDenseNet, SpikingMLP, SpikingResNet, SpikingVGG, STMixer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
T, N, IMAGE = 2, 3, (3, 8, 8)
COMMON = {"in_shape": IMAGE, "num_classes": 5, "norm": BatchNorm}
lif = partial(LIF, v_threshold=0.5)
FAMILIES = {
    "vgg": lambda: SpikingVGG((4, "P"), (6,), neuron=lif, pool="max", readout=LI, **COMMON),
    "resnet, sew": lambda: SpikingResNet((4, 8), (1, 1), neuron=lif, residual="sew", **COMMON),
    "resnet, membrane": lambda: SpikingResNet(
        (4,), (1,), neuron=lif, residual="membrane", **COMMON
    ),
    "resnet, standard": lambda: SpikingResNet((4,), (1,), neuron=lif, **COMMON),
    "densenet": lambda: SpikingDenseNet((1, 1), growth=2, stem=4, neuron=lif, **COMMON),
    "stmixer": lambda: STMixer(2, 8, 2, neuron=lif, mixer=["stm", "conv"], **COMMON),
    "stmixer, attention": lambda: STMixer(
        1, 8, 2, neuron=lif, mixer="attention", patch="sps", **COMMON
    ),
    "mlp, adaptive": lambda: SpikingMLP((6,), neuron=partial(ALIF, v_threshold=0.5), **COMMON),
    "mlp, recurrent": lambda: SpikingMLP((6,), neuron=RecurrentLIF, **COMMON),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_onnxruntime_computes_the_logits_of_every_family(name, tmp_path):
    torch.manual_seed(0)
    net = FAMILIES[name]()
    with torch.no_grad():
        for _ in range(3):
            net(3 * torch.rand(T, N, *IMAGE))
    done = to_onnx(net, tmp_path / "net.onnx", torch.rand(T, N, *IMAGE))
    assert done.agreeing == done.count == N
    assert net.training  # as it was
    x_seq = torch.rand(T, 1, *IMAGE)  # another N
    with torch.no_grad():
        expected = net.eval()(x_seq)
    torch.testing.assert_close(run_onnx(tmp_path / "net.onnx", x_seq), expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="takes"):
        run_onnx(tmp_path / "net.onnx", torch.rand(T + 1, 1, *IMAGE))


def test_an_exported_program_takes_any_batch():
    torch.manual_seed(0)
    net = FAMILIES["mlp, recurrent"]().eval()
    program = to_exported(net, torch.rand(T, N, *IMAGE)).module()
    for count in (1, 2, 5):
        x_seq = torch.rand(T, count, *IMAGE)
        with torch.no_grad():
            torch.testing.assert_close(program(x_seq), net(x_seq))


def test_transformed_weights_are_written_as_they_are_computed_with(tmp_path):
    torch.manual_seed(0)
    net = FAMILIES["vgg"]()
    transform_weights(net, partial(sub_bit, keep=(), selection=OSQuant()))
    done = to_onnx(net, tmp_path / "net.onnx", 3 * torch.rand(T, N, *IMAGE))
    assert done.agreeing == N
    assert transform_of(net.features[0].module) is not None, "the network keeps its transforms"


def test_what_onnx_cannot_say_is_refused(tmp_path):
    class Middle(nn.Module):
        def forward(self, x_seq):
            return x_seq.median(2).values

    with pytest.raises(Unsupported, match=r"Middle cannot be said in ONNX: .*median"):
        to_onnx(Middle(), tmp_path / "net.onnx", torch.rand(T, N, 3))
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_something_else_is_refused_and_not_kept(monkeypatch, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(onnx_file, "run_onnx", lambda _, x_seq: x_seq[..., :2] + 1)
    with pytest.raises(Unsupported, match=f"the logits of {N} of {N} samples differ"):
        to_onnx(OverTime(nn.Linear(3, 2)), path, torch.rand(T, N, 3))
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    assert path.read_bytes() == b"what was there"


def test_what_cannot_be_traced_is_refused():
    class Chooses(nn.Module):
        def forward(self, x_seq):
            return x_seq if float(x_seq.sum()) > 0 else -x_seq

    with pytest.raises(Unsupported, match="Chooses cannot be traced"):
        to_exported(Chooses(), torch.rand(T, N, 3))
    with pytest.raises(ValueError, match="at least two inputs"):
        to_exported(nn.Identity(), torch.rand(T, 1, 3))


def test_missing_packages_folders_and_files_are_named(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        to_onnx(nn.Identity(), tmp_path / "none" / "net.onnx", torch.rand(T, N, 3))
    with pytest.raises(FileNotFoundError, match="no file"):
        run_onnx(tmp_path / "net.onnx", torch.rand(T, N, 3))
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    with pytest.raises(DamagedFileError, match="no ONNX file"):
        run_onnx(tmp_path / "net.onnx", torch.rand(T, N, 3))
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(Unsupported, match=r"pip install 'spikeloom\[onnx\]'"):
        to_onnx(nn.Identity(), tmp_path / "net.onnx", torch.rand(T, N, 3))
