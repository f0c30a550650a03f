"""The research: task-adaptive pretraining, soft labels, students, and plans of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BAD, GOOD, PLAIN, TINY, as_acl, make_reviews, run_script, stored_frames
from safetensors.torch import save_file
from transformers import DistilBertForMaskedLM, MPNetConfig, MPNetModel
from transformers.utils import logging

from utils import InputError
from utils.data.reviews import load_reviews
from utils.data.unlabelled import FEWEST, load_unlabelled
from utils.export.card import model_card
from utils.export.folder import export_model
from utils.inference.classifier import Classifier
from utils.modeling.backbones import build_model, load_backbone
from utils.modeling.baseline import fit_linear_student
from utils.research.distillation import (
    SoftLabels,
    agreement_with_teachers,
    label_softly,
    learnt_from,
    read_labels,
    with_soft_labels,
)
from utils.research.experiments import EXPERIMENTS, Experiment, Teacher
from utils.research.linear_student import LinearStudent
from utils.research.plan import Labelling, Pretraining, Training, evaluate_baseline, plan
from utils.research.pretraining import MaskedLanguageModel, pretrain
from utils.research.runs import Research
from utils.research.tables import Results
from utils.results import Run
from utils.settings import Settings
from utils.training.fine_tune import fine_tune, load_trained
from utils.training.fingerprint import fingerprint
from utils.training.recipe import Recipe
from utils.training.trainer import as_dataset, make_trainer


@pytest.fixture
def with_unlabelled(tmp_path):
    """400 training reviews, 200 of the test, and some without a label, of which four leak."""
    folder = tmp_path / "made-up"
    folder.mkdir()
    train, test = make_reviews(400, seed=0), make_reviews(200, seed=1)
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    fresh = make_reviews(100, seed=2)["text"].tolist()
    leaks = [
        test["text"][0],
        test["text"][1].upper(),
        test["text"][2].replace(" ", "<br />", 1),
        f"<i>{test['text'][3]}</i> &amp; &quot;",
    ]
    pd.DataFrame({"text": [*fresh, *leaks, fresh[0]]}).to_parquet(folder / "unsup.parquet")
    return Settings(source=str(folder), labels=200), test


def test_unlabelled_reviews_come_from_stanfords_folder_and_from_the_hub_too(tmp_path, monkeypatch):
    settings = Settings(source=str(as_acl(tmp_path / "aclImdb", *stored_frames())), labels=100)
    reviews, texts = load_reviews(settings), make_reviews(40, seed=2)["text"].tolist()
    folder = tmp_path / "aclImdb" / "train" / "unsup"
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}_0.txt").write_text(text)
    stored, counts = load_unlabelled(settings, reviews)
    assert counts["without_label"] == 40
    asked = []
    monkeypatch.setattr(
        "utils.data.sources.load_hub", lambda split: asked.append(split) or {"text": texts}
    )
    found, counts = load_unlabelled(replace(settings, source="hub"), reviews)
    assert asked == ["unsupervised"]
    assert counts["without_label"] == 40
    assert set(found["hash"]) == set(stored["hash"])


def test_no_test_text_is_among_the_unlabelled_whatever_its_case_or_markup(with_unlabelled):
    settings, test = with_unlabelled
    reviews = load_reviews(settings)
    found, counts = load_unlabelled(settings, reviews)
    letters = [{*map(_letters, part["text"])} for part in (found, test, reviews.train)]
    assert not letters[0] & letters[1]
    assert not letters[0] & letters[2]
    assert counts == {
        "without_label": 105, "beyond_the_budget": 200, "in_test_dropped": 4,
        "in_budget_dropped": 0, "duplicates_dropped": 1,
    }  # fmt: skip
    assert len(found) == 300
    assert "label" not in found


def test_no_review_of_a_labelled_film_is_among_the_unlabelled(tmp_path):
    for split, count, seed in (("train", 400, 0), ("test", 200, 1)):
        films = [f"{split} {row // 4}" for row in range(count)]
        make_reviews(count, seed=seed).assign(group=films).to_parquet(tmp_path / f"{split}.parquet")
    settings = Settings(source=str(tmp_path), labels=100)
    reviews = load_reviews(settings)
    found, counts = load_unlabelled(settings, reviews)
    labelled = {*reviews.train["group"], *reviews.validation["group"]}
    group_of = dict(zip(reviews.unused["hash"], reviews.unused["group"], strict=True))
    assert {*reviews.unused["group"]} & labelled  # there are some to be left out
    assert not {group_of[text] for text in found["hash"]} & labelled
    assert counts["beyond_the_budget"] == len(found) > 10


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def test_a_small_test_still_keeps_the_whole_test_out(with_unlabelled):
    settings, test = with_unlabelled
    small = replace(settings, test_size=20)
    found, _ = load_unlabelled(small, load_reviews(small))
    assert not {*map(_letters, found["text"])} & {*map(_letters, test["text"])}


def test_the_masked_language_models_loss_is_that_of_the_stock_class(backbone):
    torch.manual_seed(0)
    ours = MaskedLanguageModel(backbone.config).eval()
    stock = DistilBertForMaskedLM(backbone.config).eval()
    stock.load_state_dict(ours.state_dict())
    ids = torch.randint(5, 20, (4, 12))
    labels = torch.where(torch.rand(4, 12) < 0.3, ids, -100)
    mask = torch.ones_like(ids)
    expected = stock(ids, mask, labels=labels).loss
    assert ours(ids, mask, labels).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_pretraining_further_leaves_a_backbone_and_is_not_repeated(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.research.pretraining.WATCHED", 20)
    texts = make_reviews(200, seed=3).assign(hash=[str(row) for row in range(200)])
    result = pretrain(tmp_path / "mlm", backbone, texts, seed=0)
    assert result["held_out_loss"]
    folder = tmp_path / "mlm" / result["fingerprint"]
    further = load_backbone(str(folder / "model"))
    name = "transformer.layer.0.ffn.lin1.weight"
    assert not torch.equal(further.weights[name], backbone.weights[name])
    assert not list(folder.glob("checkpoint-*"))
    with monkeypatch.context() as patch:  # it starts from the backbone's weights, and keeps them
        patch.setattr("utils.research.pretraining.LEARNING_RATE", 0.0)
        same = pretrain(tmp_path / "mlm", backbone, texts, seed=0)["fingerprint"]
    kept = load_backbone(str(tmp_path / "mlm" / same / "model")).weights
    assert all(torch.equal(kept[name], weight) for name, weight in backbone.weights.items())
    # Other texts, or another way, are another pretraining; the same one is not repeated.
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 1)
    for changed in (pretrain(tmp_path / "mlm", backbone, texts, 0),
                    pretrain(tmp_path / "mlm", backbone, texts.head(100), 0)):  # fmt: skip
        assert changed["fingerprint"] != result["fingerprint"]
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 2)
    monkeypatch.setattr("utils.research.pretraining.FineTuner", None)
    assert pretrain(tmp_path / "mlm", backbone, texts, 0)["model_sha256"] == result["model_sha256"]


def test_the_fewest_reviews_without_a_label_are_enough(backbone, tmp_path):
    texts = make_reviews(FEWEST, seed=3).assign(hash=[str(row) for row in range(FEWEST)])
    texts = texts.head(learnt_from(texts))
    assert pretrain(tmp_path / "mlm", backbone, texts, seed=0)["held_out_loss"]


@pytest.fixture
def propagated():
    """Lets pytest see what transformers logs."""
    logging.enable_propagation()
    yield
    logging.disable_propagation()


@pytest.fixture
def tiny_mpnet(tmp_path_factory):
    """A random MPNet folder with what the real one's files also hold: pooler and position ids."""
    tmp_path = tmp_path_factory.mktemp("mpnet")
    words = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *GOOD, *BAD, *PLAIN, "<mask>"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    config = MPNetConfig(vocab_size=len(words), max_position_embeddings=514, **TINY)
    torch.manual_seed(0)
    model = MPNetModel(config)
    config.save_pretrained(tmp_path)
    positions = {"embeddings.position_ids": torch.arange(514)[None]}
    save_file(model.state_dict() | positions, tmp_path / "model.safetensors")
    return tmp_path, model


