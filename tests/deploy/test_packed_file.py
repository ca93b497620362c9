"""Packed files: what is written comes back, whatever is wrong with one is said."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from spikeloom.deploy import (
    DamagedFileError,
    Unsupported,
    bytes_of,
    infer,
    read_packed,
    write_packed,
)
from spikeloom.deploy.packed.file import _sha256
from spikeloom.functional import Decay, factor
from spikeloom.functional.program import Sum
from spikeloom.kernels import use
from spikeloom.kernels.cpu import native
from spikeloom.layers import ALIF, IF, LIF, BatchNorm, OverTime, transform_weights
from spikeloom.layers.binary import Binary, binary
from spikeloom.layers.sub_bit import SubBit, sub_bit
from tests.small import IMAGE, small

MAKE = {
    "binary": binary,
    **{f"{bits}/9 bit": partial(sub_bit, bits=bits) for bits in (4, 5, 6, 9)},
    "grouped": partial(sub_bit, bits=5, others="grouped"),
}
MODELS = {
    "vgg": ("spiking_vgg9", {"pool": "max"}),
    "vgg with counts": ("spiking_vgg5", {"pool": "average"}),
    "standard": ("spiking_resnet20", {"residual": "standard"}),
    "sew": ("spiking_resnet20", {"residual": "sew"}),
    "membrane": ("spiking_resnet20", {"residual": "membrane"}),
}


def lively(model):
    """Random statistics, as training leaves them, so that neurons fire."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight, 0.8, 2.0)
            nn.init.uniform_(module.bias, 0.1, 0.9)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def network(name="vgg", make="4/9 bit", **arguments):
    model, options = MODELS[name]
    built = small(model, width=0.15, **options, **arguments)
    return lively(transform_weights(built, MAKE[make]))


@pytest.mark.parametrize(
    ("name", "make"),
    [*((name, "4/9 bit") for name in MODELS), *(("vgg", make) for make in MAKE), ("sew", "binary")],
)
def test_a_file_answers_as_the_network_does(name, make, tmp_path):
    model = network(name, make)
    x_seq = torch.rand(3, 3, *IMAGE)
    packed = infer(model, x_seq)
    write_packed(packed, tmp_path / "net.packed", {"said": ["anything"]})
    again, about = read_packed(tmp_path / "net.packed")
    assert about == {"said": ["anything"]}
    assert torch.equal(again(x_seq), packed(x_seq))
    with torch.no_grad():
        want = model(x_seq)
    assert want[0].std() > 0
    error = (again(x_seq) - want).abs()
    assert error.amax((0, 2)).le(1e-4).any()  # a turned spike is rare: not in all images
    with use("truth"):
        assert (again(x_seq) - want).abs().amax((0, 2)).le(1e-4).any()


def exact(model):
    """Weights, scales and norms on a dyadic grid: nothing rounds."""
    for module in model.modules():
        with torch.no_grad():
            if isinstance(module, BatchNorm):
                module.eps = 0.0
                module.running_mean.copy_(torch.randint(-2, 3, module.running_mean.shape) / 8)
                module.running_var.fill_(4.0)
                module.weight.copy_(torch.randint(2, 7, module.weight.shape) / 4)
                module.bias.copy_(torch.randint(-2, 12, module.bias.shape) / 8)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                transform = getattr(module, "parametrizations", None)
                raw = transform.weight.original if transform else module.weight
                signs = torch.randint(0, 2, raw.shape) * 2 - 1
                raw.copy_(signs / 8)
                if module.bias is not None:
                    module.bias.zero_()
    return model.eval()


@pytest.mark.parametrize("make", ["binary", "4/9 bit"])
@pytest.mark.parametrize(
    ("name", "steps"), [("vgg", 1), ("sew", 1), ("vgg", 4), ("standard", 4), ("sew", 4),
                        ("membrane", 4)],
)  # fmt: skip
def test_logits_are_equal_to_the_bit_where_nothing_rounds(name, make, steps, tmp_path):
    model = exact(network(name, make))
    x_seq = torch.randint(-8, 9, (steps, 3, *IMAGE)) / 8
    write_packed(infer(model, x_seq, steps=steps), tmp_path / "net")
    packed, _ = read_packed(tmp_path / "net")
    with torch.no_grad():
        want = model(x_seq)
    assert want.std() > 0
    assert torch.equal(packed(x_seq), want)


