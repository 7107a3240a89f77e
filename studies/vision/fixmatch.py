"""FixMatch, in small: what the network is sure of on an image without a label is the label of a random view of it.

For every labelled image of a batch, `unlabelled_ratio` images without labels are drawn. Where the network's largest
probability on one of them, as it is, reaches `threshold`, its class is the target of the network on a random view;
other images count for nothing. Guesses are made as in evaluation, so that the running statistics of batch
normalisation are those of labelled images and views alone. Source: Sohn et al. 2020, arXiv 2001.07685, algorithm 1.
"""

import dataclasses

import torch
from pydantic import Field
from torch.nn import functional

from isoloss.algorithms import algorithm
from isoloss.algorithms.innovation import innovation
from isoloss.algorithms.vision.augment import random_views
from isoloss.algorithms.vision.base import in_order, loss_flops
from isoloss.algorithms.vision.cnn import CNN, SMOKE


@algorithm(
    "mine/fixmatch",
    version=2,
    summary="the CNN with its own sure guesses as labels of random views (FixMatch)",
    year=2020,
    source="Sohn et al. 2020, arXiv 2001.07685",
    claim="CIFAR-10: 5.1% error with 250 labels, where MixMatch has 11.1%",
    smoke=SMOKE | {"choices": {"lr": 1e-2, "width": 8, "unlabelled": 500}},
)
class FixMatch(CNN):
    """One file: the data get a second stream, the loss a second term, the price both."""

    class Choices(CNN.Choices):
        """Those of the CNN, and of the images without labels."""

        unlabelled: int = Field(10_000, ge=2)
        unlabelled_ratio: int = Field(3, ge=1)
        threshold: float = Field(0.95, gt=0, lt=1)

    def build(self, task, choices, seed):
        """The CNN's run, with the second term."""
        trainee = super().build(task, choices, seed)
        model = trainee.model

        def loss(batch):
            x, y, plain, view = batch
            model.eval()
            with torch.no_grad():
                sure, guess = model(plain).softmax(1).max(1)
            model.train()
            known, guessed = model(torch.cat([x, view])).split([len(x), len(view)])
            each = functional.cross_entropy(guessed, guess, reduction="none")
            return functional.cross_entropy(known, y) + (each * (sure >= choices.threshold)).mean()

        seen = task.distinct(choices.labels, choices.unlabelled, seed)
        return dataclasses.replace(
            trainee,
            loss=loss,
            batches=self.mixed(task, choices, seed, trainee.batches),
            examples_per_step=choices.batch * (1 + choices.unlabelled_ratio),
            sizes=trainee.sizes | {"unique_examples": seen},
        )

    def mixed(self, task, choices, seed, batches):
        """Labelled batches, each with images without labels and a random view of each."""
        chance = torch.Generator().manual_seed(seed + 7)
        pool = torch.from_numpy(task.unlabelled(choices.unlabelled, seed)).unsqueeze(1)
        drawn = in_order(len(pool), choices.batch * choices.unlabelled_ratio, choices.steps, chance)
        for (x, y), picked in zip(batches, drawn, strict=True):
            yield x, y, pool[picked], random_views(pool[picked], chance, task.mirrors)

    def step_flops(self, task, choices):
        """For each image without a label: forward as it is, forward and backward on its view."""
        cost = self.cost(task, choices)
        extra = cost.forward + cost.training + loss_flops(task.classes) + 5 * task.classes
        return super().step_flops(task, choices) + choices.batch * choices.unlabelled_ratio * extra


innovation(
    "fixmatch",
    field="vision",
    title="FixMatch",
    year=2020,
    source="Sohn et al. 2020, arXiv 2001.07685",
    old={"algorithm": "vision/cnn", "augment": "crop"},
    new={"algorithm": "mine/fixmatch", "augment": "crop"},
    claim="CIFAR-10: 5.1% error with 250 labels, where MixMatch has 11.1%",
)
