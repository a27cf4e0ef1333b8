"""Rows of results.json on judges of real texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.comparisons import judges as comparisons
from experiments.reasoning_rewards import measured, real, real_rows
from prm_jax.audits import benchmarks, both_orders
from prm_jax.lab import columns, units
from prm_jax.ops import intervals

Row = dict[str, Any]
MAJORITY, OWN, BETTER, RIGHT = (
  'majority',
  'own choices',
  'better',
  'right chain',
)
LENGTH, TUNED = 'length', 'length_tuned'
OTHERS = 'majority of the others'
_NONE = '-'  # the state of what has none
_LEAST = 20  # right and wrong chains of a task that has a row of its own


class Said(NamedTuple):
  """What one judge says of the rows of a data set.

  Attributes:
    judge: whose head, or name.
    state: of the decoder.
    lead: `[n]` of the first answer, or the chain's score; NaN where the judge
      says nothing that can be read.
    shown: `[n, 2]` for what is shown first, in both orders; None of judges
      that see no order.
    asked: `[n]` bool, of which rows.
  """

  judge: str
  state: str
  lead: np.ndarray
  shown: np.ndarray | None
  asked: np.ndarray


def said(rows: units.Unit, made: Sequence[units.Unit]) -> Iterator[Said]:
  """Yields judges of a data set: heads, length, and language models.

  Args:
    rows: described.
    made: scores of heads.
  """
  known = rows.arrays
  tested = known['fold'] >= 0
  length = known['length'].astype(float)
  longer = length[:, 0] - (length[:, 1] if length.shape[1] == 2 else 0)
  yield Said(LENGTH, _NONE, longer, None, tested)
  yield Said(TUNED, _NONE, _tuned(rows, longer), None, tested)
  for name, label in zip(
    rows.record['judges'], known.get('judges', ()), strict=True
  ):
    yield Said(name, _NONE, label - 0.5, None, tested)
  for unit in made:
    score = unit.arrays['score']
    head, state = unit.record['head'], unit.record['state']
    asked = unit.arrays.get('asked', tested)
    if score.shape[1] == 1:
      yield Said(head, state, score[:, 0], None, asked)
    elif head == real.SCALAR:
      yield Said(head, state, score[:, 0] - score[:, 1], None, asked)
    else:
      # One order may say nothing; then the other's verdict stands.
      both = np.nan_to_num(score)
      lead = np.where(
        np.isnan(score).all(1), np.nan, (both[:, 0] - both[:, 1]) / 2
      )
      yield Said(head, state, lead, score, asked)


def _tuned(rows: units.Unit, longer: np.ndarray) -> np.ndarray:
  """Returns leads `[n]` of the longer or the shorter answer, as others say.

  Whether longer or shorter ones are better is taken from the rows of all other
  folds, for chains of each task by itself.

  Args:
    rows: described.
    longer: `[n]` how much longer the first answer is, or a chain's length.
  """
  known = rows.arrays
  fold, label = known['fold'], known['label']
  single = known['length'].shape[1] == 1
  lead = np.zeros(len(longer))
  for each in np.unique(fold[fold >= 0]):
    for group in np.unique(known['group']) if single else [None]:
      some = np.ones(len(fold), bool)
      if group is not None:
        some = known['group'] == group
      if single:
        right, wrong = chains(rows, some & (fold >= 0) & (fold != each))
        told = np.sign(longer[right] - longer[wrong]).sum()
      else:
        told = (np.sign(longer) * np.sign(label - 0.5))[fold != each].sum()
      mine = some & (fold == each)
      lead[mine] = np.sign(told) * longer[mine]
  return lead


def credit(lead: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Returns 1 where a lead says what the label does, 1/2 for ties, else 0.

  Args:
    lead: `[n]`; NaN is wrong.
    label: `[n]` 1 for the first, 0 for the other.
  """
  right = np.where(lead == 0, 0.5, (lead > 0) == (label > 0.5))
  return np.where(np.isnan(lead), 0.0, right)


