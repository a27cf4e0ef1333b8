"""A trained model on disk: what it is, what reads its texts, and its state."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prm_jax import registry, types
from prm_jax.data import schema
from prm_jax.models import embeddings, reduce
from prm_jax.runtime import checkpoint, train
from prm_jax.users import bank as banks

_LAYERS = (1, 3, 5)  # of the encoder; the last alone carries style poorly
_REDUCTION = 'reduction.npz'


@dataclasses.dataclass(frozen=True)
class Setting:
  """What a trained model is, besides its arrays; kept as config.json.

  Attributes:
    method: kind of learner; options: of its factory.
    people, features, judgements: sizes.
    seed: of the run.
    encoder: folder of the encoder, None for the default.
    components: kept of what it says of a text.
    source: what made the features: 'encoder SHA-256' of its weights, or 'file
      SHA-256' of a file of one's own.
  """

  method: str
  options: dict[str, Any]
  people: int
  features: int
  seed: int
  encoder: str | None
  components: int
  judgements: int
  source: str

  def learner(self) -> types.Learner:
    """Returns the learner this setting names."""
    return registry.build('learner', {'kind': self.method, **self.options})

  @property
  def key(self) -> types.Key:
    """Returns the run's key."""
    return jax.random.key(self.seed)

  @property
  def spec(self) -> types.Spec:
    """Returns the sizes."""
    return types.Spec(self.features, self.people, self.judgements)

  @property
  def own_features(self) -> bool:
    """Returns whether features came from a file of one's own."""
    return self.source.startswith('file ')

  def finished(self) -> types.TrainState:
    """Returns a state of the shapes that a finished run has."""
    learner = self.learner()
    state = train.finished(learner, learner.init(self.key, self.spec))
    nobody = jax.eval_shape(learner.system.user.prior, state.params['user'])
    people = jax.eval_shape(banks.with_beliefs, state.people, nobody)
    return state._replace(people=people)


def read(workdir: Path) -> tuple[Setting, types.TrainState]:
  """Returns the model that `prm train` left in a folder.

  Raises:
    ValueError: it holds none, or one of a study or of an earlier version.
    CheckpointError: its checkpoint is damaged.
  """
  path = workdir / 'config.json'
  if not path.exists():
    raise ValueError(f'{path} is missing: run `prm train` with this --workdir')
  try:
    known = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from error
  names = {field.name for field in dataclasses.fields(Setting)}
  if not isinstance(known, dict) or not {'method', 'people'} <= set(known):
    raise ValueError(
      f'{path} is not of `prm train`: give the folder that it wrote'
    )
  known.pop('data', None)
  if set(known) != names:
    version = (
      f'another version of prm_jax ({sorted(set(known) ^ names)} differ)'
    )
    if 'judgements' not in known:
      version = 'the first ground of prm_jax (tag first-ground)'
    raise ValueError(
      f'{path} was written by {version}: train anew in another folder'
    )
  setting = Setting(**known)
  with checkpoint.Checkpoints(workdir / 'checkpoints') as manager:
    if manager.latest() is None:
      raise ValueError(f'{workdir} holds no checkpoint: run `prm train` again')
    state = manager.restore(setting.finished())
  return setting, state


# ------------------------------------------------------------------ features


def raw_features(
  texts: list[str], encoder: str | None, own: Path | None = None
) -> tuple[np.ndarray, str]:
  """Returns `[M, D]` and their source, see `Setting`.

  Args:
    texts: M texts.
    encoder: folder of a BERT checkpoint; the default if None.
    own: .npz of one's own features, which takes the encoder's place.
  """
  if own is not None:
    features = embeddings.embed_from_file(texts, own)
    return features, f'file {schema.file_digest(own)}'
  loaded = embeddings.Encoder.load(Path(encoder) if encoder else None)
  columns = embeddings.embed(texts, loaded, layers=_LAYERS, unit='text')
  length = embeddings.text_length_features(texts)
  source = f'encoder {loaded.fingerprint}'
  return np.concatenate([columns, length], axis=1), source


def keep_reduction(workdir: Path, reduction: reduce.Reduction) -> None:
  """Writes how features of other texts are reduced."""
  np.savez(workdir / _REDUCTION, **reduction._asdict())


def features_of(
  workdir: Path, setting: Setting, texts: list[str], own: Path | None = None
) -> np.ndarray:
  """Returns features `[M, D]` of new texts, as the trained model reads them.

  Args:
    workdir: of the model.
    setting: of the model.
    texts: M texts.
    own: .npz of one's own features, for a model that was trained on such.

  Raises:
    ValueError: features do not come from where those in training came from.
  """
  if setting.own_features and own is None:
    raise ValueError(
      f'{workdir} was trained on features of your own: give those of these '
      'texts with --features, made in the same way'
    )
  if own is not None and not setting.own_features:
    raise ValueError(
      f'{workdir} was trained on features of the encoder: leave out --features'
    )
  raw, source = raw_features(texts, setting.encoder, own)
  if not setting.own_features and source != setting.source:
    raise ValueError(
      f'the encoder is not the one that {workdir} was trained with '
      f'({source} and {setting.source}): give back its files, or train anew'
    )
  with np.load(workdir / _REDUCTION, allow_pickle=False) as kept:
    reduction = reduce.Reduction(**kept)
  width = len(reduction.mean)
  if raw.shape[1] != width:
    raise ValueError(
      f'{own} has {raw.shape[1]} features of a text, and {workdir} was '
      f'trained on {width}'
    )
  return reduction(raw)
