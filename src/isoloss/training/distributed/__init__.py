"""One training on several devices: ways to divide it, and ways to send less, each one file, found by name.

A *device* is one process with its own memory, joined to the others in a process group of ``torch.distributed``: a GPU
each where there are some, one thread of a CPU otherwise.
"""

from isoloss.registry import Registry
from isoloss.training.distributed.base import Strategy
from isoloss.training.distributed.exchange import Exchange

#: name -> module that registers it
STRATEGIES = {
    "data": "isoloss.training.distributed.data_parallel",
    "zero-1": "isoloss.training.distributed.zero",
    "fully-sharded": "isoloss.training.distributed.sharded",
    "local": "isoloss.training.distributed.local_sgd",
    "tensor": "isoloss.algorithms.systems.tensor_parallel",
}
COMPRESSIONS = {
    "none": "isoloss.training.distributed.whole",
    "bfloat16": "isoloss.training.distributed.whole",
    "top-k": "isoloss.training.distributed.top_k",
    "power-sgd": "isoloss.training.distributed.power_sgd",
}

strategies: Registry[Strategy] = Registry("strategy", STRATEGIES, "isoloss.strategies")
strategy = strategies.register
compressions: Registry[Exchange] = Registry("compression", COMPRESSIONS, "isoloss.compressions")
compression = compressions.register

__all__ = ["Exchange", "Strategy", "compression", "compressions", "strategies", "strategy"]
