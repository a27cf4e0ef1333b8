"""From a file of judgements to PLUS on a language model, with its people.

The folder is then one of `prm_jax/summary_model.py`: `prm score` scores for its
people, and `prm summary` shows, edits and forgets what is written about them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prm_jax import history_texts, places, summary_model, training
from prm_jax.lab import fitting, held_out, told
from prm_jax.models import features
from prm_jax.runtime import claims, writers


def fit(
  data: str | Path,
  workdir: Path,
  *,
  backbone: str,
  options: Mapping[str, float] | None = None,
  components: int = training.COMPONENTS,
  seed: int = 0,
  memory: float = training.MEMORY,
) -> dict[str, Any]:
  """Returns results of PLUS, fitted to nine tenths of the judgements.

  Writes the reward model, everybody's summary and predictions to the workdir.

  Args:
    data: a file of judgements or ratings.
    workdir: new or empty.
    backbone: folder of a language model in Hugging Face's layout, which writes
      the summaries and reads them, each with an adapter of its own.
    options: of `told.Options`.
    components: columns of the backbone's features, for the aggregate beside.
    seed: of the split and of the fit.
    memory: gigabytes that the file may take.

  Raises:
    ValueError: the data, the model or an option cannot be used, or the folder
      is not empty, or another run writes there; nothing is written.
  """
  workdir = places.disk(workdir)
  within = workdir.iterdir() if workdir.exists() else ()
  if any(path.name != claims.LOCK for path in within):
    raise ValueError(f'{workdir} is not empty: choose another folder')
  with claims.claimed(workdir):
    given = data, workdir, backbone, options or {}, components, seed, memory
    return _fit(*given)


def _fit(data, workdir, backbone, options, components, seed, memory):
  given = told.options(options)
  judged, copied, digest = training.judgements(data, seed, memory)
  model = told.Language.load(Path(backbone))
  fitter = told.Plus(model, given)
  where = held_out.split(judged, copied, seed)
  problem = fitting.of_table(
    judged,
    data=held_out.DATA,
    seed=seed,
    split=where,
    inner=np.full(len(where), fitting.UNUSED),
    features={},
  )
  fitted = fitter({}, {'steps': given.steps}, problem, problem.training)
  source = features.Source(backbone=backbone)
  says = (where == fitting.TRAIN) & problem.strict
  reader = features.fit(
    features.BACKBONE,
    source,
    judged.prompt_texts,
    judged.texts,
    np.unique(judged.items[says]),
    components,
  )
  table = reader(source, judged.prompt_texts, judged.texts)
  cell = held_out.evaluate(fitted, told.METHOD, judged, table, where, seed=seed)
  _save(workdir, fitted, model, given)
  _write(workdir, fitted, problem.training)
  writers.write_lines(workdir / training.PREDICTIONS, held_out.lines(cell))
  config = {
    'method': told.METHOD,
    'options': given._asdict(),
    'people': len(judged.user_ids),
    'seed': seed,
    'backbone': backbone,
    'source': source.name,
    'data': digest,
  }
  return held_out.results(config, judged, copied, cell)


def _save(workdir: Path, fitted: told.Told, model, given) -> None:
  """Writes the reward model."""
  tokenizer = model.model.tokenizer
  reader = history_texts.reader(tokenizer)
  around = len(reader['before']) + len(reader['after'])
  summary_model.save_plus(
    workdir,
    model.writer(given),
    fitted.state.params['reward'],
    tokenizer,
    backbone=model.backbone(given),
    reader=reader,
    response=given.response,
    total=given.summary + given.text + around,
  )


def _write(workdir: Path, fitted: told.Told, training_rows) -> None:
  """Writes a summary of everybody who judged in training."""
  problem = fitted.problem
  known = told.told(problem, training_rows)
  users = sorted(known)
  read = fitted.history([known[user] for user in users])
  histories = {
    problem.user_ids[user]: ids[there > 0].tolist()
    for user, ids, there in zip(users, *read[:2], strict=True)
  }
  summary_model.write(
    jax.random.key(0),
    workdir,
    fitted.plus.language.writer(fitted.options),
    fitted.state.params['user'],
    histories,
  )
