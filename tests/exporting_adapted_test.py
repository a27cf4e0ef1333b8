"""Models whose layers were trained, for transformers and for peft."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from prm_jax import exported, exporting
from prm_jax.models import trunk
from prm_jax.models.weights import peft
from tests import exports_made

LONG = exports_made.LONG
PROMPTS, RESPONSES = [f'{LONG}1', f'{LONG}2'], ['aa bd', 'bbb']


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Returns what makes a model with changed layers, of a form and dtype."""
  patch = pytest.MonkeyPatch()
  patch.setenv('PRM_CACHE_DIR', str(tmp_path_factory.mktemp('cache')))
  known = {}

  def make(form, bf16=False):
    if (form, bf16) not in known:
      folder = tmp_path_factory.mktemp('base') / 'tiny'
      exports_made.checkpoint(folder, *exports_made.tiny(), bf16=bf16)
      changed = exports_made.changes(folder, form)
      known[form, bf16] = exports_made.model(folder, dim=3, changed=changed)
    return known[form, bf16]

  yield make
  patch.undo()


def close(found, want):
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())


def scores(folder, user):
  return exported.Exported.load(folder).score(user, PROMPTS, RESPONSES).scores


def stored(folder):
  return load_file(folder / 'model.safetensors')


@pytest.mark.slow
def test_adapters_are_written_beside_their_base_or_merged(made, tmp_path):
  model = made('lora')
  base = trunk.Trunk.load(model.source.backbone)
  exporting.write(model, tmp_path / 'peft', user='u1')
  exporting.write(model, tmp_path / 'merged', merge=True)
  want = model.score_rows('u1', PROMPTS, RESPONSES).score
  for name in ('peft', 'merged'):
    close(scores(tmp_path / name, 'u1'), want)
  frozen = base(PROMPTS, RESPONSES)
  assert np.abs(model.source.trunk(PROMPTS, RESPONSES) - frozen).max() > 0.01
  assert not (tmp_path / 'peft' / 'model.safetensors').exists()
  factors = load_file(tmp_path / 'peft' / peft.WEIGHTS)
  name = 'base_model.model.model.layers.1.self_attn.v_proj.lora_{}.weight'
  assert factors[name.format('A')].shape == (3, 32)
  assert factors[name.format('B')].shape == (16, 3)
  own, merged = stored(base.folder), stored(tmp_path / 'merged')
  moved = {
    of for of in own if of in merged and not np.array_equal(own[of], merged[of])
  }
  assert moved == {'model.norm.weight'} | {
    f'model.layers.{layer}.self_attn.{kernel}_proj.weight'
    for layer in (1, 2)
    for kernel in 'qv'
  }
  card = (tmp_path / 'peft' / 'README.md').read_text()
  assert 'PeftModel.from_pretrained(base, FOLDER)' in card
  assert '{' not in card


@pytest.mark.slow
def test_whole_layers_are_written_as_they_were_trained(made, tmp_path, capsys):
  model = made('full', bf16=True)
  exporting.write(model, tmp_path / 'out', user='u1')
  want = model.score_rows('u1', PROMPTS, RESPONSES).score
  close(scores(tmp_path / 'out', None), want)  # bf16, and nothing is lost
  assert capsys.readouterr().err == ''
  kept = stored(tmp_path / 'out')
  name = 'model.layers.2.mlp.down_proj.weight'
  assert str(kept[name].dtype) == 'bfloat16'
  assert not np.array_equal(kept[name], stored(model.source.backbone)[name])
  with pytest.raises(ValueError, match='--merge: no adapters were trained'):
    exporting.write(model, tmp_path / 'other', merge=True)
  assert not (tmp_path / 'other').exists()


@pytest.mark.slow
def test_rounding_of_merged_layers_is_measured(made, tmp_path, capsys):
  model = made('lora', bf16=True)
  exporting.write(model, tmp_path / 'out', merge=True)
  said = capsys.readouterr().err
  assert 'scores of 18 training responses move by at most' in ' '.join(
    said.split()
  )
  assert ' '.join(said.split()) in ' '.join(
    (tmp_path / 'out' / 'README.md').read_text().split()
  )
  want = model.score_rows(None, PROMPTS, RESPONSES).score
  assert np.abs(scores(tmp_path / 'out', None) - want).max() > 2e-5


@pytest.mark.slow
def test_what_does_not_belong_together_is_refused(made, tmp_path):
  model = made('lora')
  out = tmp_path / 'out'
  exporting.write(model, out)

  def told(file, **changes):
    copy = tmp_path / f'copy{len([*tmp_path.iterdir()])}'
    shutil.copytree(out, copy)
    known = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps({**known, **changes}))
    return copy

  changed = {'form': 'lora', 'layers': 2, 'rank': 3, 'base': 'x' * 64}
  for folder, message in (
    (told(peft.CARD, base_model_name_or_path='away'), 'is no folder here'),
    (told(peft.CARD, lora_alpha=6), 'LORA with lora_alpha = r is read'),
    (told(peft.CARD, layers_to_transform=[0]), 'the highest of 3 are read'),
    (told('prm.json', changes=changed), 'changes another checkpoint'),
    (told('prm.json', score='x'), 'score.weight is not the one'),
  ):
    with pytest.raises(ValueError, match=message):
      exported.Exported.load(folder)
  (out / 'prm.json').unlink()
  with pytest.raises(ValueError, match='`prm export` did not write'):
    exported.Exported.load(out)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:`is_gradient_checkpointing`:FutureWarning')
def test_peft_reads_adapters(made, tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  theirs = pytest.importorskip('peft')
  model = made('lora')
  exporting.write(model, tmp_path / 'out', user='u1')
  config = transformers.AutoConfig.from_pretrained(tmp_path / 'out')
  auto = transformers.AutoModelForSequenceClassification
  base = auto.from_pretrained(
    model.source.backbone, config=config, dtype=torch.float32
  )
  loaded = theirs.PeftModel.from_pretrained(base, tmp_path / 'out').eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
  said = [
    [{'role': 'user', 'content': p}, {'role': 'assistant', 'content': r}]
    for p, r in zip(PROMPTS, RESPONSES, strict=True)
  ]
  batch = tokenizer.apply_chat_template(
    said, return_tensors='pt', return_dict=True, padding=True
  )
  with torch.no_grad():
    found = loaded(**batch).logits.numpy()
  own = exported.Exported.load(tmp_path / 'out')
  want = model.score_rows('u1', PROMPTS, RESPONSES).score
  close(own.of_labels(found, own.vector(None)), want)
  loaded.save_pretrained(tmp_path / 'again')
  names = set(load_file(tmp_path / 'again' / peft.WEIGHTS))
  assert names == set(load_file(tmp_path / 'out' / peft.WEIGHTS))
