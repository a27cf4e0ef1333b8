"""The study: serve everybody, with and without safeguards."""

from collections.abc import Sequence

from experiments.echo_chambers import (
  answers,
  cells,
  methods,
  page,
  real_text,
  tables,
)
from prm_jax.audits import planted
from prm_jax.lab import study, units
from prm_jax.worlds import observed_stances

_NOTES = (
  'Every method is served at the same mean KL to the base policy. Intervals '
  'are Student\'s over paired seeds, Fieller\'s for ratios. "Added" is against '
  'the frozen aggregate of the same unsafeguarded world. Expectations are '
  'exact over candidates with their true labels, on prompts that nothing was '
  'fitted to.',
)


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes every unit.

  Methods come first and seeds last, so that a program serves all seeds before
  the next is compiled. What a method's search chose is a unit of its own, once
  for all seeds.
  """
  work: dict[str, units.Make] = {}

  def add(part, method, condition, safeguards, seeds, draws=0, rounds=0):
    names = (methods.AGGREGATE, method)
    for name in names:
      work[_choice(name, condition)] = units.record(
        methods.choose, config, name, condition
      )
    for seed in seeds:
      work[f'{part}-seed{seed}'] = units.rows(
        _cell, config, folder, condition, seed, names, safeguards, draws, rounds
      )

  for method, safeguards in config.hazard.items():
    for loving in config.loving:
      condition = observed_stances.Condition(
        loving=loving, people=config.people
      )
      add(
        f'hazard-{method}-{condition.name}',
        method,
        condition,
        safeguards,
        config.seeds,
        rounds=config.rounds,
      )
  for row in config.certificate:
    node = {'people': config.people, **row}
    draws = node.pop('draws', 0)
    condition = observed_stances.Condition(**node)
    add(
      f'certificate-{condition.name}-{cells.label(draws)}',
      config.certified_method,
      condition,
      config.certified,
      config.certificate_seeds,
      draws,
    )
  work['planted'] = units.rows(planted.table, config.planted_seeds)
  for name, options in config.real_text.items():
    work[f'real_text-{name}'] = units.rows(
      real_text.rows, name, options.to_dict(), config.data.dir or None
    )
  return work


def _choice(name: str, condition) -> str:
  return f'choice-{name}-{condition.name}'


def _cell(
  config,
  folder: units.Folder,
  condition,
  seed,
  names,
  safeguards,
  draws,
  rounds,
) -> list[study.Row]:
  """Returns the records of one cell, when it is known what was chosen."""
  for name in names:
    if not folder.done(_choice(name, condition)):
      raise units.BusyError(_choice(name, condition))
  choices = {
    name: folder.read(_choice(name, condition)).record['choice']
    for name in names
  }
  return cells.run(
    config, condition, seed, choices, safeguards, draws=draws, rounds=rounds
  )


def _tables(config, folder: units.Folder) -> study.Tables:
  def rows(part: str) -> Sequence[study.Row]:
    return [
      row
      for name in _work(config, folder)
      if name.startswith(part)
      for row in folder.rows(name)
    ]

  hazard = rows('hazard-')
  return {
    'hazard': tables.hazard(hazard),
    'certificate': tables.certificate(rows('certificate-')),
    'strata': tables.strata(hazard),
    'rounds': tables.rounds(hazard),
    'planted': list(rows('planted')),
    'real_text': list(rows('real_text-')),
  }


STUDY = study.Study(_work, _tables, answers.answer, page.PAGE, _NOTES)
