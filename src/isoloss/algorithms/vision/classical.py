r"""What pixels give without a network: principal components, then logistic regression or label spreading.

The components are those of the training images without labels; scikit-learn does all of it. With m images without
labels of p pixels, n with, k components and c classes, FLOPs by formula (nothing here is counted): the covariance
:math:`2 m p^2` and its eigenvectors :math:`9 p^3`, the projection :math:`2 (m + n) p k`; logistic regression
:math:`4 n k c` an iteration; label spreading over N = m + n images :math:`2 N^2 k` for their distances and
:math:`2 N b c` an iteration with b neighbours.

Sources: Pearson 1901 (components); Zhou et al. 2004 (label spreading), both by scikit-learn.
"""

from __future__ import annotations

import abc
import functools
import json
import time
import warnings
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from isoloss.algorithms import algorithm
from isoloss.algorithms.base import Algorithm, Rung
from isoloss.errors import StudyError
from isoloss.runs import Amount, Context, Outcome, RunSpec
from isoloss.tasks import tasks
from isoloss.tasks.base import Task
from isoloss.tasks.vision.images import ImageTask
from isoloss.training.formulas import eigh_flops

Features = NDArray[np.float64]

SMOKE: dict[str, Any] = {
    "task": "vision/digits",
    "resource": "labels",
    "budget": 100,
    "step_rule": {"kind": "constant", "value": 50},
    "choices": {"unlabelled": 500},
}


class OnComponents(Algorithm):
    """A classifier of scikit-learn on principal components. Subclasses give `fitted` and two formulas."""

    steps: ClassVar[int]

    class Choices(Algorithm.Choices):
        """`components` of the `unlabelled` images' pixels; `labels` and `steps` are set by the rung."""

        components: int = Field(50, ge=1)
        unlabelled: int = Field(10_000, ge=2)
        labels: int | None = Field(None, ge=2)
        steps: int | None = Field(None, ge=1)

    @abc.abstractmethod
    def fitted(self, pool: Features, known: Features, labels: NDArray[np.int64], choices: Any) -> Any:
        """A classifier with ``predict`` and ``predict_proba``, from components without and with labels."""

    @abc.abstractmethod
    def fit_flops(self, choices: Any, classes: int) -> float:
        """FLOPs of fitting it."""

    @abc.abstractmethod
    def predict_flops(self, choices: Any, classes: int) -> float:
        """FLOPs of classifying the components of an image."""

    @abc.abstractmethod
    def held(self, choices: Any, classes: int) -> int:
        """How many fitted numbers it keeps."""

    def resolve(self, task: Any, rung: Rung, choices: Any) -> Any:
        """`choices` with `labels`, and as many iterations as scikit-learn takes at most: a step rule is for networks.

        Raises `StudyError` for another ladder, and for more images than exist.
        """
        if rung.resource != "labels":
            raise StudyError("ladder.resource", f"'{rung.resource}' can't be set for this algorithm", "use 'labels'")
        labels = round(rung.budget)
        if not 2 <= labels <= task.pool:
            raise StudyError("ladder.rungs", f"{labels} labels are asked for", f"the task has 2 to {task.pool}")
        if choices.unlabelled > task.pool:
            what = f"{choices.unlabelled} images without labels are asked for"
            raise StudyError("unlabelled", what, f"the task has {task.pool}")
        if choices.components > task.pixels**2:
            raise StudyError("components", f"{choices.components} are asked for", f"there are {task.pixels**2} pixels")
        return choices.model_copy(update={"labels": labels, "steps": self.steps})

    def train_flops(self, task: Any, choices: Any) -> float:
        """Components, projection and fit."""
        p = task.pixels**2
        shown = choices.unlabelled + choices.labels
        components = 2.0 * choices.unlabelled * p**2 + eigh_flops(p) + 2.0 * shown * p * choices.components
        return components + self.fit_flops(choices, task.classes)

    def run(self, task: Task, spec: RunSpec, context: Context) -> Outcome:
        """Fit on a seed's images, measure the error on each split; the curve has one point, the log-loss at the end."""
        assert isinstance(task, ImageTask)
        start = time.perf_counter()
        task.prepare()
        choices = self.Choices(**spec.choices)
        images, labels = task.subset(choices.labels or 0, spec.seed)
        drawn = (choices.unlabelled, choices.components, spec.seed)
        components, pool = _components(spec.task, json.dumps(dict(spec.task_options)), *drawn)
        known = components.transform(_flat(images))
        qualities = {}
        with warnings.catch_warnings():
            # the number of iterations is a choice, and an image that no label reaches has no probabilities
            warnings.simplefilter("ignore")
            classifier = self.fitted(pool, known, labels, choices)
            likely = classifier.predict_proba(known)[np.arange(len(labels)), labels]
            for split in spec.evaluate:
                shown, truth = task.evaluation(split)  # type: ignore[arg-type]
                qualities[split] = float((classifier.predict(components.transform(_flat(shown))) != truth).mean())
        loss = float(-np.log(np.maximum(likely, 1e-12)).mean())
        p, flops = task.pixels**2, self.train_flops(task, choices)
        held = float(p * (choices.components + 1) + self.held(choices, task.classes))
        steps, examples = float(self.steps), float(choices.unlabelled + (choices.labels or 0))
        amounts = {
            "train_flops": flops,
            "inference_flops": 2.0 * p * choices.components + self.predict_flops(choices, task.classes),
            "examples": examples,
            "unique_examples": float(task.distinct(choices.labels or 0, choices.unlabelled, spec.seed)),
            "labels": float(choices.labels or 0),
            "parameters": held,
            "active_parameters": held,
            "steps": steps,
        }
        resources = {name: Amount(value, "analytic") for name, value in amounts.items()}
        spent = time.perf_counter() - start
        resources["seconds"] = Amount(spent, "measured")
        curve = {"step": [steps], "examples": [examples], "train_flops": [flops], "train_loss": [loss]}
        return Outcome("finished", qualities, curve, resources, {"compute": spent})