def table(
  described: Mapping[str, units.Unit], made: Mapping[str, Sequence[units.Unit]]
) -> list[Row]:
  """Returns how often each judge is right, a row a data set and target.

  Of chains: how often the right one of a right and a wrong chain of the same
  task, in the same fold, scores higher. `over_length` is what a judge adds to
  tuned length on the same rows.

  Args:
    described: rows by data set.
    made: scores of heads by data set.
  """
  found = []
  for name, rows in described.items():
    every = list(said(rows, made.get(name, ())))
    length = next(one for one in every if one.judge == TUNED)
    for one in every:
      beside = length._replace(asked=one.asked)
      both = zip(
        _targets(name, rows, one), _targets(name, rows, beside), strict=True
      )
      for (target, value, first, second), (_, other, *_) in both:
        if not len(value):
          continue
        shared = intervals.crossing(first, second)
        one_kind, other_kind = shared.first[1], shared.second[1]
        found.append(
          {
            'data': name,
            'target': target,
            'judge': one.judge,
            'state': one.state,
            **measured.share('right', value, np.ones(len(value)), shared),
            **_added(one, value - other, shared),
            **_orders(one, rows.arrays['prompt']),
            'prompts': other_kind + one_kind * (target == RIGHT),
            'people': one_kind if target == OWN else None,
            'n': len(value),
          }
        )
    if 'choice_user' in rows.arrays:
      found.append(_of_others(name, rows))
  return found


def _added(one: Said, more: np.ndarray, shared: intervals.Crossing) -> Row:
  """Returns what a judge adds to tuned length; nothing of length itself."""
  if one.judge in (LENGTH, TUNED):
    return columns.interval('over_length', [np.nan] * 3)
  count = np.ones(len(more))
  row = measured.share('over_length', more, count, shared, least=-1.0)
  row.pop('coverage', None)
  return row


def _targets(name: str, rows: units.Unit, one: Said):
  """Yields target, credits, and two kinds of units that rows are of."""
  known = rows.arrays
  label, prompt = known['label'], known['prompt']
  if known['length'].shape[1] == 1:
    right, wrong = chains(rows, one.asked)
    lead = one.lead[right] - one.lead[wrong]
    yield RIGHT, credit(lead, np.ones(len(lead))), right, wrong
    return
  some = one.asked & (label != 0.5)
  value = credit(one.lead, label)[some]
  target = MAJORITY if name == real_rows.LLMFAO else BETTER
  yield target, value, prompt[some], prompt[some]
  if 'choice_user' in known:
    row, user = known['choice_row'], known['choice_user']
    there = one.asked[row]
    own = credit(one.lead[row], known['choice_label'])
    yield OWN, own[there], user[there], prompt[row[there]]


