"""`report`: tables and figures from raw results alone."""

from pathlib import Path

from matplotlib.figure import Figure

from lecun_repro.errors import fault
from lecun_repro.files import write_atomically
from lecun_repro.report.article import document
from lecun_repro.report.figures import curves_figure, missed_figure, waterfall_figure
from lecun_repro.report.results import load
from lecun_repro.report.search import load_search
from lecun_repro.report.tables import diverged_note


def report(results: str = "results/article.json") -> None:
    """Writes the tables and figures of raw results, beside them. Trains nothing.

    Args:
        results: A JSON list of `results.json` objects, as `reproduce` collects them.
    """
    from lecun_repro.report import claims as report_claims  # which build on this module
    from lecun_repro.report import paper as report_1989

    path = Path(results)
    if not path.is_file():
        raise fault("results", f"{path}, which is not there", "a JSON list of results, as reproduce collects them")
    if path.stem.endswith("_draws"):  # part of the report on the article's own draw
        path = path.with_name(path.name.replace("_draws", ""))
    rows = load(path)
    draws = load(path.with_name(f"{path.stem}_draws.json"))
    diverged = load(path.with_name(f"{path.stem}_diverged.json"))
    diverged_draws = load(path.with_name(f"{path.stem}_draws_diverged.json"))
    lost = diverged_note(rows, diverged) + diverged_note(draws, diverged_draws, " with draws of their own")
    figures: dict[str, Figure | None] = {}
    claims = path.with_suffix(".toml")
    if claims.is_file():
        answers = report_claims.answers(claims, rows)
        figures = report_claims.figures(claims, answers)
    elif rows and path.stem == "1989":
        figures = report_1989.figures(rows, path.stem)
    elif rows:
        figures[f"{path.stem}_steps.png"] = waterfall_figure(rows)
        figures[f"{path.stem}_curves.png"] = curves_figure(rows)
        if "5_dropout_relu" in rows:
            figures[f"{path.stem}_missed.png"] = missed_figure(rows["5_dropout_relu"])
    names = []
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(path.with_name(name), dpi=100, metadata={"Software": None})
        if figure is not None or path.with_name(name).exists():
            names.append(name)
    if claims.is_file():
        search = load_search(path.with_name(f"{path.stem}_search.json"))
        text = report_claims.document(claims, answers, rows, search)
    elif path.stem == "1989":
        text = report_1989.document(path.stem, rows, load_search(path.with_name("1989_search.json")), names)
    else:
        text = document(path.stem, rows, draws, names)
    if lost:  # before all tables, as it bears on every one of them
        text = text.replace("\n## ", "\n".join(["\n## Diverged", "", *lost, "", "## "]), 1)
    write_atomically(path.with_suffix(".md"), text)
    print(path.with_suffix(".md"))
