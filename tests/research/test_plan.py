"""The research: pretraining further, soft labels, and students; and the evaluation's script."""

import json
import shutil
from dataclasses import asdict, replace
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
from utils.research import tables
from utils.research.distillation import (
    against_teachers,
    label_softly,
    learnt_from,
    read_labels,
    with_soft_labels,
)
from utils.research.experiments import STEPS, Step
from utils.research.ladder import learning_curve
from utils.research.plan import label, pretrain, train
from utils.research.pretraining import MaskedLanguageModel, adapt
from utils.research.runs import Research
from utils.research.scores import evaluate_baseline
from utils.research.students import students
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
        "utils.data.unlabelled.load_hub", lambda split: asked.append(split) or {"text": texts}
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
    result = adapt(tmp_path / "mlm", backbone, texts, seed=0)
    assert result["held_out_loss"]
    folder = tmp_path / "mlm" / result["fingerprint"]
    further = load_backbone(str(folder / "model"))
    name = "transformer.layer.0.ffn.lin1.weight"
    assert not torch.equal(further.weights[name], backbone.weights[name])
    assert not list(folder.glob("checkpoint-*"))
    with monkeypatch.context() as patch:  # it starts from the backbone's weights, and keeps them
        patch.setattr("utils.research.pretraining.LEARNING_RATE", 0.0)
        same = adapt(tmp_path / "mlm", backbone, texts, seed=0)["fingerprint"]
    kept = load_backbone(str(tmp_path / "mlm" / same / "model")).weights
    assert all(torch.equal(kept[name], weight) for name, weight in backbone.weights.items())
    # Other texts, or another way, are another pretraining; the same one is not repeated.
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 1)
    for changed in (adapt(tmp_path / "mlm", backbone, texts, 0),
                    adapt(tmp_path / "mlm", backbone, texts.head(100), 0)):  # fmt: skip
        assert changed["fingerprint"] != result["fingerprint"]
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 2)
    monkeypatch.setattr("utils.research.pretraining.FineTuner", None)
    assert adapt(tmp_path / "mlm", backbone, texts, 0)["model_sha256"] == result["model_sha256"]


def test_the_fewest_reviews_without_a_label_are_enough(backbone, tmp_path):
    texts = make_reviews(FEWEST, seed=3).assign(hash=[str(row) for row in range(FEWEST)])
    texts = texts.head(learnt_from(texts, None))
    assert adapt(tmp_path / "mlm", backbone, texts, seed=0)["held_out_loss"]


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
    return classifier, texts, path


def test_labelling_goes_on_where_it_was_interrupted(labelled, tmp_path, monkeypatch):
    classifier, texts, path = labelled
    expected = read_labels(path)["labels"]
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
    _, texts, path = labelled
    other = Classifier(build_model(backbone, seed=1), backbone.tokenizer)
    second = path.with_name("second-labels.npz")
    label_softly(other, texts, 60, second, {"model_sha256": "b"})
    taught = with_soft_labels(reviews, texts, 50, {path: "a", second: "b"})
    mean = np.mean([read_labels(p)["labels"][:50].astype(float) for p in (path, second)], axis=0)
    gold = len(reviews.train)
    assert len(taught.train) == gold + 50
    assert taught.train["probability"].iloc[gold:].to_numpy() == pytest.approx(mean)
    assert taught.train["probability"].iloc[:gold].isin([0, 1]).all()
    recipe = Recipe(1e-4, seed=0)
    rows = as_dataset(backbone.tokenizer, taught.train, recipe)["labels"]
    assert rows[gold] == pytest.approx([1 - mean[0], mean[0]])
    # Other labels are another training.
    alone = with_soft_labels(reviews, texts, 50, {second: "b"})
    assert fingerprint(backbone, taught, recipe) != fingerprint(backbone, alone, recipe)


def test_labels_of_other_texts_are_refused(labelled, reviews):
    _, texts, path = labelled
    more = pd.concat([texts, make_reviews(10, seed=5).assign(hash="more")])
    for changed, count in ((texts.iloc[::-1], 50), (more, 70)):
        with pytest.raises(InputError, match=f"does not hold the labels of these {count}"):
            with_soft_labels(reviews, changed, count, {path: "a"})
    with pytest.raises(InputError, match="does not hold the labels of these 50"):
        with_soft_labels(reviews, texts, 50, {path: "of a teacher trained anew"})


