"""The study: run every method on every seed; tables and page."""

import functools
from pathlib import Path
from typing import Any

from experiments import policies
from experiments.critique_and_numbers import cells, tables, words

_NOTES = (
  'Intervals are Student\'s over seeds, of paired differences for gains. A '
  'seed draws the hidden operator, problems, start and all answers.',
  'Solve rates are of one answer, drawn at temperature 1, to each of held-out '
  'problems mixed as in training; `hard` has the hidden operator first, '
  '`hard_last` last, which is never trained.',
  'Rescued: of the hard training problems without a right answer in eight at '
  'the start, the share that one answer solves at the end.',
  'The budget is eight texts a problem and step, refinements among them; '
  'dr_grpo_16 has twice as many, critique_grpo_self a critique more where all '
  'are wrong, and tuning two texts of twice the problems. Methods read unlike '
  'numbers of critiques, each of which gives two right digits away: see '
  'critiques_per_step.',
  'Behind the gate, critics whose refinements are never right leave the same '
  'run: they are one piece of evidence. GSM8K is answered greedily.',
)  # fmt: skip


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/critique_and_numbers.py.
    workdir: where starts, cells, results.json and report are written.
  """
  warm = cells.Warm(config, workdir)
  runs = policies.runs(
    {
      workdir / 'cells' / '{1}-{0:g}-{2}.json'.format(*job): functools.partial(
        cells.run, config, warm, *job
      )
      for job in cells.jobs(config)
    }
  )
  in_words = policies.in_words(config, workdir, words.run)
  made = {
    'solve_rate': tables.solve_rate(runs, config.training),
    'plateau': tables.plateau(runs),
    'refiners': tables.refiners(runs),
    'per_seed': tables.per_seed(runs),
    'curves': tables.curves(runs),
    'words': tables.words(in_words),
  }
  return policies.finish(
    config, workdir, made, notes=_NOTES, answer=tables.answer(made)
  )
