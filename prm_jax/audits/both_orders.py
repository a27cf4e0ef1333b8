"""Benchmarks of judges that are shown a pair in both orders.

JudgeBench and LLMBar, from arrays of verdicts, as `audits.benchmarks`.
Verdicts are places as shown, 0 and 1; `TIE`; or `INVALID`, which is wrong and
counted, as is any other number.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from prm_jax.audits import benchmarks

INVALID = -1
TIE = -2
SOURCES = benchmarks.SOURCES


class Orders(NamedTuple):
  """A judge of pairs that are shown in both orders.

  Attributes:
    accuracy: share of right pairs, by the benchmark's rule.
    both_right: share of pairs with both verdicts right.
    both_wrong: share with neither right; a tie is not right.
    consistent: share whose verdicts agree on the answer; an invalid one agrees
      with nothing.
    group: group -> accuracy.
    invalid: number of pairs with an invalid verdict.
  """

  accuracy: float
  both_right: float
  both_wrong: float
  consistent: float
  group: dict[str, float]
  invalid: int


def verdicts(
  first: np.ndarray, second: np.ndarray, *, tie: int = 1
) -> np.ndarray:
  """Returns scores of two answers as verdicts `[n]` on their places.

  Args:
    first: `[n]` scores of the answer shown first.
    second: `[n]` of the other one.
    tie: what equal scores say: place 1, as JudgeBench's code for reward models
      and LLMBar's for ratings has it; or `TIE`.
  """
  first, second = np.asarray(first, float), np.asarray(second, float)
  said = np.where(first > second, 0, np.where(first < second, 1, tie))
  return np.where(np.isfinite(first) & np.isfinite(second), said, INVALID)


def judge_bench(
  given: np.ndarray,
  swapped: np.ndarray | None,
  label: np.ndarray,
  source: Sequence[str],
  *,
  null: str = 'wrong',
) -> Orders:
  """Returns JudgeBench's scores.

  A verdict for the right answer is 1, one for the wrong answer -1, a tie 0;
  a pair is right where both orders add up to more than 0. So right and tie
  is right; right and wrong is not.

  Args:
    given: `[n]` verdicts on the pair in its order.
    swapped: `[n]` verdicts on the pair in the other order, in places as shown
      there; None for a judge that does not see an order.
    label: `[n]` int, 0 or 1, the right answer's place in the pair's order.
    source: n names that begin with one of `SOURCES`, which are the groups.
    null: an invalid verdict is `wrong`: -1; or a `tie`, as in the code.

  Raises:
    ValueError: unknown `null` or source, or shapes do not fit.

  References:
    Tan et al. 2024, arXiv:2410.12784; ScalerLab/JudgeBench.

  Notes:
    With an invalid verdict as a tie, one valid verdict of two can be enough.
    The code calls two invalid verdicts consistent.
  """
  if null not in ('wrong', 'tie'):
    raise ValueError(f'{null!r}: wrong or tie')
  group = [next((g for g in SOURCES if s.startswith(g)), s) for s in source]
  benchmarks.refuse(set(group) - set(SOURCES), SOURCES)
  answer = _answers(given, swapped, label)
  label = np.asarray(label)[:, None]
  vote = np.where(answer == label, 1, np.where(answer == 1 - label, -1, 0))
  vote = np.where(answer == INVALID, -1 if null == 'wrong' else 0, vote)
  return _orders(answer, label, (vote.sum(1) > 0).astype(float), group)


def llmbar(
  given: np.ndarray,
  swapped: np.ndarray,
  label: np.ndarray,
  subset: Sequence[str],
) -> Orders:
  """Returns LLMBar's scores: accuracy is the mean of both orders.

  `group` has the subsets, and `Natural` and `Adversarial`, the plain mean of
  the adversarial subsets; `consistent` is the positional agreement.

  Args:
    given: `[n]` verdicts on the pair in its order.
    swapped: `[n]` verdicts on the pair in the other order, in places as shown
      there.
    label: `[n]` int, 0 or 1, the better answer's place in the pair's order.
    subset: n names, as `LLMBar/Natural` and `LLMBar/Adversarial/Manual`.

  References:
    Zeng et al. 2023, arXiv:2310.07641; princeton-nlp/LLMBar.

  Notes:
    The mean over adversarial subsets, and not over prompts, gives the paper's
    82.8 % of GPT-4 from the released verdicts (over prompts it is 84.5 %).
    The code calls two invalid verdicts agreement, and takes ratings that
    cannot be read for one right and one wrong verdict. Its kappas compare
    labels 1 and 2 with 0 and 1 and are left out.
  """
  answer = _answers(given, swapped, label)
  label = np.asarray(label)[:, None]
  found = _orders(answer, label, (answer == label).mean(1), subset)
  group = dict(found.group)
  for name in ('Natural', 'Adversarial'):
    of = [v for s, v in group.items() if s.startswith(f'LLMBar/{name}')]
    if of:
      group[name] = float(np.mean(of))
  return found._replace(group=group)


def _answers(
  given: np.ndarray, swapped: np.ndarray | None, label: np.ndarray
) -> np.ndarray:
  """Returns verdicts on answers in the pair's order, `[n, 2]` or `[n, 1]`."""
  given, label = np.asarray(given), np.asarray(label)
  orders = [given]
  if swapped is not None:
    swapped = np.asarray(swapped)
    place = (swapped == 0) | (swapped == 1)
    orders.append(np.where(place, 1 - swapped, swapped))
  if any(o.shape != label.shape for o in orders) or label.ndim != 1:
    raise ValueError(f'verdicts and labels are [{len(label)}]')
  if not len(label):
    raise ValueError('there is no pair')
  if np.any((label != 0) & (label != 1)):
    raise ValueError('labels are places 0 and 1')
  answer = np.stack(orders, 1)
  known = (answer == 0) | (answer == 1) | (answer == TIE)
  return np.where(known, answer, INVALID)


def _orders(
  answer: np.ndarray, label: np.ndarray, right: np.ndarray, group: Sequence[str]
) -> Orders:
  """Returns what both orders share, with `[n]` what each pair earns."""
  invalid = np.any(answer == INVALID, 1)
  same = np.all(answer == answer[:, :1], 1) & ~invalid
  return Orders(
    accuracy=float(right.mean()),
    both_right=float(np.mean(np.all(answer == label, 1))),
    both_wrong=float(np.mean(np.all(answer != label, 1))),
    consistent=float(same.mean()),
    group=benchmarks.means(right, group),
    invalid=int(invalid.sum()),
  )
