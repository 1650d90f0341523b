"""The report on configs/1989: the paper's own digits and its own optimizer, against the paper's numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report.figures import curves_figure, title_of
from lecun_repro.report.published import BY_ROW
from lecun_repro.report.published_1989 import BY_CONFIG, CONVOLUTIONAL, PASSES
from lecun_repro.report.results import Results, Rows, paired, runs_note
from lecun_repro.report.search import search_table
from lecun_repro.report.statistics import mean_interval, prediction_interval, reproduced
from lecun_repro.report.tables import NONE, span, spread, table
from lecun_repro.tensorboard.figures import rejection_figure

BASELINE, NEWTON, PAPER, CONTROL = "1_article_baseline_on_usps", "2_newton", "3_paper", "6_sgd_control"
RULES = f"""\
These rules were written down before the runs.

- Every run trains one YAML with one seed, to its last pass. Nothing is selected: not a pass, not a seed. What the paper
  leaves open was chosen on 1,000 training digits held out (see *The search*); the test digits were loaded by the runs
  of the tables alone.
- The 95 % interval of a mean is Student's t over the seeds: how well the mean over seeds is known on these digits.
  Another 2,007 digits would give another mean (a standard error of 0.49 points at 5 %).
- A number of the paper is *reproduced* if it lies within our 95 % prediction interval for one new seed (Student's t);
  otherwise ours is *higher* or *lower*. Counts are compared where the paper has them, else errors.
- **First doubt**, "do these digits explain the paper's {CONVOLUTIONAL.test_error:.1f} % test error?": *yes* if the
  paper's {CONVOLUTIONAL.test_misses} test misses are reproduced by `{BASELINE}`, which differs
  from the article's first row in its digits alone; else *no*, ours being higher or lower.
- **Second doubt**, "do the paper's optimizer and sigmoid explain its {CONVOLUTIONAL.train_error:.2f} % training
  error?": *yes* if the paper's {CONVOLUTIONAL.train_misses} training misses are reproduced by `{PAPER}` and not by
  `{BASELINE}`; else *in part* if the 95 % interval of the mean difference between the two
  in training misses, paired by seed, lies below 0; else *no*.
- Newton *halves* the training error if the mean training misses of `{NEWTON}` are at most half those of
  `{BASELINE}`. The two differ in the target and the initial range as well; from `{CONTROL}`,
  which is SGD with these, Newton differs in the optimizer alone: it is *better* or *worse* in training misses if the
  95 % interval of the mean difference, paired by seed, excludes 0, else a difference is *not shown*.
- A digit is rejected if its two highest outputs of the head differ by less than a threshold; digits of equal difference
  go together. "Rejected" is the smallest share that leaves 1 % of error or less, found on the test digits themselves,
  as the paper's evidently is.
- MSE is our mean over patterns and the ten outputs. Whether the paper's is, is not known; ours are comparable with one
  another where the targets are +1 and -1.
"""


def figures(rows: Rows, name: str) -> dict[str, Figure | None]:
    """The learning curves beside the paper's end points, and the rejection curves."""
    paper = {"train": (PASSES, CONVOLUTIONAL.train_error), "test": (PASSES, CONVOLUTIONAL.test_error)}
    rejections = {
        title_of(row): [r["test"]["rejection"] for r in results]
        for row, results in rows.items()
        if all(r["test"].get("rejection") for r in results)
    }
    return {
        f"{name}_curves.png": curves_figure(rows, paper),
        f"{name}_rejection.png": rejection_figure(rejections, (CONVOLUTIONAL.rejected, 1.0)) if rejections else None,
    }


def document(name: str, rows: Rows, search: Sequence[dict[str, Any]], shown: Sequence[str]) -> str:
    """The whole report as Markdown."""
    parts = [f"# Results: {name}", "Written by `python cli.py report` from the raw results beside it.", RULES.strip()]
    parts += ["## Against the paper", against_table(rows), "## The two doubts", doubts(rows)]
    parts += [f"![{figure}]({figure})" for figure in shown]
    if search:
        parts += ["## The search", search_table(search)]
    parts += ["## Runs", runs_note(rows)]
    return "\n\n".join(parts) + "\n"


def misses(results: Sequence[Results], split: str) -> list[int]:
    return [r[split]["misses"] for r in results]


def errors(results: Sequence[Results], split: str) -> list[float]:
    return [r[split]["error"] for r in results]


def verdict(results: Sequence[Results], split: str, count: int | None, error: float) -> str:
    """Whether the paper's number is one that another seed of ours could give."""
    return reproduced(misses(results, split), count) if count else reproduced(errors(results, split), error)


def on_the_papers_digits(results: Sequence[Results]) -> bool:
    return all((r["source"], r["train"]["n"], r["test"]["n"]) == ("usps", 7291, 2007) for r in results)


def against_table(rows: Rows) -> str:
    """Per configuration ours, then the paper's numbers and the verdicts."""
    header = ["config", "n", "train error %", "train misses", "train MSE", "test error %", "95 % of the mean"]
    header += ["test misses", "test MSE", "rejected % for 1 % error", "paper: train", "paper: test"]
    printed = CONVOLUTIONAL
    first = ["*paper*", "1", f"{printed.train_error}", f"{printed.train_misses}", f"{printed.train_mse:.1e}"]
    first += [f"{printed.test_error:.2f}", NONE, f"{printed.test_misses}", f"{printed.test_mse:.1e}"]
    lines = [[*first, f"{printed.rejected}", NONE, NONE]]
    for row, results in rows.items():
        line = [f"`{row}`", str(len(results))]
        for split in ("train", "test"):
            losses = [r[split]["loss"] for r in results]
            line += [spread(errors(results, split))]
            line += [span(mean_interval(errors(results, split)))] if split == "test" else []
            line += [spread(misses(results, split), 1)]
            line += [f"{np.mean(losses):.1e}" if row != "5_modern" else NONE]  # a cross-entropy
        rejected = [r["test"]["rejected_at_1_percent"] for r in results if "rejected_at_1_percent" in r["test"]]
        line += [spread(rejected, 1) if rejected else NONE]
        paper = BY_CONFIG.get(row)
        if paper is None or not on_the_papers_digits(results):
            line += [NONE, NONE]
        else:
            line += [f"*{verdict(results, 'train', paper.train_misses, paper.train_error)}*"]
            line += [f"*{verdict(results, 'test', paper.test_misses, paper.test_error)}*"]
        lines.append(line)
    text = table(header, lines)
    if "4_fully_connected" in rows:
        text += (
            "\n\n`4_fully_connected` is held against the paper's fully connected net (likely; a secondary source): "
            "train error 1.6 %, test error 8.1 %, 19.4 % rejected."
        )
    if "5_modern" in rows:
        text += (
            f"\n\n`5_modern` is the article's row 5, which on as many digits of MNIST has "
            f"{BY_ROW['5_dropout_relu'].test_error} %: what 33 years buy on the paper's digits."
        )
    return text


def doubts(rows: Rows) -> str:
    """The verdicts, each with its n and interval."""
    rows = {row: results for row, results in rows.items() if len(results) > 1 and on_the_papers_digits(results)}
    lines = []
    if baseline := rows.get(BASELINE):
        count = CONVOLUTIONAL.test_misses or 0
        found = reproduced(misses(baseline, "test"), count)
        answer = "yes" if found == "reproduced" else f"no ({found})"
        lines.append(
            f"- **Do these digits explain the paper's test error?** *{answer}*: the article's baseline on them misses "
            f"{spread(misses(baseline, 'test'), 1)} of {baseline[0]['test']['n']:,} (n = {len(baseline)}; a new seed: "
            f"{span(prediction_interval(misses(baseline, 'test')), 1)}); the paper {count}, the article on MNIST "
            f"{BY_ROW['1_baseline'].test_misses}."
        )
    if (ours := rows.get(PAPER)) and baseline:
        count = CONVOLUTIONAL.train_misses or 0
        differences = [b["train"]["misses"] - a["train"]["misses"] for a, b in paired(baseline, ours)]
        interval = mean_interval(differences)
        of_ours, of_baseline = (reproduced(misses(r, "train"), count) for r in (ours, baseline))
        answer = "no"
        if of_ours == "reproduced" and of_baseline != "reproduced":
            answer = "yes"
        elif interval.high < 0:
            answer = "in part"
        lines.append(
            f"- **Do its optimizer and sigmoid explain its training error?** *{answer}*: `{PAPER}` misses "
            f"{spread(misses(ours, 'train'), 1)} of {ours[0]['train']['n']:,} (n = {len(ours)}; a new seed: "
            f"{span(prediction_interval(misses(ours, 'train')), 1)}), the baseline "
            f"{spread(misses(baseline, 'train'), 1)} (n = {len(baseline)}; a new seed: "
            f"{span(prediction_interval(misses(baseline, 'train')), 1)}), the paper {count}; the mean difference, "
            f"paired by seed, is {np.mean(differences):+.1f} (95 % {span(interval, 1)}, n = {len(differences)})."
        )
        count = CONVOLUTIONAL.test_misses or 0
        lines.append(
            f"- With optimizer and sigmoid, the test error is *{reproduced(misses(ours, 'test'), count)}*: `{PAPER}` "
            f"misses {spread(misses(ours, 'test'), 1)} (n = {len(ours)}; a new seed: "
            f"{span(prediction_interval(misses(ours, 'test')), 1)}), the paper {count}."
        )
    if (newton := rows.get(NEWTON)) and baseline:
        ratio = float(np.mean(misses(newton, "train"))) / max(float(np.mean(misses(baseline, "train"))), 1.0)
        lines.append(
            f"- **Does Newton halve the training error?** *{'yes' if ratio <= 0.5 else 'no'}*: "
            f"{spread(misses(newton, 'train'), 1)} misses (n = {len(newton)}) are {ratio:.2f} of the baseline's."
        )
    if (newton := rows.get(NEWTON)) and (control := rows.get(CONTROL)):
        differences = [b["train"]["misses"] - a["train"]["misses"] for a, b in paired(control, newton)]
        interval = mean_interval(differences)
        answer = "better" if interval.high < 0 else "worse" if interval.low > 0 else "not shown"
        lines.append(
            f"- **Is that Newton's doing?** Against SGD with the same target and initial range, in training misses: "
            f"*{answer}*, {spread(misses(control, 'train'), 1)} with SGD, mean difference {np.mean(differences):+.1f} "
            f"(95 % {span(interval, 1)}, n = {len(differences)}, paired by seed)."
        )
    return "\n".join(lines) or "A verdict needs two seeds or more, on the paper's digits."
