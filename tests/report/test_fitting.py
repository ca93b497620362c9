import numpy as np
import pytest
from safetensors.numpy import save_file

from spikeloom.report import RunFolderError, compare, read_run, write_compare, write_report
from spikeloom.report.fit import Fit
from spikeloom.report.fitting import amplitudes, pictures, residuals, spectra

X = np.arange(200) / 200
CURVE = (np.sin(2 * np.pi * 5 * X) + 0.5 * np.sin(2 * np.pi * 20 * X))[:, None].astype(np.float32)
LOW = np.sin(2 * np.pi * 5 * X)[:, None].astype(np.float32)
FIT = Fit(CURVE, {"1": LOW, "2": CURVE}, X.astype(np.float32))


def test_amplitudes_are_those_of_the_sines():
    found = amplitudes(CURVE)
    assert found[5] == pytest.approx(1, abs=1e-6)
    assert found[20] == pytest.approx(0.5, abs=1e-6)
    assert np.delete(found, [5, 20]).max() < 1e-6


def test_spectra_say_how_much_of_the_function_each_grade_holds():
    svg = spectra(FIT, key="a")
    assert "1 grade 67%" in svg
    assert "2 grades 100%" in svg


def test_residuals_say_what_each_grade_leaves():
    assert "1 grade 0.35; 2 grades 0." in residuals(FIT, key="a")


def test_pictures_show_every_grade():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    svg = pictures(Fit(pixels, {"1": pixels, "2": pixels}), key="a")
    assert svg.count("<image") == 3
    assert "Pictures of 30 x 20 pixels: target, 1 grade, 2 grades" in svg


def test_the_page_of_a_run_shows_its_fit(write_run):
    folder = write_run()
    save_file(
        {"target": CURVE, "prediction/1": LOW, "prediction/2": CURVE, "along": FIT.along},
        folder / "fit.safetensors",
    )
    assert read_run(folder).fit.predictions.keys() == {"1", "2"}
    page = write_report(folder).read_text()
    assert "Amplitudes of the frequencies in the function and its fit by grade." in page


def test_a_fit_of_other_shapes_is_refused(write_run):
    folder = write_run()
    for tensors in ({"target": CURVE}, {"target": CURVE, "prediction/1": LOW[:5]}):
        save_file({**tensors, "along": FIT.along}, folder / "fit.safetensors")
        with pytest.raises(RunFolderError, match="does not hold a fit"):
            read_run(folder)
    (folder / "fit.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunFolderError, match="does not hold a fit"):
        read_run(folder)


def test_a_comparison_sets_what_arms_make_of_one_picture_side_by_side(write_run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    folders = [write_run(f"{arm}-{seed}", result={"recipe": arm, "seed": seed})
               for arm in ("a", "b") for seed in (1, 0)]  # fmt: skip
    for at, folder in enumerate(folders):
        fits = {"target": pixels, "prediction/1": pixels, "prediction/2": pixels + np.uint8(at)}
        save_file(fits, folder / "fit.safetensors")
    found = compare(folders)
    assert [*found.pictures] == ["target", "a", "b"]
    for arm, at in (("target", 0), ("a", 1), ("b", 3)):  # the last grade of seed 0
        assert np.array_equal(found.pictures[arm], pixels + np.uint8(at))
    assert "pictures" not in found.to_json()
    page = write_compare(found, tmp_path / "page.html").read_text()
    assert "Pictures of 6 x 4 pixels: target, a, b." in page

    save_file({"target": pixels + np.uint8(1), "prediction/1": pixels},
              folders[1] / "fit.safetensors")  # fmt: skip
    assert compare(folders).pictures == {}
    (folders[1] / "fit.safetensors").unlink()
    assert compare(folders).pictures == {}
    assert "<image" not in write_compare(compare(folders), tmp_path / "page.html").read_text()
