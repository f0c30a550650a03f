"""The steps of the research: what each changes in the main recipe."""

from dataclasses import dataclass, field, replace

from utils.settings import Settings
from utils.training.recipe import Recipe

PARTS = {"fold": 10, "half": 2}  # of the label budget, one of which is held out
TFIDF = "tfidf"  # the baseline, for the learning curve
MLM = "mlm"  # the step that pretrains the backbone further, without labels
MLM_SEED = 42  # one for all seeds of fine-tuning


@dataclass(frozen=True)
class Step:
    """What a step changes in the main recipe, what it starts from and whose labels it learns.

    `start` is an earlier step, of the same seed, or MLM. Each of the `teachers`, a step, backbone
    (None: the same) and seed, gives a probability to each of the first `unlabelled` reviews; their
    mean is learnt, together with the labelled reviews. The last reviews are never learnt from.
    """

    changes: dict = field(default_factory=dict)
    start: str | None = None
    teachers: tuple[tuple[str, str | None, int], ...] = ()
    unlabelled: int | None = None


SHORT = {"max_tokens": 256}
LAYERS = {"learning_rate": 2e-4, "layer_decay": 0.8}
TAUGHT = {**SHORT, "grouped": False, "epochs": 2}
GOLD = {"epochs": 2, "learning_rate": 3e-5}
LONG = {"epochs": 1, "learning_rate": 3e-5}  # after 256 tokens, what is read when served
SEEDS = (42, 43, 44)
SELF = tuple(("adapted", None, seed) for seed in SEEDS)
THREE_MPNETS = tuple(("teacher", "mpnet", seed) for seed in SEEDS)
ONE_MPNET = THREE_MPNETS[:1]
FIRST_REVIEWS = 14_000
STEPS = {
    "plain": Step(),
    "best_epoch": Step({"best_epoch": True}),
    "long_to_short": Step({"shuffled": False, "best_epoch": True}),
    "short": Step(SHORT),
    "short_slow": Step({**SHORT, "learning_rate": 5e-5}),
    "short_fast": Step({**SHORT, "learning_rate": 2e-4}),
    "short_fast_averaged": Step({**SHORT, "learning_rate": 2e-4, "averaging": 0.99}),
    "short_fast_layers": Step({**SHORT, **LAYERS}),
    "short_random": Step({**SHORT, "grouped": False}),
    "short_usual": Step({**SHORT, "usual": True}),
    "short_head": Step({**SHORT, "tail": False}),
    "middle": Step({"max_tokens": 384}),
    "fast_layers": Step(LAYERS),
    "adapted_short": Step(SHORT, MLM),
    "adapted_short_fast_layers": Step({**SHORT, **LAYERS}, MLM),
    "adapted": Step({}, MLM),
    "self_taught": Step(TAUGHT, MLM, SELF),
    "self_taught_gold": Step(GOLD, "self_taught"),
    "teacher": Step(TAUGHT),
    "taught_few": Step(TAUGHT, None, ONE_MPNET, FIRST_REVIEWS),
    "taught_few_gold": Step(GOLD, "taught_few"),
    "taught_few_fast": Step({**TAUGHT, "learning_rate": 2e-4}, None, ONE_MPNET, FIRST_REVIEWS),
    "taught_few_adapted": Step(TAUGHT, MLM, ONE_MPNET, FIRST_REVIEWS),
    "taught_few_slow": Step({**TAUGHT, "learning_rate": 5e-5}, MLM, ONE_MPNET, FIRST_REVIEWS),
    "taught": Step(TAUGHT, MLM, ONE_MPNET),  # rate and start of the nearest of the few
    "taught_three_epochs": Step({**TAUGHT, "epochs": 3}, MLM, ONE_MPNET),
    "taught_three_epochs_fast": Step(
        {**TAUGHT, "epochs": 3, "learning_rate": 2e-4}, MLM, ONE_MPNET
    ),
    "taught_four_epochs": Step({**TAUGHT, "epochs": 4}, MLM, ONE_MPNET),
    "taught_long": Step({"epochs": 2}, MLM, ONE_MPNET),
    "taught_by_three": Step(TAUGHT, MLM, THREE_MPNETS),
    "taught_by_three_then_512": Step(LONG, "taught_by_three", THREE_MPNETS, FIRST_REVIEWS),
}

WORDS = {
    "learning_rate": "learning rate {:g}".format,
    "epochs": lambda count: "1 epoch" if count == 1 else f"{count} epochs",
    "max_tokens": "{} tokens".format,
    "layer_decay": "each layer at {:g} of the rate above".format,
    "averaging": "weights averaged ({:g})".format,
}


def result_name(step: str, run: str, which: str, labels: int) -> str:
    """The name of a step's result: of its run, budget of labels, and `which`, as in seed42, half0.

    The usual budget is not part of the name. Pretraining uses no label.
    """
    budget = "" if step == MLM or labels == Settings.labels else f"-labels{labels}"
    return f"{step}-{run}{budget}-{which}.json"


def built_on(step: Step) -> dict:
    """What the step starts from and whose labels it learns, as its results say it."""
    return {
        "start": step.start,
        "teachers": [list(teacher) for teacher in step.teachers],
        "unlabelled": step.unlabelled,
    }


def is_of(step: str, result: dict) -> bool:
    """Whether a result was trained as the step now says, whatever its seed.

    Older results do not say what they were built on: those that were built on nothing. Of the
    baseline and of pretraining there is one kind.
    """
    if step not in STEPS:
        return True
    if "recipe" not in result:
        return False
    recipe = recipe_of(result)  # whose rate, where the step names none, is the backbone's usual one
    expected = replace(Recipe(recipe.learning_rate, recipe.seed), **STEPS[step].changes)
    built = {key: result.get(key, value) for key, value in built_on(Step()).items()}
    return recipe == expected and built == built_on(STEPS[step])


def recipe_of(result: dict) -> Recipe:
    """The recipe of a result; older results do not name what was added to it since."""
    return Recipe(**{"shuffled": False, "best_epoch": True, **result["recipe"]})


def describe(recipe: Recipe, step: Step, beside: Recipe | None = None) -> str:
    """What tells one training of the research from another: rate, epochs, tokens, other changes.

    Of rate, epochs and tokens those that are as `beside` are left out.
    """
    main = beside or Recipe(learning_rate=0.0, seed=0, epochs=0, max_tokens=0)
    parts = [words(value) for name, words in WORDS.items()
             if (value := getattr(recipe, name)) != getattr(main, name)]  # fmt: skip
    parts += [] if recipe.tail else ["the head of a long review only"]
    parts += ["the epoch that validation prefers"] if recipe.best_epoch else []
    parts += ["in the usual way: fp32, attention dropout, random batches"] if recipe.usual else []
    parts += [] if recipe.grouped else ["reviews in random order"]
    parts += [] if recipe.shuffled else ["batches from long to short"]
    if step.start:
        parts.append("pretrained further" if step.start == MLM else f"after {step.start}")
    if step.teachers:
        names = sorted({backbone or teacher for teacher, backbone, _ in step.teachers})
        parts.append(f"taught by {len(step.teachers)} x {' and '.join(names)}")
        count = "nearly all" if step.unlabelled is None else f"{step.unlabelled:,}"
        parts.append(f"on {count} reviews without a label")
    return ", ".join(parts)
