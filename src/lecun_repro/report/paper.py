"""The report on configs/1989: the paper's own digits and its own optimizer, against the paper's numbers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report import tables
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.figures import curves_figure
from lecun_repro.report.published import BASELINE as ARTICLE_BASELINE
from lecun_repro.report.published import BY_CONFIG, BY_ROW, CONVOLUTIONAL, MODERN, PAPER_PASSES, title_of
from lecun_repro.report.results import Rows, errors, misses, paired
from lecun_repro.report.search import Tried, search_table
from lecun_repro.report.statistics import Interval, mean_interval, prediction_interval, reproduced
from lecun_repro.report.tables import NONE, image, span, spread, table
from lecun_repro.runs.results import RunResult
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


def figures(name: str, rows: Rows) -> dict[str, Figure | None]:
    """By file name: the learning curves beside the paper's end points, and the rejection curves."""
    paper = {"train": (PAPER_PASSES, CONVOLUTIONAL.train_error), "test": (PAPER_PASSES, CONVOLUTIONAL.test_error)}
    curves = {title_of(row): [r.test.rejection for r in results] for row, results in rows.items()}
    complete = {title: rejection for title, rejection in curves.items() if None not in rejection}
    return {
        f"{name}_curves.png": curves_figure(rows, paper=paper),
        f"{name}_rejection.png": rejection_figure(complete, (CONVOLUTIONAL.rejected, 1.0)) if complete else None,  # type: ignore[arg-type]
    }


def document(name: str, rows: Rows, search: Sequence[Tried], shown: Sequence[str]) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    parts = [RULES.strip(), "## Against the paper", against_table(rows), "## The two doubts", doubts(rows)]
    parts += [*map(image, shown), *(["## The search", search_table(search)] if search else [])]
    return tables.document(name, parts, rows)


def verdict(results: Sequence[RunResult], split: str, count: int | None, error: float) -> str:
    """Whether the paper's number is one that another seed of ours could give."""
    return reproduced(misses(results, split), count) if count else reproduced(errors(results, split), error)


def against_table(rows: Rows) -> str:
    """Per configuration ours, then the paper's numbers and the verdicts."""
    header = ["config", "n", "train error %", "train misses", "train MSE", "test error %", "95 % of the mean"]
    header += ["test misses", "test MSE", "rejected % for 1 % error", "paper: train", "paper: test"]
    printed = CONVOLUTIONAL
    first = ["*paper*", "1", f"{printed.train_error}", f"{printed.train_misses}", f"{printed.train_mse:.1e}"]
    first += [f"{printed.test_error:.2f}", NONE, f"{printed.test_misses}", f"{printed.test_mse:.1e}"]
    lines, own = [[*first, f"{printed.rejected}"]], published_rows(rows, "1989")
    for row, results in rows.items():
        line = [f"`{row}`", str(len(results))]
        for split in ("train", "test"):
            line += [spread(errors(results, split))]
            line += [span(mean_interval(errors(results)))] if split == "test" else []
            line += [spread(misses(results, split), 1)]
            # The modern one's loss is a cross-entropy.
            line += [f"{np.mean([r.splits[split].loss for r in results]):.1e}" if row != "5_modern" else NONE]
        rejected = [r.test.rejected_at_1_percent for r in results if r.test.rejected_at_1_percent is not None]
        line += [spread(rejected, 1) if rejected else NONE]
        paper = BY_CONFIG.get(row)
        if paper is not None and row in own:
            line += [f"*{verdict(results, 'train', paper.train_misses, paper.train_error)}*"]
            line += [f"*{verdict(results, 'test', paper.test_misses, paper.test_error)}*"]
        lines.append(line)
    text = table(header, lines)
    if "4_fully_connected" in own:
        text += (
            "\n\n`4_fully_connected` is held against the paper's fully connected net (likely; a secondary source): "
            "train error 1.6 %, test error 8.1 %, 19.4 % rejected."
        )
    if "5_modern" in own:
        text += (
            f"\n\n`5_modern` is the article's row 5, which on as many digits of MNIST has "
            f"{BY_ROW[MODERN].test_error} %: what 33 years buy on the paper's digits."
        )
    return text


