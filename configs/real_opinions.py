"""What personal rewards do to real opinions.

Variants: `smoke` (seconds, a made-up population) and `full` (the default: the
polis conversations, minutes on one core).
"""

from ml_collections import config_dict

_VARIANTS = ('smoke', 'full')
_AXIS = (
  'american-assembly.bowling-green',
  'scoop-hivemind.taxes',
  'brexit-consensus',
  'scoop-hivemind.affordable-housing',
  'scoop-hivemind.ubi',
)
_CONTROL = 'bg2050-volunteers'
_SISTERS = (
  ('american-assembly.bowling-green', _CONTROL),
  (
    'scoop-hivemind.taxes',
    'scoop-hivemind.affordable-housing',
    'scoop-hivemind.ubi',
    'scoop-hivemind.freshwater',
  ),
)


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'real_opinions'
  config.seeds = (0, 1, 2)  # halvings of everybody's votes
  config.data = {'dir': ''}
  config.predicted = (
    *_AXIS,
    'football-concussions',
    'scoop-hivemind.freshwater',
    _CONTROL,
  )
  config.served = (*_AXIS, _CONTROL)
  config.control = _CONTROL
  config.folds = 5
  config.text = True  # whether statements are read, too
  config.encoder = ''  # all-MiniLM-L6-v2; or a folder
  config.newest = 0.2  # of each person's statements
  config.answers = (5, 10, 20, 50)
  config.strengths = (0.25, 0.5, 0.75, 0.9, 1.0, 1.25)
  # Of a guard that takes less than most at its whole strength.
  config.beyond = {'one_price': (1.5, 2.0, 2.5)}
  config.sisters = _SISTERS  # of one town, or of one platform's people
  config.replicates = 400
  config.options = {}  # of `populations.Options` other than its own
  config.power = {'leans': (0.025, 0.05, 0.1), 'draws': 200}
  # Bounded confidence, in deviations of people and statements.
  config.movements = {
    'nobody moves': {'step': 0.0, 'radius': 1.0},
    'weak': {'step': 0.05, 'radius': 1.0},
    'strong': {'step': 0.2, 'radius': 2.0},
  }
  config.rounds = 20
  config.made_up = ()  # P, S of a population in place of real ones
  if variant == 'smoke':
    config.seeds, config.folds, config.replicates = (0,), 2, 20
    config.predicted = config.served = ('made_up',)
    config.control, config.text, config.sisters = '', False, ()
    config.answers, config.strengths = (5,), (0.5, 1.0)
    config.beyond = {}
    config.power.draws, config.rounds = 10, 4
    config.made_up = (90, 44)
  return config.lock()
