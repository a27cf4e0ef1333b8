"""Models for transformers: a checkpoint's own bytes under a person's score."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prm_jax import exported, exporting, main
from prm_jax.models import chat, classifier, features
from prm_jax.models.weights import huggingface
from prm_jax.systems import linear_scores
from prm_jax.users import bank
from tests import exports_made

ROOT = Path(__file__).parents[1]
LONG = exports_made.LONG
PROMPTS = [f'{LONG}1', f'{LONG}2', f'{LONG}1', 'say' * 90]
RESPONSES = ['aa bd', 'bbb', 'hi', 'a' * 30]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A sharded checkpoint in bf16."""
  folder = tmp_path_factory.mktemp('base') / 'tiny'
  return exports_made.checkpoint(folder, *exports_made.tiny(), shards=2)


@pytest.fixture(scope='module')
def model(checkpoint, tmp_path_factory):
  patch = pytest.MonkeyPatch()
  patch.setenv('PRM_CACHE_DIR', str(tmp_path_factory.mktemp('cache')))
  yield exports_made.model(checkpoint, dim=3)
  patch.undo()


@pytest.fixture(scope='module')
def everybody(model, tmp_path_factory):
  out = tmp_path_factory.mktemp('out') / 'all'
  exporting.write(model, out)
  return out


@pytest.fixture(scope='module')
def ann(model, tmp_path_factory):
  out = tmp_path_factory.mktemp('out') / 'ann'
  exporting.write(model, out, user='u1')
  return out


def close(found, want):
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())


def test_scores_are_those_of_the_model(model, everybody, ann):
  of_all, of_one = map(exported.Exported.load, (everybody, ann))
  assert len(of_all.model.labels) == 3
  assert len(of_one.model.labels) == 1
  wanted = {
    user: model.score_rows(user, PROMPTS, RESPONSES).score
    for user in (None, 'u1', 'u2')
  }
  assert np.abs(wanted['u1'] - wanted['u2']).max() > 0.01
  for user, want in wanted.items():
    close(of_all.score(user, PROMPTS, RESPONSES).scores, want)
  for user in (None, 'u1'):
    close(of_one.score(user, PROMPTS, RESPONSES).scores, wanted['u1'])
  for known in (of_all, of_one):
    with pytest.raises(KeyError, match="'who'"):
      known.score('who', PROMPTS, RESPONSES)


@pytest.mark.slow
def test_transformers_loads_it(checkpoint, everybody, ann):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  auto = transformers.AutoModelForSequenceClassification
  base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
  source = base.state_dict()
  for folder, labels in ((everybody, 3), (ann, 1)):
    kept = auto.from_pretrained(folder, dtype='auto').state_dict()
    assert kept.pop('score.weight').shape == (labels, 32)
    assert (kept.pop('model.norm.weight') == 1).all()
    assert all(of.dtype == torch.bfloat16 for of in kept.values())
    assert all(torch.equal(of, source[name]) for name, of in kept.items())
    theirs = auto.from_pretrained(folder, dtype=torch.float32)
    assert theirs.config.num_labels == labels
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    said = [
      [{'role': 'user', 'content': p}, {'role': 'assistant', 'content': r}]
      for p, r in zip(PROMPTS[:3], RESPONSES, strict=False)
    ]
    own = exported.Exported.load(folder)
    want = own.score(None, PROMPTS[:3], RESPONSES[:3]).scores
    for side in ('left', 'right'):
      tokenizer.padding_side = side
      batch = tokenizer.apply_chat_template(
        said, return_tensors='pt', return_dict=True, padding=True
      )
      with torch.no_grad():
        found = theirs(**batch).logits.numpy()
      close(own.of_labels(found, own.vector(None)), want)