def coded_sums(program):
    return [
        (node, term)
        for node in program.nodes
        if isinstance(node, Sum)
        for term in node.terms
        if term.coded is not None
    ]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "neurons",
    [
        {"decay": Decay(0.5, decay_input=True), "v_threshold": 0.3},
        {"decay": factor(0.9), "v_threshold": 0.4, "v_reset": -0.25},
        {"decay": factor(0.5), "reset": "soft", "v_threshold": 0.1},
    ],
)
def test_for_one_step_thresholds_are_whole_and_spikes_those_of_real_numbers(neurons, strict):
    """Norms of both signs; the truth is computed in float64."""
    model = nn.Sequential(
        OverTime(nn.Conv2d(3, 20, 3, padding=1)), LIF(v_threshold=0.3),
        OverTime(nn.Conv2d(20, 30, 3, padding=1)), BatchNorm(30), LIF(strict=strict, **neurons),
        OverTime(nn.Flatten()), OverTime(nn.Linear(30 * 64, 4)),
    )  # fmt: skip
    lively(transform_weights(model, binary))
    nn.init.uniform_(model[3].weight, -1.0, 1.0)
    x_seq = torch.rand(1, 5, 3, 8, 8)
    packed = infer(model, x_seq, steps=1)
    assert packed.program.steps == 1
    ((node, term),) = coded_sums(packed.program)
    limits = node.neurons.arguments["v_threshold"]
    assert torch.equal(limits, limits.round())
    assert set(term.coded.scale.tolist()) <= {-1.0, 0.0, 1.0}
    with torch.no_grad():
        spikes = model[1](model[0](x_seq)).double()
        theirs = model.double()[4](model[3](model[2](spikes)))
        want = model[6](model[5](theirs))
    assert 0.05 < theirs.mean() < 0.95
    assert torch.allclose(packed(x_seq).double(), want, atol=1e-5)
    with pytest.raises(ValueError, match="those of T = 1, got an input of T = 2"):
        packed(x_seq.expand(2, -1, -1, -1, -1))


def test_leaks_and_sums_of_several_terms_keep_scale_and_shift():
    packed = infer(network("standard"), torch.rand(2, 2, *IMAGE), steps=2)
    assert packed.program.steps is None


@pytest.mark.parametrize(("bits", "least"), [(4, 4 / 9), (5, 5 / 9), (6, 6 / 9), (9, 1.0)])
def test_coded_weights_take_their_bits_in_the_file(bits, least, tmp_path):
    model = lively(transform_weights(small("spiking_vgg9", width=0.5), partial(sub_bit, bits=bits)))
    write_packed(infer(model, torch.rand(1, 1, *IMAGE)), tmp_path / "net")
    tensors = load((tmp_path / "net").read_bytes())
    spent = sum(8 * v.numel() for k, v in tensors.items() if k.endswith(".index"))
    kernels = [
        layer for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and hasattr(layer, "parametrizations")
    ]  # fmt: skip
    weights = sum(
        layer.weight.numel() for layer in kernels
        if isinstance(layer.parametrizations.weight[0], SubBit)
    )  # fmt: skip
    assert weights > 0
    assert spent / weights == pytest.approx(least, abs=0.001)
    assert sum(key.endswith(".weight") for key in tensors) == 2  # first and last


