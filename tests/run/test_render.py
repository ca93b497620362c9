"""Views of a trained scene: pictures, scores and films, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from spikeloom.data import Views, blender
from spikeloom.registry import Unsupported
from spikeloom.report import read_run, write_report
from spikeloom.run import pictures
from spikeloom.run.checkpoint import load_state
from spikeloom.run.config import ConfigError, validate
from spikeloom.run.distributed import Processes
from spikeloom.run.energy import account
from spikeloom.run.loop import Training
from spikeloom.run.pictures import likeness, picture_of
from spikeloom.run.render import Wanted, render
from spikeloom.run.session import resume_folder, train
from spikeloom.run.task import prepare
from tests.data.scenes import write_blender
from tests.run.recipe import tiny

TERNARY = {
    "name": "ternary_lif", "decay": {"name": "factor", "beta": 0.25}, "v_threshold": 0.5,
    "surrogate": "rectangle",
}  # fmt: skip


def configuration(**model):
    small = {"coarse": 4, "fine": 3, "width": 8, "depth": 3, "T": 2, "neuron": TERNARY}
    data = {"name": "blender", "side": 12, "updates": 2, "crop": 1, "val_views": 1, "val": 144}
    phase = {"loss": "photometric", "optimizer": {"name": "adam", "lr": 1e-3}, "epochs": 2}
    tree = {"model": {"name": "nerf", **small, **model}, "data": {**data, "batch": 16}}
    return validate({**tree, "phase": [phase]})


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A data root, and a run on it."""
    root = tmp_path_factory.mktemp("scene")
    write_blender(root)
    folder = root / "run"
    train(configuration(), folder, root=root)
    return root, folder


def test_a_run_on_rays_goes_by_psnr(scene):
    _, folder = scene
    result = json.loads((folder / "result.json").read_text())
    assert result["measure"] == "psnr"
    assert result["test"]["count"] == 2 * 144
    assert result["splits"]["val"]["count"] == 144
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [2, 4]


def test_the_report_shows_the_first_test_view_beside_the_picture(scene, tmp_path):
    root, folder = scene
    fit = read_run(folder).fit
    render(folder, Wanted(views=1, depth=False), out=tmp_path, root=root)
    with Image.open(tmp_path / "view_000.png") as picture:
        assert np.array_equal(fit.predictions["1"], np.array(picture))
    want = picture_of(blender(root, side=12).test.pictures[0])
    assert np.array_equal(fit.target, np.array(want))
    assert "Pictures of 12 x 12 pixels: target, fit." in write_report(folder).read_text()


def test_test_views_are_written_and_scored(scene, tmp_path):
    root, folder = scene
    told = []
    found = render(folder, Wanted(), out=tmp_path, root=root, tell=lambda *at: told.append(at))
    assert [view["view"] for view in found["views"]] == [0, 1]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "view_000.png",
        "view_001.png",
        "depth_000.png",
        "depth_001.png",
        "render.json",
    }
    assert told[-1] == (288, 288)
    assert json.loads((tmp_path / "render.json").read_text())["psnr"] == found["psnr"]
    source = blender(root, side=12)
    for view in found["views"]:
        with Image.open(tmp_path / f"view_{view['view']:03}.png") as picture:
            levels = torch.from_numpy(np.array(picture)).float() / 255
        again = likeness(levels, source.test.pictures[view["view"]])
        assert again["psnr"] == pytest.approx(view["psnr"], abs=0.05)  # rounded to 8 bits


def test_mean_scores_are_over_views(scene, tmp_path):
    root, folder = scene
    found = render(folder, Wanted(), out=tmp_path, root=root)
    for name in ("psnr", "ssim"):
        assert found[name] == pytest.approx(sum(view[name] for view in found["views"]) / 2)
    # the score of the run is of all rays together, which is no mean of views
    result = json.loads((folder / "result.json").read_text())
    errors = [10 ** (-view["psnr"] / 10) for view in found["views"]]
    pooled = -10 * np.log10(np.mean(errors))
    assert result["test"]["psnr"] == pytest.approx(pooled, abs=0.05)


@pytest.mark.parametrize("form", ["webp", "gif"])
def test_a_film_goes_around_the_scene(scene, tmp_path, form):
    root, folder = scene
    found = render(folder, Wanted(views=0, film=3, form=form), out=tmp_path, root=root)
    assert found["films"] == [f"film.{form}"]
    with Image.open(tmp_path / f"film.{form}") as film:
        assert (film.n_frames, film.size) == (3, (12, 12))
    assert (tmp_path / f"film_depth.{form}").exists()
    assert "psnr" not in found


def test_pictures_go_to_the_run_and_depth_may_be_left_out(scene):
    root, folder = scene
    found = render(folder, Wanted(views=1, depth=False), root=root)
    assert found["folder"] == str(folder / "render")
    assert {p.name for p in (folder / "render").iterdir()} == {"view_000.png", "render.json"}


