"""The fingerprint by which a finished training is known."""

import hashlib
import json
from dataclasses import asdict

from utils.data.reviews import Reviews
from utils.hardware import device, precision
from utils.modeling.attention import attention
from utils.modeling.backbones import Backbone
from utils.training.recipe import Recipe


def fingerprint(backbone: Backbone, reviews: Reviews, recipe: Recipe) -> str:
    """A hash of what decides the trained weights; a finished training is known by it.

    Not of how many processes share each batch, which the result names: dropout draws otherwise.
    """
    return fingerprint_of(backbone, reviews.training_sha256, asdict(recipe))


def fingerprint_of(backbone: Backbone, data_sha256: str, recipe: dict) -> str:
    """The same for any training that starts from a backbone, of some data and settings."""
    weights = hashlib.sha256()
    for name in sorted(backbone.weights):
        weights.update(name.encode() + backbone.weights[name].numpy().tobytes())
    # Attention dropout depends on the device, rounding on all three.
    machine = [device().type, precision()[0], attention()[0]]
    # Where it lies decides nothing, nor which release reads it: that of the first trainings stays,
    # so that they are known by the fingerprints that they have.
    same = {"_name_or_path": "", "transformers_version": "5.23.0"}
    config = backbone.config.to_dict() | same
    parts = [weights.hexdigest(), config, data_sha256, machine, recipe]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
