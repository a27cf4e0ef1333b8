"""PrefEval in small: three preferences in the source's four files."""

import gzip
import json

NAMES = ('tea', 'tram', 'attic')


def key(number):
  return {
    'topic': 'home' if number == 2 else 'drinks',
    'k': number % 2,
    'question': f'Which {NAMES[number]}?',
  }


def files():
  """Returns file -> rows."""
  rows = {name: [] for name in ('explicit', 'implicit_choice')}
  rows |= {name: [] for name in ('implicit_persona', 'mcq')}
  for number, name in enumerate(NAMES):
    both = {**key(number), 'preference': f'I really like {name}.'}
    rows['explicit'].append(
      {**both, 'preference': f'I like {name}.', 'explanation': f'{name}!'}
    )
    four = [f'{name} {way}' for way in ('kept', 'left', 'sold', 'cut')]
    rows['implicit_choice'].append(
      {
        **both,
        'implicit_query': f'And now, {name}?',
        'options': [f'now {option}' for option in four],
        'aligned_op': f'now {four[0]}',
        'conversation': {
          'query': f'And now, {name}?',
          'assistant_options': f'1. now {four[1]}\n2. now {four[0]}',
          'user_selection': f'The second {name}.',
          'assistant_acknowledgment': 'Well.',
        },
      }
    )
    rows['implicit_persona'].append(
      {
        **both,
        'persona': 'a baker',
        'conversation': {
          str(turn): {'user': f'{name} {turn}?', 'assistant': f'Yes {turn}.'}
          for turn in range(number + 1)
        },
      }
    )
    rows['mcq'].append(
      {**both, 'violation_probability': 1, 'classification_task_options': four}
    )
  return rows


def write(folder, rows):
  """Writes the files into `folder/prefeval`."""
  folder = folder / 'prefeval'
  folder.mkdir(exist_ok=True)
  for name, lines in rows.items():
    with gzip.open(folder / f'{name}.jsonl.gz', 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in lines)
