"""The innovations of language modelling as named changes: which choices each one changes, its year and its source.

`old` is what it replaces and `new` what it puts there, so that an arm can take an innovation in or leave it out. Where
an idea was published against several predecessors, each link is an innovation of its own. What was claimed for them
and what others found since stands in ``evidence/claims.toml`` under the same names.
"""

from __future__ import annotations

from isoloss.algorithms.innovation import innovation

_LSTM, _RETRO, _MODERN = "language/lstm", "language/transformer-retro", "language/transformer-modern"

# -- whole algorithms ------------------------------------------------------------------------------------------------

innovation(
    "transformer-2017", field="language", title="LSTM to Transformer of 2017", year=2017,
    source="Vaswani et al. 2017, arXiv 1706.03762",
    old={"algorithm": _LSTM}, new={"algorithm": _RETRO},
)  # fmt: skip
innovation(
    "modern", field="language", title="Transformer of 2017 to modern", year=2023,
    source="Touvron et al. 2023, arXiv 2302.13971",
    old={"algorithm": _RETRO}, new={"algorithm": _MODERN},
)  # fmt: skip
innovation(
    "transformer", field="language", title="LSTM to modern Transformer", year=2017,
    source="Vaswani et al. 2017, arXiv 1706.03762, with the changes up to Touvron et al. 2023, arXiv 2302.13971",
    old={"algorithm": _LSTM}, new={"algorithm": _MODERN},
)  # fmt: skip

# -- optimisers ------------------------------------------------------------------------------------------------------

innovation(
    "adam", field="language", title="Adam over SGD with momentum", year=2014,
    source="Kingma & Ba 2014, arXiv 1412.6980",
    old={"optimizer": "sgd"}, new={"optimizer": "adam"},
)  # fmt: skip
innovation(
    "adamw", field="language", title="AdamW over Adam", year=2017,
    source="Loshchilov & Hutter 2017, arXiv 1711.05101",
    old={"optimizer": "adam"}, new={"optimizer": "adamw"},
)  # fmt: skip
innovation(
    "shampoo", field="language", title="Shampoo over AdamW", year=2018,
    source="Gupta et al. 2018, arXiv 1802.09568",
    old={"optimizer": "adamw"}, new={"optimizer": "shampoo"},
)  # fmt: skip
innovation(
    "schedule-free", field="language", title="schedule-free AdamW over AdamW with cosine", year=2024,
    source="Defazio et al. 2024, arXiv 2405.15682",
    old={"optimizer": "adamw", "schedule": "cosine"}, new={"optimizer": "schedule-free", "schedule": "constant"},
)  # fmt: skip
innovation(
    "soap", field="language", title="SOAP over AdamW", year=2024,
    source="Vyas et al. 2024, arXiv 2409.11321",
    old={"optimizer": "adamw"}, new={"optimizer": "soap"},
)  # fmt: skip
innovation(
    "muon", field="language", title="Muon over AdamW", year=2024,
    source="Jordan et al. 2024, kellerjordan.github.io/posts/muon",
    old={"optimizer": "adamw"}, new={"optimizer": "muon"},
)  # fmt: skip

# -- schedules -------------------------------------------------------------------------------------------------------

innovation(
    "cosine", field="language", title="cosine over inverse square root", year=2016,
    source="Loshchilov & Hutter 2016, arXiv 1608.03983",
    old={"schedule": "inverse_sqrt"}, new={"schedule": "cosine"},
)  # fmt: skip
innovation(
    "cosine-over-linear", field="language", title="cosine over linear decay", year=2016,
    source="Loshchilov & Hutter 2016, arXiv 1608.03983",
    old={"schedule": "linear"}, new={"schedule": "cosine"},
)  # fmt: skip
innovation(
    "wsd", field="language", title="warm-up, stable, decay over cosine", year=2024,
    source="Hu et al. 2024 (MiniCPM), arXiv 2404.06395",
    old={"schedule": "cosine"}, new={"schedule": "wsd"},
)  # fmt: skip
innovation(
    "linear-to-zero", field="language", title="linear decay to zero over cosine to a tenth", year=2025,
    source="Bergsma et al. 2025, arXiv 2502.15938",
    old={"schedule": "cosine"}, new={"schedule": "linear-to-zero"},
)  # fmt: skip

