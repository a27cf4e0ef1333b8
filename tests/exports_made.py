"""A tiny checkpoint, judgements that it can tell apart, and models on it."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

from prm_jax.elicitation import pool
from prm_jax.model import Model
from prm_jax.models import adapted, decoder, features, lora, trunk
from prm_jax.models.weights import huggingface
from prm_jax.setting import Setting
from prm_jax.users import bank
from tests.models import chat_templates

PEOPLE = 6
LONG = 'please say ' * 6  # texts of one length compile once
SIZES = {
  'vocab_size': 270,
  'hidden_size': 32,
  'intermediate_size': 64,
  'num_hidden_layers': 4,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
  'max_position_embeddings': 128,
}


def tiny(seed=0, **changes):
  """Returns a decoder's configuration, and random parameters."""
  config = decoder.DecoderConfig(**{**SIZES, **changes})
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    scale = path[-1].key == 'scale'
    return (scale + 0.2 * rng.normal(size=leaf.shape)).astype(np.float32)

  shapes = huggingface.decoder_shapes(config)
  return config, jax.tree_util.tree_map_with_path(draw, shapes)


def checkpoint(folder, config, params, *, template='qwen', bf16=True, shards=1):
  """Writes a checkpoint with a tokenizer of bytes, as published ones are."""
  huggingface.save_decoder(config, params, folder)
  path, kind = folder / 'model.safetensors', np.float32
  if bf16:
    known = json.loads((folder / 'config.json').read_text())
    known['torch_dtype'], kind = 'bfloat16', ml_dtypes.bfloat16
    (folder / 'config.json').write_text(json.dumps(known))
  tensors = {name: of.astype(kind) for name, of in load_file(path).items()}
  path.unlink()
  names, home = sorted(tensors), {}
  for number in range(shards):
    chosen = names[number::shards]
    file = f'model-{number}.safetensors' if shards > 1 else path.name
    save_file({n: tensors[n] for n in chosen}, folder / file, {'format': 'pt'})
    home |= dict.fromkeys(chosen, file)
  if shards > 1:
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'metadata': {}, 'weight_map': home}))
  chat_templates.save(folder, template)
  return folder


def judgements(path, *, people=PEOPLE, each=30, seed=0):
  """Writes judgements: half of the people like what begins with an a."""
  rng = np.random.default_rng(seed)
  with path.open('w') as file:
    for user in range(people):
      for number in range(each):
        texts = [''.join(rng.choice([*'abcdefgh '], 12)) for _ in range(2)]
        likes = [text.count('a') - text.count('b') for text in texts]
        likes = (likes[0] - likes[1]) * (1 if user % 2 else -1)
        likes += rng.normal()
        row = {
          'user_id': f'u{user}',
          'prompt_id': f'p{number % 3}',
          'prompt': f'Say {number % 3}',
          'response_a': texts[0],
          'response_b': texts[1],
          'label': 'a' if likes > 0 else 'b',
        }
        file.write(json.dumps(row) + '\n')
  return path


def changes(folder, form, *, layers=2, rank=3, seed=0):
  """Returns changes of a checkpoint's trunk, drawn at random."""
  read = trunk.Trunk.load(folder)
  key = jax.random.key(seed)
  if form == 'lora':
    leaves = lora.init(key, read.model.params, rank=rank)
    leaves = jax.tree.map(lambda leaf: leaf[-layers:], leaves)
  else:
    leaves = decoder.take_layers(read.model.params, -layers)['params']
  rng = np.random.default_rng(seed)

  def move(leaf):
    noise = rng.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5
    return np.asarray(leaf + 0.5 * noise, np.float32)

  found = adapted.Changes(form, read.fingerprint, jax.tree.map(move, leaves))
  return adapted.rounded(found, read.dtype)


def model(
  folder, method='lore', *, components=15, seed=0, changed=None, **options
):
  """Returns a model on a checkpoint as a fit leaves it, and drawn at random.

  Nothing is trained: what a fit costs is not what these tests are about.
  """
  rng = np.random.default_rng(seed)
  texts = [''.join(rng.choice([*'abcdefgh '], 12)) for _ in range(24)]
  prompts = [f'{LONG}{n % 3}' for n in range(24)]
  source = features.Source(backbone=folder, changes=changed)
  kind = features.BACKBONE
  reader = features.fit(kind, source, prompts, texts, np.arange(24), components)
  table = reader(source, prompts, texts)
  known = Setting(
    *(method, options, PEOPLE, table.shape[1], seed, None),
    *(kind, components, 60, source.name, str(folder)),
    adapt=None if changed is None else {'form': changed.form},
  )
  learner = known.learner()
  state = learner.init(known.key, known.spec)
  prior = learner.system.user.prior(state.params['user'])
  people = bank.with_beliefs(state.people, prior)
  people = bank.with_ids(people, [f'u{n}' for n in range(PEOPLE)])

  def draw(leaf):
    drawn = np.issubdtype(leaf.dtype, np.floating)
    return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) * drawn

  names = {'pref': 'mode', 'rfm': 'mode', 'lore': 'log_weight'}
  own = names.get(method)
  if own is not None:
    drawn = {own: draw(getattr(people.beliefs, own))}
    people = people._replace(beliefs=people.beliefs._replace(**drawn))
  params = {
    **state.params,
    'reward': jax.tree.map(draw, state.params['reward']),
  }
  rows = [
    {'prompt': prompts[n], 'a': texts[n], 'b': texts[n + 3]} for n in range(9)
  ]
  kept = pool.Kept(rows, np.stack([table[:9], table[3:12]], 1))
  state = state._replace(params=params, people=people)
  return Model(known, state, reader, source, kept)