def test_the_same_network_gives_the_same_bytes(tmp_path):
    packed = infer(network(), torch.rand(1, 1, *IMAGE))
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths:
        write_packed(packed, path, {"b": 1, "a": 2})
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.skipif(native.OPENED is None, reason=native.PROBLEM)
def test_no_float_weights_of_coded_layers_are_in_memory(tmp_path):
    model = lively(transform_weights(small("spiking_vgg9", width=0.5), binary))
    x_seq = torch.rand(1, 1, *IMAGE)
    write_packed(infer(model, x_seq), tmp_path / "net")
    packed, _ = read_packed(tmp_path / "net")
    packed(x_seq)
    sizes = bytes_of(packed.program)
    sums = packed.runner._pack().values()
    held = [t for s in sums for t in (s.weights, s.bias)]
    held += [t for s in sums for p in s.signs if p for t in (p.signs, p.scales)]
    held += [t.coded.bits for _, t in coded_sums(packed.program)]
    assert sum(t.numel() * t.element_size() for t in held) < sizes.coded + 8 * sizes.floats


def test_neurons_of_every_kind_and_learnt_values_come_back(tmp_path):
    model = nn.Sequential(
        OverTime(nn.Conv2d(3, 6, 3, padding=1)),
        IF((6, 1, 1), v_threshold=0.75, reset="soft", per="channel", learn=("v_threshold",)),
        OverTime(nn.Conv2d(6, 5, 3, padding=1)), ALIF(v_threshold=0.3),
        OverTime(nn.Conv2d(5, 5, 3, padding=1, groups=5)), OverTime(nn.MaxPool2d(2)),
        OverTime(nn.Flatten()), OverTime(nn.Linear(80, 4)),
    )  # fmt: skip
    x_seq = 2 * torch.rand(5, 3, 3, 8, 8)
    packed = infer(model, x_seq)
    write_packed(packed, tmp_path / "net")
    assert torch.equal(read_packed(tmp_path / "net")[0](x_seq), packed(x_seq))


@pytest.mark.parametrize(
    "pool",
    [nn.AdaptiveAvgPool2d((None, 1)), nn.AvgPool2d(3, ceil_mode=True), nn.MaxPool2d(2, padding=1)],
)
def test_poolings_of_real_values_come_back(pool, tmp_path):
    x_seq = torch.rand(2, 1, 3, 8, 8)
    packed = infer(nn.Sequential(OverTime(nn.Conv2d(3, 4, 3)), OverTime(pool)), x_seq)
    write_packed(packed, tmp_path / "net")
    assert torch.equal(read_packed(tmp_path / "net")[0](x_seq), packed(x_seq))


def test_what_could_not_be_read_is_not_written(tmp_path):
    model = nn.Sequential(OverTime(nn.Conv2d(3, 4, 3)), LIF())
    nn.init.constant_(model[0].module.bias, float("inf"))
    with pytest.raises(Unsupported, match=r"could not be read: the tensor 0.bias holds .* not fin"):
        write_packed(infer(model, torch.rand(2, 1, 3, 8, 8)), tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_layers_that_get_real_values_or_work_in_groups_are_refused():
    head = [OverTime(nn.Conv2d(3, 6, 3)), BatchNorm(6)]
    real = nn.Sequential(*head, OverTime(nn.Conv2d(6, 6, 3)), LIF())
    transform_weights(real, lambda place: Binary() if place.name.startswith("2") else None)
    with pytest.raises(Unsupported, match=r"2: .* count spikes, and this layer gets real values"):
        infer(real, torch.rand(2, 1, 3, 8, 8))
    grouped = nn.Sequential(*head, LIF(), OverTime(nn.Conv2d(6, 6, 3, groups=2)), LIF())
    transform_weights(grouped, lambda place: Binary() if place.name.startswith("3") else None)
    with pytest.raises(Unsupported, match=r"3: .* in 2 groups have no packed form"):
        infer(grouped, torch.rand(2, 1, 3, 8, 8))


# What may be wrong with a file.


@pytest.fixture
def written(tmp_path):
    model = nn.Sequential(
        OverTime(nn.Conv2d(3, 8, 3, padding=1)), LIF(v_threshold=0.2),
        OverTime(nn.Conv2d(8, 8, 3, padding=1)), LIF(v_threshold=0.2), OverTime(nn.MaxPool2d(2)),
        OverTime(nn.Flatten()), OverTime(nn.Linear(128, 4)),
    )  # fmt: skip
    transform_weights(model, partial(sub_bit, bits=5))
    write_packed(infer(model.eval(), torch.rand(2, 1, 3, 8, 8)), tmp_path / "net")
    return tmp_path / "net"


def parts(path):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size])["__metadata__"], load(content)