def test_another_process_needs_the_folder_alone(ann, tmp_path):
  rows = [
    {'prompt': prompt, 'response': response, 'n': n}
    for n, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
  ]
  given = ''.join(json.dumps(row) + '\n' for row in rows)
  command = [sys.executable, '-m', 'prm_jax.main', 'score', '--data=-']
  ann.rename(tmp_path / 'moved')
  try:
    told = subprocess.run(
      [*command, '--model=moved'],
      input=given,
      cwd=tmp_path,
      env={'PYTHONPATH': str(ROOT), 'PATH': ''},
      capture_output=True,
      text=True,
      check=True,
    ).stdout
    own = exported.Exported.load(tmp_path / 'moved')
  finally:
    (tmp_path / 'moved').rename(ann)
  found = [json.loads(line) for line in told.splitlines()]
  assert [row['n'] for row in found] == [0, 1, 2, 3]
  assert [row.get('truncated', False) for row in found] == [False] * 3 + [True]
  want = own.score(None, PROMPTS, RESPONSES).scores
  error = np.abs([row['score'] for row in found] - want).max()
  assert error < 1e-5 * np.abs(want).max()


def test_people_are_hashed_unless_ids_are_given(model, everybody, tmp_path):
  blob = b''.join(path.read_bytes() for path in everybody.iterdir())
  assert b'"u1"' not in blob
  known = json.loads((everybody / exported.PEOPLE).read_text())
  names = [f'u{n}' for n in range(exports_made.PEOPLE)]
  assert sorted(known['people']) == sorted(map(linear_scores.hashed, names))
  assert 'Personal data' in known['warning']
  data = exports_made.judgements(tmp_path / 'd.jsonl', each=2)
  found = exporting.vectors(model, None, exporting.read_ids(data))
  assert set(found.people) == set(names)
  with pytest.raises(ValueError, match='2 of 6 people of the model are not'):
    exporting.vectors(model, None, ['u0', 'u1', 'u2', 'u3'])
  with pytest.raises(ValueError, match='--user=u1 is not in the file'):
    exporting.vectors(model, 'u1', ['u2'])
  gone = exporting.vectors(model.forget('u1'), None, None)
  assert len(gone.people) == exports_made.PEOPLE - 1
  assert linear_scores.hashed('u1') not in gone.people
  digest = bank.user_digest(['u1'])[0]
  assert linear_scores.hashed('u1') == ''.join(f'{n:08x}' for n in digest)


def test_a_card_says_what_is_not_known(everybody, ann):
  one, all_ = ((of / 'README.md').read_text() for of in (ann, everybody))
  for text in (one, all_):
    assert '{' not in text
    assert 'No hazard audit was run' in text
    assert 'No temperature: 0 held-out judgements' in text
    assert 'personal data' in text
  assert 'No judgement of this person was held out' in one
  assert 'It holds 6 people, each as 3' in ' '.join(all_.split())


def test_a_folder_with_another_model_is_left_alone(
  model, ann, monkeypatch, capsys
):
  monkeypatch.setattr(exporting.Model, 'load', lambda folder: model)
  before = {path: path.read_bytes() for path in ann.iterdir()}
  call = ['export', '--workdir=run', f'--output={ann}', '--format=hf']
  assert main.run(call) == 2
  assert 'has something in it: choose another' in capsys.readouterr().err
  assert before == {path: path.read_bytes() for path in ann.iterdir()}
  assert main.run([*call, '--user=who']) == 2
  assert main.run([*call[:-1], '--user=u1']) == 2
  assert 'nobody is in an export of orbax' in capsys.readouterr().err


def test_people_of_another_model_are_refused(everybody, ann, tmp_path):
  def copy(source, **changed):
    folder = tmp_path / f'copy{len([*tmp_path.iterdir()])}'
    folder.mkdir()
    for path in source.iterdir():
      (folder / path.name).write_bytes(path.read_bytes())
    for name, change in changed.items():
      path = folder / f'{name}.json'
      path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return folder

  for folder, message in (
    (copy(everybody, people={'base': 'x'}), 'people.json belongs to another'),
    (copy(everybody, people={'named_by': 'id'}), 'belongs to another model'),
    (copy(everybody, people={'people': {'p': [1]}}), 'p is not a list of 3'),
    (copy(everybody, prm={'score': 'x'}), 'its score.weight is not the one'),
    (copy(everybody, prm={'version': 2}), 'version 2, and 1 is read'),
    (copy(everybody, prm={'offset': [1, 2]}), 'offset is not a list of 3'),
    (copy(ann, prm={'of': 'who'}), 'one person, and labels'),
  ):
    with pytest.raises(ValueError, match=message):
      exported.Exported.load(folder)


