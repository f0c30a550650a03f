"""Fine-tuning: the recipe, the trainer, and how long it takes."""
