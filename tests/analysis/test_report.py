"""The report: every number is that of the files, what is amiss is told, the page stands alone and fits any screen."""

import collections
import csv
import html.parser
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import finished_runs
import pytest

from gpt1_jax.analysis.report import page as report_page
from gpt1_jax.analysis.report import paper, plots, tables
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.analysis.stats import metrics
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    """The folder with its report."""
    folder = finished_runs.write_ablations(tmp_path_factory.mktemp("runs") / "exp_ablations")
    assert report_page.write(folder) == folder / "report.html"
    return folder


class Page(html.parser.HTMLParser):
    """A page read: its tables by caption as rows of texts (the small print left out), its text, ids and references."""

    VOID = {"meta", "br", "use", "path", "link"}

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.ids, self.references, self.tags, self.text = (
            {},
            [],
            [],
            collections.Counter(),
            "",
        )
        self._open, self._rows = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            self.ids += [value] * (name == "id")
            self.references += [value] * (
                name in ("href", "src", "xlink:href", "srcset", "action", "data")
            )
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data.strip()
        elif self._open and {"td", "th"} & set(self._open) and "small" not in self._open:
            self._rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def page(workdir) -> Page:
    return Page((workdir / "report.html").read_text())


def score(workdir: pathlib.Path, cell: str, task: str) -> float:
    """A run's score by hand, from its predictions: the mean over the development splits of the paper's metric."""
    values = []
    for split in TASKS[task].validation:
        rows = list(
            csv.DictReader((workdir / cell / "predictions" / f"{split}.tsv").open(), delimiter="\t")
        )
        number = float if TASKS[task].bins else TASKS[task].labels.index
        labels, answers = ([number(row[name]) for row in rows] for name in ("label", "prediction"))
        values.append(metrics.METRICS[TASKS[task].metrics[0]](labels, answers))
    return 100 * statistics.mean(values)


