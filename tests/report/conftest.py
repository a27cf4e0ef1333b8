"""Results as `prm compare` writes them, of numbers made by hand."""

import pytest

BASE = {'data': 'preferences', 'features': 'text'}
OVER = {'people': 80, 'pairs': 2400, 'seeds': 3, 'judgements': 'all'}
# Split, answers, gain over everyone, gain over everyone with habits.
GAINS = (
  ('new_pairs', 'all', 0.034, 0.019),
  ('new_prompts', 'all', 0.021, 0.012),
  ('new_people', 0, 0.001, 0.0),
  ('new_people', 2, 0.004, 0.001),
  ('new_people', 5, 0.012, 0.007),
  ('new_people', 10, 0.019, 0.011),
  ('new_people', 50, 0.029, 0.016),
  ('new_people_new_prompts', 50, 0.004, -0.002),
)


def interval(name, value, half):
  return {
    name: value,
    f'{name}_low': value - half,
    f'{name}_high': value + half,
  }


def gain(split, answers, value, baseline, **changes):
  row = {
    **BASE,
    'method': 'pref',
    'role': 'personal',
    'split': split,
    'answers': answers,
    'baseline': baseline,
    **OVER,
    'chosen': True,
    **interval('gain', value, 0.006),
    **interval('macro_gain', value, 0.007),
    'gain_people_low': value - 0.004,
    'gain_people_high': value + 0.004,
    'standard_error': 0.003,
    'smallest_detectable_gain': 0.0084,
    'resampled': 'people and prompts',
    'units': 340,
  }
  return row | changes


def accuracy(method, split, answers, value, **changes):
  return {
    **BASE,
    'method': method,
    'split': split,
    'answers': answers,
    **OVER,
    **interval('accuracy', value, 0.01),
    **interval('auc', value + 0.04, 0.01),
    **interval('nll', 0.6, 0.01),
    **interval('ece', 0.021, 0.004),
    'resampled': 'people and prompts',
    'units': 340,
    **changes,
  }


def control(name, value, half=None, **changes):
  ends = {'value': value} if half is None else interval('value', value, half)
  return {
    **BASE,
    'method': 'pref',
    'split': 'new_pairs',
    'answers': 'all',
    'control': name,
    'quantity': 'accuracy difference',
    **ends,
    'people': 80,
    'pairs': 2400,
    'units': 340,
    'resampled': 'people and prompts',
    **changes,
  }


def _controls():
  rows = []
  for split, answers, *_ in GAINS:
    if answers in ('all', 50):
      same = {'split': split, 'answers': answers}
      rows.append(control('swapped_people', 0.041, 0.008, **same))
      rows.append(control('population_coefficients', 0.033, 0.007, **same))
  of_data = {'method': 'data', 'split': 'train'}
  rows += [
    control(
      'label_flip',
      0.31,
      0.04,
      split='new_people',
      answers=10,
      quantity='share flipped',
    ),
    control('exchange', 3e-7, quantity='largest gap', people=None, pairs=None),
    control(
      'length_only', 0.553, 0.012, method='length_only', quantity='accuracy'
    ),
    control(
      'slot_probe',
      0.503,
      0.01,
      **of_data,
      leak=False,
      quantity='accuracy (a leak above 0.52)',
    ),
    control(
      'copied_people', 0.0, **of_data, leak=False, quantity='share', n=2400
    ),
  ]
  return rows


@pytest.fixture
def compared():
  """Returns fresh results, which a test may change."""
  gains, accuracies = [], []
  for split, answers, value, beyond in GAINS:
    gains.append(gain(split, answers, value, 'aggregate'))
    gains.append(gain(split, answers, beyond, 'traits'))
    other = {'method': 'lore', 'chosen': False}
    gains.append(gain(split, answers, value - 0.004, 'aggregate', **other))
    accuracies += [
      accuracy('aggregate', split, answers, 0.641),
      accuracy('traits', split, answers, 0.641 + value - beyond),
      accuracy('pref', split, answers, 0.641 + value),
    ]
  return {
    'study': 'compare',
    'config': {'data': 'mine.jsonl'},
    'seeds': [0, 1, 2],
    'notes': ['Ties are 12 % of all judgements and are scored apart.'],
    'tables': {
      'accuracy': accuracies,
      'gain': gains,
      'controls': _controls(),
      'ties': [
        {
          **BASE,
          'method': method,
          'split': 'new_pairs',
          'answers': 'all',
          **interval('log_loss', loss, 0.02),
          **interval('brier', 0.4, 0.01),
          'tie_share': 0.12,
          'people': 80,
          'units': 340,
          'judgements': 2700,
          'resampled': 'people and prompts',
        }
        for method, loss in (('aggregate', 0.91), ('pref', 0.87))
      ],
      'left_out': [
        {'method': 'vpl', 'reason': 'fewer than 20 answers of most people'}
      ],
      'traits': [
        {
          'trait': 'length',
          'mean': 0.21,
          'spread': 0.4,
          'people': 80,
          'unit': 'logits a standard deviation of length',
        }
      ],
      'audit': [
        {
          'method': 'personal',
          'quantity': 'variance of served stance',
          **interval('value', 0.004, 0.001),
          'n': 780,
          'flagged': True,
          'unit': 'pairs of questions',
        }
      ],
      'person_gain': [
        {
          **BASE,
          'method': 'pref',
          'split': 'new_pairs',
          'answers': 'all',
          'quantile': q / 10,
          'gain': (q - 4) / 60,
        }
        for q in range(11)
      ],
      'calibration': [
        {
          **BASE,
          'method': method,
          'split': 'new_pairs',
          'answers': 'all',
          'confidence': c,
          'accuracy': c - 0.02,
          'pairs': 300.0,
        }
        for method in ('aggregate', 'pref')
        for c in (0.55, 0.7, 0.9)
      ],
      'choices': [
        {
          **BASE,
          'seed': 0,
          'method': 'pref',
          'configurations': 12,
          'choice': '{"ridge": 30.0}',
          'fit_seconds': 2.1,
        }
      ],
    },
  }
