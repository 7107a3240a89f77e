"""The innovations of learning from pictures as named changes, with year and source."""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

innovation(
    "augmentation", field="vision", title="random crops, mirror images and contrast", year=2003,
    source="Simard, Steinkraus & Platt 2003, ICDAR; Krizhevsky, Sutskever & Hinton 2012",
    old={"augment": "none"}, new={"augment": "crop"},
)  # fmt: skip

innovation(
    "vit", field="vision", title="Vision Transformer over a convolutional network", year=2020,
    source="Dosovitskiy et al. 2021, arXiv 2010.11929",
    old={"algorithm": "vision/cnn"}, new={"algorithm": "vision/vit"},
)  # fmt: skip
innovation(
    "convolutional-stem", field="vision", title="convolutions in place of a Transformer's patches", year=2021,
    source="Xiao et al. 2021, arXiv 2106.14881",
    old={"stem": "patch"}, new={"stem": "convolution"},
)  # fmt: skip
innovation(
    "mlp-mixer", field="vision", title="dense layers over patches in place of attention (MLP-Mixer)", year=2021,
    source="Tolstikhin et al. 2021, arXiv 2105.01601",
    old={"algorithm": "vision/vit"}, new={"algorithm": "vision/mlp-mixer"},
)  # fmt: skip

innovation(
    "simclr", field="vision", title="pre-training by contrast of two views (SimCLR)", year=2020,
    source="Chen, Kornblith, Norouzi & Hinton 2020, arXiv 2002.05709",
    old={"algorithm": "vision/cnn"}, new={"algorithm": "vision/simclr"},
)  # fmt: skip
innovation(
    "mae", field="vision", title="pre-training on hidden patches (masked autoencoder)", year=2021,
    source="He et al. 2022, arXiv 2111.06377",
    old={"algorithm": "vision/vit"}, new={"algorithm": "vision/mae"},
)  # fmt: skip

innovation(
    "bag-of-words", field="vision", title="words of a caption predicted as a set, not in order", year=2015,
    source="Joulin et al. 2015, arXiv 1511.02251; as a step to CLIP: Radford et al. 2021, arXiv 2103.00020, figure 2",
    old={"algorithm": "vision/captioning"}, new={"algorithm": "vision/bag-of-words"},
)  # fmt: skip
innovation(
    "clip", field="vision", title="contrast of images with texts over prediction of words (CLIP)", year=2021,
    source="Radford et al. 2021, arXiv 2103.00020, figure 2",
    old={"algorithm": "vision/bag-of-words"}, new={"algorithm": "vision/contrastive"},
)  # fmt: skip
innovation(
    "clip-over-captioning", field="vision", title="contrast of images with texts over captioning", year=2021,
    source="Radford et al. 2021, arXiv 2103.00020, figure 2",
    old={"algorithm": "vision/captioning"}, new={"algorithm": "vision/contrastive"},
)  # fmt: skip

innovation(
    "pre-training", field="vision", title="pre-training with labels of other classes", year=2014,
    source="Yosinski et al. 2014, arXiv 1411.1792; its law: Hernandez et al. 2021, arXiv 2102.01293",
    old={"algorithm": "vision/cnn"}, new={"algorithm": "vision/fine-tuned"},
)  # fmt: skip
innovation(
    "lora", field="vision", title="low-rank changes of frozen kernels over fine-tuning all (LoRA)", year=2021,
    source="Hu et al. 2021, arXiv 2106.09685",
    old={"adapt": "all"}, new={"adapt": "lora"},
)  # fmt: skip
innovation(
    "linear-probe", field="vision", title="a linear head on a frozen encoder over fine-tuning all", year=2014,
    source="Sharif Razavian et al. 2014, arXiv 1403.6382",
    old={"adapt": "all"}, new={"adapt": "head"},
)  # fmt: skip