def test_an_export_that_was_stopped_is_not_there(model, tmp_path, monkeypatch):
  out = tmp_path / 'out'
  with monkeypatch.context() as patch:
    patch.setattr(exporting.model_card, 'write', lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      exporting.write(model, out, user='u1')
  assert not out.exists()
  exporting.write(model, out, user='u1', limit=50_000)
  assert [path.name for path in tmp_path.iterdir()] == ['out']
  index = json.loads((out / 'model.safetensors.index.json').read_text())
  assert set(index['weight_map'].values()) == {
    f'model-{n:05}-of-00002.safetensors' for n in (1, 2)
  }
  own = exported.Exported.load(out)
  want = model.score_rows('u1', PROMPTS, RESPONSES).score
  close(own.score(None, PROMPTS, RESPONSES).scores, want)


def test_what_no_classifier_holds_is_refused_by_name(model, tmp_path):
  for kind, source, by in (
    ('surface', 'text', 'counts of marks'),
    ('response', 'file 1', 'a file of your own'),
    ('response', 'encoder 1', 'layers of a BERT encoder'),
  ):
    other = dataclasses.replace(model.setting, kind=kind, source=source)
    plain = dataclasses.replace(model, setting=other)
    with pytest.raises(ValueError, match=rf"reads features '{kind}' \(of {by}"):
      exporting.write(plain, tmp_path / 'a')
  assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_other_methods_are_vectors_or_refused(model, checkpoint, tmp_path):
  del model  # whose cache these read
  curved = exports_made.model(checkpoint, 'rfm', dim=2)
  with pytest.raises(
    ValueError, match=r'rfm: scores are not linear.*stablehlo'
  ):
    exporting.write(curved, tmp_path / 'b')
  shared = exports_made.model(checkpoint, 'aggregate')
  with pytest.raises(ValueError, match='aggregate is one reward for everybody'):
    exporting.write(shared, tmp_path / 'c', user='u1')
  assert [*tmp_path.iterdir()] == []  # nothing was written
  personal = exports_made.model(checkpoint, 'pref', dim=3)
  exporting.write(personal, tmp_path / 'e')
  own = exported.Exported.load(tmp_path / 'e')
  for user in (None, 'u1', 'u2'):
    want = personal.score_rows(user, PROMPTS, RESPONSES).score
    close(own.score(user, PROMPTS, RESPONSES).scores, want)
  exporting.write(shared, tmp_path / 'd')
  own = exported.Exported.load(tmp_path / 'd')
  assert own.model.labels == ('everybody',)
  want = shared.score_rows(None, PROMPTS, RESPONSES).score
  close(own.score(None, PROMPTS, RESPONSES).scores, want)


def test_weights_on_states_are_those_on_features(model):
  reduction = model.reader.reductions[features.BACKBONE]
  rng = np.random.default_rng(0)
  basis = rng.normal(size=(2, len(reduction.scale)))
  weight, offset = exporting.on_state(reduction, basis)
  x = rng.normal(size=(5, len(reduction.mean))).astype(np.float32)
  want = reduction(x).astype(np.float64) @ basis.T
  np.testing.assert_allclose(x @ weight.T + offset, want, atol=1e-4)


def test_batches_are_padded_by_what_ends_no_text(ann):
  known = json.loads((ann / 'config.json').read_text())
  said = json.loads((ann / 'tokenizer_config.json').read_text())
  own = classifier.Classifier.load(ann)
  assert (
    own.chat.tokenizer.token_to_id(said['pad_token']) == (known['pad_token_id'])
  )
  for response in ('a', 'b\n', '</s>'):
    ids = chat.encode(own.chat, ['hi'], [response], total=99).ids[0]
    assert ids[-1] != known['pad_token_id']
  assert known['num_hidden_layers'] == 3  # .87 of four
  assert huggingface.load_classifier(ann).labels == own.labels