def test_a_student_is_compared_with_its_teachers_where_it_learnt_nothing(
    labelled, backbone, capsys
):
    teacher, texts, path = labelled
    itself = against_teachers(teacher, texts, {path: "a"})
    assert (itself["reviews"], itself["share"]) == (6, 1)  # the last tenth of 60
    assert np.mean(itself["divergences"]) == pytest.approx(0, abs=1e-5)
    other = Classifier(build_model(backbone, seed=1), backbone.tokenizer)
    ours = other.probabilities(texts["text"].tolist()[54:])
    theirs = read_labels(path)["labels"][54:].astype(float)
    found = against_teachers(other, texts, {path: "a"})
    assert found["share"] == np.mean((ours >= 0.5) == (theirs >= 0.5))
    both = [theirs * np.log(theirs / ours), (1 - theirs) * np.log((1 - theirs) / (1 - ours))]
    assert np.mean(found["divergences"]) == pytest.approx(np.mean(sum(both)), rel=1e-3)
    more = pd.concat([texts, make_reviews(10, seed=5).assign(hash="more")])
    assert against_teachers(other, more, {path: "a"}) is None
    assert "does not hold the labels of these 70 reviews" in capsys.readouterr().out


def test_a_student_that_is_wholly_sure_is_not_infinitely_far_from_its_teachers(labelled):
    """Its softmax rounds to 1: saved as Infinity, its result would be no JSON."""
    _, texts, path = labelled
    theirs = read_labels(path)["labels"][54:].astype(float)
    for sure in (0.0, 1.0):
        student = SimpleNamespace(probabilities=lambda chunk, p=sure: np.full(len(chunk), p))
        found = against_teachers(student, texts, {path: "a"})["divergences"]
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        share = theirs if sure else 1 - theirs  # what they give to what it is sure of
        entropy = share * np.log(share) + (1 - share) * np.log(1 - share)
        assert found == pytest.approx(entropy - (1 - share) * np.log(5e-7), abs=1e-5)


def test_a_head_that_comes_along_is_kept(backbone):
    head = {name: value + 1 for name, value in build_model(backbone, 0).head.state_dict().items()}
    model = build_model(replace(backbone, head=head), seed=0)
    assert torch.equal(model.head.bias, head["bias"])
    assert not torch.equal(build_model(backbone, seed=0).head.bias, head["bias"])


def test_every_step_builds_on_steps_that_exist():
    for step in STEPS.values():
        assert step.start in (None, "mlm", *STEPS)
        assert {teacher for teacher, _, _ in step.teachers} <= set(STEPS)
        Recipe(**{"learning_rate": 1e-4, "seed": 0} | step.changes)