def rewrite(path, header, tensors):
    """As somebody would who knows the checksums."""
    given = {key: header[key] for key in ("program", "about") if key in header} | tensors
    sums = json.dumps({name: _sha256(value) for name, value in given.items()})
    path.write_bytes(save(tensors, metadata=header | {"checksums": sums}))


def test_a_file_cut_anywhere_is_refused(written):
    content = written.read_bytes()
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        written.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match="cut off, altered"):
            read_packed(written)


def test_a_changed_byte_is_found_wherever_it_is(written):
    content = written.read_bytes()
    size = int.from_bytes(content[:8], "little")
    for place in range(8 + size, len(content), max(1, (len(content) - size) // 60)):
        changed = bytearray(content)
        changed[place] ^= 1
        written.write_bytes(bytes(changed))
        with pytest.raises(DamagedFileError, match="altered: the checksum of"):
            read_packed(written)
    for place in range(8, 8 + size, max(1, size // 60)):
        changed = bytearray(content)
        changed[place] ^= 1
        written.write_bytes(bytes(changed))
        with pytest.raises(DamagedFileError):
            read_packed(written)


def test_files_of_other_formats_and_versions_are_named(written, tmp_path):
    header, tensors = parts(written)
    rewrite(written, header | {"version": "2"}, tensors)
    with pytest.raises(DamagedFileError, match="of version '2' and this library reads '1'"):
        read_packed(written)
    rewrite(written, header | {"format": "spikeloom-checkpoint-1"}, tensors)
    with pytest.raises(DamagedFileError, match="is no packed network: its format is 'spikeloom-ch"):
        read_packed(written)
    with pytest.raises(DamagedFileError, match="there is no file"):
        read_packed(tmp_path / "none")
    (tmp_path / "text").write_text("hello, this is a text and no network")
    with pytest.raises(DamagedFileError, match="cannot be read as a packed network"):
        read_packed(tmp_path / "text")


def change(program, path, value):
    """Sets what lies at a path in the header's program; a function is applied."""
    *way, last = path
    inner = program
    for step in way:
        inner = inner[step]
    if value is DELETE:
        del inner[last]
    else:
        inner[last] = value


DELETE = object()
CONTRADICTIONS = [
    (("nodes", 1, "terms", 0, "source"), 5, "takes activation 5, and only 2 come before it"),
    (("nodes", 1, "terms", 0, "source"), -1, "greater than or equal to 0"),
    (("nodes", 1, "terms", 0, "source"), 0, "do not give"),
    (("nodes", 1, "terms", 0, "sizes"), [8, 8, 3, 5], "do not give"),
    (("nodes", 1, "terms", 0, "sizes"), [8, 2**30, 3, 3], "too many weights"),
    (("nodes", 1, "terms", 0, "coded"), None, "0.weight is missing"),
    (("nodes", 1, "terms", 0, "coded", "codewords"), 31, "279 numbers of 1 bits take 35"),
    (("nodes", 1, "terms", 0, "coded", "row"), None, "half of what a codebook is"),
    (("nodes", 1, "terms", 0, "window", "padding"), [0, 0], "do not give"),
    (("nodes", 1, "terms", 0, "window", "stride"), [0, 1], "greater than or equal to 1"),
    (("nodes", 1, "shape"), [8, 8, 9], "do not give"),
    (("nodes", 1, "shape"), [2**30, 2**30, 2**30], "too large"),
    (("nodes", 1, "neurons", "kind"), "os.system", "no neurons are called"),
    (("nodes", 1, "neurons", "arguments", "rule"), 1.0, "has no argument 'rule'"),
    (("nodes", 1, "neurons", "arguments", "reset"), "often", "is no value for lif"),
    (("nodes", 1, "neurons", "arguments", "v_reset"), 1e300, "is no value for lif"),
    (("nodes", 1, "neurons", "arguments", "decay", "keep"), 1.5, r"keep must be in \[0, 1\]"),
    (("nodes", 2, "source"), 0, "counts real values"),
    (("nodes", 2, "window", "kernel"), [2, 9], "pools"),
    (("nodes", 2, "kind"), "code", "does not match any of the expected tags"),
    (("nodes", 2, "more"), 1, "Extra inputs are not permitted"),
    (("nodes", 3), DELETE, "no part of the network has the tensor 3"),
    (("nodes",), [], "at least 1 item"),
    (("in_shape",), [3, 8, 9], "do not give"),
    (("steps",), 0, "greater than or equal to 1"),
]


@pytest.mark.parametrize(("path", "value", "said"), CONTRADICTIONS, ids=str)
def test_contradictions_in_the_header_are_found_before_anything_runs(written, path, value, said):
    header, tensors = parts(written)
    program = json.loads(header["program"])
    change(program, path, value)
    rewrite(written, header | {"program": json.dumps(program)}, tensors)
    with pytest.raises(DamagedFileError, match=f"holds no network that can be run(.|\n)*({said})"):
        read_packed(written)


def test_indices_beyond_the_codebook_are_refused(written):
    """With 31 codewords indices still have 5 bits: one of them may say 31."""
    header, tensors = parts(written)
    program = json.loads(header["program"])
    program["nodes"][1]["terms"][0]["coded"]["codewords"] = 31
    tensors["1.0.codebook"] = tensors["1.0.codebook"][: -(-31 * 9 // 8)].clone()
    tensors["1.0.index"] = torch.full_like(tensors["1.0.index"], 255)
    rewrite(written, header | {"program": json.dumps(program)}, tensors)
    with pytest.raises(DamagedFileError, match="names one of 31 kernels, got 31 to 31"):
        read_packed(written)


@pytest.mark.parametrize("key", ["about", "checksums"])
@pytest.mark.parametrize("text", ["[]", "null", "{", "1" * 5000, "[" * 100_000], ids=len)
def test_texts_that_are_no_json_objects_are_refused(written, key, text):
    header, tensors = parts(written)
    rewrite(written, header | {key: text}, tensors)
    if key == "checksums":
        written.write_bytes(save(tensors, metadata=header | {key: text}))
    with pytest.raises(DamagedFileError, match=f"what it says under {key} is no JSON"):
        read_packed(written)


def test_poolings_take_no_other_arguments(tmp_path):
    model = nn.Sequential(OverTime(nn.Conv2d(3, 4, 3)), OverTime(nn.MaxPool2d(2)))
    write_packed(infer(model.eval(), torch.rand(2, 1, 3, 8, 8)), tmp_path / "net")
    header, tensors = parts(tmp_path / "net")
    program = json.loads(header["program"])
    program["nodes"][1]["arguments"]["return_indices"] = True
    rewrite(tmp_path / "net", header | {"program": json.dumps(program)}, tensors)
    with pytest.raises(DamagedFileError, match="1: MaxPool2d takes no return_indices here"):
        read_packed(tmp_path / "net")


def test_tensors_of_other_sizes_kinds_and_values_are_refused(written):
    header, tensors = parts(written)
    wrong = {
        "1.bias": (torch.zeros(9), r"expected torch.float32 \(8,\)"),
        "1.0.scale": (torch.full((8,), float("nan")), "not finite"),
        "1.0.index": (tensors["1.0.index"][:-1], "take"),
        "1.0.codebook": (tensors["1.0.codebook"].float(), "expected torch.uint8"),
        "0.0.weight": (tensors["0.0.weight"].half(), "expected torch.float32"),
    }
    for name, (value, said) in wrong.items():
        rewrite(written, header, tensors | {name: value.clone()})
        with pytest.raises(DamagedFileError, match=said):
            read_packed(written)
        less = {key: value for key, value in tensors.items() if key != name}
        rewrite(written, header, less)
        with pytest.raises(DamagedFileError, match=f"{name} is missing"):
            read_packed(written)
    rewrite(written, header, tensors | {"extra": torch.zeros(1)})
    with pytest.raises(DamagedFileError, match="no part of the network has the tensor extra"):
        read_packed(written)
