"""What the notebooks and scripts share; pyproject.toml says in which order the packages import."""

import warnings

# tqdm's, in a notebook without ipywidgets: the bars that it means are turned off.
warnings.filterwarnings("ignore", message="IProgress not found")


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, and what to do."""