def doubts(rows: Rows) -> str:
    """The verdicts, each with its n and interval."""
    rows = {row: results for row, results in published_rows(rows, "1989").items() if len(results) > 1}
    lines = []
    if baseline := rows.get(BASELINE):
        lines.append(digits_explain_the_test_error(baseline))
    if paired(rows, BASELINE, PAPER):
        ours = rows[PAPER]
        lines.append(optimizer_explains_the_training_error(rows))
        count = CONVOLUTIONAL.test_misses or 0
        lines.append(
            f"- With optimizer and sigmoid, the test error is *{reproduced(misses(ours), count)}*: `{PAPER}` "
            f"misses {of_a_new_seed(ours, 'test')}, the paper {count}."
        )
    if baseline and (newton := rows.get(NEWTON)):
        ratio = float(np.mean(misses(newton, "train"))) / max(float(np.mean(misses(baseline, "train"))), 1.0)
        lines.append(
            f"- **Does Newton halve the training error?** *{'yes' if ratio <= 0.5 else 'no'}*: "
            f"{spread(misses(newton, 'train'), 1)} misses (n = {len(newton)}) are {ratio:.2f} of the baseline's."
        )
    if paired(rows, CONTROL, NEWTON):
        differences, interval = training_differences(rows, CONTROL, NEWTON)
        answer = "better" if interval.high < 0 else "worse" if interval.low > 0 else "not shown"
        lines.append(
            f"- **Is that Newton's doing?** Against SGD with the same target and initial range, in training misses: "
            f"*{answer}*, {spread(misses(rows[CONTROL], 'train'), 1)} with SGD, mean difference "
            f"{np.mean(differences):+.1f} (95 % {span(interval, 1)}, n = {len(differences)}, paired by seed)."
        )
    return "\n".join(lines) or "A verdict needs two seeds or more."


def digits_explain_the_test_error(baseline: Sequence[RunResult]) -> str:
    """The first doubt."""
    count = CONVOLUTIONAL.test_misses or 0
    of_baseline = reproduced(misses(baseline), count)
    answer = "yes" if of_baseline == "reproduced" else f"no ({of_baseline})"
    expected = of_a_new_seed(baseline, "test", f" of {baseline[0].test.n:,}")
    return (
        f"- **Do these digits explain the paper's test error?** *{answer}*: the article's baseline on them misses "
        f"{expected}; the paper {count}, the article on MNIST {BY_ROW[ARTICLE_BASELINE].test_misses}."
    )


def optimizer_explains_the_training_error(rows: Rows) -> str:
    """The second doubt."""
    count = CONVOLUTIONAL.train_misses or 0
    differences, interval = training_differences(rows, BASELINE, PAPER)
    answer = "in part" if interval.high < 0 else "no"
    of_paper, of_baseline = (reproduced(misses(rows[row], "train"), count) for row in (PAPER, BASELINE))
    if of_paper == "reproduced" and of_baseline != "reproduced":
        answer = "yes"
    expected = of_a_new_seed(rows[PAPER], "train", f" of {rows[PAPER][0].train.n:,}")
    return (
        f"- **Do its optimizer and sigmoid explain its training error?** *{answer}*: `{PAPER}` misses {expected}, "
        f"the baseline {of_a_new_seed(rows[BASELINE], 'train')}, the paper {count}; the mean difference, "
        f"paired by seed, is {np.mean(differences):+.1f} (95 % {span(interval, 1)}, n = {len(differences)})."
    )


def of_a_new_seed(results: Sequence[RunResult], split: str, of_n: str = "") -> str:
    """`93.4 ± 7.2 of 2,007 (n = 10; a new seed: 76.3 to 110.5)`."""
    counts = misses(results, split)
    interval = span(prediction_interval(counts), 1)
    return f"{spread(counts, 1)}{of_n} (n = {len(counts)}; a new seed: {interval})"


def training_differences(rows: Rows, before: str, after: str) -> tuple[list[int], Interval]:
    """In training misses, paired by seed, with the 95 % interval of their mean."""
    differences = [second.train.misses - first.train.misses for first, second in paired(rows, before, after)]
    return differences, mean_interval(differences)