def test_psnr_of_pictures_a_tenth_apart_is_20_and_ssim_of_one_with_itself_is_1():
    picture = 0.9 * torch.rand(32, 24, 3)
    assert likeness(picture + 0.1, picture)["psnr"] == pytest.approx(20.0, abs=1e-4)
    assert likeness(picture, picture)["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert likeness(picture, 1 - picture)["ssim"] < 0.5


def test_ssim_is_that_of_its_paper():
    """A window written out: Gaussian of 1.5, 11 x 11, K1 = 0.01, K2 = 0.03."""
    a, b = torch.rand(2, 11, 11, 1, dtype=torch.float64)
    at = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(at**2) / (2 * 1.5**2))
    window = torch.outer(line, line)[..., None]
    window = window / window.sum()

    def mean(x):
        return (window * x).sum()

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    want = (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    grey = [x.float().expand(11, 11, 3) for x in (a, b)]
    assert likeness(*grey)["ssim"] == pytest.approx(float(want), abs=1e-4)


def test_pictures_smaller_than_the_window_have_no_ssim():
    assert likeness(torch.rand(8, 12, 3), torch.rand(8, 12, 3))["ssim"] is None


def test_levels_are_rounded_and_clamped():
    assert picture_of(torch.tensor([[-1.0, 0.5], [1.0, 2.0]])).tobytes() == bytes(
        [0, 128, 255, 255]
    )


def test_energy_is_counted_on_rays_of_all_views(scene, monkeypatch):
    root, folder = scene
    seen = []
    read = Views.__getitems__
    monkeypatch.setattr(Views, "__getitems__", lambda self, at: seen.extend(at) or read(self, at))
    account(folder, samples=16, root=root)
    assert {0, 18, 270} <= set(seen)  # every eighteenth of 288


def test_energy_counts_rays_in_both_alphabets(scene):
    root, folder = scene
    found = account(folder, samples=16, root=root)
    rows = {(r["network"], r["precision"], r["machine"]): r for r in found["networks"]}
    own, shifted = (rows[name, "float32", "event-driven"] for name in ("spiking", "shifted"))
    assert own["macs"] == shifted["macs"]  # of real inputs, which no shift touches
    assert own["acs"] != shifted["acs"]
    assert rows["twin", "float32", "clocked"]["dense"] > 0
    assert not [note for note in found["notes"] if "not counted" in note]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"views": -1}, "views >= 0"),
        ({"film": 1}, "film of 2 frames"),
        ({"views": 0}, "nothing to render"),
    ],
)
def test_what_is_nothing_to_render_is_refused(wanted, message):
    with pytest.raises(ConfigError, match=message):
        Wanted(**wanted)


def test_more_views_than_there_are_are_refused(scene):
    root, folder = scene
    with pytest.raises(ConfigError, match="3 views are asked for"):
        render(folder, Wanted(views=3), root=root)


def test_runs_on_other_data_are_refused(tmp_path):
    folder = tmp_path / "run"
    train(tiny(), folder)
    with pytest.raises(ConfigError, match="no views of one"):
        render(folder, Wanted())


def test_a_perceptual_distance_that_is_not_there_is_refused(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(pictures, "import_module", missing)
    with pytest.raises(Unsupported, match=r"spikeloom\[torchmetrics\]"):
        pictures.lpips()


def test_a_run_interrupted_within_an_epoch_draws_the_rays_of_the_whole_one(
    scene, tmp_path, monkeypatch
):
    root, folder = scene
    update, calls = Training._update, []

    def stopping(self, group, progress):
        calls.append(None)
        if len(calls) == 4:  # the second of the second epoch
            raise KeyboardInterrupt
        return update(self, group, progress)[0], len(calls) == 3

    monkeypatch.setattr(Training, "_update", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(configuration(), tmp_path / "cut", root=root)
    monkeypatch.setattr(Training, "_update", update)
    resume_folder(tmp_path / "cut", root=root)
    whole, cut = (
        [
            json.loads(line) | {"seconds": 0}
            for line in (f / "metrics.jsonl").read_text().splitlines()
        ]
        for f in (folder, tmp_path / "cut")
    )
    assert whole == cut
    ours, theirs = (load_state(f / "last.safetensors")[0] for f in (folder, tmp_path / "cut"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_train_and_render(scene, tmp_path, precision):
    root, folder = scene
    config = configuration()
    run = config.run.model_copy(update={"precision": precision})
    train(config.model_copy(update={"run": run}), tmp_path / "run", root=root)
    found = render(tmp_path / "run", Wanted(views=1), root=root)
    want = render(folder, Wanted(views=1), out=tmp_path / "fp32", root=root)
    assert found["psnr"] == pytest.approx(want["psnr"], abs=0.2)


@pytest.mark.parametrize("white", [True, False])
def test_the_model_has_the_background_of_the_data(scene, white):
    root, _ = scene
    tree = configuration().model_dump(mode="json", exclude_none=True)
    tree["data"]["white"] = white
    task = prepare(validate(tree), Processes(), torch.device("cpu"), root)
    assert task.model.white is white
    tree["model"]["white"] = not white  # asked for
    task = prepare(validate(tree), Processes(), torch.device("cpu"), root)
    assert task.model.white is not white


def test_another_validation_split_than_the_views_of_it_is_refused(scene, tmp_path):
    root, _ = scene
    tree = configuration().model_dump(mode="json", exclude_none=True)
    tree["data"]["val"] = 100
    with pytest.raises(ConfigError, match="set val = 144"):
        train(validate(tree), tmp_path / "run", root=root)
    assert not (tmp_path / "run").exists()


def test_views_know_a_path_around_them(scene):
    root, _ = scene
    views: Views = blender(root, side=12).test
    assert views.seen_from(views.path(4)[2]).shape == (144, 11)
