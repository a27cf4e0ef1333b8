"""A fitted model as a reward model that transformers loads.

The features of a backbone are components of a decoder's state, so that a
reward that is linear in them is linear in the state: score.weight. What they
are centred by becomes an offset, which no published score has; it is kept
beside, in prm.json, and changes no comparison.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import (
  __version__,
  exported,
  exported_programs,
  kept_summaries,
  model_card,
)
from prm_jax.data import schema
from prm_jax.model import Model
from prm_jax.models import adapted, features, reduce, trunk
from prm_jax.models.weights import peft, published, shards
from prm_jax.runtime import writers
from prm_jax.systems import linear_scores

EVERYBODY = 'everybody'
_TRIED = 16  # pairs whose scores say what rounding does


class Vectors(NamedTuple):
  """Rewards as vectors on a decoder's state.

  Attributes:
    weight: `[C, D]` a label's.
    offset: `[C]` what is added to a label's product.
    population: `[C]` of a person of whom nothing is known.
    people: name -> `[C]`; empty where there is one reward.
  """

  weight: np.ndarray
  offset: np.ndarray
  population: np.ndarray
  people: dict[str, np.ndarray]


def run(
  form: str,
  workdir: Path,
  folder: Path,
  *,
  user: str | None = None,
  ids: Path | None = None,
  merge: bool = False,
) -> None:
  """Writes the model of a folder for others than prm_jax.

  Args:
    form: 'hf' for transformers, see `write`; 'stablehlo', see
      `exported_programs.write`.
    workdir: of `prm train`, or an export of orbax.
    folder: new or empty.
    user: whose reward; everybody's if None.
    ids: JSON lines with `user_id`: people are named by them, and not by hashes.
    merge: whether low-rank adapters are merged into the layers.

  Raises:
    FileExistsError, KeyError, ValueError: as of `write`; or the workdir holds
      no such model.
  """
  if kept_summaries.card(workdir) is not None:
    raise ValueError(
      f'{workdir}: a model that reads summaries is told of a person in words, '
      'before the text is read: export with --format=orbax'
    )
  if form == 'stablehlo':
    if ids is not None or merge:
      named = '--merge' if ids is None else '--ids'
      raise ValueError(f'{named}: of --format=hf alone')
    exported_programs.write(Model.load(workdir), folder, user=user)
    return
  names = None if ids is None else read_ids(ids)
  model = Model.load(workdir)
  trained = None if model.kept is None else workdir
  write(model, folder, user=user, ids=names, workdir=trained, merge=merge)


def write(
  model: Model,
  folder: Path,
  *,
  user: str | None = None,
  ids: Sequence[str] | None = None,
  workdir: Path | None = None,
  merge: bool = False,
  limit: int = shards.LIMIT,
) -> None:
  """Writes a model for transformers: one person's, or everybody's.

  Of one person, a reward model with one label. Of everybody, a label for each
  of the J rewards that people share, and people.json, where a person is J
  numbers; `exported.Exported` puts them together. Either has the checkpoint's
  tokenizer and template, prm.json, and a card, README.md. Of layers that were
  trained with low-rank adapters, these are written as peft reads them, and the
  checkpoint stays where it is; or they are merged into it.

  Args:
    model: on a backbone, linear in its features.
    folder: new or empty.
    user: whose reward; everybody's if None.
    ids: of people whose names are written; None: hashes are.
    workdir: of `prm train`, whose results the card tells.
    merge: whether adapters are merged.
    limit: bytes of a shard.

  Raises:
    FileExistsError: the folder has something in it.
    KeyError: nothing is known of the person.
    ValueError: the model is not linear in a decoder's state, an id is
      missing, or there is nothing to merge; nothing is written then.
  """
  writers.refuse_filled(folder)
  read = _trunk(model)
  low_rank = read.changes is not None and read.changes.form == adapted.LORA
  if merge and not low_rank:
    raise ValueError(
      '--merge: no adapters were trained (--adapt=lora:N of `prm train`): the '
      'layers are written as they are, so leave it out'
    )
  found = vectors(model, user, ids)
  one = len(found.population) == 1 and not found.people
  labels = [next(iter(found.people), EVERYBODY)]
  if user is None and not one:
    labels = [f'reward_{at}' for at in range(len(found.weight))]
  made = model_card.calibrate(
    workdir, model.setting.method, _training_scores(model, user), user
  )
  name = labels[0] if user is not None or one else 'people'
  known = _about(model, read, found, made, name, user, hashed=ids is None)
  shared = user is None and bool(found.people)
  with writers.whole_folder(folder) as part:
    _weights(read, found.weight, part, labels, limit, merge=merge)
    writers.write_json_atomic(part / exported.CARD, known)
    if shared:
      exported.write_people(
        part / exported.PEOPLE, known['base'], found.people, hashed=ids is None
      )
    text = _of_layers(model, read, merge)
    if merge and read.dtype != 'F32':
      text += _rounded(model, user, part)
    model_card.write(
      part / 'README.md',
      title=f'Reward model of {_of(user, found)}',
      holds=[text, *_holds(user, found, ids is None, made), _USE],
      setting=dataclasses.asdict(model.setting),
      found=made,
      workdir=workdir,
    )


def _weights(
  read: trunk.Trunk, weight, folder: Path, labels, limit: int, *, merge: bool
) -> None:
  """Writes the weights, and the texts beside them; see `write`."""
  common: dict[str, Any] = {'labels': labels, 'layers': read.layers}
  if read.changes is None:
    published.write(read.folder, weight, folder, limit=limit, **common)
  elif read.changes.form == adapted.LORA and not merge:
    peft.write(read.folder, read.changes, weight, folder, **common)
  else:
    changed = adapted.tensors(
      read.model.config, read.model.params, read.changes
    )
    published.write(
      read.folder, weight, folder, changed=changed, limit=limit, **common
    )


def _rounded(model: Model, user: str | None, folder: Path) -> str:
  """Returns how far merged layers in the checkpoint's dtype move scores.

  It is said on standard error, too.
  """
  if model.kept is None or not model.kept.rows:
    return ''
  rows = model.kept.rows[:_TRIED]
  prompts = [row['prompt'] for row in rows for _ in 'ab']
  responses = [row[side] for row in rows for side in 'ab']
  want = np.asarray(model.score_rows(user, prompts, responses).score)
  own = exported.Exported.load(folder).score(user, prompts, responses).scores
  text = _ROUNDED.format(
    moved=float(np.abs(own - want).max()),
    count=len(want),
    deviation=float(want.std()),
  )
  print(text.strip(), file=sys.stderr)
  return text


def _about(
  model, read: trunk.Trunk, found: Vectors, made, name, user, *, hashed: bool
) -> dict[str, Any]:
  """Returns what prm.json says."""
  score = exported.digest(found.weight)
  base = hashlib.sha256(f'{score} {read.fingerprint}'.encode()).hexdigest()
  return {
    'version': exported.VERSION,
    'written_by': f'prm_jax {__version__}',
    'method': model.setting.method,
    'of': name,
    'named_by': exported.HASHED if hashed else exported.PLAIN,
    'base': base,
    'score': score,
    'trunk': read.fingerprint,
    'changes': None
    if read.changes is None
    else {
      **{'form': read.changes.form, 'layers': read.changes.layers},
      **{'rank': read.changes.rank, 'base': read.base},
    },
    'total': read.total,
    'offset': found.offset,
    'population': found.population if user is None else None,
    'calibration': made._asdict(),
  }


def vectors(
  model: Model, user: str | None, ids: Sequence[str] | None
) -> Vectors:
  """Returns rewards as vectors on the decoder's state.

  Args:
    model: as of `write`.
    user: whose alone; everybody's if None.
    ids: as of `write`.

  Raises:
    KeyError, ValueError: as of `write`.
  """
  names, contexts = _contexts(model, user, ids)
  system, params = model.setting.learner().system, model.state.params
  try:
    found = linear_scores.factors(
      system, params, contexts, model.setting.features
    )
  except ValueError as error:
    raise ValueError(f'{model.setting.method}: {error}') from error
  reduction = model.reader.reductions[features.BACKBONE]
  basis, coefficients = found
  if user is not None or not names:  # one reward: one label
    basis, coefficients = coefficients @ basis, np.eye(1)
  weight, offset = on_state(reduction, basis)
  if user is not None:
    return Vectors(weight, offset, np.ones(1), {names[0]: np.ones(1)})
  people = dict(zip(names, coefficients[1:], strict=True))
  return Vectors(weight, offset, coefficients[0], people)


def on_state(
  reduction: reduce.Reduction, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns vectors on what is reduced `[C, D]`, and offsets `[C]`, float64.

  basis @ ((x - mean) @ directions / scale) = weight @ x + offset.

  Args:
    reduction: of D features to R columns.
    basis: `[C, R]`.
  """
  weight = (basis / reduction.scale) @ reduction.directions.T
  return weight, -weight @ reduction.mean


