"""The research: what each step changes in the main recipe, and its results as tables."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from utils.recipe import Recipe
from utils.results import Run
from utils.settings import ROOT

FOLDER = ROOT / "artifacts" / "research"

TFIDF = "tfidf"  # the baseline, for the learning curve
MLM = "mlm"  # the step that pretrains the backbone further, without labels
MLM_SEED = 42  # one for all seeds of fine-tuning


@dataclass(frozen=True)
class Step:
    """What a step changes in the main recipe, what it starts from and whose labels it learns.

    `start` is an earlier step, of the same seed, or MLM. Each of the `teachers`, a step, backbone
    (None: the same) and seed, gives a probability to each of the first `unlabelled` reviews; their
    mean is learnt, together with the labelled reviews.
    """

    changes: dict = field(default_factory=dict)
    start: str | None = None
    teachers: tuple[tuple[str, str | None, int], ...] = ()
    unlabelled: int | None = None


SHORT = {"max_tokens": 256}
SELF = tuple(("adapted", None, seed) for seed in (42, 43, 44))
MPNET = (("teacher", "mpnet", 42),)
FIRST = 14_000
STEPS = {
    "plain": Step(),
    "best_epoch": Step({"best_epoch": True}),
    "long_to_short": Step({"shuffled": False, "best_epoch": True}),
    "short": Step(SHORT),
    "short_slow": Step({**SHORT, "learning_rate": 5e-5}),
    "short_fast": Step({**SHORT, "learning_rate": 2e-4}),
    "short_fast_averaged": Step({**SHORT, "learning_rate": 2e-4, "averaging": 0.99}),
    "short_fast_layers": Step({**SHORT, "learning_rate": 2e-4, "layer_decay": 0.8}),
    "short_long_to_short": Step({**SHORT, "shuffled": False}),
    "short_usual": Step({**SHORT, "usual": True}),
    "short_head": Step({**SHORT, "tail": False}),
    "middle": Step({"max_tokens": 384}),
    "adapted_short": Step(SHORT, MLM),
    "adapted": Step({}, MLM),
    "self_taught": Step({**SHORT, "epochs": 2}, MLM, SELF),
    "self_taught_gold": Step({"epochs": 2, "learning_rate": 3e-5}, "self_taught"),
    "teacher": Step({**SHORT, "epochs": 2}),
    "taught_few": Step({**SHORT, "epochs": 2}, MLM, MPNET, FIRST),
    "taught_few_gold": Step({"epochs": 2, "learning_rate": 3e-5}, "taught_few"),
    "taught": Step({**SHORT, "epochs": 2}, MLM, MPNET),
    "taught_gold": Step({"epochs": 2, "learning_rate": 3e-5}, "taught"),
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


def step_of(path: Path) -> Step:
    """The step whose result a file is."""
    return STEPS.get(path.name.split("-")[0], Step())


def describe(recipe: Recipe, step: Step) -> str:
    """What tells one training of the research from another: its rate, tokens, what is unusual."""
    usual = Recipe(learning_rate=0.0, seed=0, max_tokens=0)
    parts = [words.format(value) for name, words in WORDS.items()
             if (value := getattr(recipe, name)) != getattr(usual, name)]  # fmt: skip
    parts += [] if recipe.tail else ["the head of a long review only"]
    parts += ["the epoch that validation prefers"] if recipe.best_epoch else []
    parts += ["in the usual way: fp32, attention dropout, random batches"] if recipe.usual else []
    parts += [] if recipe.shuffled else ["batches from long to short"]
    if step.start:
        parts.append("pretrained further" if step.start == MLM else f"after {step.start}")
    if step.teachers:
        names = sorted({teacher for teacher, _, _ in step.teachers})
        parts.append(f"taught by {len(step.teachers)} x {' and '.join(names)}")
    return ", ".join(parts)


def cross_validated(dataset: str = "imdb-minilm") -> str:
    """One row a recipe that was cross-validated, by its last epoch, as Markdown, the best last."""
    found: dict[str, list[dict]] = {}
    for path in sorted(FOLDER.glob(f"*-{dataset}-fold*.json")):
        result = json.loads(path.read_text())
        recipe = replace(recipe_of(result), best_epoch=False)
        name = describe(recipe, step_of(path))
        if "best_epoch" not in result["recipe"]:
            name += ", in an earlier order of batches"
        found.setdefault(name, []).append(result)
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
    others = (json.loads(path.read_text()) for path in FOLDER.glob(f"*-{dataset}-*.json"))
    trained = [main, *(result for result in others if "validation" in result)]
    # A training of which two epochs were kept is one training: its losses are the same.
    histories = {
        tuple((epoch["loss"], epoch["accuracy"]) for epoch in result["validation"]): result
        for result in trained
    }
    histories = [[accuracy for _, accuracy in history] for history in histories]
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
    found = {describe(recipe_of(trained), Step()): [(trained, main.load("evaluation")["model"])]}
    for path in sorted(FOLDER.glob(f"*-{run}-seed*.json")):
        result = json.loads(path.read_text())
        if "test" in result and result["fingerprint"] != trained["fingerprint"]:
            recipe = describe(recipe_of(result), step_of(path))
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


def against_usual(datasets: tuple[str, ...] = ("imdb-minilm", "rotten-tomatoes-minilm")) -> str:
    """Our way of training against the usual notebook's, on the folds that both were trained on.

    The interval is of paired answers: where two models differ on a review, exactly one is right.
    """
    lines = [
        "| reviews | folds | the usual way | ours | difference, 95% interval |",
        "|---|---|---|---|---|",
    ]
    for dataset in datasets:
        usual = sorted(FOLDER.glob(f"short_usual-{dataset}-fold*.json"))
        if not usual:
            continue
        pairs = [
            [json.loads(path.read_text()) for path in (theirs, _ours(theirs))] for theirs in usual
        ]
        served = [[result["validation_as_served"] for result in pair] for pair in pairs]
        answers = [[np.array(x["probabilities"]) >= 0.5 for x in pair] for pair in served]
        reviews = sum(len(theirs) for theirs, _ in answers)
        right = np.sum([[x["accuracy"] * len(a) for x, a in zip(*both, strict=True)]
                        for both in zip(served, answers, strict=True)], axis=0)  # fmt: skip
        differ = sum(int((theirs != ours).sum()) for theirs, ours in answers)
        gain = (right[1] - right[0]) / reviews
        half = 1.96 * np.sqrt(differ - reviews * gain**2) / reviews
        lines.append(
            f"| {pairs[0][0]['dataset']} | {len(pairs)} | {right[0] / reviews:.1%} "
            f"| {right[1] / reviews:.1%} | {100 * gain:+.1f} ± {100 * half:.1f} points |"
        )
    return "\n".join(lines)


def _ours(usual: Path) -> Path:
    return usual.with_name(usual.name.replace("short_usual", "short"))
