"""The experiments: what each changes in the recipe, starts from, and learns from.

A new one is one entry in EXPERIMENTS: `scripts/research.py`, tables, figures and the card read it.
"""

from dataclasses import asdict, dataclass, field

from utils.training.recipe import Recipe

BASELINE = "tfidf"  # for the learning curve
TAPT = "tapt_mlm"  # task-adaptive pretraining, on which experiments build
CASCADE = "cascade"  # of the linear student and the released model
TAPT_SEED = 42  # one for all seeds of fine-tuning
FOLDS = 2  # of the label budget: trained on one, validated on the other
SEEDS = (42, 43, 44)


@dataclass(frozen=True)
class Teacher:
    """A model whose probabilities for unlabelled reviews a student learns."""

    experiment: str
    seed: int
    backbone: str | None = None  # else the student's own


@dataclass(frozen=True)
class Experiment:
    """One way to use the labels; after task-adaptive pretraining where it says `tapt`.

    A student learns the mean of its `teachers`' probabilities for unlabelled reviews, together with
    the labelled ones.
    """

    name: str
    title: str
    group: str
    changes: dict = field(default_factory=dict)  # in the recipe of notebook 03
    tapt: bool = False
    teachers: tuple[Teacher, ...] = ()
    note: str = ""  # for the card of a model
    linear: bool = False  # TF-IDF and logistic regression instead of an encoder

    def recipe(self, learning_rate: float, seed: int) -> Recipe:
        """Its recipe, with the backbone's usual learning rate where it names none."""
        return Recipe(**{"learning_rate": learning_rate, "seed": seed, **self.changes})

    def origin(self) -> dict:
        """What it builds on, as its results say it."""
        return {"tapt": self.tapt, "teachers": [asdict(teacher) for teacher in self.teachers]}


FINE_TUNING, PRETRAINING = "fine-tuning", "task-adaptive pretraining (TAPT)"
SELF_TRAINING, DISTILLATION = "self-training", "knowledge distillation"
TEACHER = "the teacher"
STUDENT = {"max_tokens": 256, "group_by_length": False, "epochs": 2}
MPNETS = tuple(Teacher("teacher", seed, "mpnet") for seed in SEEDS)
OF_MPNET = (
    "The teacher is all-mpnet-base-v2 (Apache 2.0), five times as large, fine-tuned on these "
    "labels and no others."
)
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("fine_tuned_256", "fine-tuned at 256 tokens", FINE_TUNING, {"max_tokens": 256}),
        Experiment("fine_tuned", "fine-tuned", FINE_TUNING),
        Experiment("tapt_256", "TAPT, fine-tuned at 256 tokens", PRETRAINING,
                   {"max_tokens": 256}, tapt=True),
        Experiment("tapt", "TAPT, fine-tuned", PRETRAINING, tapt=True),
        Experiment("self_trained", "TAPT, self-training from 3 models", SELF_TRAINING, STUDENT,
                   True, tuple(Teacher("tapt", seed) for seed in SEEDS)),
        Experiment("distilled_1_teacher", "TAPT, distilled from 1 MPNet", DISTILLATION, STUDENT,
                   True, MPNETS[:1], note=OF_MPNET),
        Experiment("distilled_3_teachers", "TAPT, distilled from 3 MPNets", DISTILLATION, STUDENT,
                   True, MPNETS, note=OF_MPNET),
        Experiment("linear_student", "TF-IDF, distilled from 3 MPNets", DISTILLATION,
                   teachers=MPNETS, linear=True),
        Experiment("teacher", "MPNet, five times as large", TEACHER, STUDENT),
    )
}  # fmt: skip


def describe(recipe: dict) -> str:
    """The hyperparameters of a result's recipe, in words."""
    words = f"learning rate {recipe['learning_rate']:g}, {recipe['epochs']} epochs, "
    words += f"{recipe['max_tokens']} tokens"
    return words if recipe["group_by_length"] else f"{words}, batches in random order"


def is_of(experiment: Experiment, result: dict) -> bool:
    """Whether a result was trained as the experiment now says, whatever its seed."""
    made = result.get("recipe")
    if experiment.linear:
        return experiment.origin().items() <= result.items()
    if not made:
        return False
    expected = asdict(experiment.recipe(made["learning_rate"], made["seed"]))
    return made == expected and experiment.origin().items() <= result.items()
