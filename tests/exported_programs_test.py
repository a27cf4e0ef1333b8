"""Programs that run without the model say what the model says."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as programs
from safetensors.numpy import load_file

from prm_jax import exported_programs, exporting, main
from prm_jax.models import chat, features
from tests import exports_made

PROMPTS, RESPONSES = ['Say 1', 'Say 2', 'no'], ['aa bd', 'bbb', 'h' * 20]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  folder = tmp_path_factory.mktemp('base') / 'tiny'
  small = exports_made.tiny(num_hidden_layers=2, max_position_embeddings=96)
  return exports_made.checkpoint(folder, *small)


@pytest.fixture
def model(checkpoint, private_cache):
  return exports_made.model(checkpoint, 'lore', dim=2)


def test_token_ids_are_scored_in_any_number(model, tmp_path):
  pytest.importorskip('flatbuffers')
  out = tmp_path / 'out'
  exported_programs.write(model, out, user='u1')
  known = json.loads((out / 'program.json').read_text())
  assert known['programs'] == {
    '64': 'score_64.stablehlo',
    '96': 'score_96.stablehlo',
  }
  assert known['personal_data'] is True
  weights = load_file(out / 'weights.safetensors')
  texts = chat.encode(chat.Chat.load(out), PROMPTS, RESPONSES, total=96)
  want = model.score_rows('u1', PROMPTS, RESPONSES).score
  for length, count in ((96, 3), (96, 1)):
    run = programs.deserialize(
      (out / known['programs'][str(length)]).read_bytes()
    )
    assert run.platforms == ('cpu', 'cuda', 'tpu')
    ids, mask = np.zeros((2, count, length), np.int32)
    for row, text in enumerate(texts.ids[:count]):
      ids[row, : len(text)], mask[row, : len(text)] = text, 1
    found = np.asarray(run.call(weights, ids, mask))
    np.testing.assert_allclose(
      found, want[:count], atol=2e-5 * np.abs(want).max()
    )


def test_an_export_that_was_stopped_is_not_there(model, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'flatbuffers', np)  # as if it were there
  monkeypatch.setattr(exported_programs, '_exported', lambda *a: b'program')
  out = tmp_path / 'here' / 'out'
  with monkeypatch.context() as patch:
    patch.setattr(exported_programs.shards, 'write_file', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      exported_programs.write(model, out)
  assert [*out.parent.iterdir()] == []
  exported_programs.write(model, out)
  assert [path.name for path in out.parent.iterdir()] == ['out']
  assert (out / exported_programs.CARD).is_file()


def finished(model):
  """Returns a model with the moments that a fit leaves, all of them zero."""
  like, state = model.setting.finished(), model.state
  kept = jax.tree.map(
    lambda of: jnp.zeros(of.shape, of.dtype),
    (like.opt_state, like.people.moments),
  )
  people = state.people._replace(moments=kept[1])
  state = state._replace(opt_state=kept[0], people=people)
  return dataclasses.replace(model, state=state)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('method', 'form'), [('rfm', None), ('lore', 'lora'), ('rfm', 'full')]
)
def test_programs_are_what_the_command_scores(
  method, form, checkpoint, private_cache, tmp_path
):
  """Of a reward that is not linear, and of layers that were trained."""
  pytest.importorskip('flatbuffers')
  changed = form and exports_made.changes(checkpoint, form, layers=1)
  made = exports_made.model(checkpoint, method, dim=2, changed=changed)
  finished(made).save(tmp_path / 'run')
  given, out = tmp_path / 'texts.jsonl', tmp_path / 'scores.jsonl'
  given.write_text(
    ''.join(
      json.dumps({'prompt': prompt, 'response': response}) + '\n'
      for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    )
  )
  call = [f'--workdir={tmp_path / "run"}', '--user=u1']
  assert main.run(['score', *call, f'--data={given}', f'--output={out}']) == 0
  rows = map(json.loads, out.read_text().splitlines())
  want = np.array([row['score'] for row in rows])
  folder = tmp_path / 'programs'
  more = ['--format=stablehlo', f'--output={folder}']
  assert main.run(['export', *call, *more]) == 0
  run = programs.deserialize((folder / 'score_96.stablehlo').read_bytes())
  texts = chat.encode(chat.Chat.load(folder), PROMPTS, RESPONSES, total=96)
  ids, mask = np.zeros((2, len(PROMPTS), 96), np.int32)
  for row, text in enumerate(texts.ids):
    ids[row, : len(text)], mask[row, : len(text)] = text, 1
  found = np.asarray(
    run.call(load_file(folder / 'weights.safetensors'), ids, mask)
  )
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())
  assert np.ptp(want) > 0.01


def test_columns_are_scored_where_there_is_no_backbone(model, tmp_path):
  pytest.importorskip('flatbuffers')
  setting = dataclasses.replace(model.setting, kind='response', source='text')
  other = dataclasses.replace(model, setting=setting)
  exported_programs.write(other, tmp_path / 'out')
  run = programs.deserialize(
    (tmp_path / 'out' / 'score.stablehlo').read_bytes()
  )
  assert (tmp_path / 'out' / 'reader.npz').is_file()
  table = model.features(PROMPTS, RESPONSES)
  want = model.score_rows(None, PROMPTS, RESPONSES).score
  found = np.asarray(run.call(jnp.asarray(table)))
  np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())


def test_what_is_needed_is_said_before_anything_is_written(
  model, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(exporting.Model, 'load', lambda folder: model)
  out = tmp_path / 'out'
  call = ['export', '--workdir=w', f'--output={out}', '--format=stablehlo']
  monkeypatch.setitem(sys.modules, 'flatbuffers', None)
  assert main.run(call) == 2
  assert 'install it, or the extra stablehlo' in capsys.readouterr().err
  monkeypatch.setitem(sys.modules, 'flatbuffers', np)  # as if it were there
  assert main.run([*call, '--ids=x']) == 2
  assert '--ids: of --format=hf alone' in capsys.readouterr().err
  assert main.run([*call, '--user=who']) == 2
  assert "'who'" in capsys.readouterr().err
  assert not out.exists()
  out.mkdir()
  (out / 'x').write_text('')
  assert main.run(call) == 2
  assert 'has something in it' in capsys.readouterr().err
  assert model.setting.kind == features.BACKBONE
