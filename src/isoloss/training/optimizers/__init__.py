"""Optimisers: each one file, found by name, built from a model's hidden matrices and everything else."""

from isoloss.registry import Registry
from isoloss.training.optimizers.base import Joint, OptimizerPart

#: name -> module that registers it
BUILTIN = {
    "sgd": "isoloss.training.optimizers.sgd",
    "adam": "isoloss.training.optimizers.adam",
    "adamw": "isoloss.training.optimizers.adam",
    "muon": "isoloss.training.optimizers.muon",
    "soap": "isoloss.training.optimizers.soap",
    "shampoo": "isoloss.training.optimizers.shampoo",
    "schedule-free": "isoloss.training.optimizers.schedule_free",
}

optimizers: Registry[OptimizerPart] = Registry("optimizer", BUILTIN, "isoloss.optimizers")
optimizer = optimizers.register

__all__ = ["Joint", "OptimizerPart", "optimizer", "optimizers"]
