"""`report`: tables and figures from raw results alone."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from lecun_repro.errors import BadArgument
from lecun_repro.files import write_atomically
from lecun_repro.report import article, beyond, claims, pages, paper, plain, searches
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.printed import claims_in_short, rows_in_short
from lecun_repro.report.results import load, load_diverged, load_tested, on_test_digits, one_run, read_list
from lecun_repro.report.rules import read_rules
from lecun_repro.report.search import Tried
from lecun_repro.report.tables import diverged_note
from lecun_repro.runs.record import RESULTS

OTHERS = ("perturbed", "plain_loop")  # results beside the article's that its report takes in


def report(results: str = "results/article.json") -> None:
    """Writes the tables and figures of raw results, beside them. Trains nothing.

    Args:
        results: A JSON list of `results.json` objects, as `reproduce` collects them, or the trials of a `search`. Of
            one run's own `results.json`, or its folder, the error is printed, and nothing is written.
    """
    path = Path(results)
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise BadArgument(
            "results", f"{path}, which is not there", "a JSON list of results, as reproduce collects them"
        )
    if path.stem.endswith("_draws"):  # part of the report on the article's own draw
        path = path.with_name(path.name.replace("_draws", ""))
    of_earlier = path.with_stem(path.stem.removesuffix(claims.LATER))
    if of_earlier.is_file() and of_earlier.with_suffix(".toml").is_file():  # which later claims are part of
        path = of_earlier
    if (search := searches.find(path)) is not None:
        text = searches.document(search, save(searches.figures(search), path.parent, sharpness=1))
        write_atomically(path.with_suffix(".md"), text)
        return print(path.with_suffix(".md"))
    if (run := one_run(path)) is not None:
        print(rows_in_short({run.row: [run]}, {}))
        return print(f"one run, and so no interval: reproduce --seeds 5 makes several of {run.row}, and their report")
    name = path.stem
    beside = path.with_suffix(".toml")
    of_claims = beside.is_file() and name != beyond.NAME
    rows, draws = (load_tested if of_claims else load)(path), load(path.with_name(f"{name}_draws.json"))
    lost = diverged_note(rows, load_diverged(path.with_name(f"{name}_diverged.json")))
    of_draws = load_diverged(path.with_name(f"{name}_draws_diverged.json"))
    lost += diverged_note(draws, of_draws, " with draws of their own")
    if of_claims:
        later = path.with_stem(f"{name}{claims.LATER}")
        lost += diverged_note(load(later), load_diverged(later.with_stem(f"{later.stem}_diverged")))
    held_out = read_list(path.with_name(f"{name}_search.json"), Tried)

    of_folder = published_rows(rows, "1989" if name == "1989" else "article")
    in_short = rows_in_short(rows, draws)
    # What is beside the results, and their name, say which report is theirs.
    if of_claims:
        file = claims.read(beside)
        answered = claims.answers(file, rows)
        save(claims.figures(file, answered), path.parent)
        text = claims.document(file, answered, rows, held_out)
        in_short = claims_in_short(answered)
    elif name == beyond.NAME and beside.is_file():
        tried = read_list(path.with_name(f"{name}_choice.json"), beyond.Tried)
        scaling = load_tested(path.with_name("scaling.json"))
        scaling = {row: of_row for row, of_row in scaling.items() if row not in rows}  # which has the teachers
        shown = save(beyond.figures(rows, path, scaling), path.parent)
        readings = read_list(path.with_name(f"{name}_readings.json"), beyond.Reading)
        plain_loop = beyond.plain_seconds(path.parent)
        text = beyond.document(name, rows, beyond.rules(beside), tried, shown, plain_loop, readings, scaling)
    elif not of_folder or not all(map(on_test_digits, [*rows.values(), *draws.values()])):
        text = plain.document(name, rows, draws, save(plain.figures(name, rows), path.parent))
    elif name == "1989":
        rules, cells = read_rules(path), load(path.parent / "holdout" / path.name)
        shown = save(paper.figures(name, rows), path.parent)
        text = paper.document(name, rows, held_out, shown, rules, cells)
    else:
        rules, *others = read_rules(path), *(load(path.with_name(f"{other}.json")) for other in OTHERS)
        shown = save(article.figures(name, rows), path.parent)
        text = article.document(name, rows, draws, shown, rules, *others)
    if lost:  # before all tables, as it bears on every one of them
        text = text.replace("\n## ", "\n".join(["\n## Diverged", "", *lost, "", "## "]), 1)
    write_atomically(path.with_suffix(".md"), text)
    for page, content in pages.refreshed(path):
        write_atomically(page, content)
    print(in_short, f"report: {path.with_suffix('.md')}", sep="\n")


def save(figures: dict[str, Figure | None], folder: Path, sharpness: int = 2) -> list[str]:
    """Writes figures, and returns the names of those that are there: one that cannot be drawn anew stays as it was.

    Their resolution is `sharpness` times a README's: once for searches, of which there are many.
    """
    for name, figure in figures.items():
        if figure is not None:
            write_atomically(folder / name, png(figure, sharpness))
    return [name for name in figures if (folder / name).exists()]


def png(figure: Figure, sharpness: int) -> bytes:
    """A figure in few enough colours to be small."""
    figure.savefig(drawn := io.BytesIO(), format="png", dpi=100 * sharpness, metadata={"Software": None})
    Image.open(drawn).convert("RGB").quantize(96).save(small := io.BytesIO(), format="png", optimize=True)
    return small.getvalue()
