"""The pages in a real browser: drawn without errors, within the width of a phone."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom.report import compare, write_compare

Browse = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow

# Runs beside the page, not in it: the page itself forbids scripts.
MEASURE = """<!doctype html>
<iframe id="f" style="border:0;width:WIDTHpx;height:9000px" srcdoc="PAGE"></iframe>
<script>
document.getElementById("f").addEventListener("load", (event) => {
  const page = event.target.contentDocument, root = page.documentElement;
  const type = [...page.querySelectorAll("svg text")].map((text) => {
    const svg = text.ownerSVGElement;
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return parseFloat(page.defaultView.getComputedStyle(text).fontSize) * scale;
  });
  const tall = [...page.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().height);
  const seen = {
    inner: root.clientWidth, outer: root.scrollWidth,
    smallest: Math.min(...type), flattest: Math.min(...tall),
    background: page.defaultView.getComputedStyle(page.body).backgroundColor,
    focusable: page.querySelectorAll("summary, a[href], [tabindex='0']").length,
  };
  const out = document.createElement("pre");
  out.id = "seen"; out.textContent = JSON.stringify(seen); document.body.append(out);
});
</script>"""


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """Opens a file in a headless browser and returns what it wrote."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no chromium or chrome on this machine")
    profile = tmp_path_factory.mktemp("profile")
    flags = "--headless --no-sandbox --disable-gpu --enable-logging=stderr --v=0 --dump-dom"
    flags += " --disable-dev-shm-usage --no-first-run --disable-background-networking"

    def run(page: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [browser, *flags.split(), f"--user-data-dir={profile}", *more, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)

    return run


def measure(browse: Browse, page: Path, folder: Path, width: int, *flags: str) -> dict[str, float]:
    """Sizes of the page in a window of that width."""
    frame = MEASURE.replace("WIDTH", str(width))
    frame = frame.replace("PAGE", html.escape(page.read_text("utf-8")))
    (folder / "frame.html").write_text(frame, "utf-8")
    dom = browse(folder / "frame.html", "--virtual-time-budget=10000", *flags).stdout
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom)
    assert found, "the page was not measured"
    seen: dict[str, float] = json.loads(html.unescape(found[1]))
    return seen


@pytest.fixture(scope="module")
def compared(full_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page comparing one run."""
    return write_compare(
        compare([full_page.parent], baseline="bptt/synthetic_vgg"),
        tmp_path_factory.mktemp("compare") / "compare.html",
    )


def test_the_page_opens_from_disk_without_complaints(browse: Browse, full_page: Path) -> None:
    done = browse(full_page)
    assert "CONSOLE" not in done.stderr
    for section in ("headline", "learning", "activity", "classes", "setup", "papers"):
        assert f'<h2 id="{section}">' in done.stdout
    assert done.stdout.count("<svg") == 12
    assert "run report</title>" in done.stdout


def test_the_comparison_opens_from_disk_without_complaints(browse: Browse, compared: Path) -> None:
    done = browse(compared)
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg") == 2


def test_complaints_would_be_seen(browse: Browse, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    policy = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'">"""
    page.write_text(f"<!doctype html>{policy}<script>1</script>")
    assert "CONSOLE" in browse(page).stderr


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_its_window_and_stays_legible(
    browse: Browse, full_page: Path, tmp_path: Path, width: int
) -> None:
    seen = measure(browse, full_page, tmp_path, width)
    assert seen["outer"] <= seen["inner"] == width
    assert seen["smallest"] >= 8.5  # px, of a figure's smallest text
    assert seen["flattest"] >= 80
    assert seen["focusable"] >= 6


def test_the_comparison_fits_a_phone(browse: Browse, compared: Path, tmp_path: Path) -> None:
    seen = measure(browse, compared, tmp_path, 390)
    assert seen["outer"] <= seen["inner"] == 390


def test_the_page_follows_the_colour_scheme(
    browse: Browse, full_page: Path, tmp_path: Path
) -> None:
    dark = "--blink-settings=preferredColorScheme=0"
    assert measure(browse, full_page, tmp_path, 390)["background"] == "rgb(255, 255, 255)"
    assert measure(browse, full_page, tmp_path, 390, dark)["background"] == "rgb(18, 22, 28)"
