"""The study: tell policies apart, and use it as a reward; tables and page."""

import json
from pathlib import Path
from typing import Any

import tqdm

from experiments import policies
from experiments.policy_discriminators import (
  cells,
  enumerable,
  scaling,
  tables,
)
from prm_jax.runtime import writers

_NOTES = (
  'Triples: is the second answer of the reference\'s policy told from that of '
  'another? Policies (whole families) and prompts are held out together, every '
  'policy once; intervals are over families of policies and prompts at once. '
  'Real policies gave one answer a prompt, so reference and candidates answer '
  'different prompts, and both candidates the same one; generated policies '
  'gave several, and all three answer one prompt. SmolLM2 is dequantised Q4_1.',
  'Ablation: intervals over prompts and families of policies (AlpacaEval) or '
  'pairs (LLMBar); all arms see the same rankings and the same choice of '
  'learning rates.',
  'Enumerable world: Student\'s intervals over seeds; temperatures are chosen '
  'on validation targets.',
)  # fmt: skip


def run(config, workdir: Path) -> dict[str, Any]:
  """Runs what is not yet in `workdir/cells`, and returns the results.

  Args:
    config: see configs/policy_discriminators.py.
    workdir: where cells, discriminators, results.json and report are written.
  """
  writers.make_folder(workdir / 'cells')
  study = cells.Study(config, workdir)
  found = {
    name: cells.cell(study, name, make)
    for name, make in tqdm.tqdm(cells.jobs(config).items(), desc='cells')
  }

  def rows(*kinds: str) -> list[dict[str, Any]]:
    return [
      row for name, cell in found.items() if name.split('-')[0] in kinds
      for row in cell['rows']
    ]  # fmt: skip

  told, runs = rows('real', 'generated'), rows('scaling')
  worlds = [c['rows'] for n, c in found.items() if n.startswith('enumerable')]
  made = {
    'discrimination': tables.discrimination(told),
    'policies': tables.policies(told),
    'transfer': tables.transfer(told),
    'ablation': tables.ablation(rows('ablation')),
    'scaling_fits': scaling.fits(runs) if runs else [],
    'scaling': runs,
    'enumerable': enumerable.summarise(worlds) if len(worlds) > 1 else [],
  }
  writers.write_lines(
    workdir / 'predictions.jsonl.gz',
    (
      json.dumps(row) + '\n'
      for cell in found.values()
      for row in cell.get('predictions', [])
    ),
  )
  return policies.finish(
    config, workdir, made, notes=_NOTES, answer=tables.answer(made)
  )