def shown(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


LONG = {
    "full": "Transformer w/ aux LM (full)",
    "no_pretraining": "Transformer w/o pre-training",
    "no_aux_lm": "Transformer w/o aux LM",
    "lstm": "LSTM w/ aux LM",
}
FINISHED = {
    ("lstm", "mnli"): (0,),
    ("lstm", "stsb"): (1,),
    ("lstm", "rte"): (0,),
}  # else seeds 0 and 1


def means(workdir: pathlib.Path, variant: str) -> dict[str, float]:
    return {
        task: statistics.mean(
            score(workdir, f"{task}_{variant}_{seed}", task)
            for seed in FINISHED.get((variant, task), (0, 1))
        )
        for task in ("cola", "stsb", "mnli", "rte")
    }


def test_table_5_has_the_numbers_of_the_files_in_the_papers_order(workdir, page):
    header, *rows = page.tables["Table 5: what each part is worth"]
    assert header[:6] == ["method", "Avg.", "CoLA", "STSB", "MNLI", "RTE"]
    assert [row[0] for row in rows[::2]] == list(LONG.values())
    for row, variant in zip(rows[::2], LONG, strict=True):
        values = means(workdir, variant)
        assert row[1:6] == [shown(statistics.mean(values.values())), *map(shown, values.values())]
    published = [
        ["56.1", "45.4", "82.0", "81.8", "56.0"],
        ["44.8", "18.9", "30.9", "75.7", "53.8"],
    ]  # averages over these four
    assert [row[1:6] for row in rows[1::2]][:2] == [
        ["66.3", *published[0][1:]],
        ["44.8", *published[1][1:]],
    ]
    assert {row[0] for row in rows[1::2]} == {"paper, GLUE test server"}


def test_a_run_on_other_data_has_a_column_of_its_own(workdir, page):
    header, *rows = page.tables["Table 5: what each part is worth"]
    (other,) = [
        place for place, title in enumerate(header) if re.fullmatch(r"RTE \([0-9a-f]{8}\)", title)
    ]
    column = {row[0]: row[other] for row in rows}
    assert column[LONG["lstm"]] == shown(score(workdir, "rte_lstm_1", "rte"))
    assert {name: text for name, text in column.items() if name != LONG["lstm"]} == dict.fromkeys(
        set(column) - {LONG["lstm"]}, "–"
    )
    assert (
        "Runs that have read other data than their task's first run have their own columns"
        in page.text
    )
    assert f"It leaves out {header[other]}." in page.text


def test_differences_are_between_ours_alone(workdir, page):
    with (workdir / "tables/table5_differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    full = means(workdir, "full")
    assert [row["full minus"] for row in rows] == ["w/o pre-training", "w/o aux LM", "LSTM"]
    for row, variant in zip(rows, list(LONG)[1:], strict=True):
        for task, title in (
            ("cola", "CoLA mc"),
            ("stsb", "STSB pc"),
            ("mnli", "MNLI acc."),
            ("rte", "RTE acc."),
        ):
            assert float(row[title]) == pytest.approx(
                full[task] - means(workdir, variant)[task], abs=1e-4
            )
            assert float(row[f"{title} low"]) <= float(row[title]) <= float(row[f"{title} high"])
            assert (
                0 < float(row[f"{title} p"]) <= float(row[f"{title} p_holm"]) <= 1
                and float(row[f"{title} detectable"]) > 0
            )
    assert float(rows[0]["Avg. low"]) > 20, "full answers rightly far more often"
    assert "Without pre-training, the average over 4 tasks falls by" in page.text
    assert "no difference between ours and the paper's is computed" in page.text


def test_a_change_that_is_not_established_is_not_claimed(page):
    (sentence,) = [text for text in re.findall(r"[^.;]*at 100 labelled examples[^(]*", page.text)]
    assert "the change of RTE is not significant" in sentence
    assert "With one seed the spread between seeds is unknown" in page.text


def test_tables_2_to_4_take_the_test_split_where_its_labels_are_public(workdir, page):
    header, ours, paper = page.tables["Table 2: Natural language inference"]
    assert header == ["method", "MNLI-m", "MNLI-mm", "SNLI", "SciTail", "QNLI", "RTE"]
    stored = json.loads((workdir / "snli_full_0/result.json").read_text())["metrics"]
    assert ours[1:] == [
        "–",
        "–",
        shown(100 * stored["test"]["accuracy"]),
        "–",
        "–",
        shown(means(workdir, "full")["rte"]),
    ]
    assert paper[1:] == ["82.1", "81.4", "89.9", "88.3", "88.1", "56.0"]
    assert "Table 3: Question answering" not in page.tables
    assert page.tables["Tasks that the paper's tables do not have"][0] == ["variant", "WNLI"]


def test_where_no_run_has_answered_the_test_split_the_development_split_is_taken(tmp_path):
    for seed in (0, 1):
        finished_runs.write_finetuning_run(tmp_path / f"snli_{seed}", "snli", seed, 0.8)
        result = json.loads((tmp_path / f"snli_{seed}/result.json").read_text())
        del result["metrics"]["test"]
        finished_runs.write_json(tmp_path / f"snli_{seed}/result.json", result)
    points = [finished_runs.point("full", "snli", None, seed, f"snli_{seed}") for seed in (0, 1)]
    finished_runs.write_json(
        tmp_path / "cells.json", {"experiments": {"main": {"setting": "", "points": points}}}
    )
    text = report_page.write(tmp_path).read_text()
    mean = statistics.mean(score(tmp_path, f"snli_{seed}", "snli") for seed in (0, 1))
    assert Page(text).tables["Table 2: Natural language inference"][1][3] == shown(mean)
    assert re.search(r"SNLI<small>dev</small>", text)


def test_the_papers_averages():
    every = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    assert [paper.table5_average(variant, every) for variant in LONG] == [74.7, 59.9, 75.0, 69.1], (
        "as printed"
    )
    assert paper.table5_average("full", ["rte", "cola"]) == pytest.approx((56.0 + 45.4) / 2)
    assert (
        paper.table5_average("full", ["rte", "snli"]) is None
        and paper.table5_average("frozen", ["rte"]) is None
    )
    assert paper.table5("lstm")["mnli"] == 73.7 and paper.table5("frozen") == {}


def test_what_is_amiss_is_told(page):
    assert "Of 50 finetuning runs: 47 finished, 1 failed, 1 unfinished, 1 missing." in page.text
    assert "mnli_lstm_1: the loss is not finite at update 3" in page.text
    assert "Constant prediction: 1cola_no_pretraining_1" in page.text
    runs = {row[0]: row[1:] for row in page.tables["Finetuning runs"][1:]}
    assert runs["cola_no_pretraining_1"][0] == "finished, constant prediction"
    amiss = collections.Counter(
        status.partition(", ")[2] for status, *_ in runs.values() if ", " in status
    )
    assert 0 < amiss["loss at chance"] < 20, "without pretraining answers are guessed"
    told = re.search(
        r"(\d+) finished runs learnt nothing \((.*?)\)\. They count in every number", page.text
    )
    assert int(told[1]) == amiss.total() and {*told[2].split(", ")} == {
        f"{reason} {count}" for reason, count in amiss.items()
    }
    assert [runs[name][0] for name in ("mnli_lstm_1", "stsb_lstm_0", "never_begun")] == [
        "failed",
        "unfinished",
        "missing",
    ]
    assert len(runs) == 50 and runs["rte_full_0"][:5] == [
        "finished",
        "RTE",
        "full",
        "0",
        runs["rte_full_0"][4],
    ]
    assert runs["rte_full_0"][5] == runs["rte_lstm_0"][5] != runs["rte_lstm_1"][5], (
        "hashes of what was read"
    )
    assert runs["rte_full_0"][9] == "table5, main"


def test_an_experiment_that_the_code_does_not_know_appears(workdir, page):
    assert page.tables["A new idea: scores"] == [
        ["model.temperature", "RTE"],
        ["warm & wet", shown(score(workdir, "warm", "rte"))],
    ]


def test_data_sizes_may_differ_in_their_training_rows(page):
    header, *rows = page.tables["How many labelled examples: scores"]
    assert header == ["labelled examples, variant", "RTE"]
    assert [row[0] for row in rows] == [
        f"{size}, {variant}"
        for size in ("100", "1,000", "all")
        for variant in ("full", "w/o aux LM")
    ]
    assert "From 100 to all labelled examples" in page.text
    compared = page.tables["How many labelled examples: full minus variant"]
    assert [row[0] for row in compared] == [
        "full minus",
        "100, w/o aux LM",
        "1,000, w/o aux LM",
        "all, w/o aux LM",
    ]
    score = {row[0]: float(row[1]) for row in rows}
    for name, shown in compared[1:]:
        size = name.partition(", ")[0]
        assert float(shown.rstrip("*").replace("−", "-")) == pytest.approx(
            score[f"{size}, full"] - score[f"{size}, w/o aux LM"], abs=0.11
        )


def test_transfer_probes_and_pretraining_are_there(page):
    assert [row[0] for row in page.tables["Figure 2, left: layers transferred: scores"]] == [
        "layers transferred",
        "none",
        "emb.",
        "1",
        "2",
    ]
    raw = {
        row[0]: row[1:]
        for row in page.tables["Raw scores of the probes, by updates of pretraining"]
    }
    assert raw["SST2 acc., Transformer"] == [
        "validation, 60",
        "50.0",
        "93.2",
        "50.0",
        "67.3",
        "84.6",
    ]
    assert "sentiment analysis 0.80" in page.text and "StoryCloze acc., LSTM" in raw
    trained = {row[0]: row[1] for row in page.tables["Pretraining runs"]}
    assert [trained[name] for name in ("", "status", "updates", "tokens seen")] == [
        "Transformer",
        "finished",
        "40",
        "4,321",
    ]
    assert (trained["held-out loss, nats a token"], trained["held-out perplexity"]) == (
        "3.25",
        "25.79",
    )
    assert (trained["tokens a second, median"], trained["tokens in them"]) == ("525", "1,750")
    assert {"pretrain_transformer/config.json", "../exp_lstm/config.json"} < set(page.references)
    assert (
        page.text.count("after 10 < updates & more")
        == page.text.count("after 40 < updates & more")
        == 2
    ), "one of each body"


def test_the_page_stands_alone(workdir, page):
    text = (workdir / "report.html").read_text()
    assert (
        "http" not in text
        and "<script" not in text
        and "@import" not in text
        and not re.search(r"url\((?!#)", text)
    )
    assert page.tags["img"] == 0 and page.tags["svg"] == page.tags["figure"] > 8
    repeated = [name for name, count in collections.Counter(page.ids).items() if count > 1]
    assert not repeated
    for reference in page.references:
        inside = reference.startswith("#") and reference[1:] in page.ids
        assert inside or (workdir / reference).is_file(), reference
    for used in re.findall(r"url\(#([^)]*)\)", text):
        assert used in page.ids
    assert text.count('scope="col"') and text.count('role="img" aria-label="') == page.tags["svg"]
    assert plots.INK not in text and not any(
        colour in text
        for colour in plots.COLOURS[:-1]
        if colour not in text[: text.index("</style>")]
    )


def test_the_same_runs_give_the_same_bytes(workdir):
    made = [
        path
        for path in sorted(workdir.rglob("*"))
        if path.parent.name in ("tables", "figures") or path.name == "report.html"
    ]
    assert {path.suffix for path in made} == {".md", ".csv", ".tex", ".svg", ".png", ".html"}
    before = {path: path.read_bytes() for path in made}
    command = [sys.executable, "-m", "gpt1_jax.main", "report", str(workdir)]
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "1"}
    )
    assert {path: path.read_bytes() for path in made} == before
    assert not list(workdir.rglob("*.tmp"))


