"""How much the answers of trained networks change when a digit is turned: measured equivariance.

command:   python benchmarks/equivariance.py           (one process; under a minute on an idle core)
quick:     python benchmarks/equivariance.py --quick   (40 steps a network; writes nothing)
expected:  0 at quarter turns for every steerable network, whatever its weights; between them the augmented networks
           change least; docs/equivariance.svg and the table in docs/steerable.md are rewritten

Each network is trained on 480 digits at any angle (400 steps, seed 1, the rates of studies/vision/steerable.toml's
grid's middle). Then logits of 500 validation digits, upright, and of the same turned by 0 to 90 degrees:
``|logits(turned) - logits(upright)| / |logits(upright) - mean logits|``, both as root mean squares over images. Turning
by interpolation is itself not exact: nothing here tells its share from the grid's and the padding's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from isoloss.algorithms import Rung, algorithms
from isoloss.runs import Context, StepRule
from isoloss.tasks.rotated_mnist import RotatedMnist, turned
from isoloss.training.loop import Member

DOCS = Path(__file__).parents[1] / "docs"
ANGLES = tuple(range(0, 91, 5))
#: Label -> algorithm and choices.
NETWORKS = {
    "plain": ("geometry/plane-cnn", {"width": 8}),
    "augmented": ("geometry/plane-cnn", {"width": 35, "augmented": True}),
    "C4": ("geometry/steerable-regular", {"width": 6, "group": "C4"}),
    "C8": ("geometry/steerable-regular", {"width": 4, "group": "C8"}),
    "C8, augmented": ("geometry/steerable-regular", {"width": 4, "group": "C8", "augmented": True}),
    "SO(2)": ("geometry/steerable-harmonic", {"width": 5}),
}


def trained(name: str, choices: dict[str, object], steps: int, task: RotatedMnist) -> tuple[torch.nn.Module, float]:
    """The network, and its validation error."""
    algorithm = algorithms.get(name)()
    asked = algorithm.Choices(**choices, lr=0.01, weight_decay=0.3)
    torch.manual_seed(1)
    trainee = algorithm.build(task, algorithm.resolve(task, Rung("labels", 480, StepRule("constant", steps)), asked), 1)
    outcome = Member(trainee, ("validation",), Context()).train()
    return trainee.model.eval(), outcome.qualities["validation"]


def changes(model: torch.nn.Module, x_b1hw: torch.Tensor) -> list[float]:
    """Relative change of the logits at each of `ANGLES`."""
    with torch.no_grad():
        still = model(x_b1hw)
        size = (still - still.mean(0)).square().mean().sqrt()
        found = [model(turned(x_b1hw, torch.full((len(x_b1hw),), np.deg2rad(a)))) - still for a in ANGLES]
    return [float(apart.square().mean().sqrt() / size) for apart in found]


def draw(rows: list[dict[str, object]]) -> str:
    """The figure (SVG)."""
    import altair as alt
    import vl_convert

    from isoloss.report.figures.canvas import Figure

    scale = alt.Scale(domain=list(NETWORKS))
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X("degrees:Q", title="image turned by, degrees", scale=alt.Scale(domain=[0, 90], nice=False)),
            y=alt.Y("change:Q", title="relative change of the logits"),
            color=alt.Color("network:N", scale=scale, legend=alt.Legend(orient="right", title=None)),
            strokeDash=alt.StrokeDash("network:N", scale=scale, legend=None),
        )
        .properties(width=420, height=240)
    )
    body = {k: v for k, v in chart.to_dict(validate=False).items() if k != "config"}
    alternative = "Change of the logits of six trained networks when the image is turned by 0 to 90 degrees."
    figure = Figure("equivariance", "Measured equivariance", alternative, body, rows)
    return str(vl_convert.vegalite_to_svg({**body, "config": figure.spec()["config"], "description": figure.alt}))


BEGIN, END = "<!-- begin: benchmarks/equivariance.py -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 steps a network; print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    task = RotatedMnist()
    task.prepare()
    upright = torch.from_numpy(task.stored("validation")[0][:500].astype(np.float32) / 255).unsqueeze(1)
    lines = [
        "| network | validation error | change at 10° | 22.5° (mean of 20° and 25°) | 45° | 90° |",
        "|---|---|---|---|---|---|",
    ]
    rows: list[dict[str, object]] = []
    for label, (name, choices) in NETWORKS.items():
        model, error = trained(name, choices, 40 if asked.quick else 400, task)
        found = changes(model, upright)
        at = dict(zip(ANGLES, found, strict=True))
        lines.append(
            f"| {label} | {error:.3f} | {at[10]:.3f} | {(at[20] + at[25]) / 2:.3f} | {at[45]:.3f} | {at[90]:.1e} |"
        )
        rows += [{"network": label, "degrees": a, "change": v} for a, v in at.items()]
    text = "\n".join(lines)
    print(text)
    if not asked.quick:
        page = DOCS / "steerable.md"
        head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
        (DOCS / "equivariance.svg").write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
