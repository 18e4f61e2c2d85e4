"""Test the report as a document: it is self-contained and reproducible, and it fits any screen."""

import collections
import json
import os
import re
import shutil
import subprocess
import sys

import finished_runs
import pytest

from gpt1_jax.analysis.report import page as report_page
from gpt1_jax.analysis.report import rendering
from gpt1_jax.errors import UserError

COMMAND = [sys.executable, "-m", "gpt1_jax.main", "report"]


def test_the_page_is_self_contained(workdir, page):
    text = (workdir / "report.html").read_text()
    assert not [word for word in ("http", "<script", "@import") if word in text]
    assert not re.search(r"url\((?!#)", text)
    assert page.tags["img"] == 0 and page.tags["svg"] == page.tags["figure"] > 8
    assert not [name for name, count in collections.Counter(page.ids).items() if count > 1]
    for reference in page.references:
        inside = reference.startswith("#") and reference[1:] in page.ids
        assert inside or (workdir / reference).is_file(), reference
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert text.count('scope="col"') and text.count('role="img" aria-label="') == page.tags["svg"]


def test_figures_use_the_colors_of_the_page(workdir):
    style, body = (workdir / "report.html").read_text().split("</style>")
    assert rendering.INK not in style + body
    for color in rendering.COLORS[:-1]:
        assert color not in body


def test_the_same_runs_give_the_same_bytes(workdir):
    files = [
        path
        for path in sorted(workdir.rglob("*"))
        if path.parent.name in ("tables", "figures") or path.name == "report.html"
    ]
    assert {path.suffix for path in files} == {".md", ".csv", ".tex", ".svg", ".png", ".html"}
    before = {path: path.read_bytes() for path in files}
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run([*COMMAND, str(workdir)], check=True, capture_output=True, env=environment)
    assert {path: path.read_bytes() for path in files} == before
    assert not list(workdir.rglob("*.tmp"))


def test_the_command_prints_the_path_of_the_page(tmp_path):
    finished_runs.write_pretraining_run(tmp_path / "exp_books", "lstm")
    done = subprocess.run([*COMMAND, str(tmp_path / "exp_books")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{tmp_path}/exp_books/report.html"


def test_the_command_explains_itself_and_refuses_other_folders(tmp_path):
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
    assert "runs/exp_ablations" in shown.stdout
    refused = subprocess.run([*COMMAND, str(tmp_path)], capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "has no cells.json" in refused.stderr
    assert subprocess.run(COMMAND, capture_output=True, text=True).returncode == 2


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no cells.json and is not a pretraining run"):
        report_page.write(tmp_path / "nowhere")
    (tmp_path / "cells.json").write_text("{")
    with pytest.raises(UserError, match="cells.json: not valid JSON"):
        report_page.write(tmp_path)
    (tmp_path / "cells.json").write_text('{"experiments": {"table5": {"points": []}}}')
    with pytest.raises(UserError, match="cells.json: experiments.table5.setting is missing"):
        report_page.write(tmp_path)


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# A browser window is at least 500 pixels wide. Frames inside it can be narrower.
FRAMES = """<!doctype html><body><script>
const found = [], widths = [360, 1280];
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const boxes = [...page.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect());
    found.push({
      width: root.clientWidth,
      content: root.scrollWidth,
      body: page.body.scrollWidth,
      figures: boxes.length,
      narrowest: Math.min(...boxes.map(box => box.width)),
      lowest: Math.min(...boxes.map(box => box.height)),
      right: Math.max(...boxes.map(box => box.right)),
      background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    });
    if (found.length == widths.length) {
      document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
    }
  };
  frame.src = "report.html";
  document.body.append(frame);
}
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_every_screen(workdir, page, scheme, tmp_path):
    shutil.copy(workdir / "report.html", tmp_path)
    (tmp_path / "frames.html").write_text(FRAMES)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/profile",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    ]
    command = [BROWSER, *options, "--dump-dom", f"file://{tmp_path}/frames.html"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in ended.stderr, ended.stderr
    frames = json.loads(re.search("FOUND(.*)END", ended.stdout)[1])
    assert sorted(frame["width"] for frame in frames) == [360, 1280]
    for frame in frames:
        assert max(frame["content"], frame["body"], frame["right"]) <= frame["width"]
        assert frame["figures"] == page.tags["svg"]
        assert frame["narrowest"] > 250 and frame["lowest"] > 150
        brightness = sum(map(int, re.findall(r"\d+", frame["background"])[:3]))
        assert (brightness < 300) == (scheme == "dark")
