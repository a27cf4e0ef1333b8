"""The study: judges that reason, and judges that do not, in one world."""

import functools

from experiments.reasoning_rewards import (
  criteria,
  injections,
  judges,
  page,
  reasoning,
  scalars,
  tables,
  training,
  votes,
)
from prm_jax.lab import study, units

_NOTES = (
  'Intervals are over seeds and problems at once; a seed draws tables, '
  'problems, start and all draws. There are five seeds: such intervals hold '
  'in 93.6 to 97.5 of 100 simulations.',
  'Every judge of the first tables learns from the same pairs of solutions of '
  'one to four steps, half of them shown, half hidden but for the last value, '
  'and is tested on problems that are never trained on.',
  'Pair: which of two solutions, each judged alone, is right; ties count half. '
  'Verdict: of single solutions. Chain: all values that the judge works out '
  'itself are right.',
)


def _searches(config) -> dict[str, dict[str, units.Make]]:
  """Returns the search of rate and batch of every scalar judge."""
  node = config.scalars
  found: dict[str, dict[str, units.Make]] = {}
  for label in node.kinds:
    found[label] = {
      f'search-{label}-{rate:g}-{batch}': functools.partial(
        scalars.run,
        config,
        label,
        rate=rate,
        batch=batch,
        steps=node.search.steps,
        seed=node.search.seed,
      )
      for rate in node.rates
      for batch in node.batches
    }
  return found


def _scalar(config, folder, label, seed) -> units.Unit:
  """Returns a scalar judge at the rate and batch that the search found."""
  searched = _searches(config)[label]
  for name, make in searched.items():
    judges.made(folder, name, make)
  found = scalars.chosen(folder, list(searched))
  return scalars.run(
    config, label, **found, steps=config.scalars.steps, seed=seed
  )


def _scalars(config, folder) -> dict[str, units.Make]:
  return {
    f'{label}-{seed}': functools.partial(_scalar, config, folder, label, seed)
    for seed in config.seeds
    for label in config.scalars.kinds
  }


def _of_seeds(config, name, make, *arguments) -> dict[str, units.Make]:
  return {
    f'{name}-{seed}': functools.partial(make, config, *arguments, seed)
    for seed in config.seeds
  }


def _needed(config) -> list[str]:
  """Returns the judges that the methods start from."""
  methods = config.training.methods.to_dict().values()
  names = ['start', *(node['method'].get('start') for node in methods)]
  return list(dict.fromkeys(filter(None, names)))


def _starts(config) -> dict[str, units.Make]:
  return {
    f'{name}-{seed}': functools.partial(reasoning.start, config, name, seed)
    for seed in config.seeds
    for name in _needed(config)
  }


def _trained(config, folder) -> dict[str, units.Make]:
  return {
    f'{label}-{seed}': functools.partial(
      training.run, config, folder, label, seed
    )
    for seed in config.seeds
    for label in config.training.methods
  }


def _taught(config) -> dict[str, units.Make]:
  return {
    f'criteria-{which}-{seed}': functools.partial(
      criteria.run, config, which, seed
    )
    for seed in config.seeds
    for which in (criteria.ALL, criteria.THREE)
  }


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  return {
    **_starts(config),
    **_of_seeds(config, 'reasoning', reasoning.examined, folder),
    **_of_seeds(config, 'constrained', reasoning.constrained, folder),
    **_of_seeds(config, 'votes', votes.run, folder),
    **_of_seeds(config, 'twice', votes.twice, folder),
    **_trained(config, folder),
    **_taught(config),
    **_of_seeds(config, 'injections', injections.run, folder),
    **{
      name: make
      for searched in _searches(config).values()
      for name, make in searched.items()
    },
    **_scalars(config, folder),
  }


def _pauses(config) -> dict[str, int]:
  kinds = config.scalars.kinds.to_dict()
  return {label: node.get('pauses', 0) for label, node in kinds.items()}


def _read(config, folder, name) -> list[units.Unit]:
  return [folder.read(f'{name}-{seed}') for seed in config.seeds]


def _tables(config, folder: units.Folder) -> study.Tables:
  starts = [folder.read(name) for name in _starts(config)]
  reasoned = _read(config, folder, 'reasoning')
  trained = [folder.read(name) for name in _trained(config, folder)]
  scored = [folder.read(name) for name in _scalars(config, folder)]
  return {
    'judges': tables.judges(reasoned, scored, _pauses(config)),
    'lead': tables.lead(reasoned, scored, config.problems.lengths),
    'plateau': tables.plateau(scored),
    'parts': tables.parts(reasoned),
    'starts': tables.starts(starts),
    'votes': votes.table(
      _read(config, folder, 'votes'),
      _read(config, folder, 'twice'),
      config.votes.counts,
    ),
    'single_texts': votes.single(_read(config, folder, 'votes')),
    'training': training.table(trained),
    'loophole': training.loophole(trained),
    'rewards': training.curves_of(trained),
    'criteria': criteria.table([folder.read(n) for n in _taught(config)]),
    'injections': injections.table(_read(config, folder, 'injections')),
    'curves': tables.curves(scored),
  }


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE, _NOTES)
