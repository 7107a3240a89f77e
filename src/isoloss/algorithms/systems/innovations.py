"""The innovations of distributed training and of memory as named changes, with year and source.

Those of `strategy` and `compression` change plain data parallel on two devices.
"""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

innovation(
    "activation-checkpointing", field="systems", title="activations of sqrt(L) segments computed again", year=2016,
    source="Chen et al. 2016, arXiv 1604.06174",
    old={"checkpointing": "none"}, new={"checkpointing": "sqrt"},
)  # fmt: skip
innovation(
    "zero-1", field="systems", title="optimiser state divided over devices (ZeRO-1)", year=2019,
    source="Rajbhandari et al. 2020, arXiv 1910.02054",
    old={"strategy": "data"}, new={"strategy": "zero-1"},
)  # fmt: skip
innovation(
    "fully-sharded", field="systems", title="everything divided over devices (ZeRO-3, FSDP)", year=2019,
    source="Rajbhandari et al. 2020, arXiv 1910.02054; Zhao et al. 2023, arXiv 2304.11277",
    old={"strategy": "data"}, new={"strategy": "fully-sharded"},
)  # fmt: skip
innovation(
    "tensor-parallel", field="systems", title="matrices divided over devices (Megatron-LM)", year=2019,
    source="Shoeybi et al. 2019, arXiv 1909.08053",
    old={"strategy": "data"}, new={"strategy": "tensor"},
)  # fmt: skip
innovation(
    "diloco", field="systems", title="local steps with an outer optimiser (DiLoCo)", year=2023,
    source="Douillard et al. 2023, arXiv 2311.08105",
    old={"strategy": "data"}, new={"strategy": "local"},
)  # fmt: skip
innovation(
    "bfloat16-gradients", field="systems", title="gradients sent in bfloat16", year=2018,
    source="Jia et al. 2018, arXiv 1807.11205, in float16",
    old={"compression": "none"}, new={"compression": "bfloat16"},
)  # fmt: skip
innovation(
    "top-k-gradients", field="systems", title="a hundredth of the gradient sent, with error feedback", year=2017,
    source="Aji & Heafield 2017, arXiv 1704.05021",
    old={"compression": "none"}, new={"compression": "top-k"},
)  # fmt: skip
innovation(
    "power-sgd", field="systems", title="gradients of rank 2, with error feedback (PowerSGD)", year=2019,
    source="Vogels et al. 2019, arXiv 1905.13727",
    old={"compression": "none"}, new={"compression": "power-sgd"},
)  # fmt: skip
