"""The study: judges that reason, and judges that do not, in one world."""

import functools

from experiments.reasoning_rewards import (
  as_reward,
  criteria,
  injections,
  judges,
  meta,
  page,
  real,
  real_tables,
  reasoning,
  scalars,
  stances,
  tables,
  tournaments,
  training,
  votes,
)
from prm_jax.lab import curves, study, units

_APART = 10  # seeds of judges as rewards: settings were chosen on 0 and 1
_NOTES = (
  'Intervals are over seeds and problems at once; a seed draws tables, '
  'problems, start and all draws. Of five seeds such intervals hold '
  'in 93.6 to 97.5 of 100 simulations.',
  'Real texts: no question is in two of training, validation and test; '
  'intervals are over questions, of chains over right and wrong ones, and of '
  "choices over people and questions; heads' folds and draws are one each. "
  'Untrained is the decoder as published: scalar and discriminative heads '
  'learn on it, the generative one does not. Chains are judged as far as they '
  'are shown, and written verdicts are of fewer rows (n).',
  'Every judge of the first tables learns from the same pairs of solutions of '
  'one to four steps, half of them shown, half hidden but for the last value, '
  'and is tested on problems that are never trained on.',
  'Pair: which of two solutions, each judged alone, is right; ties count half. '
  'Verdict: of single solutions. Chain: all values that the judge works out '
  'itself are right.',
)


_INJECTED = ('start', 'pairs')  # judges of one solution, and of two


def _searches(config) -> dict[str, dict[str, units.Make]]:
  """Returns the search of rate and batch of every scalar judge, if any."""
  node = config.scalars
  found: dict[str, dict[str, units.Make]] = {}
  if len(node.settings) == 1:
    return {label: {} for label in node.kinds}
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
        many=False,
      )
      for rate, batch in node.settings
    }
  return found


def _scalar(config, folder, label, seed) -> units.Unit:
  """Returns a scalar judge at the rate and batch that the search found."""
  searched = _searches(config)[label]
  for name, make in searched.items():
    judges.made(folder, name, make)
  (rate, batch), *_ = config.scalars.settings
  found = {'rate': rate, 'batch': batch}
  if searched:
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


def _constrained(config, folder) -> dict[str, units.Make]:
  if not config.problems.beyond:
    return {}
  return _of_seeds(config, 'constrained', reasoning.constrained, folder)


def _needed(config) -> list[str]:
  """Returns the judges that the methods start from."""
  methods = list(config.training.methods.to_dict().values())
  methods = methods if 'training' in config.parts else []
  if set(config.parts) <= {'real'}:  # no world, and nothing that starts there
    return []
  pairs = 'pairs' if {'criteria', 'stances'} & set(config.parts) else None
  names = ['start', pairs, *(node['method'].get('start') for node in methods)]
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


def _taught(config, folder) -> dict[str, units.Make]:
  return {
    f'criteria-{which}-{seed}': functools.partial(
      criteria.run, config, folder, which, seed
    )
    for seed in config.seeds
    for which in (criteria.ALL, criteria.THREE)
  }


def _told(config, folder) -> dict[str, units.Make]:
  return {
    f'stances-{which}-{seed}': functools.partial(
      stances.run, config, folder, which, seed
    )
    for seed in config.seeds
    for which in config.stances.judges
  }


def _rewarded(config, folder) -> dict[str, units.Make]:
  return {
    f'as_reward-{label}-{_APART + seed}': units.record(
      as_reward.run, config, folder, label, _APART + seed
    )
    for seed in config.seeds
    for label in config.as_reward.methods
  }


def _injected(config, folder) -> dict[str, units.Make]:
  return {
    f'injections-{name}-{seed}': functools.partial(
      injections.run, config, folder, seed, name
    )
    for seed in config.seeds
    for name in _INJECTED
  }


