"""A fitted model as StableHLO programs: any method, without prm_jax.

FOLDER/program.json          inputs, outputs, and which program is for what
FOLDER/score*.stablehlo      of `jax.export`: of texts of up to so many tokens
FOLDER/weights.safetensors   what the programs take first, by name
FOLDER/tokenizer.json ...    of the checkpoint

The number of texts is symbolic; their length is one of few. What is believed
of the person is part of a program.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as programs

from prm_jax import __version__
from prm_jax.model import Model
from prm_jax.models import classifier, features
from prm_jax.models.weights import huggingface, shards
from prm_jax.runtime import trees, writers
from prm_jax.systems import likelihoods, linear_scores, scoring

_SHORTEST = 64  # tokens of the first program
_PLATFORMS = ('cpu', 'cuda', 'tpu')
CARD, WEIGHTS = 'program.json', 'weights.safetensors'


def write(model: Model, folder: Path, *, user: str | None = None) -> None:
  """Writes a model's programs for one person, or for the population.

  Of a model on a backbone they take token ids `[b, T]` and their mask; of any
  other its features `[b, C]`, as reader.npz makes them of the source's.

  Args:
    model: of any method that scores texts one by one.
    folder: new or empty.
    user: whose; the population's if None.

  Raises:
    FileExistsError: the folder has something in it.
    KeyError: nothing is known of the person.
    ValueError: flatbuffers is not installed, or the backbone is another one
      than in training; nothing is written then.
  """
  writers.refuse_filled(folder)
  try:
    import flatbuffers  # noqa: F401 (what jax.export writes with)
  except ImportError as error:
    raise ValueError(
      '--format=stablehlo: programs are written with flatbuffers: install it, '
      'or the extra stablehlo (pip install prm_jax[stablehlo])'
    ) from error
  context = model.context(user)
  made: dict[str, bytes] = {}
  known: dict[str, Any] = {}
  weights: dict[str, np.ndarray] = {}
  if model.setting.kind == features.BACKBONE:
    weights, made, known = _of_tokens(model, context)
  else:
    made = {'score.stablehlo': _of_columns(model, context)}
    known = {
      'takes': {'features': ['b', model.setting.features]},
      'features': 'reader.npz of what the source says of a text',
      'source': model.setting.source,
      'programs': {'any': 'score.stablehlo'},
    }
  known = {
    'written_by': f'prm_jax {__version__}, jax {jax.__version__}',
    'method': model.setting.method,
    'of': None if user is None else linear_scores.hashed(user),
    'personal_data': user is not None,
    **known,
    'gives': {'score': ['b']},
    'platforms': _PLATFORMS,
  }
  with writers.whole_folder(folder) as part:
    for name, program in made.items():
      (part / name).write_bytes(program)
    if weights:
      shards.write_file(weights, part / WEIGHTS)
    else:
      model.reader.save(part / 'reader.npz')
    if model.setting.kind == features.BACKBONE:
      for name in huggingface.TEXTS:
        path = model.source.trunk.folder / name
        if path.is_file():
          shutil.copyfile(path, part / name)
    writers.write_json_atomic(part / CARD, known)


def _of_tokens(model: Model, context: Any):
  """Returns weights, programs and a description, of a model on a backbone."""
  model.check_weights()
  read = model.source.trunk
  reduction = model.reader.reductions[features.BACKBONE]
  config = read.model.config
  run = classifier.program(config, False, jnp.dtype(jnp.float32))
  score, params = read.model.score, read.model.params
  mean = jnp.asarray(reduction.mean, jnp.float32)
  matrix = jnp.asarray(reduction.directions / reduction.scale, jnp.float32)
  finish = _scored(model, context)

  def whole(weights, ids, mask):
    told = run(trees.put(params, weights), score, ids, mask != 0)
    return finish((told - mean) @ matrix)

  flat = trees.flat(params)
  shapes = {
    name: jax.ShapeDtypeStruct(of.shape, of.dtype) for name, of in flat.items()
  }
  longest = read.total
  lengths = [min(_SHORTEST, longest)]
  while lengths[-1] < longest:
    lengths.append(min(2 * lengths[-1], longest))
  made = {}
  for length in lengths:
    (size,) = programs.symbolic_shape('b')
    block = jax.ShapeDtypeStruct((size, length), jnp.int32)
    made[f'score_{length}.stablehlo'] = _exported(whole, shapes, block, block)
  known = {
    'takes': {
      'weights': f'{WEIGHTS}, by name',
      'ids': ['b', 'T'],
      'mask': ['b', 'T'],
    },
    'programs': {
      str(length): f'score_{length}.stablehlo' for length in lengths
    },
    'trunk': read.fingerprint,
    'source': model.setting.source,
  }
  return {name: np.asarray(of) for name, of in flat.items()}, made, known


def _of_columns(model: Model, context: Any) -> bytes:
  """Returns the program of a model that reads columns."""
  (size,) = programs.symbolic_shape('b')
  block = jax.ShapeDtypeStruct((size, model.setting.features), jnp.float32)
  return _exported(_scored(model, context), block)


def _scored(model: Model, context: Any) -> Callable[[Any], Any]:
  """Returns what scores columns `[b, C]`: as `scoring.scores`, `[b]`."""
  system, params = model.setting.learner().system, model.state.params
  scoring.check(system, None)

  def score(columns):
    encoded = system.reward.encode(params['reward'], columns)
    count = columns.shape[0]
    known = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), context
    )
    row = jax.tree.map(lambda leaf: leaf[:, None], encoded)
    output = system.reward.score(params['reward'], row, known)
    told = likelihoods.of_scores(
      system.head, params, output.score, columns[:, None]
    )
    return told[:, 0]

  return score


def _exported(function: Callable[..., Any], *shapes: Any) -> bytes:
  """Returns a program for every platform."""
  made = programs.export(jax.jit(function), platforms=_PLATFORMS)(*shapes)
  return bytes(made.serialize())
