"""A reward model that reads summaries, with its people's, in one folder.

FOLDER/metadata.json   what it is, see `save`
FOLDER/parameters      of the reward
FOLDER/tokenizer.json  of its decoder
FOLDER/summaries       of people, see `prm_jax/kept_summaries.py`
"""

import dataclasses
import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from prm_jax import kept_summaries, types
from prm_jax.models import tokenizers
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import backbone as backbones
from prm_jax.rewards import discriminative, summary_texts
from prm_jax.runtime import export as exports
from prm_jax.runtime import writers

_PARAMETERS, _TOKENIZER = 'parameters', 'tokenizer.json'


def save(
  folder: str | Path,
  reward: Mapping[str, Any],
  params: types.PyTree,
  tokenizer: tokenizers.tokenizers.Tokenizer,
  *,
  backbone: Mapping[str, Any] | None = None,
  wording: summary_texts.Wording = summary_texts.Wording(),  # noqa: B008
) -> None:
  """Writes a reward model that reads summaries, and nobody's summary.

  Args:
    folder: new or empty.
    reward: node of the registry, plain data: of a head where there is a
      backbone, or of a reward that is a decoder, such as 'implicit'.
    params: of the reward, with those of its backbone.
    tokenizer: of the decoder.
    backbone: `rewards.backbone.Backbone` as plain data; none if None.
    wording: what it reads.

  Raises:
    FileExistsError: the folder has something in it.
    ValueError: the parts do not fit together.
  """
  card = {
    'kind': kept_summaries.KIND,
    'reward': dict(reward),
    'backbone': None if backbone is None else dict(backbone),
    'wording': summary_texts.check(wording)._asdict(),
  }
  card = writers.plain(card)
  _, like = _reward(card)
  if _shapes(params) != _shapes(like):
    raise ValueError(
      'the parameters are not those of the reward: '
      f'{_first_difference(params, like)}'
    )
  tokenizers.check_vocabulary(tokenizer, _config(card).vocab_size, 'the reward')
  exports.export_parameters(params, folder, card)
  tokenizer.save(str(Path(folder) / _TOKENIZER))


def save_language_model(
  folder: str | Path,
  model: LanguageModel,
  *,
  beta: float = 2.0,
  wording: summary_texts.Wording = summary_texts.Wording(),  # noqa: B008
) -> None:
  """Writes a language model as the reward: how likely it makes a response.

  beta times the mean log-probability of the response's tokens, after the
  summary and the prompt: a reader that nobody has trained.

  Args:
    folder: new or empty.
    model: frozen.
    beta: > 0.
    wording: what it reads.
  """
  node = {
    'kind': 'implicit',
    'config': dataclasses.asdict(model.config),
    'reference': False,
    'beta': beta,
  }
  params = {'policy': model.params}
  save(folder, node, params, model.tokenizer, wording=wording)


def load(folder: str | Path) -> kept_summaries.Scorer:
  """Returns what scores for the people of a folder; see `save`.

  Raises:
    ValueError: it holds no such model.
  """
  card = _card(folder)
  reward, like = _reward(card)
  params, _ = exports.load_parameters(folder, like)
  wording = summary_texts.Wording(**card['wording'])
  reader = summary_texts.Reader(reward, params, _tokenizer(folder), wording)
  return kept_summaries.Scorer(_folder(folder, reader.measure), reader)


def people(folder: str | Path) -> kept_summaries.Folder:
  """Returns the summaries of a folder's people, without loading the reward.

  Raises:
    ValueError: it holds no model that reads summaries.
  """
  wording = summary_texts.Wording(**_card(folder)['wording'])
  measure = functools.partial(
    summary_texts.measure, _tokenizer(folder), wording
  )
  return _folder(folder, measure)


def export(source: str | Path, folder: str | Path) -> None:
  """Copies a reward model that reads summaries, and nobody's summary.

  Args:
    source: folder of it.
    folder: new or empty.

  Raises:
    FileExistsError: the folder has something in it.
  """
  card = _card(source)
  folder = writers.make_folder(folder)
  if any(folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty: choose another folder')
  shutil.copytree(Path(source) / _PARAMETERS, folder / _PARAMETERS)
  shutil.copyfile(Path(source) / _TOKENIZER, folder / _TOKENIZER)
  writers.write_json_atomic(folder / kept_summaries.METADATA, card)


def _card(folder: str | Path) -> dict[str, Any]:
  card = kept_summaries.card(folder)
  if card is None:
    raise ValueError(
      f'{folder} holds no reward model that reads summaries: only such a '
      'model has people who are texts'
    )
  return card


def _tokenizer(folder):
  return tokenizers.load(Path(folder), None)


def _folder(folder, measure) -> kept_summaries.Folder:
  return kept_summaries.Folder(folder, measure=measure)


def _config(card: Mapping[str, Any]):
  """Returns the decoder's sizes, which a reward may have in its backbone."""
  node = card['backbone'] or card['reward'].get('backbone') or card['reward']
  if 'config' not in node:
    raise ValueError(
      f'the reward {card["reward"].get("kind")!r} reads no text: give it a '
      'backbone'
    )
  return discriminative.sizes(node['config'])


def _reward(card: Mapping[str, Any]) -> tuple[types.RewardModel, types.PyTree]:
  """Returns a reward, and its parameters' shapes."""
  from prm_jax import registry  # imports every method; only to score

  spec = types.Spec(_config(card).hidden_size, 1)
  reward = registry.build('reward', card['reward'])
  reward = backbones.under(reward, card['backbone'])
  like = jax.eval_shape(lambda: reward.init(jax.random.key(0), spec))
  return reward, like


def _shapes(params: types.PyTree) -> dict[str, tuple[int, ...]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


def _first_difference(params: types.PyTree, like: types.PyTree) -> str:
  found, wanted = _shapes(params), _shapes(like)
  for name in sorted(found.keys() | wanted.keys()):
    if found.get(name) != wanted.get(name):
      return f'{name} is {found.get(name)}, and not {wanted.get(name)}'
  return 'nothing'
