"""The research: what each step changes in the main recipe, and its results as tables."""

import json
from dataclasses import replace

import numpy as np

from utils.recipe import Recipe
from utils.results import Run
from utils.settings import ROOT

FOLDER = ROOT / "artifacts" / "research"

# What each step changes in the main recipe.
STEPS = {
    "plain": {},
    "best_epoch": {"best_epoch": True},
    "long_to_short": {"shuffled": False, "best_epoch": True},
    "short": {"max_tokens": 256},
    "short_slow": {"max_tokens": 256, "learning_rate": 5e-5},
    "short_fast": {"max_tokens": 256, "learning_rate": 2e-4},
    "short_fast_averaged": {"max_tokens": 256, "learning_rate": 2e-4, "averaging": 0.99},
    "short_fast_layers": {"max_tokens": 256, "learning_rate": 2e-4, "layer_decay": 0.8},
    "short_long_to_short": {"max_tokens": 256, "shuffled": False},
    "short_usual": {"max_tokens": 256, "usual": True},
    "short_head": {"max_tokens": 256, "tail": False},
}

WORDS = {
    "learning_rate": "learning rate {:g}",
    "epochs": "{} epochs",
    "batch_size": "batches of {}",
    "max_tokens": "{} tokens",
    "layer_decay": "each layer at {:g} of the rate above",
    "averaging": "weights averaged ({:g})",
}


def recipe_of(result: dict) -> Recipe:
    """The recipe of a result; older results do not name what was added to it since."""
    return Recipe(**{"shuffled": False, "best_epoch": True, **result["recipe"]})


def describe(recipe: Recipe) -> str:
    """What tells one recipe of the research from another: its rate, tokens and what is unusual."""
    usual = Recipe(learning_rate=0.0, seed=0, max_tokens=0)
    parts = [words.format(value) for name, words in WORDS.items()
             if (value := getattr(recipe, name)) != getattr(usual, name)]  # fmt: skip
    parts += [] if recipe.tail else ["the head of a long review only"]
    parts += ["the epoch that validation prefers"] if recipe.best_epoch else []
    parts += ["in the usual way: fp32, attention dropout, random batches"] if recipe.usual else []
    parts += [] if recipe.shuffled else ["batches from long to short"]
    return ", ".join(parts)


def cross_validated(dataset: str = "imdb-minilm") -> str:
    """One row a recipe that was cross-validated, by its last epoch, as Markdown, the best last."""
    found: dict[str, list[dict]] = {}
    for path in sorted(FOLDER.glob(f"*-{dataset}-fold*.json")):
        result = json.loads(path.read_text())
        recipe = replace(recipe_of(result), best_epoch=False)
        found.setdefault(describe(recipe), []).append(result)
    rows = []
    for recipe, results in found.items():
        last = [result["validation"][-1] for result in results]
        accuracy = [epoch["accuracy"] for epoch in last]
        mean, reviews = np.mean(accuracy), sum(result["validation_reviews"] for result in results)
        half = 1.96 * np.sqrt(mean * (1 - mean) / reviews)
        each = ", ".join(f"{value:.1%}" for value in accuracy)
        loss = np.mean([epoch["loss"] for epoch in last])
        rows.append((mean, f"| {recipe} | {each} | {mean:.1%} ± {100 * half:.1f} | {loss:.3f} |"))
    head = "| recipe | accuracy of each fold | mean, 95% interval | loss |"
    return "\n".join([head, "|---|---|---|---|", *(row for _, row in sorted(rows))])


def by_epoch(dataset: str = "imdb-minilm") -> str:
    """Mean validation accuracy after each epoch, over all trainings, in a sentence."""
    main = json.loads((ROOT / "artifacts" / dataset / "results" / "training.json").read_text())
    trained = [main, *(json.loads(path.read_text()) for path in FOLDER.glob(f"*-{dataset}-*.json"))]
    # A training of which two epochs were kept is one training.
    histories = {tuple(epoch["accuracy"] for epoch in result["validation"]) for result in trained}
    histories = np.array([history for history in histories if len(history) == 3])
    means = ", ".join(f"{mean:.1%}" for mean in histories.mean(0))
    last = int((histories.argmax(1) == 2).sum())
    return (
        f"Over the {len(histories)} trainings here, validation accuracy after each of three epochs "
        f"was {means} in the mean; the last epoch was the best of its training {last} times."
    )


def scored(run: str = "imdb-minilm") -> str:
    """One row a seed that was scored on the test, and each recipe's mean ± sample s.d."""
    main = Run(ROOT / "artifacts" / run)
    trained = main.load("training")
    found = {describe(recipe_of(trained)): [(trained, main.load("evaluation")["model"])]}
    for path in sorted(FOLDER.glob(f"*-{run}-seed*.json")):
        result = json.loads(path.read_text())
        if "test" in result and result["fingerprint"] != trained["fingerprint"]:
            recipe = describe(recipe_of(result))
            found.setdefault(recipe, []).append((result, result["test"]))
    lines = [
        "| recipe | seed | precision | epochs on validation | kept | test accuracy | F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe, rows in found.items():
        values = {"accuracy": [], "f1": []}
        for result, test in sorted(rows, key=lambda row: row[0]["recipe"]["seed"]):
            cells = []
            for metric, of_all in values.items():
                value, (low, high) = test["metrics"][metric].values()
                of_all.append(value)
                cells.append(f"{value:.4f} [{low:.3f}, {high:.3f}]")
            epochs = ", ".join(f"{epoch['accuracy']:.1%}" for epoch in result["validation"])
            about = [recipe, result["recipe"]["seed"], result["versions"]["precision"], epochs]
            lines.append(f"| {' | '.join(map(str, [*about, result['kept_epoch'], *cells]))} |")
        if len(rows) > 1:
            spread = [f"{np.mean(x):.4f} ± {np.std(x, ddof=1):.4f}" for x in values.values()]
            lines.append(f"| {recipe} | mean ± s.d. | | | | {' | '.join(spread)} |")
    return "\n".join(lines)