def test_the_tables_files_parse(workdir):
    for path in (workdir / "tables").glob("*.csv"):
        with path.open() as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1 and len(set(rows[0])) == len(rows[0]), path
    for path in (workdir / "tables").glob("*.md"):
        table = [line for line in path.read_text().splitlines() if line.startswith("|")]
        assert (
            len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
            and len({len(line) for line in table}) == 1
        ), path
    for path in (workdir / "tables").glob("*.tex"):
        text = path.read_text()
        rows = text[text.index(r"\toprule") : text.index(r"\bottomrule")].split("\n")
        columns = len(re.search(r"\\begin\{tabular\}\{(l r*)\}".replace(" ", ""), text)[1])
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows if row.endswith(r"\\")} == {
            columns - 1
        }, path
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}") and not re.search(r"(?<!\\)[%#_]", text), path


def test_a_tables_notations():
    cells = [
        Cell("1.5*", "[1, 2]", 1.5, {"low": 1.0, "high": 2.0}),
        Cell("a|b_c"),
        Cell("–", style="absent"),
    ]
    table = Table(
        "t",
        "100% & more",
        "row",
        ["x\nacc.", "y", "z"],
        [Row("one", cells), Row("two", [Cell("7", number=7.0)] * 3, "paper")],
        ["note"],
    )
    assert (
        table.csv()
        == "row,source,x acc.,x acc. low,x acc. high,y,z\none,ours,1.5,1.0,2.0,a|b_c,\ntwo,paper,7.0,,,7.0,7.0\n"
    )
    assert table.markdown().splitlines() == [
        "| row   | x acc.      | y      | z   |",
        "|-------|-------------|--------|-----|",
        r"| one   | 1.5* [1, 2] | a\|b_c | –   |",
        "| *two* | *7*         | *7*    | *7* |",
        "",
        "- note",
    ]
    latex = table.latex()
    assert (
        r"\caption{100\% \& more}" in latex
        and r"one & 1.5* {\scriptsize [1, 2]} & a|b\_c & -- \\" in latex
    )
    assert r"\textit{two} & \textit{7}" in latex
    assert (
        tables.Table("", "", "c", ["rte"], [tables.Row("full", [tables.Cell("50.0")])]).markdown()
        == "| c    | rte  |\n|------|------|\n| full | 50.0 |"
    )


def test_a_run_whose_predictions_are_damaged_has_failed(tmp_path):
    root = tmp_path / "exp"
    for seed in range(3):
        finished_runs.write_finetuning_run(root / f"rte_{seed}", "rte", seed, 0.9)
    lines = (root / "rte_0/predictions/validation.tsv").read_text().splitlines()
    (root / "rte_0/predictions/validation.tsv").write_text("\n".join(lines[:-1]) + "\n")
    (root / "rte_1/predictions/validation.tsv").unlink()
    (root / "rte_2/result.json").write_text('{"trainer": ')
    points = [finished_runs.point("full", "rte", None, seed, f"rte_{seed}") for seed in range(3)]
    finished_runs.write_json(
        root / "cells.json",
        {
            "experiments": {"table5": {"setting": "", "points": points}},
            "pretrain": {},
            "zero_shot": {},
        },
    )
    text = Page(report_page.write(root).read_text()).text
    assert "rte_0: predictions/validation.tsv has 59 rows, but the split has 60" in text
    assert (
        "rte_1: predictions/validation.tsv is missing" in text
        and "rte_2: result.json is damaged" in text
    )
    assert "No run has finished yet." in text and "No run of this experiment has finished." in text


def test_the_page_of_a_pretraining_run(tmp_path):
    finished_runs.write_pretraining_run(tmp_path / "exp_books", "transformer")
    page = Page(report_page.write(tmp_path / "exp_books").read_text())
    assert set(page.tables) == {"Pretraining runs"} and page.tags["svg"] == 2
    assert "config.json" in page.references and "What the Transformer wrote" in page.text


def test_the_command_line(tmp_path):
    finished_runs.write_pretraining_run(tmp_path / "exp_books", "lstm")
    command = [sys.executable, "-m", "gpt1_jax.main", "report"]
    done = subprocess.run([*command, str(tmp_path / "exp_books")], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        f"{tmp_path}/exp_books/report.html",
    ), done.stderr
    assert (
        "runs/exp_ablations"
        in subprocess.run([*command, "--help"], capture_output=True, text=True).stdout
    )
    refused = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (
        2,
        1,
    ) and "has no cells.json" in refused.stderr
    assert subprocess.run(command, capture_output=True, text=True).returncode == 2


def test_folders_that_cannot_be_reported(tmp_path):
    with pytest.raises(UserError, match="has no cells.json and is not a pretraining run"):
        report_page.write(tmp_path / "nowhere")
    (tmp_path / "cells.json").write_text("{")
    with pytest.raises(UserError, match="cells.json: not valid JSON"):
        report_page.write(tmp_path)
    (tmp_path / "cells.json").write_text('{"experiments": {"table5": {"points": []}}}')
    with pytest.raises(UserError, match="cells.json: does not have the format of an ablation"):
        report_page.write(tmp_path)


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# A window narrower than 500 pixels is not to be had, so the page is shown in frames of the widths that are wanted.
FRAMES = """<!doctype html><body><script>
const found = [], widths = [360, 1280];
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 800px; border: 0`;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const boxes = [...page.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect());
    found.push({width: root.clientWidth, content: root.scrollWidth, body: page.body.scrollWidth, figures: boxes.length,
      narrowest: Math.min(...boxes.map(box => box.width)), lowest: Math.min(...boxes.map(box => box.height)),
      right: Math.max(...boxes.map(box => box.right)), ground: frame.contentWindow.getComputedStyle(page.body).backgroundColor});
    if (found.length == widths.length) document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
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
    ]
    options += [
        f"--user-data-dir={tmp_path}/profile",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    ]
    ended = subprocess.run(
        [BROWSER, *options, "--dump-dom", f"file://{tmp_path}/frames.html"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in ended.stderr, ended.stderr
    found = json.loads(re.search("FOUND(.*)END", ended.stdout)[1])
    assert sorted(entry["width"] for entry in found) == [360, 1280]
    for entry in found:
        assert max(entry["content"], entry["body"], entry["right"]) <= entry["width"]
        assert (
            entry["figures"] == page.tags["svg"]
            and entry["narrowest"] > 250
            and entry["lowest"] > 150
        )
        assert (sum(map(int, re.findall(r"\d+", entry["ground"])[:3])) < 300) == (scheme == "dark")
