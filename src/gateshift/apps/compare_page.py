"""The page of a comparison: accuracy against parameters and against multiply-accumulates, and the figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateshift.engine.pages import render_page
from gateshift.engine.scatter import Measured, Scatter, scatter_chart
from gateshift.evidence.paired import chance_text
from gateshift.writing import write_text

MEASURED_ON = {  # split -> what to know of its accuracy
    "test": "Top-1 of the best epoch's weights on {} test videos, by which nothing was chosen.",
    "val": "Top-1 of the best epoch on {} validation videos, the ones it was chosen by: a little too good.",
}


def write_comparison(folder: Path, comparison: Mapping[str, Any]) -> None:
    """Write ``compare.json`` and ``compare.html``."""
    write_text(folder / "compare.json", json.dumps(comparison, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "compare.html", render_page("compare.html.j2", page_values(comparison)))


def page_values(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the page shows."""
    results, waiting = comparison["results"], comparison["waiting"]
    return {
        "title": f"{comparison['backbone']} on {Path(comparison['data']).name}",
        "recipe": comparison["recipe"],
        "num_finished": len(results),
        "num_variants": len(results) + len(waiting),
        "waiting": waiting,
        "ablation": any(row["options"] for row in results),
        "backbones": len({row["backbone"] for row in results}) > 1,
        "chance_text": chance_text,
        "measured_on": MEASURED_ON[results[0]["split"]].format(results[0]["videos"]),
        "charts": [
            _chart("parameters", "M parameters", results, "params", 1e6),
            _chart("multiply-accumulates", "G multiply-accumulates a clip", results, "macs", 1e9),
        ],
        "results": [row | {"report": f"{Path(row['run']).name}/report.html"} for row in results],
    }


def _chart(cost: str, x_name: str, results: Sequence[Mapping[str, Any]], key: str, unit: float) -> Scatter:
    """Return the chart of accuracy against one cost."""
    several = len({row["backbone"] for row in results}) > 1
    measured = [
        Measured(
            " ".join(filter(None, [row["options"] or row["temporal"], row["backbone"] if several else ""])),
            row[key] / unit,
            row["top1"],
            tuple(row["top1_interval"]),
        )
        for row in results
    ]
    return scatter_chart(f"Accuracy against {cost}", x_name, measured)
