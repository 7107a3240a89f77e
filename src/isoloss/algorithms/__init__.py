"""What is compared: models, optimisers, schedules, objectives; one idea a file."""

from isoloss.algorithms.base import Algorithm, Rung
from isoloss.registry import Registry

#: name -> module that registers it
BUILTIN = {
    "language/lstm": "isoloss.algorithms.language.lstm",
    "language/transformer-retro": "isoloss.algorithms.language.transformer",
    "language/transformer-modern": "isoloss.algorithms.language.transformer",
    "geometry/cnn": "isoloss.algorithms.geometry.cnn",
    "geometry/cnn-augmented": "isoloss.algorithms.geometry.cnn",
    "geometry/p4-cnn": "isoloss.algorithms.geometry.group_cnn",
    "geometry/p4m-cnn": "isoloss.algorithms.geometry.group_cnn",
    "geometry/plane-cnn": "isoloss.algorithms.geometry.plane_cnn",
    "geometry/steerable-regular": "isoloss.algorithms.geometry.steerable_cnn",
    "geometry/steerable-harmonic": "isoloss.algorithms.geometry.steerable_cnn",
    "vision/bag-of-words": "isoloss.algorithms.vision.bag_of_words",
    "vision/captioning": "isoloss.algorithms.vision.captioning",
    "vision/contrastive": "isoloss.algorithms.vision.contrastive",
    "vision/compact-dense": "isoloss.algorithms.vision.compact",
    "vision/compact-distilled": "isoloss.algorithms.vision.distilled",
    "vision/sparse-random": "isoloss.algorithms.vision.sparse",
    "vision/sparse-set": "isoloss.algorithms.vision.sparse",
    "vision/sparse-rigl": "isoloss.algorithms.vision.sparse",
    "vision/pruned-one-shot": "isoloss.algorithms.vision.pruned",
    "vision/pruned-iterative": "isoloss.algorithms.vision.pruned",
    "vision/fine-tuned": "isoloss.algorithms.vision.fine_tuning",
    "vision/cnn": "isoloss.algorithms.vision.cnn",
    "vision/vit": "isoloss.algorithms.vision.vit",
    "vision/mlp-mixer": "isoloss.algorithms.vision.vit",
    "vision/simclr": "isoloss.algorithms.vision.simclr",
    "vision/mae": "isoloss.algorithms.vision.mae",
    "vision/pca-logistic": "isoloss.algorithms.vision.classical",
    "vision/label-spreading": "isoloss.algorithms.vision.classical",
    "systems/transformer": "isoloss.algorithms.systems.transformer",
}

algorithms: Registry[Algorithm] = Registry("algorithm", BUILTIN, "isoloss.algorithms", Algorithm)
algorithm = algorithms.register

__all__ = ["Algorithm", "Rung", "algorithm", "algorithms"]
