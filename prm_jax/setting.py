"""What a trained model is, besides its arrays; kept as config.json."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax

from prm_jax import registry, types
from prm_jax.models import features
from prm_jax.runtime import compile as compiling
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import processes, train
from prm_jax.users import bank as banks


@dataclasses.dataclass(frozen=True)
class Setting:
  """What a trained model is.

  Attributes:
    method: kind of learner; options: of its factory.
    people, features, judgements: sizes.
    seed: of the run.
    encoder: folder of the encoder, None for the default.
    kind: of features, see `models.features.KINDS`.
    components: columns of features, besides length.
    source: what made the features: 'encoder SHA-256' of its weights, 'file
      SHA-256' of a file of one's own, 'backbone SHA-256' of a decoder's, or
      'text' where text alone is counted.
    backbone: folder of the decoder; None where an encoder reads.
    reading: which of its states are features, see `models.token_states`; the
      last token's of prompt and response together if None.
    adapt: of `adapting.Plan`: what was trained of the decoder, whose changes
      lie in the folder `adapted`; None where it is frozen.
  """

  method: str
  options: dict[str, Any]
  people: int
  features: int
  seed: int
  encoder: str | None
  kind: str
  components: int
  judgements: int
  source: str
  backbone: str | None = None
  reading: str | None = None
  adapt: dict[str, Any] | None = None

  def described(self) -> dict[str, Any]:
    """Returns plain data, as config.json has it.

    What came later is left out where there is none of it, so that a folder of
    an earlier version is gone on with.
    """
    known = dataclasses.asdict(self)
    for name in ('adapt', 'reading'):
      if known[name] is None:
        del known[name]
    return known

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


def source(
  encoder: str | Path | None = None,
  own: Path | None = None,
  backbone: str | Path | None = None,
  **options: Any,
) -> features.Source:
  """Returns where features come from; a decoder lies on the mesh of `mesh.use`.

  Where several processes share the mesh each has a decoder of its own.

  Args:
    encoder: folder of a BERT checkpoint.
    own: .npz of one's own features.
    backbone: folder of a decoder.
    **options: of `features.Source`.
  """
  mesh, place = meshes.in_use(), None
  if mesh is not None and mesh.size > 1 and not processes.share(mesh):
    place = functools.partial(compiling.laid_out, mesh=mesh)
  return features.Source(encoder, own, backbone, place=place, **options)


def parse(known: Any, path: Path) -> Setting:
  """Returns the setting that a file holds.

  Args:
    known: what the file says.
    path: of the file.

  Raises:
    ValueError: it is of a study or of another version.
  """
  if not isinstance(known, dict) or not {'method', 'people'} <= set(known):
    raise ValueError(
      f'{path} is not of `prm train`: give the folder that it wrote'
    )
  known = {name: value for name, value in known.items() if name != 'data'}
  for name in ('backbone', 'adapt', 'reading'):  # written before there were any
    known.setdefault(name, None)
  names = {field.name for field in dataclasses.fields(Setting)}
  if set(known) != names:
    version = (
      f'another version of prm_jax ({sorted(set(known) ^ names)} differ)'
    )
    if 'judgements' not in known:
      version = 'the first ground of prm_jax (tag first-ground)'
    raise ValueError(
      f'{path} was written by {version}: train anew in another folder'
    )
  return Setting(**known)


def read(path: Path) -> Setting:
  """Returns the setting in a JSON file.

  Raises:
    ValueError: the file is missing, no JSON, or of something else.
  """
  if not path.exists():
    raise ValueError(f'{path} is missing: run `prm train` with this --workdir')
  try:
    known = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from error
  return parse(known, path)
