"""A reward model in Hugging Face's layout, ours or a stranger's, that scores.

FOLDER/config.json, *.safetensors, tokenizer.json   what transformers loads
FOLDER/adapter_*     in the weights' place, of a checkpoint that lies elsewhere
FOLDER/prm.json      what `prm export --format=hf` says of it; ours alone
FOLDER/people.json   personal data: coefficients of people, where there are any
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax.models import adapted, trunk
from prm_jax.models import chat as chats
from prm_jax.models.classifier import (
  Classifier,
  Scored,
  score_spelled,
  score_texts,
)
from prm_jax.models.weights import huggingface, peft
from prm_jax.runtime import writers
from prm_jax.systems import linear_scores

CARD, PEOPLE = 'prm.json', 'people.json'
VERSION = 1
HASHED, PLAIN = 'sha256', 'id'  # what people are named by
_WARNING = (
  'Personal data: what each of these people likes. Who has a list of ids finds '
  'theirs behind a hash.'
)


class Exported(NamedTuple):
  """A loaded reward model.

  Attributes:
    model: which reads texts.
    population: `[C]` how labels add up for somebody of whom nothing is known;
      None of one person's model.
    offset: `[C]` what is added to labels' scores.
    total: tokens of a text that are read; what the model was trained on, at
      most, if None.
    people: name -> `[C]`; empty where nobody is in it.
    hashed: whether names are hashes of ids.
    only: the one person whose model it is, as it names them; None of others'.
  """

  model: Classifier
  population: np.ndarray | None
  offset: np.ndarray
  total: int | None
  people: Mapping[str, np.ndarray]
  hashed: bool
  only: str | None

  @classmethod
  def load(cls, folder: Path, *, label: str | None = None) -> 'Exported':
    """Returns the reward model in a folder.

    Args:
      folder: of an export, or of any sequence classifier with a tokenizer.
      label: which of a stranger's labels is the reward, where there are
        several.

    Raises:
      ValueError: it is none, its parts do not belong together, or it has
        several labels and none is chosen.
    """
    if not folder.is_dir():
      raise ValueError(f'--model={folder}: is not a folder')
    model = _adapted(folder) or Classifier.load(folder)
    if model.every:
      raise ValueError(f'{folder} scores every token, and not texts')
    if not (folder / CARD).is_file():
      return cls(model, _chosen(model, folder, label), *_silent(model))
    if label is not None:
      raise ValueError(f'--label: {folder} says itself how labels add up')
    return cls(model, *_card(model, folder))

  def vector(self, user: str | None) -> np.ndarray:
    """Returns how labels add up for a person, `[C]`.

    Args:
      user: a name as the model has it, or the id behind a hash; the population
        if None, or the one person whose model it is.

    Raises:
      KeyError: nothing is known of the person.
    """
    if user is None:
      return np.ones(1) if self.population is None else self.population
    name = linear_scores.hashed(user) if self.hashed else user
    if self.only is not None:
      if name != self.only:
        raise KeyError(f'the model is of one person, who is not {user!r}')
      return np.ones(1)
    if name not in self.people:
      kept = f'{len(self.people)} people' if self.people else 'nobody'
      raise KeyError(f'not in the model, which knows {kept}: {user!r}')
    return self.people[name]

  def score(
    self,
    user: str | None,
    prompts: Sequence[chats.Turn],
    responses: Sequence[chats.Turn],
  ) -> Scored:
    """Returns scores `[N]` of N responses to N prompts, and which were cut.

    Args:
      user: as of `vector`.
      prompts: each a text or a list of messages.
      responses: each a text or a list of messages.

    Raises:
      KeyError: nothing is known of the person.
      ValueError: as of `classifier.score_texts`.
    """
    vector = self.vector(user)
    told = score_texts(self.model, prompts, responses, total=self.total)
    return told._replace(scores=self.of_labels(told.scores, vector))

  def score_spelled(
    self, user: str | None, prompts: Sequence[str], responses: Sequence[str]
  ) -> Scored:
    """Returns scores `[N]` of texts that are in the template already.

    Args:
      user: as of `vector`.
      prompts: N texts, see `chat.encode_spelled`.
      responses: N texts.

    Raises:
      KeyError, ValueError: as of `score`.
    """
    vector = self.vector(user)
    told = score_spelled(self.model, prompts, responses, total=self.total)
    return told._replace(scores=self.of_labels(told.scores, vector))

  def of_labels(self, scores: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns what labels' scores `[N, C]` are for a person, `[N]`.

    Args:
      scores: of the labels.
      vector: `[C]` of the person.
    """
    found = (np.asarray(scores, np.float64) + self.offset) @ vector
    return found.astype(np.float32)


def digest(weight: np.ndarray) -> str:
  """Returns the SHA-256 of score.weight `[C, D]`, as it is written."""
  data = np.ascontiguousarray(weight, '<f4').tobytes()
  return hashlib.sha256(data).hexdigest()


