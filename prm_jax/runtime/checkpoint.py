"""Checkpoints: state, data position and configuration, whole or not at all."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import grain.checkpoint
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging

from prm_jax import places, types
from prm_jax.runtime import trees, writers

_CONFIG = 'config.json'
_DIGESTS = 'sha256.json'
_MARKER = '/commit_success.txt'  # of Orbax, of what is whole in a bucket


class CheckpointError(ValueError):
  """A checkpoint that cannot be used; the message says what can be done."""


class _Manager(ocp.CheckpointManager):
  """Orbax's, which does not ask whether to stop: the run does.

  JAX counts the questions of a process to find a step at which all stop, and
  would not find it where two ask with numbers of their own.
  """

  def reached_preemption(self, step: int) -> bool:
    del step
    return False


class Checkpoints:
  """The checkpoints of one run, in one folder, written by one process.

  Saving goes on in the background. A step's files are listed with their
  SHA-256 before the step appears under its name, so that a killed save leaves
  the earlier steps as they were, and damage on disk is found before use.

  Use it as a context manager, or call `close`.
  """

  def __init__(
    self,
    folder: writers.PathLike,
    *,
    config: Mapping[str, Any] | None = None,
    keep: int = 3,
    read_only: bool = False,
  ):
    """Opens or makes a folder of checkpoints.

    Args:
      folder: of the checkpoints alone.
      config: plain data, saved with every step and compared on restore.
      keep: steps to keep, the latest.
      read_only: whether nothing is saved here, and the folder is there. Who
        saves removes what a killed save left; who reads does not, for a run may
        be saving.

    Raises:
      PermissionError: files cannot be written to the folder.
    """
    look = places.place if read_only else places.make_folder
    self.folder = look(folder)
    if not places.in_bucket(self.folder):
      self.folder = self.folder.resolve()
    self._config = json.loads(json.dumps(writers.plain(config or {})))
    self._saving: int | None = None
    self._manager = _Manager(
      self.folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
      ),
    )

  def __enter__(self) -> 'Checkpoints':
    """Returns itself."""
    return self

  def __exit__(self, *error: object) -> None:
    """Closes."""
    self.close()

  def steps(self) -> list[int]:
    """Returns the saved steps, ascending."""
    return sorted(self._manager.all_steps())

  def latest(self) -> int | None:
    """Returns the last saved step, None if there is none."""
    return max(self.steps(), default=None)

  def wait(self) -> None:
    """Returns when the last save is on disk.

    Raises:
      CheckpointError: it could not be written; earlier steps are whole.
    """
    with self._written():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the last save and ends the background work."""
    with self._written():
      self._manager.close()

  @contextlib.contextmanager
  def _written(self) -> Iterator[None]:
    """Tells what a person can do where a save fails, of whatever cause."""
    try:
      yield
    except Exception as error:  # of the system, Orbax's, TensorStore's
      path = self.folder / str(self._saving)
      raise CheckpointError(
        f'checkpoint {places.no_room(path, error)}; '
        f'it goes on from step {self.latest()}'
      ) from error

  def save(self, step: int, state: types.PyTree, data: Any = None) -> None:
    """Saves one step in the background; steps from `step` on are replaced.

    Args:
      step: of the whole run.
      state: arrays; the save has its own copy when this returns.
      data: a grain iterator, whose position is saved, or None.
    """
    self.wait()
    for old in self.steps():
      if old >= step:
        self._manager.delete(old)
    self._saving = step
    # A copy, because nothing promises that the background save is done with
    # this memory before the next, donated, update overwrites it.
    state = jax.tree.map(jnp.copy, state)
    items = {
      'state': ocp.args.StandardSave(state),
      'config': ocp.args.JsonSave(
        {'config': self._config, 'layout': _layout(state)}
      ),
    }
    if data is not None:
      items['data'] = grain.checkpoint.CheckpointSave(data)
    with self._written():
      self._manager.save(step, args=ocp.args.Composite(**items))

  def restore(
    self, like: types.PyTree, data: Any = None, step: int | None = None
  ) -> types.PyTree:
    """Returns the state of a step, and moves `data` to its position.

    Args:
      like: a state, or shapes, of the same structure; leaves that say where
        they live are restored to there, others to the first device.
      data: the grain iterator that was given to `save`.
      step: to restore; the latest, if None.

    Raises:
      CheckpointError: there is no such step, its files are damaged, it was
        made with another configuration or structure, or without `data`.
    """
    self.wait()
    step = self.latest() if step is None else step
    if step is None or step not in self.steps():
      raise _missing(self.folder, step, self.steps())
    self._verify(step)
    self._compare(step, like, data)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def target(leaf):
      where = getattr(leaf, 'sharding', None) or device
      return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    items = {'state': ocp.args.StandardRestore(jax.tree.map(target, like))}
    found = self._manager.restore(step, args=ocp.args.Composite(**items))
    if data is not None:
      _move(data, self.folder / str(step) / 'data')
    return found.state

  def _seal(self) -> None:
    """Lists the files of the step being saved, before it counts as saved.

    On a disk it gets its name afterwards. In a bucket it has its name, and
    Orbax writes a marker afterwards, without which it is no step.
    """
    name = f'{self._saving}.orbax-checkpoint-tmp*'
    if places.in_bucket(self.folder):
      name = str(self._saving)
    for folder in self.folder.glob(name):
      writers.write_json_atomic(folder / _DIGESTS, _digests(folder))

  def _verify(self, step: int) -> None:
    folder = self.folder / str(step)
    try:
      expected = json.loads((folder / _DIGESTS).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
      raise self._damaged(step, f'{_DIGESTS}: {error}') from error
    found = _digests(folder)
    for name, digest in sorted(expected.items()):
      if digest != found.get(name):
        raise self._damaged(
          step,
          f'{name} has sha256 {found.get(name, "(file missing)")}, '
          f'expected {digest}',
        )
    strangers = sorted(set(found) - set(expected))
    if strangers:
      logging.warning(
        '%s: not of the checkpoint and ignored: %s', folder, strangers
      )

  def _damaged(self, step: int, why: str) -> CheckpointError:
    earlier = [other for other in self.steps() if other < step]
    offer = 'there is no earlier step: start anew in another folder'
    if earlier:
      offer = (
        f'earlier steps: {earlier}; delete the folder {self.folder / str(step)}'
        f' to go on from step {earlier[-1]}'
      )
    return CheckpointError(
      f'the checkpoint of step {step} in {self.folder} is damaged: {why}; '
      f'{offer}'
    )

  def _compare(self, step: int, like: types.PyTree, data: Any) -> None:
    """Raises where the step was saved from another run than this one."""
    items = ocp.args.Composite(config=ocp.args.JsonRestore())
    saved = self._manager.restore(step, args=items).config
    where = f'the checkpoint of step {step} in {self.folder}'
    if any(path.startswith('bank/') for path in saved['layout']):
      raise CheckpointError(
        f'{where} was written by the first ground of prm_jax, before people '
        'had an optimizer of their own (tag first-ground): read it with that '
        'version, or train anew in another folder'
      )
    for what, new in (('config', self._config), ('layout', _layout(like))):
      changes = differences(saved[what], new)
      if changes:
        raise CheckpointError(
          f'{where} has another {what}:\n' + '\n'.join(changes)
        )
    kept = (self.folder / str(step) / 'data').exists()
    if kept != (data is not None):
      raise CheckpointError(
        f'{where} was saved {"with" if kept else "without"} a data iterator: '
        'resume with the same kind of batches'
      )


def check_step(folder: writers.PathLike, step: int) -> None:
  """Raises CheckpointError where a folder has no checkpoint of a step.

  Nothing is opened or made: for who asks before the data are read.

  Args:
    folder: of `Checkpoints`; it need not be there.
    step: that is to be restored.
  """
  folder = places.place(folder)
  names = [path.name for path in folder.glob('*') if path.is_dir()]
  steps = sorted(int(name) for name in names if name.isdecimal())
  if step not in steps:
    raise _missing(folder, step, steps)


def _missing(folder, step, steps) -> CheckpointError:
  return CheckpointError(
    f'{folder} has no checkpoint of step {step}; its steps: {steps or "none"}'
  )


def _move(data: Any, folder: pathlib.Path) -> None:
  """Moves a grain iterator to a position that was saved.

  All processes that shared the fit were at the same one, and others go on.
  """
  text = next(folder.glob('process_0-of-*.json')).read_text(encoding='utf-8')
  known = data.get_state()
  data.set_state(
    text.encode() if isinstance(known, bytes) else json.loads(text)
  )


def _layout(tree: types.PyTree) -> dict[str, str]:
  """Returns the type and shape of every leaf by its path."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    trees.name(path): f'{leaf.dtype}{list(leaf.shape)}' for path, leaf in leaves
  }


def _digests(folder: pathlib.Path) -> dict[str, str]:
  """Returns the SHA-256 of every file of a step's items.

  In a bucket it is the checksum that the store keeps, which needs no download.
  """
  if places.in_bucket(folder):
    return {
      name: digest
      for name, digest in places.stored(folder).items()
      if '/' in name and not name.endswith(_MARKER)
    }
  digests = {}
  for path in sorted(folder.glob('*/**/*')):
    if path.is_file():
      digests[path.relative_to(folder).as_posix()] = writers.file_digest(path)
  return digests


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Returns a line for each dotted key whose value differs, with both values.

  Args:
    old: what was saved; plain data.
    new: what is asked for.
  """
  before, after = _flatten(old), _flatten(new)
  missing = '(absent)'
  return [
    f'  {key}: saved {before.get(key, missing)}, now {after.get(key, missing)}'
    for key in sorted(before.keys() | after.keys())
    if before.get(key, missing) != after.get(key, missing)
  ]


def _flatten(config: Any, prefix: str = '') -> dict[str, str]:
  if isinstance(config, Mapping) and config:
    flat: dict[str, str] = {}
    for key, value in config.items():
      flat |= _flatten(value, f'{prefix}.{key}' if prefix else str(key))
    return flat
  return {prefix: json.dumps(config)} if prefix else {}


def check_config(workdir: writers.PathLike, config: Mapping[str, Any]) -> None:
  """Claims a folder for a configuration: writes it, or compares it.

  Args:
    workdir: of one run.
    config: resolved, plain data.

  Raises:
    CheckpointError: the folder belongs to another configuration, or its
      config.json cannot be read.
    PermissionError: files cannot be written there.
  """
  path = writers.make_folder(workdir) / _CONFIG
  new = json.loads(json.dumps(writers.plain(config)))
  if not path.exists():
    writers.write_json_atomic(path, new)
    return
  try:
    old = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise CheckpointError(f'{path} is not JSON: {error}') from error
  changes = differences(old, new)
  if changes:
    raise CheckpointError(
      f'{workdir} was made with another configuration; choose another folder, '
      'or change back:\n' + '\n'.join(changes)
    )
