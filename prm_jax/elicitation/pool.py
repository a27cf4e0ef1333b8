"""What a trained model can ask: pairs of its training responses, on disk."""

import hashlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax import places, types
from prm_jax.elicitation import terminal

_MOST = 1000  # pairs: enough to choose from, little to keep
_ROWS, _FEATURES = 'questions.jsonl', 'questions.npz'


class Kept(NamedTuple):
  """Pairs as they lie on disk.

  Attributes:
    rows: N of `prompt`, `a` and `b`.
    features: `[N, 2, D]` of both responses.
  """

  rows: list[dict[str, str]]
  features: np.ndarray


def choose(table, features: np.ndarray, train: np.ndarray, seed: int) -> Kept:
  """Returns up to 1,000 different training pairs.

  Args:
    table: coded judgements: `texts`, `items`, `prompts`, `item_prompt`.
    features: `[M, D]` of the texts.
    train: `[n]` True for a training judgement.
    seed: of the choice.
  """
  pairs = np.unique(np.sort(table.items[train], 1), axis=0)
  texts = np.array([_digest(text) for text in table.texts])
  pairs = pairs[texts[pairs[:, 0]] != texts[pairs[:, 1]]]
  chosen = np.random.default_rng(seed).permutation(len(pairs))[:_MOST]
  pairs = pairs[np.sort(chosen)]
  pairs = _different(table, pairs)
  known = features[pairs]
  usable = np.isfinite(known).all((1, 2))
  rows = [
    {
      'prompt': table.prompts[table.item_prompt[a]],
      'a': table.texts[a],
      'b': table.texts[b],
    }
    for a, b in pairs[usable]
  ]
  return Kept(rows, known[usable])


def write(workdir: Path, kept: Kept) -> None:
  """Writes pairs to the folder of a model."""
  lines = [json.dumps(row) + '\n' for row in kept.rows]
  with places.whole_file(workdir / _ROWS) as file:
    file.write(''.join(lines).encode('utf-8'))
  with places.whole_file(workdir / _FEATURES) as file:
    np.savez(file, features=kept.features)


def _different(table, pairs: np.ndarray) -> np.ndarray:
  """Returns the pairs without those that a person would read twice."""
  first: dict[tuple[str, frozenset[str]], int] = {}
  for number, (a, b) in enumerate(pairs):
    prompt = table.prompts[table.item_prompt[a]]
    first.setdefault(
      (prompt, frozenset((table.texts[a], table.texts[b]))), number
    )
  return pairs[list(first.values())]


def read(workdir: Path) -> Kept:
  """Returns the pairs of a model's folder.

  Raises:
    ValueError: it holds none, or files that do not fit.
  """
  path = workdir / _ROWS
  if not path.exists():
    raise ValueError(f'{path} is missing: run `prm train` again')
  rows = []
  for number, line in enumerate(path.read_text('utf-8').splitlines(), 1):
    row = json.loads(line)
    if not all(isinstance(row.get(k), str) for k in ('prompt', 'a', 'b')):
      raise ValueError(f'{path}:{number}: prompt, a and b must be strings')
    rows.append(row)
  raw = io.BytesIO((workdir / _FEATURES).read_bytes())
  with np.load(raw, allow_pickle=False) as file:
    features = file['features']
  if len(features) != len(rows):
    raise ValueError(
      f'{path} has {len(rows)} questions and {_FEATURES} '
      f'{len(features)}: run `prm train` again'
    )
  return Kept(rows, features)


def questions(kept: Kept) -> list[terminal.Question]:
  """Returns the pairs as questions, whose names do not change between runs."""
  found = []
  for row in kept.rows:
    name = f'{_digest(row["a"])}-{_digest(row["b"])}'
    name = f'{_digest(row["prompt"])[:8]}-{name}'
    found.append(terminal.Question(name, row['prompt'], row['a'], row['b']))
  return found


def encode(
  kept: Kept, system: types.System, reward: types.PyTree
) -> terminal.Pool:
  """Returns the questions with their encoded responses.

  Args:
    kept: pairs.
    system: which encodes.
    reward: its parameters.
  """
  encoded = np.asarray(system.reward.encode(reward, jnp.asarray(kept.features)))
  return terminal.Pool(questions(kept), encoded[:, 0], encoded[:, 1])


def session_path(workdir: Path, user: str) -> Path:
  """Returns the file of a person's session."""
  return workdir / 'sessions' / f'{_digest(user)}.jsonl'


def _digest(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:16]
