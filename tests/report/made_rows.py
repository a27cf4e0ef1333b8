"""Rows of results.json, made up."""

BASE = {
  'data': 'jester',
  'features': 'identity',
  'method': 'pref',
  'split': 'new_people',
}


def gain_row(gain, low, high, *, answers='all', **changes):
  row = {
    **BASE,
    'role': 'personal',
    'baseline': 'aggregate',
    'answers': answers,
    'judgements': 'all',
    'gain': gain,
    'gain_low': low,
    'gain_high': high,
    'smallest_detectable_gain': 0.0081,
    'people': 100,
    'pairs': 5000,
    'seeds': 3,
  }
  return row | changes


def control_row(control, low, high, *, answers='all', **changes):
  row = {
    **BASE,
    'answers': answers,
    'control': control,
    'quantity': 'accuracy difference',
    'value': (low + high) / 2,
    'value_low': low,
    'value_high': high,
  }
  return row | changes