def test_a_student_of_its_own_kind_is_taught_scored_and_says_how(
    tiny_bert, with_unlabelled, tmp_path, monkeypatch
):
    """The whole way, in seconds: pretraining, three teachers, their labels, a student, its test."""
    monkeypatch.setattr("utils.research.pretraining.WATCHED", 20)
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 1)
    settings = replace(
        with_unlabelled[0], backbone=str(tiny_bert), labels=100, artifacts=str(tmp_path / "made")
    )
    reviews = load_reviews(settings)
    research = Research(settings, reviews)
    pretrain(research)
    for seed in (42, 43, 44):
        research = Research(replace(settings, seed=seed), reviews)
        train(research, "adapted", None, score=False)
        with pytest.raises(InputError, match=r"adapted (--label|with SEED=4[34] first)"):
            train(research, "self_taught", None, score=False)
        labelled = json.loads(label(research, "adapted", 10**9).read_text())
        assert labelled["labelled"] == 400
    research = Research(replace(settings, seed=42), reviews)
    taught = json.loads(train(research, "self_taught", None, score=False).read_text())
    assert (taught["softly_labelled_reviews"], taught["against_teachers"]["reviews"]) == (360, 40)
    scored = train(research, "self_taught", None, score=True)
    baseline = Run(scored.with_suffix("")).load("evaluation")["baseline"]
    assert baseline == evaluate_baseline(reviews)["report"]  # fitted on the labels alone
    name = Run.of(settings, reviews.name).name
    assert "| self_taught | 42 |" in students(f"{name}-labels100", scored.parent)
    path = train(research, "self_taught_gold", None, score=True)
    result = json.loads(path.read_text())
    assert len(result["history"]) == 3
    assert result["test"]["reviews"] == 200
    # What was scored once is not scored again; its card says what is behind it.
    with monkeypatch.context() as patch:
        patch.setattr("utils.research.plan.score_run", None)
        again = train(research, "self_taught_gold", None, score=True)
    assert json.loads(again.read_text()) == result
    run = Run(path.with_suffix(""))
    same = {"model_sha256": result["model_sha256"]}
    assert run.find("agreement", **same)
    assert run.find("calibration", **same)
    card = model_card(run, load_trained(run)[1], "model", half=False)
    assert "1. masked language modelling on 360 reviews" in card
    assert "fine-tuned on 100 labelled reviews" in card
    assert "Not measured" not in card
    curves = learning_curve(("self_taught_gold",), name, path.parent)
    (row,) = curves["self_taught_gold"]
    assert row["labels"] == 100
    assert row["mean"] == result["test"]["metrics"]["accuracy"]["value"]

    # What it starts from must have learnt the labels that its teachers give now.
    labels_path, _ = Research(replace(settings, seed=43), reviews).labels_of("adapted", 43)
    kept, given = labels_path.read_bytes(), read_labels(labels_path)
    turned = {"labels": 1 - given["labels"], "about": json.dumps(given["about"])}
    np.savez(labels_path, **given | turned)
    with pytest.raises(InputError, match="self_taught with SEED=42 first"):
        train(research, "self_taught_gold", None, score=False)
    labels_path.write_bytes(kept)
    # Fewer labels may be others than some of those of then: then their texts were read.
    fewer = Research(replace(settings, labels=40), load_reviews(replace(settings, labels=40)))
    assert train(fewer, "adapted", None, score=False).exists()
    with monkeypatch.context() as patch:
        patch.setattr(Research, "budget", property(lambda those: {those.settings.labels}))
        with pytest.raises(InputError, match="mlm with these settings first"):
            train(fewer, "adapted", None, score=False)

    # Another test is another score, where one is asked for.
    other = Research(settings, load_reviews(replace(settings, test_size=100)))
    train(other, "self_taught_gold", None, score=False)
    assert json.loads(path.read_text()) == result
    scored = json.loads(train(other, "self_taught_gold", None, score=True).read_text())
    assert scored["test"]["reviews"] == 100
    # Also where an earlier try was interrupted, when it was done but for the result itself.
    path.write_text(json.dumps(result))
    assert json.loads(train(other, "self_taught_gold", None, score=True).read_text()) == scored
    # A step that was changed since is not built on, nor one that knew other reviews.
    monkeypatch.setitem(
        STEPS, "self_taught", Step({"epochs": 1}, "mlm", STEPS["self_taught"].teachers)
    )
    with pytest.raises(InputError, match="self_taught with SEED=42 first"):
        train(research, "self_taught_gold", None, score=False)
    more = Research(replace(settings, labels=120), load_reviews(replace(settings, labels=120)))
    with pytest.raises(InputError, match="mlm with these settings first"):
        train(more, "adapted", None, score=False)
    changed = make_reviews(400, seed=9).assign(text=lambda frame: frame["text"] + " indeed")
    changed.to_parquet(f"{settings.source}/train.parquet")
    with pytest.raises(InputError, match="mlm with SEED=42 first"):
        train(Research(settings, load_reviews(settings)), "adapted", None, score=False)


def test_a_step_for_distilberts_layout_is_refused_to_another(tiny_mpnet, with_unlabelled, tmp_path):
    settings = replace(with_unlabelled[0], backbone=str(tiny_mpnet[0]), artifacts=str(tmp_path))
    research = Research(settings, load_reviews(settings))
    for step in ("taught_few", "fast_layers", "short_usual", "adapted"):
        with pytest.raises(InputError, match=r"DistilBERT's layout.*give another BACKBONE"):
            train(research, step, None, score=False)


def test_weights_that_are_gone_are_asked_for_and_trained_again_to_the_same(
    tiny_bert, with_unlabelled, tmp_path
):
    settings = replace(
        with_unlabelled[0], backbone=str(tiny_bert), labels=100, artifacts=str(tmp_path / "made")
    )
    research = Research(settings, load_reviews(settings))
    path = train(research, "teacher", None, score=True)
    run, before = Run(path.with_suffix("")), json.loads(path.read_text())
    shutil.rmtree(run.folder)  # as in a clone, which has the results alone
    with pytest.raises(InputError, match=r"run scripts/research.py teacher with SEED=42 first"):
        label(research, "teacher", 10)
    assert json.loads(train(research, "teacher", None, score=False).read_text()) == before
    labels = label(research, "teacher", 10)
    # A score asked for leaves all that the card needs; its numbers are those of before.
    assert not run.find("evaluation")
    again = json.loads(train(research, "teacher", None, score=True).read_text())
    assert again["test"] == before["test"]
    assert run.find("evaluation", model_sha256=before["model_sha256"])
    # A result of other weights is made anew from those that are here.
    path.write_text(json.dumps(before | {"model_sha256": "of another machine"}))
    with pytest.raises(InputError, match="or of another training"):
        label(research, "teacher", 10)
    anew = json.loads(train(research, "teacher", None, score=False).read_text())
    assert anew["model_sha256"] == before["model_sha256"]
    assert "test" not in anew
    # A result that is not of these labels is made anew.
    expected = labels.read_text()
    labels.write_text(json.dumps(json.loads(expected) | {"labels_sha256": "of others"}))
    train(research, "teacher", None, score=False)
    assert label(research, "teacher", 10).read_text() == expected
    # What is labelled needs no weights.
    shutil.rmtree(run.folder)
    assert label(research, "teacher", 10) == labels


