"""How many labels zero-shot is worth: `python benchmarks/labels_of_zero_shot.py` (2 minutes on one core).

Contrast on 51,200 pairs (`vision/contrastive`, the choices of results/clip) names letters and fonts that it never saw
together. How many labelled drawings of the same new names, each in another font of training, do others need for the
same error in the new fonts? A logistic regression on the features of that encoder, and the encoder trained from scratch
on the labels alone. Strength of the regression and rate of the network are chosen on the names and fonts of validation.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from isoloss.algorithms import Rung, algorithms
from isoloss.algorithms.vision.base import in_order
from isoloss.algorithms.vision.image_text import Encoder
from isoloss.runs import Context, StepRule
from isoloss.tasks.vision.glyphs import Glyphs
from isoloss.training.loop import Member
from isoloss.training.optimizers.adam import FusedAdam
from isoloss.training.schedules import cosine

PAIRS, CHOICES = 51_200, {"lr": 0.0173205, "batch": 64}
SEEDS = (1, 2, 3)
LABELS = (1, 2, 4, 8, 14)
STRENGTHS = (1.0, 10.0, 100.0)
RATES = (3e-3, 1e-2)
STEPS, BATCH = 400, 32


def main() -> None:
    """One line a number of labels, then what zero-shot is worth."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # of one label a name, which is meant
    task = Glyphs()
    task.prepare()
    rows = np.array([one_seed(task, seed) for seed in SEEDS])
    zero_shot, probe, network = rows[:, 0].mean(), rows[:, 1 : 1 + len(LABELS)], rows[:, 1 + len(LABELS) :]
    print(f"zero-shot error of contrast: {zero_shot:.3f} (seeds {', '.join(f'{v:.3f}' for v in rows[:, 0])})")
    print("labels a name   probe of its features   network from scratch")
    for i, labels in enumerate(LABELS):
        print(f"{labels:13d}   {probe[:, i].mean():21.3f}   {network[:, i].mean():20.3f}")
    for said, errors in (("probe of its features", probe.mean(0)), ("network from scratch", network.mean(0))):
        print(f"zero-shot is worth {worth(zero_shot, errors)} labels a name to a {said}")


def one_seed(task: Glyphs, seed: int) -> list[float]:
    """Test errors: zero-shot, then the probe and the network at each number of labels."""
    algorithm = algorithms.get("vision/contrastive")()
    rung = Rung("examples", PAIRS, StepRule("epochs", 1))
    choices = algorithm.resolve(task, rung, algorithm.Choices(**CHOICES))
    torch.manual_seed(seed)
    trainee = algorithm.build(task, choices, seed)
    zero_shot = Member(trainee, ("test",), Context()).train().qualities["test"]
    encoder = trainee.model.encoder
    return [
        zero_shot,
        *(best(task, labels, seed, STRENGTHS, lambda s, x, y: probe(encoder, s, x, y)) for labels in LABELS),
        *(best(task, labels, seed, RATES, lambda r, x, y: network(r, seed, x, y)) for labels in LABELS),
    ]


def best(task, labels, seed, settings, learn) -> float:
    """Test error of `learn` at the setting that is best on the names and fonts of validation."""
    found = [error(task, "validation", labels, seed, lambda x, y, s=s: learn(s, x, y)) for s in settings]
    return error(task, "test", labels, seed, lambda x, y: learn(settings[int(np.argmin(found))], x, y))


def error(task, split, labels, seed, learn) -> float:
    """Share of the names of `split` in its own fonts that a learner gets wrong after so many labels of each name."""
    drawn = task.drawings(split, "train")
    picked = np.random.default_rng(seed).permuted(np.tile(np.arange(len(drawn)), (drawn.shape[1], 1)), axis=1)
    x = np.concatenate([drawn[picked[:, i], np.arange(drawn.shape[1])] for i in range(labels)])
    y = np.tile(np.arange(drawn.shape[1]), labels)
    images, _, answers = task.evaluation(split)
    return float(np.mean(learn(x, y)(images) != answers))


def tensor(images):
    return torch.from_numpy(images).unsqueeze(1)


def probe(encoder, strength, x, y):
    """Logistic regression on unit features of the frozen encoder."""

    @torch.no_grad()
    def features(images):
        return torch.nn.functional.normalize(encoder(tensor(images))).numpy()

    fitted = LogisticRegression(C=strength, max_iter=500).fit(features(x), y)
    return lambda images: fitted.predict(features(images))


def network(rate, seed, x, y):
    """The same encoder with a head for the names, from scratch."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(Encoder(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, int(y.max()) + 1))
    optimizer = FusedAdam(model.parameters(), rate, weight_decay=0.1)
    images, names = tensor(x), torch.from_numpy(y)
    for step, picked in enumerate(in_order(len(y), BATCH, STEPS, torch.Generator().manual_seed(seed)), 1):
        optimizer.param_groups[0]["lr"] = rate * cosine(step / STEPS, final=0.0)
        torch.nn.functional.cross_entropy(model(images[picked]), names[picked]).backward()
        optimizer.step()
        model.zero_grad()
    model.eval()
    return lambda images: model(tensor(images)).argmax(1).numpy()


def worth(zero_shot: float, errors) -> str:
    """Labels at which `errors` cross the zero-shot error, linear in the logarithm of the labels."""
    if zero_shot > errors[0]:
        return f"less than {LABELS[0]}"
    if zero_shot < errors[-1]:
        return f"more than {LABELS[-1]}"
    return f"{np.exp(np.interp(-zero_shot, -np.asarray(errors), np.log(LABELS))):.1f}"


if __name__ == "__main__":
    main()