def _trunk(model: Model) -> trunk.Trunk:
  """Returns the decoder under a model.

  Raises:
    ValueError: there is none, and which part of the features a classifier
      cannot hold.
  """
  kind = model.setting.kind
  if kind != features.BACKBONE:
    raise ValueError(
      f'--format=hf: the model reads features {kind!r} (of {_read_by(model)}), '
      'which no sequence classifier computes: train with --backbone=FOLDER, '
      'or export with --format=orbax or --format=stablehlo'
    )
  model.check_weights()
  return model.source.trunk


def _read_by(model: Model) -> str:
  if model.setting.kind == 'surface':
    return 'counts of marks and words'
  if model.setting.own_features:
    return 'a file of your own'
  return 'layers of a BERT encoder, and the length of the response'


def _contexts(model: Model, user: str | None, ids: Sequence[str] | None):
  """Returns names, and contexts of these people; of everybody after nobody's.

  Where the reward is told nothing, there is nobody.
  """
  system, params = model.setting.learner().system, model.state.params['user']
  if user is not None:
    context = model.context(user)  # KeyError where nothing is known
    if not jax.tree.leaves(context):
      raise ValueError(
        f'--user={user}: {model.setting.method} is one reward for everybody: '
        'leave it out'
      )
    if ids is not None and user not in ids:
      raise ValueError(f'--user={user} is not in the file of --ids')
    name = user if ids is not None else linear_scores.hashed(user)
    return [name], _row(context)
  nobody = model.context(None)
  if not jax.tree.leaves(nobody):
    return [], nobody
  halves = np.asarray(model.state.people.ids).reshape(-1, 2).tolist()
  # A place that somebody who was forgotten left has zeros.
  rows = {f'{a:08x}{b:08x}': row for row, (a, b) in enumerate(halves) if a | b}
  asked = {linear_scores.hashed(who): who for who in model.asked}
  trained = [name for name in rows if name not in asked]
  some = [_row(nobody)]
  if trained:
    where = np.array([rows[name] for name in trained])
    beliefs = jax.tree.map(lambda leaf: leaf[where], model.state.people.beliefs)
    some.append(
      jax.vmap(lambda belief: system.user.context(params, belief))(beliefs)
    )
  some += [_row(model.context(who)) for who in asked.values()]
  contexts = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *some)
  return _named([*trained, *asked], asked, ids), contexts


