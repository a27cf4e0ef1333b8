"""Which head for which data? The study."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.reward_heads import (
  coverage,
  fits,
  page,
  predicted,
  real,
  tables,
)
from prm_jax.lab import study, units
from prm_jax.models import features
from prm_jax.worlds import candidates

PLAIN = 'plain'  # Bradley-Terry on what is left of the data as choices


class World(NamedTuple):
  """Judgements of a kind, and the heads that can read them.

  Attributes:
    draw: `(candidates, rng, rows, people=...)` -> judgements.
    made_for: heads that have the likelihood that the data are drawn from.
    heads: label -> node.
  """

  draw: Callable[..., candidates.Said]
  made_for: tuple[str, ...]
  heads: Mapping[str, Mapping[str, Any] | None]


def worlds(config) -> dict[str, World]:
  """Returns what the configuration says of each world."""
  return {
    name: World(
      functools.partial(_draw, node),
      tuple(node['made_for']),
      {PLAIN: None, **{h: dict(config.heads[h]) for h in node['heads']}},
    )
    for name, node in config.worlds.items()
  }


def _draw(node, of, rng, rows, people):
  options = {
    name: node[name]
    for name in node
    if name not in ('kind', 'heads', 'made_for', 'rows', 'shared')
  }
  draw = getattr(candidates, node['kind'])
  said = draw(of, rng, rows, people=people, **options)
  if 'disentangled' in node['heads']:
    lengths = of.length[said.items]
    label = np.column_stack([said.label, lengths]).astype(np.float32)
    return said._replace(label=label)
  return said


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  made = {
    f'{name}-seed{seed}': units.rows(known, config, name, world, seed)
    for name, world in worlds(config).items()
    for seed in config.seeds
  }
  source = features.Source()
  for name in config.real.sets:
    made[f'real-{name}'] = functools.partial(real.kept, config, name, source)
  for name, seed in _margins(config):
    made[f'coverage-{name}-seed{seed}'] = functools.partial(
      coverage.held_out, config, name, seed, source
    )
  for seed in config.coverage.jester.seeds:
    made[f'coverage-jester-seed{seed}'] = functools.partial(
      predicted.intervals_of, config, seed
    )
  return made


def _margins(config) -> list[tuple[str, int]]:
  """Returns features and seed of every unit of held-out people's margins."""
  node = config.coverage
  return [(name, seed) for seed in node.seeds for name in node.features]


def known(
  config: Any, name: str, world: World, seed: int
) -> list[dict[str, Any]]:
  """Returns how well every head orders new candidates of a world.

  Args:
    config: of the study.
    name: of the world.
    world: judgements, and heads.
    seed: of candidates, weights, people and judgements.
  """
  sizes = config.sizes
  node = config.worlds[name]
  texts = sizes.texts + sizes.held_out
  shared = node.get('shared', 0.5)
  of, _ = candidates.draw(seed, texts=texts, dim=sizes.dim, shared=shared)
  trained = candidates.Candidates(*(leaf[: sizes.texts] for leaf in of))
  rng = np.random.default_rng([seed, 4])
  count = node.get('rows', sizes.rows)
  said = world.draw(trained, rng, count, people=sizes.people)
  cut = int(count * (1 - sizes.validation))
  both = said.take(np.arange(cut)), said.take(np.arange(cut, count))
  choices = [_as_choices(part, seed) for part in both]
  rows = []
  for label, head in world.heads.items():
    fit, ridge = fits.searched(
      head,
      both[0],
      (choices[0], choices[1]),
      trained.features,
      people=sizes.people,
      ridges=sizes.ridges,
      steps=sizes.steps,
    )
    score = fit.scores(of.features[sizes.texts :])
    truth = of.quality[sizes.texts :]
    rows.append(
      {
        'world': name,
        'seed': seed,
        'head': label,
        'ridge': ridge,
        'order': candidates.agreement(score, truth, seed),
        'length': float(np.corrcoef(score, of.length[sizes.texts :])[0, 1]),
      }
    )
  return rows


def _as_choices(said: candidates.Said, seed: int) -> candidates.Said:
  """Returns choices; of choices with lengths, without them."""
  if said.label.ndim == 2 and said.items.shape[1] == 2:
    said = said._replace(label=said.label[:, 0])
  return candidates.as_choices(said, seed)


def _tables(config, folder: units.Folder) -> study.Tables:
  rows = [
    row
    for name in worlds(config)
    for seed in config.seeds
    for row in folder.rows(f'{name}-seed{seed}')
  ]
  made = {'heads': tables.heads(rows, worlds(config), PLAIN)}
  kept = [folder.read(f'real-{name}') for name in config.real.sets]
  if kept:
    made['ties'] = tables.ties(kept)
  names = [f'coverage-{name}-seed{seed}' for name, seed in _margins(config)]
  margins = [folder.read(name) for name in names]
  made['coverage'] = tables.covered(margins, config.coverage.levels)
  made['coverage_choices'] = tables.calibrated(margins)
  seeds = config.coverage.jester.seeds
  rated = [folder.read(f'coverage-jester-seed{seed}') for seed in seeds]
  if rated:
    made['coverage_ratings'] = tables.covered_ratings(rated)
  return made


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE)
