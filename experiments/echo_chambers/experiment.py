"""The study: serve everybody, with and without safeguards."""

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

  def add(part, method, node, safeguards, seeds, draws=None, rounds=0):
    condition = observed_stances.Condition(**{'people': config.people, **node})
    chosen = {
      name: f'choice-{name}-{condition.name}'
      for name in (methods.AGGREGATE, method)
    }
    for name, unit in chosen.items():
      work[unit] = units.record(methods.choose, config, name, condition)

    def cell(seed):
      for unit in chosen.values():
        if not folder.done(unit):
          raise units.BusyError(unit)
      choices = {
        name: folder.read(unit).record['choice']
        for name, unit in chosen.items()
      }
      options = {'draws': draws or 0, 'rounds': rounds}
      return cells.run(config, condition, seed, choices, safeguards, **options)

    names = [part, condition.name]
    names += [] if draws is None else [cells.label(draws)]
    for seed in seeds:
      work['-'.join((*names, f'seed{seed}'))] = units.rows(cell, seed)

  for method, safeguards in config.hazard.items():
    for loving in config.loving:
      part, node, seeds = f'hazard-{method}', {'loving': loving}, config.seeds
      add(part, method, node, safeguards, seeds, rounds=config.rounds)
  method, safeguards = config.certified_method, config.certified
  for row in config.certificate:
    node, seeds = dict(row), config.certificate_seeds
    draws = node.pop('draws', 0)
    add('certificate', method, node, safeguards, seeds, draws=draws)
  work['planted'] = units.rows(planted.table, config.planted_seeds)
  for name in config.real_text:
    work[f'real_text-{name}'] = units.rows(
      real_text.MATERIALS[name], config.data.dir or None
    )
  return work


def _tables(config, folder: units.Folder) -> study.Tables:
  def rows(part: str) -> list[study.Row]:
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
    'planted': rows('planted'),
    'real_text': rows('real_text-'),
  }


STUDY = study.Study(_work, _tables, answers.answer, page.PAGE, _NOTES)