def chains(
  rows: units.Unit, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns all pairs of a right and a wrong chain of one task and fold."""
  known = rows.arrays
  cell = known['group'] * (known['fold'].max() + 1) + known['fold']
  found = []
  for each in np.unique(cell[asked]):
    some = asked & (cell == each)
    right, wrong = (
      np.flatnonzero(some & (known['label'] == label)) for label in (1, 0)
    )
    found.append(np.stack(np.meshgrid(right, wrong, indexing='ij')))
  pairs = [each.reshape(2, -1) for each in found]
  right, wrong = np.concatenate([np.zeros((2, 0), int), *pairs], 1)
  return right, wrong


def _orders(one: Said, prompt: np.ndarray) -> Row:
  """Returns what both orders say of a judge that sees one.

  Intervals are over questions: both orders of all pairs of one stay together.

  Args:
    one: judge.
    prompt: `[n]` the question of every row.
  """
  prompt = prompt[one.asked]

  def share(name, counts, values):
    """Returns how many hold of values `[m, orders]` that count."""
    count = counts.sum(1)
    there = count > 0
    if not there.any():
      return {**columns.interval(name, [np.nan] * 3), f'{name}_n': 0}
    row = measured.share(
      name,
      (counts & values).sum(1)[there],
      count[there],
      intervals.crossing(prompt[there], prompt[there]),
    )
    return {**row, f'{name}_n': int(count.sum())}

  if one.shown is None:
    unread = np.isnan(one.lead[one.asked])[:, None]
    return share('invalid', np.ones_like(unread), unread)
  shown = one.shown[one.asked]
  valid = ~np.isnan(shown)
  agreed = np.sign(shown[:, :1]) == -np.sign(shown[:, 1:])
  return {
    **share('consistent', valid.all(1, keepdims=True), agreed),
    **share('says_first', valid, shown > 0),
    **share('invalid', np.ones_like(valid), ~valid),
  }


def _of_others(name: str, rows: units.Unit) -> Row:
  """Returns how often a person chooses as most of the others do."""
  known = rows.arrays
  user, row = known['choice_user'], known['choice_row']
  label = known['choice_label']
  others = comparisons.of_others(user, row, label)
  some = others != 0.5
  value = credit(others - 0.5, label)[some]
  shared = intervals.crossing(user[some], known['prompt'][row[some]])
  return {
    'data': name,
    'target': OWN,
    'judge': OTHERS,
    'state': _NONE,
    **measured.share('right', value, np.ones(len(value)), shared),
    'prompts': shared.second[1],
    'people': shared.first[1],
    'n': len(value),
  }


def tasks(rows: units.Unit, made: Sequence[units.Unit]) -> list[Row]:
  """Returns how often the right chain scores higher, by task.

  Tasks with few right or wrong chains are left out.
  """
  known, found = rows.arrays, []
  for one in said(rows, made):
    for number, name in enumerate(rows.record['groups']):
      some = one.asked & (known['group'] == number)
      counts = [int((known['label'][some] == x).sum()) for x in (1, 0)]
      if min(counts) < _LEAST:
        continue
      right, wrong = chains(rows, some)
      value = credit(one.lead[right] - one.lead[wrong], np.ones(len(right)))
      shared = intervals.crossing(right, wrong)
      found.append(
        {
          'task': name,
          'judge': one.judge,
          'state': one.state,
          **measured.share('right', value, np.ones(len(value)), shared),
          'right_chains': counts[0],
          'wrong_chains': counts[1],
          'n': len(value),
        }
      )
  return found


def llmbar(rows: units.Unit, made: Sequence[units.Unit]) -> list[Row]:
  """Returns LLMBar's scores, a row a judge and subset, as its scorer has them.

  Accuracy is the mean of both orders; `Adversarial` is the plain mean of its
  subsets. Intervals are over prompts.
  """
  known, found = rows.arrays, []
  names = np.array(rows.record['groups'])[known['group']]
  for one in said(rows, made):
    place = np.flatnonzero(one.asked)
    label = np.where(known['label'][place] > 0.5, 0, 1)
    given, swapped = _verdicts(one, place)
    scored = both_orders.llmbar(given, swapped, label, list(names[place]))
    answer = np.stack([given == label, swapped == 1 - label], 1).mean(1)
    for group, accuracy in scored.group.items():
      there = np.array([name.startswith(group) for name in names[place]])
      if group == 'Natural':
        continue  # one subset, which has its own row
      if group == 'Adversarial':
        there = np.array(['Adversarial' in name for name in names[place]])
      _, subset = np.unique(names[place][there], return_inverse=True)
      weight = 1 / np.bincount(subset)[subset]
      prompt = known['prompt'][place[there]]
      shared = intervals.crossing(prompt, prompt)
      mean = measured.share('accuracy', weight * answer[there], weight, shared)
      found.append(
        {
          'subset': group.removeprefix('LLMBar/'),
          'judge': one.judge,
          'state': one.state,
          **{**mean, 'accuracy': accuracy},
          'prompts': shared.first[1],
          'n': int(there.sum()),
        }
      )
  return found


def _verdicts(one: Said, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns verdicts on places as shown, in both orders."""
  if one.shown is None:
    lead = one.lead[place]
    both = (lead, -lead)
  else:
    both = (one.shown[place, 0], one.shown[place, 1])
  given, swapped = (
    both_orders.verdicts(x, np.zeros(len(x)), tie=both_orders.TIE) for x in both
  )
  return given, swapped


def rm_bench(unit: units.Unit) -> list[Row]:
  """Returns RM-Bench's scores, a row a judge; domains count alike."""
  domain = unit.record['domains']
  short = np.array([name.split('-')[0] for name in domain])
  _, number = np.unique(short, return_inverse=True)
  weight = 1 / np.bincount(number)[number]
  below, above = np.tril_indices(3, -1), np.triu_indices(3, 1)
  found = []
  for judge, score in unit.arrays.items():
    wins = benchmarks.style_wins(score[:, :3], score[:, 3:])
    scored = benchmarks.rm_bench(wins, domain)
    row: Row = {'judge': judge, 'state': real.UNTRAINED}
    if judge == LENGTH:
      row['state'] = _NONE
    every = np.arange(len(domain))
    for name, mean, part in (
      ('right', scored.overall, wins.credit.mean((1, 2))),
      ('easy', scored.easy, wins.credit[:, *below].mean(1)),
      ('normal', scored.normal, np.einsum('nii->n', wins.credit) / 3),
      ('hard', scored.hard, wins.credit[:, *above].mean(1)),
    ):
      limits = measured.share(
        name, weight * part, weight, intervals.crossing(every, every)
      )
      row |= {**limits, name: float(mean)}
    found.append({**row, 'prompts': len(domain)})
  return found


def training(made: Mapping[str, Sequence[units.Unit]]) -> list[Row]:
  """Returns what was chosen on validation rows in every fold."""
  found = []
  for some in made.values():
    for unit in some:
      for fold in unit.record['folds']:
        chosen = fold.get('chosen', {})
        linear = fold.get('linear', {})
        lost = chosen.get('validation', linear.get('validation'))
        if lost is None:
          continue
        found.append(
          {
            **{key: unit.record[key] for key in ('data', 'head', 'state')},
            **{key: fold[key] for key in ('fold', 'train', 'test')},
            'ridge': linear.get('ridge'),
            'rate': chosen.get('rate'),
            'steps': chosen.get('step'),
            'validation_nats': lost,
          }
        )
  return found


def made(config, folder: units.Folder) -> dict[str, list[Row]]:
  """Returns the tables, of units that are done."""
  described = {
    name: folder.read(real.rows_name(name)) for name in config.real.data
  }
  scored = real.made(config, folder)
  found = {'real': table(described, scored), 'real_training': training(scored)}
  if real_rows.MISTAKE in described:
    name = real_rows.MISTAKE
    found['real_tasks'] = tasks(described[name], scored.get(name, ()))
  if real_rows.LLMBAR in described:
    name = real_rows.LLMBAR
    found['real_llmbar'] = llmbar(described[name], scored.get(name, ()))
  if config.real.most.styled:
    unit = folder.read(f'real-{real.STYLED}')
    found['real_rm_bench'] = rm_bench(unit)
    found['real'] += [_styled_row(row) for row in found['real_rm_bench']]
  return found


def _styled_row(row: Row) -> Row:
  kept = ('judge', 'state', 'right', 'right_low', 'right_high', 'prompts')
  return {
    'data': real.STYLED,
    'target': 'right answer',
    **{key: row[key] for key in kept},
    'people': None,
    'n': 9 * row['prompts'],
  }


_WORDS = {
  BETTER: 'the better answer of LLMBar',
  RIGHT: 'the right one of two chains',
  MAJORITY: "people's majority",
  OWN: "a person's own choice",
}
_TOLD = (
  (real.SCALAR, real.ADAPTED),
  (real.DISCRIMINATIVE, real.ADAPTED),
  (real.GENERATIVE, real.UNTRAINED),
  (real.GENERATIVE, real.ADAPTED),
  (LENGTH, _NONE),
  (TUNED, _NONE),
  ('gpt4', _NONE),
  (OTHERS, _NONE),
)


def answer(found: Mapping[str, list[Row]]) -> Iterator[str]:
  """Yields one sentence: what judges of real texts do, and length beside."""
  by = {
    (row['target'], row['judge'], row['state']): row
    for row in found.get('real', ())
  }
  parts = []
  for target, words in _WORDS.items():
    told = [
      f'{judge}{"" if state == _NONE else f", {state}"} '
      f'{columns.percent(by[target, judge, state], "right")}'
      for judge, state in _TOLD
      if (target, judge, state) in by
    ]
    if told:
      parts.append(f'{words}: {"; ".join(told)}')
  if parts:
    yield f'Real texts. {" | ".join(parts)}.'