# -- normalisation, positions, feed-forward --------------------------------------------------------------------------

innovation(
    "pre-norm", field="language", title="pre-normalisation", year=2019,
    source="Radford et al. 2019 (GPT-2)",
    old={"placement": "post"}, new={"placement": "pre"},
)  # fmt: skip
innovation(
    "rmsnorm", field="language", title="RMSNorm over LayerNorm", year=2019,
    source="Zhang & Sennrich 2019, arXiv 1910.07467",
    old={"norm": "layer"}, new={"norm": "rms"},
)  # fmt: skip
innovation(
    "qk-norm", field="language", title="normalised queries and keys", year=2020,
    source="Henry et al. 2020, arXiv 2010.04245",
    old={"qk_norm": False}, new={"qk_norm": True},
)  # fmt: skip
innovation(
    "learned-positions", field="language", title="learned over sinusoidal positions", year=2018,
    source="Radford et al. 2018 (GPT)",
    old={"positions": "sinusoidal"}, new={"positions": "learned"},
)  # fmt: skip
innovation(
    "rotary", field="language", title="rotary over learned positions", year=2021,
    source="Su et al. 2021, arXiv 2104.09864",
    old={"positions": "learned"}, new={"positions": "rotary"},
)  # fmt: skip
innovation(
    "rotary-over-sinusoidal", field="language", title="rotary over sinusoidal positions", year=2021,
    source="Su et al. 2021, arXiv 2104.09864",
    old={"positions": "sinusoidal"}, new={"positions": "rotary"},
)  # fmt: skip
innovation(
    "gelu", field="language", title="GELU over ReLU", year=2016,
    source="Hendrycks & Gimpel 2016, arXiv 1606.08415",
    old={"feed_forward": "relu"}, new={"feed_forward": "gelu"},
)  # fmt: skip
innovation(
    "swiglu", field="language", title="SwiGLU over GELU", year=2020,
    source="Shazeer 2020, arXiv 2002.05202",
    old={"feed_forward": "gelu"}, new={"feed_forward": "swiglu"},
)  # fmt: skip
innovation(
    "swiglu-over-relu", field="language", title="SwiGLU over ReLU", year=2020,
    source="Shazeer 2020, arXiv 2002.05202",
    old={"feed_forward": "relu"}, new={"feed_forward": "swiglu"},
)  # fmt: skip
innovation(
    "squared-relu", field="language", title="squared ReLU over ReLU", year=2021,
    source="So et al. 2021 (Primer), arXiv 2109.08668",
    old={"feed_forward": "relu"}, new={"feed_forward": "relu2"},
)  # fmt: skip

# -- attention and recurrence ----------------------------------------------------------------------------------------

innovation(
    "multi-query", field="language", title="one head of keys and values", year=2019,
    source="Shazeer 2019, arXiv 1911.02150",
    old={"kv_heads": "all"}, new={"kv_heads": "one"},
)  # fmt: skip
innovation(
    "grouped-query", field="language", title="half as many heads of keys and values", year=2023,
    source="Ainslie et al. 2023, arXiv 2305.13245",
    old={"kv_heads": "all"}, new={"kv_heads": "half"},
)  # fmt: skip
innovation(
    "sliding-window", field="language", title="attention within a window of 16 (of 64)", year=2020,
    source="Beltagy et al. 2020 (Longformer), arXiv 2004.05150",
    old={"attention_window": None}, new={"attention_window": 16},
)  # fmt: skip
innovation(
    "gated-attention", field="language", title="gated attention output", year=2025,
    source="Qiu et al. 2025, arXiv 2505.06708",
    old={"attention_gate": False}, new={"attention_gate": True},
)  # fmt: skip
innovation(
    "gated-delta", field="language", title="gated delta recurrence over attention", year=2024,
    source="Yang et al. 2024, arXiv 2412.06464",
    old={"mixer": "attention"}, new={"mixer": "gated-delta"},
)  # fmt: skip
innovation(
    "hybrid-recurrence", field="language", title="recurrence with some attention over attention", year=2024,
    source="Waleffe et al. 2024, arXiv 2406.07887",
    old={"mixer": "attention"}, new={"mixer": "hybrid"},
)  # fmt: skip
innovation(
    "value-residual", field="language", title="value residual", year=2024,
    source="Zhou et al. 2024 (ResFormer), arXiv 2410.17897",
    old={"value_residual": False}, new={"value_residual": True},
)  # fmt: skip
innovation(
    "value-embeddings", field="language", title="value embeddings", year=2024,
    source="modded-nanogpt, github.com/KellerJordan/modded-nanogpt",
    old={"value_embeddings": False}, new={"value_embeddings": True},
)  # fmt: skip