def _row(context):
  """Returns the context of one person as that of a list of one."""
  return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)


def _named(
  hashes: list[str], asked: Mapping[str, str], ids: Sequence[str] | None
) -> list[str]:
  """Returns what people are called: hashes of ids, or ids."""
  if ids is None:
    return hashes
  known = {linear_scores.hashed(name): name for name in ids} | dict(asked)
  missing = sum(name not in known for name in hashes)
  if missing:
    raise ValueError(
      f'--ids: {missing} of {len(hashes)} people of the model are not in the '
      'file: give the judgements that it was trained on'
    )
  return [known[name] for name in hashes]


def read_ids(path: Path) -> list[str]:
  """Returns the different values of `user_id` in JSON lines.

  Raises:
    SchemaError: the file cannot be read, or a row has none.
  """
  rows = schema.read_texts(path, 'user_id')
  return list(dict.fromkeys(row['user_id'] for row in rows))


def _training_scores(model: Model, user: str | None) -> np.ndarray | None:
  """Returns scores of the training responses that a model kept."""
  if model.kept is None:
    return None
  x = model.kept.features
  x = x.reshape(-1, x.shape[-1])
  system, params = model.setting.learner().system, model.state.params
  context = _row(model.context(user))
  vector = linear_scores.weights(system, params, context, x.shape[1])[0]
  return np.asarray(x, np.float64) @ vector


