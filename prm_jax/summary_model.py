"""A reward model that reads summaries, with its people's, in one folder.

FOLDER/metadata.json   what it is, see `save`
FOLDER/parameters      of the reward
FOLDER/tokenizer.json  of its decoder
FOLDER/summaries       of people, see `prm_jax/kept_summaries.py`
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prm_jax import kept_summaries, types
from prm_jax.models import composed, prefixes, tokenizers
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import backbone as backbones
from prm_jax.rewards import discriminative, summary_texts
from prm_jax.runtime import export as exports
from prm_jax.runtime import writers
from prm_jax.users import records, summaries

_PARAMETERS, _TOKENIZER = 'parameters', 'tokenizer.json'
_PEOPLE = 256  # written about at once


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
    folder: new or empty, but for summaries that a training has begun.
    reward: node of the registry, plain data: of a head where there is a
      backbone, or of a reward that is a decoder, such as 'implicit'.
    params: of the reward, with those of its backbone.
    tokenizer: of the decoder.
    backbone: `rewards.backbone.Backbone` as plain data; none if None.
    wording: what it reads.

  Raises:
    FileExistsError: the folder has something else in it.
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
  exports.export_parameters(params, folder, card, beside=(kept_summaries.NAME,))
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


def save_plus(
  folder: str | Path,
  writer: summaries.Writer,
  params: types.PyTree,
  tokenizer: tokenizers.tokenizers.Tokenizer,
  *,
  backbone: backbones.Backbone | Mapping[str, Any] | None = None,
  reader: Mapping[str, Any] | None = None,
  response: int = 512,
  total: int = 2048,
) -> None:
  """Writes the reward model that `learners.plus` has fitted.

  Summaries are then written by `write`.

  Args:
    folder: as in `save`.
    writer: of summaries, as the learner was given it.
    params: of the reward, `state.params['reward']`.
    tokenizer: of the writer's tokens.
    backbone: as the learner was given it.
    reader: likewise.
    response: tokens of a response.
    total: tokens of summary, prompt and response.

  Raises:
    FileExistsError: the folder has something else in it.
    ValueError: the parts do not fit together.
  """
  node = backbones.Backbone(writer.config, 'whole')
  node = node if backbone is None else backbones.given(backbone)
  reward = {
    'kind': 'summarized',
    'backbone': {
      'config': dataclasses.asdict(node.sizes),
      **{name: getattr(node, name) for name in ('trains', 'rank', 'top')},
    },
    'fields': writer.fields,
    **(reader or {}),
  }
  wording = summary_texts.Wording(
    summary=writer.max_new_tokens,
    response=response,
    total=total,
    apart=True,
    end=writer.stop_ids[0],
  )
  save(folder, reward, params, tokenizer, wording=wording)


def write(
  key: types.Key,
  folder: str | Path,
  writer: summaries.Writer,
  params: types.PyTree,
  histories: Mapping[str, Sequence[int]],
  *,
  draft: kept_summaries.Draft | None = None,
) -> kept_summaries.Outcome:
  """Writes what a summariser says of people, the likeliest, on disk.

  After a fit, a refit, or new answers. What a person wrote stays what is read,
  and nothing is written of who was forgotten.

  Args:
    key: of the sampler.
    folder: of the reward model that reads the summaries.
    writer: of summaries.
    params: of it, not composed: `state.params['user']`.
    histories: person -> tokens; of whom there are none '' is written.
    draft: what the training began, so that who was forgotten meanwhile stays
      so; begun now if None.

  Raises:
    SummaryError: the writer's summaries are longer than the reward model reads.
  """
  reader = people(folder)
  draft = draft or reader.begin(histories)
  users = [user for user in draft.users if user in histories]
  tokenizer, measure = _tokenizer(folder), _measure(folder)
  room = measure('').room
  if writer.max_new_tokens > room:
    raise records.SummaryError(
      f'a summary has up to {writer.max_new_tokens:,} tokens, and the reward '
      f'model reads {room:,}'
    )

  def spelled(ids: list[int]) -> str:
    """Returns words; without their end where they have more tokens as words."""
    words = records.decoded(tokenizer.decode(ids))
    if ids and measure(words).tokens > room:
      return spelled(ids[:-1])
    return words

  return draft.write(_words(key, writer, params, spelled, histories, users))


def _words(key, writer, params, spelled, histories, users) -> dict[str, str]:
  """Returns summaries of people's histories, in words."""
  known = [user for user in users if len(histories[user])]
  said = dict.fromkeys(users, '')
  if not known:
    return said
  whole = composed.composed(params, writer.fields)
  longest = max(len(histories[user]) for user in known)
  ids, mask = np.zeros((2, len(known), longest), np.int32)
  for row, user in enumerate(known):
    told = histories[user]
    ids[row, longest - len(told) :], mask[row, longest - len(told) :] = told, 1
  for first in range(0, len(known), _PEOPLE):
    rows = np.arange(first, min(first + _PEOPLE, len(known)))
    # Of few shapes, since each is compiled: copies of the first are written.
    R = prefixes.rounded(len(rows), _PEOPLE)
    some = np.concatenate([rows, np.full(R - len(rows), rows[0])])
    found = summaries.write(
      key,
      writer,
      whole,
      types.Tokens(ids[some], mask[some]),
      row_ids=some,
      temperature=0.0,
    )
    written = (np.asarray(leaf)[: len(rows)] for leaf in found[:2])
    for row, one, there in zip(rows, *written, strict=True):
      kept = [i for i in one[there > 0].tolist() if i not in writer.stop_ids]
      said[known[row]] = spelled(kept)
  return said


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
  return _folder(folder, _measure(folder))


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


def _measure(folder) -> Callable[[str], records.Measured]:
  wording = summary_texts.Wording(**_card(folder)['wording'])
  return functools.partial(summary_texts.measure, _tokenizer(folder), wording)


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