def write_people(
  path: Path, base: str, people: Mapping[str, np.ndarray], *, hashed: bool
) -> None:
  """Writes a people file.

  Args:
    path: of it.
    base: digest of the model that it belongs to.
    people: name -> `[C]`.
    hashed: whether names are hashes of ids.
  """
  known = {
    'warning': _WARNING,
    'base': base,
    'named_by': HASHED if hashed else PLAIN,
    'people': dict(people),
  }
  writers.write_json_atomic(path, known)


def _adapted(folder: Path) -> Classifier | None:
  """Returns the classifier that adapters in a folder make of their base.

  None where there are no adapters.
  """
  if not (folder / peft.CARD).is_file():
    return None
  if not (folder / CARD).is_file():
    raise ValueError(
      f'{folder} holds adapters that `prm export` did not write: merge them '
      'into their model first'
    )
  told = peft.read(folder)
  if not told.base.is_dir():
    raise ValueError(
      f'{folder / peft.CARD}: base_model_name_or_path {str(told.base)!r} is no '
      'folder here: write there where the checkpoint lies'
    )
  known = huggingface.read_json(folder / CARD).get('changes')
  base = known.get('base') if isinstance(known, dict) else None
  changes = adapted.Changes(adapted.LORA, str(base), told.leaves)
  model = trunk.Trunk.load(told.base, layers=told.layers).changed(changes).model
  score = {
    'kernel': jnp.asarray(told.weight.T),
    'bias': jnp.zeros(len(told.labels)),
  }
  return model._replace(
    score=score, labels=told.labels, chat=chats.Chat.load(folder)
  )


def _silent(model: Classifier):
  """Returns the fields of a model that says nothing of itself."""
  return np.zeros(len(model.labels)), None, {}, False, None


def _chosen(model: Classifier, folder: Path, label: str | None) -> np.ndarray:
  """Returns the one of a stranger's labels that is the reward."""
  if label is None and len(model.labels) > 1:
    raise ValueError(
      f'{folder} has {len(model.labels)} labels, {list(model.labels)[:8]}: '
      'choose the reward with --label=NAME'
    )
  label = model.labels[0] if label is None else label
  if label not in model.labels:
    raise ValueError(f'--label={label}: {folder} has {list(model.labels)[:8]}')
  return np.array([float(name == label) for name in model.labels])


def _card(model: Classifier, folder: Path):
  """Returns the fields that prm.json and people.json say."""
  path = folder / CARD
  known = huggingface.read_json(path)
  if known.get('version') != VERSION:
    raise ValueError(
      f'{path}: version {known.get("version")!r}, and {VERSION} is read: '
      'export anew'
    )
  named = known.get('named_by')
  if named not in (HASHED, PLAIN):
    raise ValueError(f'{path}: named_by is {named!r}')
  labels = len(model.labels)
  weight = np.asarray(model.score['kernel']).T
  if digest(weight) != known.get('score'):
    raise ValueError(
      f'{path} is of another model: its score.weight is not the one beside it'
    )
  offset = _numbers(known.get('offset'), labels, f'{path}: offset')
  population, only = None, None
  if known.get('population') is None:
    only = str(known.get('of'))
    if labels != 1 or only != model.labels[0]:
      raise ValueError(f'{path}: one person, and labels {list(model.labels)}')
  else:
    where = f'{path}: population'
    population = _numbers(known['population'], labels, where)
  people: dict[str, np.ndarray] = {}
  if (folder / PEOPLE).is_file():
    people = _people(folder / PEOPLE, known, labels)
  total = known.get('total')
  if type(total) is not int or total < 1:
    raise ValueError(f'{path}: total is {total!r}')
  return population, offset, total, people, named == HASHED, only


def _people(
  path: Path, card: Mapping[str, Any], labels: int
) -> dict[str, np.ndarray]:
  """Returns the people of a file that belongs to a model."""
  known = huggingface.read_json(path)
  for name in ('base', 'named_by'):
    if known.get(name) != card.get(name):
      raise ValueError(
        f'{path} belongs to another model ({name} is {known.get(name)!r}, and '
        f"the model's {card.get(name)!r}): its numbers mean nothing here"
      )
  people = known.get('people')
  if not isinstance(people, dict):
    raise ValueError(f'{path}: people is no object')
  return {
    name: _numbers(row, labels, f'{path}: {name}')
    for name, row in people.items()
  }


def _numbers(row: Any, count: int, where: str) -> np.ndarray:
  """Returns a list of finite numbers."""
  right = isinstance(row, list) and len(row) == count
  if not right or any(type(x) not in (int, float) for x in row):
    raise ValueError(f'{where} is not a list of {count} numbers')
  return np.array(row, np.float64)
