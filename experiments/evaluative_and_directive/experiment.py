"""The study: run every method on every seed; tables and page."""

import functools
from pathlib import Path
from typing import Any

from experiments import policies
from experiments.evaluative_and_directive import cells, tables, words

_NOTES = (
  'A first reply fits if digits, format and statement are what the person '
  'wants; it is drawn at temperature 1, to fresh prompts, without a hint.',
  'Intervals are Student\'s over seeds, of paired differences for gains. A '
  'seed draws people, prompts, the policy\'s start and all answers.',
  'All methods of an arm hear the same number of replies. `one` is one person '
  'who wants the truth, `agreed` one who wants to be agreed with; of `many`, '
  'half the people reply and the others are held out.',
)  # fmt: skip


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/evaluative_and_directive.py.
    workdir: where starts, cells, results.json and report are written.
  """
  runs = policies.runs(
    {
      workdir / 'cells' / f'{"-".join(map(str, job))}.json': functools.partial(
        cells.run, config, workdir, *job
      )
      for job in cells.jobs(config)
    }
  )
  in_words = policies.in_words(config, workdir, words.run)
  made = {
    'first_reply_fit': tables.first_reply_fit(runs),
    'audit': tables.audit(runs),
    'per_seed': tables.per_seed(runs),
    'curves': tables.curves(runs),
    'fit_in_words': policies.before_and_after(in_words, 'fit', 'reward'),
  }
  return policies.finish(
    config, workdir, made, notes=_NOTES, answer=tables.answer(made)
  )
