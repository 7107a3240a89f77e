"""The innovations that make a network smaller, as named changes of a small dense one, with year and source."""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

_DENSE = {"algorithm": "vision/compact-dense"}
innovation(
    "one-shot-pruning", field="vision", title="magnitude pruning once, over a small dense network", year=2015,
    source="Han et al. 2015, arXiv 1506.02626", old=_DENSE, new={"algorithm": "vision/pruned-one-shot"},
)  # fmt: skip
innovation(
    "lottery-tickets", field="vision", title="iterative pruning with rewinding, over a small dense network", year=2018,
    source="Frankle & Carbin 2019, arXiv 1803.03635", old=_DENSE, new={"algorithm": "vision/pruned-iterative"},
)  # fmt: skip
innovation(
    "random-sparsity", field="vision", title="random sparse network, over a small dense one", year=2018,
    source="Mocanu et al. 2018, arXiv 1707.04780; Liu et al. 2022, arXiv 2202.02643",
    old=_DENSE, new={"algorithm": "vision/sparse-random"},
)  # fmt: skip
innovation(
    "sparse-evolution", field="vision", title="sparse training with random exchanges (SET), over a small dense network",
    year=2017, source="Mocanu et al. 2018, arXiv 1707.04780", old=_DENSE, new={"algorithm": "vision/sparse-set"},
)  # fmt: skip
innovation(
    "rigl", field="vision", title="sparse training with exchanges by gradient (RigL), over a small dense network",
    year=2019, source="Evci et al. 2020, arXiv 1911.11134", old=_DENSE, new={"algorithm": "vision/sparse-rigl"},
)  # fmt: skip
innovation(
    "distillation", field="vision", title="small dense network taught by a large one", year=2015,
    source="Hinton, Vinyals & Dean 2015, arXiv 1503.02531", old=_DENSE, new={"algorithm": "vision/compact-distilled"},
)  # fmt: skip
innovation(
    "int8-weights", field="vision", title="weights of 8 bits, a scale for each output", year=2018,
    source="Jacob et al. 2018, arXiv 1712.05877", old={"bits": 32}, new={"bits": 8},
)  # fmt: skip
innovation(
    "int4-weights", field="vision", title="weights of 4 bits, a scale for each output", year=2018,
    source="Jacob et al. 2018, arXiv 1712.05877; Esser et al. 2020, arXiv 1902.08153",
    old={"bits": 32}, new={"bits": 4},
)  # fmt: skip