def test_a_step_made_with_another_split_of_the_same_reviews_is_not_built_on(
    tiny_bert, with_unlabelled, tmp_path, monkeypatch
):
    settings = replace(
        with_unlabelled[0], backbone=str(tiny_bert), labels=100, artifacts=str(tmp_path / "made")
    )
    monkeypatch.setattr("utils.research.pretraining.WATCHED", 20)
    monkeypatch.setattr("utils.research.pretraining.EPOCHS", 1)
    research = Research(settings, load_reviews(settings))
    train(research, "teacher", None, score=False)
    pretrain(research)
    train(research, "adapted_short", ("half", 0), score=False)
    both = pd.concat(
        pd.read_parquet(f"{settings.source}/{split}.parquet") for split in ("train", "test")
    ).sample(frac=1, random_state=0)
    both[:400].to_parquet(f"{settings.source}/train.parquet")
    both[400:].to_parquet(f"{settings.source}/test.parquet")
    resplit = Research(settings, load_reviews(settings))
    with pytest.raises(InputError, match="teacher with SEED=42 first"):
        label(resplit, "teacher", 10)
    # It was pretrained on texts that are in the test now.
    with pytest.raises(InputError, match="mlm with these settings first"):
        train(resplit, "adapted_short", ("half", 0), score=False)


def test_parts_have_one_seed_whatever_the_test(tiny_bert, with_unlabelled, tmp_path, monkeypatch):
    settings = replace(
        with_unlabelled[0], backbone=str(tiny_bert), labels=100, artifacts=str(tmp_path / "made")
    )
    path = train(Research(settings, load_reviews(settings)), "short", ("half", 0), score=False)
    assert not Run(path.with_suffix("")).find("evaluation")
    small = replace(settings, test_size=20)
    monkeypatch.setattr("utils.research.plan.fine_tune", None)  # the test is nothing to them
    assert train(Research(small, load_reviews(small)), "short", ("half", 0), False) == path
    other = Research(replace(settings, seed=43), load_reviews(settings))
    with pytest.raises(InputError, match="SEED=42 only"):
        train(other, "short", ("half", 0), score=False)


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
def test_a_step_that_needs_another_says_which(tiny_bert, with_unlabelled, tmp_path):
    settings = {"source": with_unlabelled[0].source, "backbone": tiny_bert, "labels": 100}
    found = run_script("research.py", "self_taught_gold", artifacts=tmp_path, **settings)
    assert found.returncode == 1
    assert "run scripts/research.py self_taught with SEED=42 first" in found.stderr
    assert "Traceback" not in found.stderr


def test_ways_of_training_are_compared_on_paired_answers(tmp_path):
    """Ten reviews, of which the two differ on three: ours is right on two of these."""
    labels = np.array([1] * 10)
    usual, ours = np.full(10, 0.9), np.full(10, 0.9)
    usual[:2], ours[2] = 0.1, 0.1
    for step, answers in (("short_usual", usual), ("short", ours)):
        served = {
            "accuracy": float(np.mean((answers >= 0.5) == labels)),
            "probabilities": answers.tolist(),
        }
        result = {"dataset": "IMDB", "train_reviews": 10, "validation_as_served": served}
        result["recipe"] = asdict(replace(Recipe(1e-4, seed=42), **STEPS[step].changes))
        result["training_sha256"] = "the same"
        (tmp_path / f"{step}-imdb-minilm-half0.json").write_text(json.dumps(result))
    half = 1.96 * np.sqrt(3 - 10 * 0.1**2) / 10
    ways = ("short_usual", "short_random")  # of the second there is no result
    (row,) = tables.against_ours(ways, folder=tmp_path).splitlines()[2:]
    assert row.startswith("| IMDB | 1 x 10 | 10 | short_usual | in the usual way: fp32")
    assert row.endswith(f"| 90.0% | 80.0% | -10.0 ± {100 * half:.1f} points |")
    # What has no counterpart, trained on the same reviews, is left out.
    path = tmp_path / "short-imdb-minilm-half0.json"
    path.write_text(json.dumps(result | {"training_sha256": "another"}))
    assert len(tables.against_ours(ways, folder=tmp_path).splitlines()) == 2
    path.unlink()
    assert len(tables.against_ours(ways, folder=tmp_path).splitlines()) == 2