@functools.lru_cache(maxsize=16)
def _components(task: str, options: str, unlabelled: int, components: int, seed: int) -> tuple[Any, Features]:
    """Components of a seed's images without labels, and those images in them: one for all rungs and trials of a seed,
    each of which is charged with it."""
    from sklearn.decomposition import PCA

    kind = tasks.get(task)
    images = kind(kind.Options(**json.loads(options))).unlabelled(unlabelled, seed)  # type: ignore[attr-defined]
    found = PCA(components, svd_solver="covariance_eigh").fit(_flat(images))
    return found, found.transform(_flat(images))


def _flat(images: NDArray[np.float32]) -> Features:
    return images.reshape(len(images), -1).astype(np.float64)


@algorithm(
    "vision/pca-logistic",
    version=1,
    summary="logistic regression on principal components of the pixels",
    year=1958,
    source="Cox 1958, J. Royal Stat. Soc. B 20(2); Pearson 1901 (components); by scikit-learn",
    claim="the baseline without a network: 84% on Fashion-MNIST with all labels (Xiao et al. 2017, table 3)",
    smoke=SMOKE,
)
class PcaLogistic(OnComponents):
    """Multinomial logistic regression with an L2 penalty, L-BFGS."""

    steps = 200

    class Choices(OnComponents.Choices):
        """`inverse_penalty`: scikit-learn's C."""

        inverse_penalty: float = Field(0.1, gt=0)

    def fitted(self, pool: Features, known: Features, labels: NDArray[np.int64], choices: Any) -> Any:
        """From the labelled images alone."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=choices.inverse_penalty, max_iter=self.steps).fit(known, labels)

    def fit_flops(self, choices: Any, classes: int) -> float:
        """Logits and gradient, an iteration."""
        return 4.0 * choices.labels * choices.components * classes * self.steps

    def predict_flops(self, choices: Any, classes: int) -> float:
        """Logits."""
        return 2.0 * choices.components * classes

    def held(self, choices: Any, classes: int) -> int:
        """Weights and biases."""
        return (choices.components + 1) * classes


@algorithm(
    "vision/label-spreading",
    version=1,
    summary="labels spread over the graph of nearest neighbours among all training images",
    year=2004,
    source="Zhou et al. 2004, Learning with Local and Global Consistency, NIPS 16; by scikit-learn",
    claim="USPS digits: fewer errors than support vector machines and nearest neighbours from few labels",
    smoke=SMOKE,
)
class LabelSpreading(OnComponents):
    """Of each image's label a share `alpha` comes from its `neighbours`, again and again."""

    steps = 30

    class Choices(OnComponents.Choices):
        """`neighbours` of an image in the graph; `alpha`: how much of a label they give in an iteration."""

        neighbours: int = Field(10, ge=1)
        alpha: float = Field(0.2, gt=0, lt=1)

    def fitted(self, pool: Features, known: Features, labels: NDArray[np.int64], choices: Any) -> Any:
        """Over both, those without labels marked as scikit-learn wants them."""
        from sklearn.semi_supervised import LabelSpreading as Spreading

        both, marked = np.concatenate([known, pool]), np.concatenate([labels, np.full(len(pool), -1)])
        model = Spreading(kernel="knn", n_neighbors=choices.neighbours, alpha=choices.alpha, max_iter=self.steps)
        return model.fit(both, marked)

    def fit_flops(self, choices: Any, classes: int) -> float:
        """Distances of all pairs, then the iterations over the graph."""
        n = choices.unlabelled + choices.labels
        return 2.0 * n * n * choices.components + 2.0 * n * choices.neighbours * classes * self.steps

    def predict_flops(self, choices: Any, classes: int) -> float:
        """Distances to all images of the graph, the mean of the nearest ones' labels."""
        n = choices.unlabelled + choices.labels
        return 2.0 * n * choices.components + choices.neighbours * classes

    def held(self, choices: Any, classes: int) -> int:
        """Components and labels of all images of the graph."""
        return (choices.unlabelled + choices.labels) * (choices.components + classes)