def _parts(config, folder) -> dict[str, dict[str, units.Make]]:
  """Returns the units of every part of the study that the config asks for."""
  searches = [
    one for some in _searches(config).values() for one in some.items()
  ]
  parts = {
    'judges': {
      **_of_seeds(config, 'reasoning', reasoning.examined, folder),
      **_constrained(config, folder),
      **dict(searches),
      **_scalars(config, folder),
    },
    'votes': {
      **_of_seeds(config, 'votes', votes.run, folder),
      **_of_seeds(config, 'meta', meta.run, folder),
    },
    'twice': _of_seeds(config, 'twice', votes.twice, folder),
    'training': _trained(config, folder),
    'criteria': _taught(config, folder),
    'stances': _told(config, folder),
    'injections': _injected(config, folder),
    'tournaments': _of_seeds(config, 'tournaments', tournaments.run),
    'as_reward': _rewarded(config, folder),
    'real': real.work(config, folder),
  }
  return {name: parts[name] for name in config.parts}


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  # Scalar judges take longest; what is short is seen first.
  parts = _parts(config, folder)
  ordered = [name for name in parts if name != 'judges']
  work = _starts(config)
  for name in [*ordered, *(['judges'] if 'judges' in parts else [])]:
    work |= parts[name]
  return work


def _read(config, folder, name) -> list[units.Unit]:
  return [folder.read(f'{name}-{seed}') for seed in config.seeds]


def _tables(config, folder: units.Folder) -> study.Tables:
  starts = [folder.read(name) for name in _starts(config)]
  found: study.Tables = {'starts': tables.starts(starts)}
  for part in config.parts:
    found |= _TABLES[part](config, folder)
  return found


def _of_judges(config, folder) -> study.Tables:
  reasoned = _read(config, folder, 'reasoning')
  held = [folder.read(name) for name in _constrained(config, folder)]
  scored = [folder.read(name) for name in _scalars(config, folder)]
  kinds = config.scalars.kinds.to_dict()
  pauses = {label: node.get('pauses', 0) for label, node in kinds.items()}
  plateaus = tables.plateau(scored)
  return {
    'judges': tables.judges(tables.by_judge(reasoned, held, scored), pauses),
    'lead': tables.lead(reasoned, scored, config.problems.lengths, plateaus),
    'plateau': plateaus,
    'search': tables.searched(
      [
        folder.read(name)
        for some in _searches(config).values()
        for name in some
      ]
    ),
    'parts': tables.parts(reasoned),
    'curves': tables.curves(scored),
  }


def _of_votes(config, folder) -> study.Tables:
  said, scored = (_read(config, folder, name) for name in ('votes', 'meta'))
  made = list(map(votes.beside, said, scored))
  larger = _read(config, folder, 'twice') if 'twice' in config.parts else []
  return {
    'votes': votes.table(made, larger, config.votes.counts),
    'single_texts': votes.single(made, [unit.record['auc'] for unit in scored]),
  }


def _of_training(config, folder) -> study.Tables:
  made = [folder.read(name) for name in _trained(config, folder)]
  return {
    'training': training.table(made),
    'training_against': training.against(made),
    'loophole': training.loophole(made),
    'loophole_against': training.loophole_against(made),
    'rewards': training.curves_of(made),
  }


def _of_criteria(config, folder) -> study.Tables:
  made = [folder.read(name) for name in _taught(config, folder)]
  return {
    'criteria': criteria.table(made),
    'criteria_against': criteria.against(made),
  }


def _of_stances(config, folder) -> study.Tables:
  made = [folder.read(name) for name in _told(config, folder)]
  return {'stances': stances.table(made), 'stance_audit': stances.audits(made)}


def _of_injections(config, folder) -> study.Tables:
  rows = []
  for name in _INJECTED:
    rows += injections.table(_read(config, folder, f'injections-{name}'))
  return {'injections': rows}


def _of_tournaments(config, folder) -> study.Tables:
  made = _read(config, folder, 'tournaments')
  return {
    'tournaments': tournaments.table(config, made),
    'tournament_knockouts': tournaments.knockouts(config, made),
    'tournament_orders': tournaments.orders(config, made),
  }


def _of_rewards(config, folder) -> study.Tables:
  runs = curves.records(folder, _rewarded(config, folder))
  made = [
    folder.read(f'as_reward-judges-{_APART + seed}') for seed in config.seeds
  ]
  return {
    'as_reward': as_reward.table(runs),
    'as_reward_against': as_reward.against(runs),
    'as_reward_judges': as_reward.described(made),
    'as_reward_curves': as_reward.along(runs),
  }


_TABLES = {
  'judges': _of_judges,
  'votes': _of_votes,
  'twice': lambda config, folder: {},
  'training': _of_training,
  'criteria': _of_criteria,
  'stances': _of_stances,
  'injections': _of_injections,
  'tournaments': _of_tournaments,
  'as_reward': _of_rewards,
  'real': real_tables.made,
}
STUDY = study.Study(_work, _tables, tables.answer, page.PAGE, _NOTES)