# -- head, objective, regularisation ---------------------------------------------------------------------------------

innovation(
    "soft-cap", field="language", title="logits capped softly at 20", year=2024,
    source="Gemma team 2024, arXiv 2408.00118",
    old={"soft_cap": None}, new={"soft_cap": 20.0},
)  # fmt: skip
innovation(
    "weight-tying", field="language", title="one matrix for embedding and head", year=2016,
    source="Press & Wolf 2016, arXiv 1608.05859",
    old={"tied": False}, new={"tied": True},
)  # fmt: skip
innovation(
    "dropout", field="language", title="dropout of a tenth", year=2012,
    source="Hinton et al. 2012, arXiv 1207.0580",
    old={"dropout": 0.0}, new={"dropout": 0.1},
)  # fmt: skip
innovation(
    "multi-token", field="language", title="two tokens predicted at each position", year=2024,
    source="Gloeckle et al. 2024, arXiv 2404.19737",
    old={"prediction": 1}, new={"prediction": 2},
)  # fmt: skip

# -- experts, parametrisation, tokens, balance -----------------------------------------------------------------------

innovation(
    "moe", field="language", title="mixture of 8 experts, the best one each (Switch)", year=2021,
    source="Fedus et al. 2021, arXiv 2101.03961",
    old={"experts": 1, "experts_top": 1, "experts_grain": 1, "experts_balance": "loss"},
    new={"experts": 8, "experts_top": 1, "experts_grain": 1, "experts_balance": "loss"},
)  # fmt: skip
innovation(
    "moe-fine-grained", field="language", title="fine-grained experts, balanced by a bias", year=2024,
    source="Dai et al. 2024 (DeepSeekMoE), arXiv 2401.06066; Wang et al. 2024, arXiv 2408.15664",
    old={"experts": 1, "experts_top": 1, "experts_grain": 1, "experts_balance": "loss"},
    new={"experts": 8, "experts_top": 1, "experts_grain": 4, "experts_balance": "bias"},
)  # fmt: skip
innovation(
    "mup", field="language", title="maximal-update parametrisation", year=2022,
    source="Yang et al. 2022, arXiv 2203.03466",
    old={"parametrisation": "standard"}, new={"parametrisation": "mup"},
)  # fmt: skip
innovation(
    "bpe", field="language", title="byte-pair encoding over bytes", year=2015,
    source="Sennrich et al. 2015, arXiv 1508.07909",
    old={"tokenizer": "bytes"}, new={"tokenizer": "bpe-1024"},
)  # fmt: skip
innovation(
    # parameters as C^0.73 and tokens as C^0.27 (Kaplan et al. 2020): tokens per parameter fall as C^-0.46
    "chinchilla", field="language", title="Kaplan's balance to 20 tokens a parameter", year=2022,
    source="Hoffmann et al. 2022, arXiv 2203.15556",
    old={"tokens_per_parameter_exponent": -0.46}, new={"tokens_per_parameter_exponent": 0.0},
)  # fmt: skip
