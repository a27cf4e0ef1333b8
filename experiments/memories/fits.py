"""The base model of a seed, and adapters of people, at their own rates."""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.memories import people
from experiments.reasoning_rewards import judges
from prm_jax import memory_rows, types
from prm_jax.lab import units
from prm_jax.models import adapters as banks
from prm_jax.models import decoder
from prm_jax.systems import personal_adapters, personal_memories

Row = dict[str, Any]
OBJECTIVES = personal_adapters.OBJECTIVES
_PARAMS = 'params'


def sizes(config: Any) -> decoder.DecoderConfig:
  """Returns the sizes of the study's base model."""
  return dataclasses.replace(memory_rows.SIZES, **config.decoder.to_dict())


# ------------------------------------------------------------------ base model


def base(config: Any, seed: int) -> units.Unit:
  """Returns a base model that has learned to read memories of strangers."""
  began = time.process_time()
  params, losses = memory_rows.base(
    seed, sizes(config), **config.base.to_dict()
  )
  record = {
    'seed': seed,
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
    'loss_nats': float(losses[-50:].mean()),
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, judges.arrays(params, _PARAMS))


def params_of(config: Any, folder: units.Folder, seed: int) -> types.PyTree:
  """Returns the base model of a seed.

  Raises:
    BusyError: another process is making it.
  """
  make = functools.partial(base, config, seed)
  unit = judges.made(folder, f'base-{seed}', make)
  return judges.read(unit, sizes(config), _PARAMS)


# -------------------------------------------------------------------- adapters


def padded(
  events: personal_adapters.Events, size: int
) -> personal_adapters.Events:
  """Returns events with padding behind, `[U, size, ...]`: one compiled shape.

  Args:
    events: of everybody, E at most `size`.
    size: of the shape.
  """

  def pad(leaf):
    leaf = np.asarray(leaf)
    missing = [(0, 0), (0, size - leaf.shape[1])]
    return jnp.asarray(np.pad(leaf, missing + [(0, 0)] * (leaf.ndim - 2)))

  return jax.tree.map(pad, events)


def adapter(
  config: Any,
  params: types.PyTree,
  seed: int,
  events: personal_adapters.Events,
  objective: str,
  hyper: Mapping[str, float],
  *,
  batch: int | None = None,
) -> tuple[banks.Bank, float]:
  """Returns adapters of a block of people, and CPU seconds of training them.

  Args:
    config: of the study.
    params: of the base model.
    seed: of the start and of what a step reads.
    events: of everybody.
    objective: of the adapters.
    hyper: searched numbers.
    batch: events of a step, in place of the study's.
  """
  node, start = config.adapter, jax.random.key(seed)
  bank = banks.init(
    jax.random.fold_in(start, 0),
    sizes(config),
    params,
    people=len(events.mask),
    rank=node.rank,
  )
  began = time.process_time()
  bank, losses = personal_adapters.fit(
    jax.random.fold_in(start, 1),
    sizes(config),
    params,
    bank,
    events,
    objective=objective,
    steps=node.steps,
    batch=batch or node.batch,
    hyper=personal_adapters.Hyper(
      **{name: jnp.float32(value) for name, value in hyper.items()}
    ),
  )
  jax.block_until_ready(losses)
  return bank, time.process_time() - began


def right(scores: types.ArrayLike) -> np.ndarray:
  """Returns how often the first text scores higher, `[U]`; a tie is a half.

  Args:
    scores: `[U, Q, 2]`.
  """
  score = np.asarray(scores, float)
  return (np.sign(score[..., 0] - score[..., 1]).mean(-1) + 1) / 2


# ---------------------------------------------------------------------- search


def tried(config: Any, objective: str) -> Iterator[dict[str, float]]:
  """Yields the numbers that are tried of an objective."""
  node = config.search
  for rate in node.rates:
    if objective not in personal_adapters.PAIRED:
      yield {'rate': rate}
      continue
    for beta in node.betas[objective]:
      margin = node.margin * beta if objective == 'simpo' else 0.0
      yield {'rate': rate, 'beta': beta, 'margin': margin}


def search(
  config: Any, folder: units.Folder, place: str, seed: int
) -> units.Unit:
  """Returns the rates and betas at which validation people are predicted best.

  By an adapter alone, in front of which nothing stands.

  Raises:
    BusyError: another process is making the base model.
  """
  params = params_of(config, folder, seed)
  everybody = people.world(config, place, seed)
  given = people.block(config, everybody, people.VALIDATION)
  texts = memory_rows.texts(given.queries)
  nothing = np.zeros((*given.queries.topic.shape, 0), np.int32)
  before = types.Tokens(nothing, nothing)
  size = longest(config)
  rows: list[Row] = []
  began = time.process_time()
  for objective in OBJECTIVES:
    events = memory_rows.trained_on(given.events, objective=objective)
    events = padded(events, size)
    for hyper in tried(config, objective):
      bank, _ = adapter(config, params, seed, events, objective, hyper)
      found = personal_memories.scores(
        sizes(config), params, bank.people, before, texts
      )
      share = float(right(found).mean())
      rows.append({'objective': objective, **hyper, 'validation': share})
  record = {
    'world': place,
    'seed': seed,
    'rows': rows,
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, {})


def chosen(
  config: Any, folder: units.Folder, place: str, seed: int
) -> dict[str, dict[str, float]]:
  """Returns the numbers of each objective that did best; of equal the first.

  Raises:
    BusyError: another process is searching.
  """
  make = functools.partial(search, config, folder, place, seed)
  unit = judges.made(folder, name('search', place, seed), make)
  best: dict[str, Row] = {}
  for row in unit.record['rows']:
    known = best.setdefault(row['objective'], row)
    if row['validation'] > known['validation']:
      best[row['objective']] = row
  names = personal_adapters.Hyper._fields
  return {
    objective: {name: row[name] for name in names if name in row}
    for objective, row in best.items()
  }


def longest(config: Any) -> int:
  """Returns how many events a person of any world has at most."""
  return max(people.setting(config, place).events for place in config.worlds)


def name(part: str, place: str, seed: int) -> str:
  """Returns what a unit is called."""
  return f'{part}-{place}-{seed}'
