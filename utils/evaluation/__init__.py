"""What a model gets right: metrics, calibration, errors, minimal pairs, attributions."""