def test_the_teacher_is_loaded_whole_trained_and_kept(
    tiny_mpnet, reviews, tmp_path, caplog, propagated
):
    folder, original = tiny_mpnet
    teacher = load_backbone(str(folder), teacher=True)
    model = build_model(teacher, seed=0)
    ids = teacher.tokenizer(["great plot", "awful"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = original.eval()(**ids).last_hidden_state
        found = model.base_model.eval()(**ids).last_hidden_state
    assert torch.equal(found, expected)
    run, recipe = Run(tmp_path / "run"), Recipe(1e-3, seed=0, epochs=1, max_tokens=64)
    trainer = make_trainer(run, model, teacher, reviews, recipe)
    fine_tune(run, trainer, teacher, reviews, recipe)
    kept, trained = load_trained(run)[0], trainer.model.cpu().state_dict()
    with pytest.raises(InputError, match="no custom-head DistilBERT"):
        export_model(run, *load_trained(run), tmp_path / "exported")
    found = {name: value.cpu() for name, value in kept.model.state_dict().items()}
    assert all(torch.equal(trained[name], value) for name, value in found.items())
    assert not torch.equal(trained["mpnet.encoder.layer.0.output.dense.weight"],
                           original.encoder.layer[0].output.dense.weight)  # fmt: skip
    assert len(kept.probabilities(["great plot", "awful"])) == 2
    assert "attention implementation" not in caplog.text
    # Where its files lie makes no other training of it.
    elsewhere = load_backbone(str(shutil.copytree(folder, tmp_path / "elsewhere")), teacher=True)
    assert fingerprint(elsewhere, reviews, recipe) == fingerprint(teacher, reviews, recipe)


@pytest.fixture
def labelled(backbone, tmp_path):
    """60 reviews without a label, softly labelled by an untrained model."""
    classifier = Classifier(build_model(backbone, seed=0), backbone.tokenizer)
    texts = make_reviews(60, seed=4).assign(hash=[f"h{i}" for i in range(60)])[["text", "hash"]]
    path = tmp_path / "teacher-labels.npz"
    label_softly(classifier, texts, 60, path, {"model_sha256": "a"})
    return classifier, texts, SoftLabels(Teacher("teacher", 42), path, "a")


def test_labelling_goes_on_where_it_was_interrupted(labelled, tmp_path, monkeypatch):
    classifier, texts, soft = labelled
    expected = read_labels(soft.path)["labels"]
    monkeypatch.setattr("utils.research.distillation.CHUNK", 20)
    asked = []

    class Interrupted:
        def probabilities(self, chunk):
            if len(asked) == 40:
                raise KeyboardInterrupt
            asked.extend(chunk)
            return classifier.probabilities(chunk)

    other = tmp_path / "other-labels.npz"
    with pytest.raises(KeyboardInterrupt):
        label_softly(Interrupted(), texts, 60, other, {"model_sha256": "a"})
    asked.append("the third chunk may come")
    found = label_softly(Interrupted(), texts, 60, other, {"model_sha256": "a"})
    assert len(asked) == 61
    assert found["labels"] == pytest.approx(expected, abs=2e-3)
    assert found["seconds"] > 0
    # To ask for fewer loses none; another model's labels are not added to.
    assert len(label_softly(classifier, texts, 20, other, {"model_sha256": "a"})["labels"]) == 60
    assert len(label_softly(classifier, texts, 20, other, {"model_sha256": "b"})["labels"]) == 20


def test_a_student_learns_the_mean_of_its_teachers_beside_the_labels(labelled, reviews, backbone):
    _, texts, first = labelled
    other = Classifier(build_model(backbone, seed=1), backbone.tokenizer)
    second = SoftLabels(Teacher("teacher", 43), first.path.with_name("second-labels.npz"), "b")
    label_softly(other, texts, 60, second.path, {"model_sha256": "b"})
    taught = with_soft_labels(reviews, texts, [first, second])
    given = [read_labels(soft.path)["labels"][:54].astype(float) for soft in (first, second)]
    mean, gold = np.mean(given, axis=0), len(reviews.train)
    assert len(taught.train) == gold + 54  # a tenth of 60 compares students
    assert taught.train["probability"].iloc[gold:].to_numpy() == pytest.approx(mean)
    assert taught.train["probability"].iloc[:gold].isin([0, 1]).all()
    recipe = Recipe(1e-4, seed=0)
    rows = as_dataset(backbone.tokenizer, taught.train, recipe)["labels"]
    assert rows[gold] == pytest.approx([1 - mean[0], mean[0]])
    # Other labels are another training.
    alone = with_soft_labels(reviews, texts, [second])
    assert fingerprint(backbone, taught, recipe) != fingerprint(backbone, alone, recipe)


def test_labels_of_other_texts_are_refused(labelled, reviews):
    _, texts, soft = labelled
    more = pd.concat([texts, make_reviews(20, seed=5).assign(hash="more")])
    for changed, count in ((texts.iloc[::-1], 54), (more, 72)):
        with pytest.raises(InputError, match=f"does not hold the labels of these {count}"):
            with_soft_labels(reviews, changed, [soft])
    with pytest.raises(InputError, match=r"run scripts/research.py teacher --label with SEED=42"):
        with_soft_labels(reviews, texts, [replace(soft, model_sha256="of one trained anew")])


def test_a_student_is_compared_with_its_teachers_where_it_learnt_nothing(labelled, backbone):
    teacher, texts, soft = labelled
    itself = agreement_with_teachers(teacher.probabilities, texts, [soft])
    assert (itself["reviews"], itself["share"]) == (6, 1)  # the last tenth of 60
    assert np.mean(itself["divergences"]) == pytest.approx(0, abs=1e-5)
    other = Classifier(build_model(backbone, seed=1), backbone.tokenizer)
    ours = other.probabilities(texts["text"].tolist()[54:])
    theirs = read_labels(soft.path)["labels"][54:].astype(float)
    found = agreement_with_teachers(other.probabilities, texts, [soft])
    assert found["share"] == np.mean((ours >= 0.5) == (theirs >= 0.5))
    both = [theirs * np.log(theirs / ours), (1 - theirs) * np.log((1 - theirs) / (1 - ours))]
    assert np.mean(found["divergences"]) == pytest.approx(np.mean(sum(both)), rel=1e-3)
    more = pd.concat([texts, make_reviews(10, seed=5).assign(hash="more")])
    with pytest.raises(InputError, match="does not hold the labels of these 70 reviews"):
        agreement_with_teachers(other.probabilities, more, [soft])


def test_a_student_that_is_wholly_sure_is_not_infinitely_far_from_its_teachers(labelled):
    """Its softmax rounds to 1: saved as Infinity, its result would be no JSON."""
    _, texts, soft = labelled
    theirs = read_labels(soft.path)["labels"][54:].astype(float)
    for sure in (0.0, 1.0):
        student = SimpleNamespace(probabilities=lambda chunk, p=sure: np.full(len(chunk), p))
        found = agreement_with_teachers(student.probabilities, texts, [soft])["divergences"]
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        share = theirs if sure else 1 - theirs  # what they give to what it is sure of
        entropy = share * np.log(share) + (1 - share) * np.log(1 - share)
        assert found == pytest.approx(entropy - (1 - share) * np.log(5e-7), abs=1e-5)


def test_every_experiment_builds_on_experiments_that_exist():
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name
        assert {teacher.experiment for teacher in experiment.teachers} <= set(EXPERIMENTS)
        experiment.recipe(1e-4, seed=0)


@pytest.fixture
def made(tiny_bert, with_unlabelled, tmp_path, monkeypatch) -> Settings:
    """Settings of small, quick experiments."""
    monkeypatch.setattr("utils.research.pretraining.WATCHED", 20)
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 1)
    return replace(with_unlabelled[0], backbone=str(tiny_bert), labels=100,
                   artifacts=str(tmp_path / "made"))  # fmt: skip


def research_of(settings: Settings) -> Research:
    return Research(settings, load_reviews(settings))


def do(task) -> Path:
    """Run all that a task needs, and itself."""
    path = None
    for step in plan(task):
        path = step.run()
    return path


def test_a_student_of_its_own_kind_is_planned_made_scored_and_says_how(made, monkeypatch):
    """The whole way, in seconds: pretraining, three teachers, their labels, a student, its test."""
    research = research_of(made)
    student = EXPERIMENTS["self_trained"]
    task = Training(research, student, score=True)
    kinds = [type(step).__name__ for step in plan(task)]
    assert kinds == ["Pretraining", *["Training", "Labelling"] * 3, "Training"]
    path = do(task)
    assert plan(task) == []
    result = json.loads(path.read_text())
    assert (result["softly_labelled_reviews"], result["agreement"]["reviews"]) == (360, 40)
    assert result["test"]["reviews"] == 200
    assert len(result["history"]) == 2
    run = Run(path.with_suffix(""))
    baseline = run.load("evaluation")["baseline"]
    assert baseline == evaluate_baseline(research.reviews)["report"]  # fitted on the labels alone
    # What was scored once is not scored again; its card says what is behind it.
    with monkeypatch.context() as patch:
        patch.setattr("utils.research.plan.predict_test", None)
        assert task.run() == path
    assert json.loads(path.read_text()) == result
    same = {"model_sha256": result["model_sha256"]}
    assert run.find("agreement", **same)
    assert run.find("calibration", **same)
    card = model_card(run, load_trained(run)[1], "model", half=False)
    assert "1. Task-adaptive pretraining: masked language modelling on 360" in card
    assert "fine-tuned on 100 labelled reviews" in card
    assert "Not measured" not in card
    found = Results(research.reviews.name, Run.of(made, "").name[1:], path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(Settings, "labels", 100)
        (row,) = (row for row in found.rows() if row["name"] == "self_trained")
        assert row["test"]["mean"] == result["test"]["metrics"]["accuracy"]["value"]
        assert len(found.agreement()) == 1

    # It must have learnt the labels that its teachers give now.
    labels_path = research.teachers(student)[1].path
    kept, given = labels_path.read_bytes(), read_labels(labels_path)
    turned = {"labels": 1 - given["labels"], "about": json.dumps(given["about"])}
    np.savez(labels_path, **given | turned)
    assert not task.is_done()
    with pytest.raises(InputError, match=r"run scripts/research.py self_trained with BACKBONE="):
        research.result("self_trained")
    labels_path.write_bytes(kept)
    # Another test is another score, where one is asked for.
    other = research_of(replace(made, test_size=100))
    assert Training(other, student).is_done()
    scored = Training(other, student, score=True)
    assert json.loads(scored.run().read_text())["test"]["reviews"] == 100
    # An experiment that was changed since is not the same.
    changed = Experiment("self_trained", "", "", {"epochs": 1}, True, student.teachers)
    monkeypatch.setitem(EXPERIMENTS, "self_trained", changed)
    with pytest.raises(InputError, match="self_trained with"):
        research.result("self_trained")


def test_pretraining_serves_fewer_labels_but_no_others(made, monkeypatch):
    research = research_of(made)
    do(Pretraining(research))
    fewer = research_of(replace(made, labels=40))
    assert Pretraining(fewer).is_done()
    with monkeypatch.context() as patch:  # they may be others: then their texts were read
        patch.setattr(Research, "budget", property(lambda those: {those.settings.labels}))
        assert not Pretraining(fewer).is_done()
    assert not Pretraining(research_of(replace(made, labels=120))).is_done()
    changed = make_reviews(400, seed=9).assign(text=lambda frame: frame["text"] + " indeed")
    changed.to_parquet(f"{made.source}/train.parquet")
    assert not Pretraining(research_of(made)).is_done()


def test_an_experiment_for_distilberts_layout_is_refused_to_another(
    tiny_mpnet, with_unlabelled, tmp_path
):
    settings = replace(with_unlabelled[0], backbone=str(tiny_mpnet[0]), artifacts=str(tmp_path))
    with pytest.raises(InputError, match=r"DistilBERT's layout.*give another BACKBONE"):
        Training(research_of(settings), EXPERIMENTS["tapt"]).run()


def test_weights_that_are_gone_are_asked_for_and_trained_again_to_the_same(made):
    research, teacher = research_of(made), EXPERIMENTS["teacher"]
    path = do(Training(research, teacher, score=True))
    run, before = Run(path.with_suffix("")), json.loads(path.read_text())
    shutil.rmtree(run.folder)  # as in a clone, which has the results alone
    with pytest.raises(InputError, match=r"run scripts/research.py teacher with SEED=42 first"):
        Labelling(research, teacher, 10).run()
    assert not Training(research, teacher).is_done()
    assert json.loads(Training(research, teacher).run().read_text()) == before
    labels = do(Labelling(research, teacher, 10))
    # A score asked for leaves all that the card needs; its numbers are those of before.
    assert not run.find("evaluation")
    again = json.loads(do(Training(research, teacher, score=True)).read_text())
    assert again["test"] == before["test"]
    assert run.find("evaluation", model_sha256=before["model_sha256"])
    # A result of other weights is made anew from those that are here.
    path.write_text(json.dumps(before | {"model_sha256": "of another machine"}))
    anew = json.loads(do(Training(research, teacher)).read_text())
    assert anew["model_sha256"] == before["model_sha256"]
    assert "test" not in anew
    # A result that is not of these labels is made anew.
    expected = labels.read_text()
    labels.write_text(json.dumps(json.loads(expected) | {"labels_sha256": "of others"}))
    assert do(Labelling(research, teacher, 10)).read_text() == expected
    # What is labelled needs no weights.
    shutil.rmtree(run.folder)
    assert plan(Labelling(research, teacher, 10)) == []


def test_what_was_made_with_another_split_of_the_same_reviews_is_not_built_on(made):
    research, folded = research_of(made), EXPERIMENTS["tapt_256"]
    do(Training(research, EXPERIMENTS["teacher"]))
    do(Training(research, folded, fold=0))
    both = pd.concat(
        pd.read_parquet(f"{made.source}/{split}.parquet") for split in ("train", "test")
    ).sample(frac=1, random_state=0)
    both[:400].to_parquet(f"{made.source}/train.parquet")
    both[400:].to_parquet(f"{made.source}/test.parquet")
    resplit = research_of(made)
    with pytest.raises(InputError, match="teacher with"):
        resplit.trained("teacher")
    # It was pretrained on texts that are in the test now.
    kinds = [type(step).__name__ for step in plan(Training(resplit, folded, fold=0))]
    assert kinds == ["Pretraining", "Training"]


def test_folds_have_one_seed_whatever_the_test(made, monkeypatch):
    short = EXPERIMENTS["fine_tuned_256"]
    path = Training(research_of(made), short, fold=0).run()
    assert not Run(path.with_suffix("")).find("evaluation")
    monkeypatch.setattr("utils.research.plan.fine_tune", None)  # the test is nothing to them
    small = research_of(replace(made, test_size=20))
    assert Training(small, short, fold=0).is_done()
    with pytest.raises(InputError, match="SEED=42 only"):
        Training(research_of(replace(made, seed=43)), short, fold=0).run()
    with pytest.raises(InputError, match="cannot be cross-validated"):
        Training(small, EXPERIMENTS["self_trained"], fold=0).run()


def test_where_no_review_without_a_label_is_left_this_is_said(with_unlabelled):
    settings = replace(with_unlabelled[0], labels=400)
    folder = Path(settings.source)
    (folder / "unsup.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"unsup.parquet cannot be read"):
        load_unlabelled(settings, load_reviews(settings))
    (folder / "unsup.parquet").unlink()
    with pytest.raises(InputError, match="lower LABELS, or put a file unsup"):
        load_unlabelled(settings, load_reviews(settings))


@pytest.mark.slow
def test_the_script_shows_its_plan(tiny_bert, with_unlabelled, tmp_path):
    settings = {"source": with_unlabelled[0].source, "backbone": tiny_bert, "labels": 100}
    found = run_script("research.py", "tapt", "--plan", artifacts=tmp_path, **settings)
    assert found.returncode == 0, found.stderr
    steps = [line for line in found.stdout.splitlines() if line.startswith("To do: ")]
    assert len(steps) == 2
    assert "tapt_mlm of" in steps[0]
    assert "seed 42" in steps[1]
    assert not (tmp_path / "research").exists()


def test_a_linear_student_gives_what_its_teachers_are_unsure_of_a_middling_probability():
    texts = ["great", "dull", "odd"] * 40
    train = pd.DataFrame({"text": texts, "probability": [0.95, 0.05, 0.5] * 40})
    student = fit_linear_student(train, features=10, c=100)
    found = student.predict_proba(["great", "dull", "odd"])[:, 1]
    assert found == pytest.approx([0.95, 0.05, 0.5], abs=0.02)


def test_a_linear_student_is_measured_as_others_are(made, monkeypatch):
    teacher = Experiment("fine_tuned_256", "", "", EXPERIMENTS["fine_tuned_256"].changes)
    linear = Experiment("linear_student", "linear", "knowledge distillation",
                        teachers=(Teacher(teacher.name, 42),), linear=True)  # fmt: skip
    monkeypatch.setitem(EXPERIMENTS, "linear_student", linear)
    research = research_of(made)
    path = do(LinearStudent(research, linear))
    result = json.loads(path.read_text())
    by_c = result["agreement_by_C"]
    assert by_c[str(result["C"])] == max(by_c.values()) == result["agreement"]["share"]
    assert result["agreement"]["reviews"] == 40  # which it did not learn from
    assert result["test"]["reviews"] == 200
    assert {"flip", "keep"} <= result["minimal_pairs"].keys()
    found = Results(research.reviews.name, Run.of(made, "").name[1:], path.parent)
    monkeypatch.setattr(Settings, "labels", 100)
    (row,) = (row for row in found.rows() if row["name"] == "linear_student")
    assert row["minutes"] is not None  # its teacher's, too, is known
