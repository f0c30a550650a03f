"""Helpers of the notebooks: each module does one thing and imports only those before it.

`attention`, `markdown`, `text` -> `tables`, `tokenizer`, `hardware`, `hub`, `settings`, `results`,
`manifest` -> `schema` -> `sources` -> `draw` -> `data` -> `model`, `bert`, `packaged`, `pickles` ->
`backbone` -> `inference` -> `attribution` -> `scoring`, `folders` -> `timing`, `recipe` ->
`trainer` -> `training` -> `evaluation` -> `baseline`, `calibration`, `failures`, `pairs`, `labels`
-> `figures`, `evaluation_figures` -> `agreement` -> `card` -> `export` -> `onnx`, `legacy`; then
the packages `research`, `benchmark` and `service`. `colab` stands alone, since it runs before
anything is installed.
"""

import warnings

# tqdm's, in a notebook without ipywidgets: the bars that it means are turned off.
warnings.filterwarnings("ignore", message="IProgress not found")


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, and what to do."""
