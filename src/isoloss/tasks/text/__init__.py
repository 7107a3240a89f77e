"""Language tasks: a text, cut and split honestly, and the tokenisers that it can be read with.

`blocks` cuts and splits, `cache` keeps what was cut, `tokens` turns bytes into tokens, `task` is what every language
task shares; the other modules are one source of text each.
"""
