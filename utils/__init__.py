"""Helpers of the notebooks: each module does one thing and imports only those before it.

`attention`, `markdown` -> `hardware`, `hub`, `settings`, `results`, `manifest` -> `text` ->
`sources` -> `draw` -> `data` -> `unlabelled` -> `model`, `bert`, `packaged` -> `backbone` ->
`inference` -> `attribution` -> `tables`, `scoring`, `folders` -> `timing`, `recipe`, `steps` ->
`trainer` -> `training` -> `adapt`, `evaluation` -> `teaching`, `baseline`, `calibration`,
`failures`, `pairs`, `labels` -> `figures`, `evaluation_figures` -> `agreement` -> `research_scores`
-> `research`, `research_tables` -> `ladder` -> `research_figures` -> `card` -> `export` -> `onnx`,
`legacy` -> `benchmark`, `engines`, `benchmark_report`, `benchmark_figures`, `scale` -> `service`.
`colab` stands alone, since it runs before anything is installed.
"""

import warnings

# tqdm's, in a notebook without ipywidgets: the bars that it means are turned off.
warnings.filterwarnings("ignore", message="IProgress not found")


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, and what to do."""