def _of(user: str | None, found: Vectors) -> str:
  if user is not None:
    return 'one person'
  return f'{len(found.people)} people' if found.people else EVERYBODY


def _of_layers(model: Model, read: trunk.Trunk, merge: bool) -> str:
  """Returns the card's paragraph on the layers."""
  text = _TEXT.format(
    source=read.folder.name,
    layers=read.layers,
    method=model.setting.method,
    kept='in its dtype, as they were'
    if read.changes is None
    else f'in its dtype, of which the highest {read.changes.layers} were '
    'trained together with the reward'
    + ('' if merge or not read.changes.rank else ', as adapters of peft'),
  )
  if read.changes is None or merge or not read.changes.rank:
    return text
  return f'{text}\n\n{_PEFT}'


def _holds(user, found: Vectors, hashed, made) -> list[str]:
  """Returns the card's paragraphs on whom the folder is about."""
  spelled = 'a SHA-256 hash of the id' if hashed else 'the id'
  personal = ''
  if user is not None:
    personal = _PERSON.format(spelled=spelled) + model_card.of_person(made)
  elif found.people:
    personal = _PEOPLE.format(
      spelled=spelled, count=len(found.people), labels=len(found.weight)
    )
  return [personal] if personal else []


_TEXT = """\
The lowest {layers} layers of the language model `{source}`, {kept}, under a
normalisation without a scale and a linear score,
`{method}`, which is float32. Load it with `dtype=torch.float32` for the scores
that were measured. Prompt and response are read together in the chat
template's form; the score is that of the last token."""
_PEFT = """\
The checkpoint is not here, and adapters mean nothing on another. Load them with

```python
config = AutoConfig.from_pretrained(FOLDER)
base = AutoModelForSequenceClassification.from_pretrained(
  CHECKPOINT, config=config, dtype=torch.float32)
model = PeftModel.from_pretrained(base, FOLDER)
```"""
_ROUNDED = """ The adapters were merged into layers of that dtype, and
rounded: scores of {count} training responses move by at most {moved:.2g}, where
their standard deviation is {deviation:.2g}."""
_PERSON = """\
**This is personal data.** The one label is {spelled}, and score.weight says
what this person likes. A hash of an id that can be guessed can be guessed too.

"""
_PEOPLE = """\
**people.json is personal data.** It holds {count} people, each as {labels}
numbers that say what they like, under {spelled}; a hash of an id that can be
guessed can be guessed too. The model itself, without that file, holds nobody: a
person's score is the sum of the {labels} labels' scores times their numbers."""
_USE = """\
`prm score --model=FOLDER --data=FILE` adds the offset in prm.json, which is
the same for all texts: with it, scores are those of `prm score --workdir`."""
