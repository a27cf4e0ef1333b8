import pytest

from prm_jax.data import convert, schema
from prm_jax.data.convert import texts
from tests.data.sets import (
  AB,
  CASES,
  PAIR,
  TRL,
  VOTES,
  WINNERS,
  arena,
  better,
  converted,
  message,
  refused,
  utterance,
)

# ------------------------------------------------------------------------ trl


def test_trl_of_texts(tmp_path):
  made, report, table = converted(tmp_path, 'trl', TRL, user='ann')
  assert len(made) == 10
  assert report == schema.Report(10, 0)
  for n, row in enumerate(made):
    assert set(row) == {
      'user_id',
      'prompt_id',
      'prompt',
      'response_a',
      'response_b',
      'label',
    }
    assert (row['user_id'], row['prompt']) == ('ann', f'Question {n}?')
    assert better(row) == (f'good {n}', f'bad {n}')
  # sha256('Question 0?'), by coreutils.
  assert made[0]['prompt_id'] == '4f10ddf2629bc3a5'
  assert table.user_ids == ['ann']


def test_trl_of_messages(tmp_path):
  rows = [
    {
      'prompt': [message('user', 'Why?')],
      'chosen': [message('assistant', 'Because.')],
      'rejected': [message('assistant', 'No.')],
    },
    {
      'prompt': [message('system', 'Be kind.'), message('user', 'Why?')],
      'chosen': [message('assistant', 'Because.')],
      'rejected': [message('assistant', 'No.')],
    },
    {  # the prompt is how both begin
      'chosen': [
        message('user', 'Why?'),
        message('assistant', 'What?'),
        message('user', 'The sky.'),
        message('assistant', 'Light.'),
      ],
      'rejected': [
        message('user', 'Why?'),
        message('assistant', 'What?'),
        message('user', 'The sky.'),
        message('assistant', 'Paint.'),
      ],
    },
    {  # the prompt once more at the beginning, as UltraFeedback has it
      'prompt': 'Why?',
      'chosen': [message('user', 'Why?'), message('assistant', 'Because.')],
      'rejected': [message('user', 'Why?'), message('assistant', 'No.')],
    },
    {  # they part after the first question
      'chosen': [
        message('user', 'Why?'),
        message('assistant', 'What?'),
        message('user', 'The sky.'),
        message('assistant', 'Light.'),
      ],
      'rejected': [message('user', 'Why?'), message('assistant', 'No.')],
    },
  ]
  made, _, table = converted(tmp_path, 'trl', rows, user='ann')
  assert [row['prompt'] for row in made] == [
    'Why?',
    'System: Be kind.\nUser: Why?',
    'User: Why?\nAssistant: What?\nUser: The sky.',
    'Why?',
    'Why?',
  ]
  assert better(made[2]) == ('Light.', 'Paint.')
  assert better(made[3]) == ('Because.', 'No.')
  assert better(made[4]) == (
    'Assistant: What?\nUser: The sky.\nAssistant: Light.',
    'No.',
  )
  assert len(table.prompts) == 3  # the same words are one prompt


def test_trl_of_texts_without_a_prompt(tmp_path):
  rows = [
    {'chosen': 'The sky is blue.', 'rejected': 'The sky is black.'},
    {
      'chosen': '\n\nHuman: Hi\n\nAssistant: I am well.',
      'rejected': '\n\nHuman: Hi\n\nAssistant: I am not.',
    },
  ]
  made, _, _ = converted(tmp_path, 'trl', rows, user='ann')
  assert made[0]['prompt'] == 'The sky is'
  assert better(made[0]) == (' blue.', ' black.')
  assert made[1]['prompt'] == '\n\nHuman: Hi\n\nAssistant:'
  assert better(made[1]) == (' I am well.', ' I am not.')
  apart = [{'chosen': 'Yes.', 'rejected': 'No.'}]
  refused(
    tmp_path, ':1: prompt: is missing, and chosen', 'trl', apart, user='ann'
  )


def test_people_are_never_invented(tmp_path):
  refused(tmp_path, r'nobody is named who judged(.|\n)*--user=NAME', 'trl', TRL)
  rows = [{**row, 'user_id': f'p{n % 2}'} for n, row in enumerate(TRL)]
  _, _, table = converted(tmp_path, 'trl', rows)
  assert table.user_ids == ['p0', 'p1']
  refused(tmp_path, 'leave one of the two out', 'trl', rows, user='ann')
  refused(tmp_path, '--user: is empty', 'trl', TRL, user=' ')


def test_a_case_that_people_reported():
  path = CASES / 'hf_chosen_rejected.jsonl'
  if not path.is_file():
    pytest.skip('the cases are not there')
  with pytest.raises(schema.SchemaError, match='--user=NAME'):
    convert.convert('trl', path)
  made, report = convert.convert('trl', path, user='somebody')
  assert (len(made), report.total, report.malformed) == (40, 40, 0)
  assert better(made[0])[0] == 'quite very stuff please dude yes'


def test_sides_do_not_tell_the_label(tmp_path):
  rows = [
    {'prompt': f'{n}?', 'chosen': f'good {n}', 'rejected': f'bad {n}'}
    for n in range(400)
  ]
  made, _, _ = converted(tmp_path, 'trl', rows, user='ann')
  first = sum(row['label'] == 'a' for row in made)
  assert 160 < first < 240  # four standard deviations of a fair coin
  again, _, _ = converted(tmp_path, 'trl', rows[::-1], user='ann')
  assert again[::-1] == made
  # Who disagrees has the same sides and the other label.
  turned = [
    {**row, 'chosen': row['rejected'], 'rejected': row['chosen']}
    for row in rows
  ]
  other, _, _ = converted(tmp_path, 'trl', turned, user='ann')
  for one, two in zip(made, other, strict=True):
    assert one['response_a'] == two['response_a']
    assert {one['label'], two['label']} == {'a', 'b'}


# -------------------------------------------------------------- chatbot arena


def test_chatbot_arena(tmp_path):
  rows = [arena(n, winner) for n, winner in enumerate(WINNERS)]
  rows[4] = arena(
    4,
    'model_a',
    turn=2,
    conversation_a=[
      message('user', 'Hi'),
      message('assistant', 'Hello'),
      message('user', 'Why?'),
      message('assistant', 'So.'),
    ],
    conversation_b=[
      message('user', 'Hi'),
      message('assistant', 'Yes?'),
      message('user', 'Why?'),
      message('assistant', 'No.'),
    ],
  )
  made, report, table = converted(tmp_path, 'chatbot_arena', rows)
  assert [row['label'] for row in made] == ['a', 'b', 'tie', 'tie', 'a'] * 2
  assert [row['user_id'] for row in made[:4]] == [
    'arena_user_0',
    'arena_user_1',
    'arena_user_2',
    'arena_user_0',
  ]
  assert made[1]['prompt'] == 'Question 1?'
  assert (made[1]['response_a'], made[1]['response_b']) == (
    'first 1',
    'second 1',
  )
  assert made[4]['prompt'] == 'Hi'
  assert made[4]['response_a'] == (
    'Assistant: Hello\nUser: Why?\nAssistant: So.'
  )
  assert report.notes == ()
  assert len(table.user_ids) == 3


def test_other_arenas_are_refused(tmp_path):
  bench = [
    {
      k: v
      for k, v in arena(n, 'tie').items()
      if k not in ('anony', 'language', 'tstamp', 'openai_moderation')
    }
    for n in range(3)
  ]
  refused(
    tmp_path,
    'has no columns anony, language, tstamp; this reads lmsys/chatbot_arena',
    'chatbot_arena',
    bench,
  )
  newer = [{'id': '1', 'model_a': 'x', 'winner': 'tie', 'is_code': False}]
  refused(
    tmp_path,
    'has no columns question_id, .*, and has id, is_code',
    'chatbot_arena',
    newer,
  )
  refused(
    tmp_path, 'takes no --user', 'chatbot_arena', [arena(0, 'tie')], user='x'
  )
  refused(
    tmp_path,
    r"set\.jsonl:1: winner: 'both' is none of",
    'chatbot_arena',
    [arena(0, 'both')],
  )
  refused(tmp_path, ':1: winner: ', 'chatbot_arena', [arena(0, ['model_a'])])
  without = arena(0, 'tie', conversation_b=[message('user', 'Other?')])
  refused(tmp_path, 'begin differently', 'chatbot_arena', [without])


def test_columns_that_are_new_are_named(tmp_path):
  rows = [arena(n, 'tie', dedup_tag={}) for n in range(3)]
  _, report, _ = converted(tmp_path, 'chatbot_arena', rows)
  assert report.notes[0].startswith('columns dedup_tag are not of lmsys/')


# ---------------------------------------------------------------------- prism


PRISM = [
  utterance(0, 0, 40, False),
  utterance(0, 1, 90, True),
  utterance(0, 2, 10, False),
  utterance(0, 3, 90, False),
  utterance(1, 0, 55, True),
  utterance(1, 1, 50, False),
  utterance(2, 0, 80, False),
  utterance(2, 1, 81, True),
  utterance(0, 0, 7, False, conversation_id='c1', user_id='user1'),
  utterance(0, 1, 99, True, conversation_id='c1', user_id='user1'),
]


def test_prism(tmp_path):
  made, report, table = converted(tmp_path, 'prism', PRISM)
  assert report == schema.Report(10, 0)
  assert [row['rating'] for row in made] == [
    40,
    90,
    10,
    90,
    55,
    50,
    80,
    81,
    7,
    99,
  ]
  assert made[0]['prompt'] == 'Question 0?'
  assert made[4]['prompt'] == (
    'User: Question 0?\nAssistant: answer 01\nUser: Question 1?'
  )
  assert made[7]['prompt'] == (
    'User: Question 0?\nAssistant: answer 01\n'
    'User: Question 1?\nAssistant: answer 10\nUser: Question 2?'
  )
  assert made[7]['response'] == 'answer 21'
  # A conversation is one topic: that of its first question.
  assert len(table.prompts) == 3
  assert set(table.topics) == {made[0]['prompt_id']}
  assert table.user_ids == ['user0', 'user1']


def test_prism_needs_the_chosen_answer_and_its_own_table(tmp_path):
  lost = [row for row in PRISM if row['utterance_id'] != 'ut10']
  refused(tmp_path, ':6: turn: no answer is chosen in turn 1', 'prism', lost)
  conversations = [{'conversation_id': 'c0', 'conversation_history': []}]
  refused(
    tmp_path,
    'has no columns user_id, turn, .*, and has conversation_history; this '
    'reads the table utterances',
    'prism',
    conversations,
  )
  refused(
    tmp_path,
    "turn: 'first' is not a number",
    'prism',
    [utterance('first', 0, 1, True)],
  )
  refused(tmp_path, 'rating: ', 'prism', [utterance(0, 0, None, True)])


# -------------------------------------------------------------------- columns


def test_columns_of_pairs(tmp_path):
  columns = {**PAIR, 'topic': 'theme', 'user_attributes': 'age'}
  made, report, table = converted(
    tmp_path, 'columns', VOTES, columns=columns, labels=AB
  )
  assert [row['label'] for row in made] == ['a', 'b', 'tie', 'a'] * 2
  assert report.notes == ('2 of 10 rows have no judgement',)
  assert made[1] == {
    'user_id': '1',
    'prompt_id': texts.prompt_id('Q0'),
    'prompt': 'Q0',
    'response_a': 'x1',
    'response_b': 'y1',
    'label': 'b',
    'topic': 't',
    'user_attributes': {'age': '30'},
  }
  assert table.topics == ['t'] * 5
  assert table.attributes == ['{}', '{"age": "30"}']


def test_labels_may_be_probabilities(tmp_path):
  labels = {'a': 'much A', '0.75': 'A', '0.25': 'B', '0.5': 'same'}
  made, _, _ = converted(
    tmp_path, 'columns', VOTES, columns=PAIR, labels=labels
  )
  assert [row['label'] for row in made[:4]] == [0.75, 0.25, 0.5, 'a']
  numbers = [{**row, 'better': n / 10} for n, row in enumerate(VOTES)]
  made, _, _ = converted(tmp_path, 'columns', numbers, columns=PAIR)
  assert [row['label'] for row in made] == [n / 10 for n in range(10)]
  ones = [{**row, 'better': 1 + n % 2} for n, row in enumerate(VOTES)]
  made, _, _ = converted(
    tmp_path, 'columns', ones, columns=PAIR, labels={'a': '1', 'b': '2'}
  )
  assert [row['label'] for row in made] == ['a', 'b'] * 5


def test_columns_of_ratings(tmp_path):
  rows = [
    {'who': f'w{n % 3}', 'ask': 'Q', 'said': f's{n}', 'stars': str(n % 5)}
    for n in range(10)
  ]
  columns = {
    'user_id': 'who',
    'prompt': 'ask',
    'response': 'said',
    'rating': 'stars',
  }
  made, _, table = converted(tmp_path, 'columns', rows, columns=columns)
  assert [row['rating'] for row in made] == [0, 1, 2, 3, 4] * 2
  assert isinstance(table, schema.Ratings)


def test_a_choice_of_several(tmp_path):
  """Community Alignment: one of four."""
  rows = [
    {
      'annotator_id': f'p{n}',
      'first_turn_prompt': 'Hi',
      **{f'first_turn_response_{x}': f'{x}!' for x in 'abcd'},
      'first_turn_preferred_response': f'response_{"abcd"[n % 4]}',
    }
    for n in range(10)
  ]
  rows[9]['first_turn_preferred_response'] = None
  rows[8]['first_turn_response_d'] = ''
  names = [f'first_turn_response_{x}' for x in 'abcd']
  made, report, _ = converted(
    tmp_path,
    'columns',
    rows,
    columns={
      'user_id': 'annotator_id',
      'prompt': 'first_turn_prompt',
      'responses': '+'.join(names),
      'choice': 'first_turn_preferred_response',
    },
    labels={name: name.removeprefix('first_turn_') for name in names},
  )
  assert len(made) == 8 * 3 + 2
  assert [better(row) for row in made[3:6]] == [
    ('b!', 'a!'),
    ('b!', 'c!'),
    ('b!', 'd!'),
  ]
  assert report.notes == ('1 of 10 rows have no judgement',)


def test_ratings_of_several(tmp_path):
  """PersonalLLM: a reward model rates eight."""
  rows = [
    {'prompt': f'Q{n}', 'r1': 'x', 'r2': 'y', 'r1_gemma': n, 'r2_gemma': -n}
    for n in range(10)
  ]
  columns = {
    'prompt': 'prompt',
    'responses': 'r1+r2',
    'ratings': 'r1_gemma+r2_gemma',
  }
  made, _, _ = converted(
    tmp_path, 'columns', rows, columns=columns, user='gemma'
  )
  assert len(made) == 20
  assert [(row['response'], row['rating']) for row in made[6:8]] == [
    ('x', 3),
    ('y', -3),
  ]
  refused(
    tmp_path,
    '2 responses have 1 ratings',
    'columns',
    rows,
    columns={**columns, 'ratings': 'r1_gemma'},
    user='x',
  )


def test_a_list_makes_a_row_for_each(tmp_path):
  """MultiPref: several people on one pair. HelpSteer3: a list of messages."""
  rows = [
    {
      'context': [message('user', f'Q{n}')],
      'completion_a': 'x',
      'completion_b': 'y',
      'annotations': [
        {'evaluator': 'e1', 'overall_pref': -2},
        {'evaluator': 'e2', 'overall_pref': 0},
      ][: n % 3],
    }
    for n in range(10)
  ]
  columns = {
    'user_id': 'annotations[].evaluator',
    'prompt': 'context',
    'response_a': 'completion_a',
    'response_b': 'completion_b',
    'label': 'annotations[].overall_pref',
  }
  labels = {'a': '-2+-1', 'tie': '0', 'b': '1+2'}
  made, report, _ = converted(
    tmp_path, 'columns', rows, columns=columns, labels=labels
  )
  assert len(made) == 3 * (0 + 1 + 2)
  assert [(row['user_id'], row['label']) for row in made[:3]] == [
    ('e1', 'a'),
    ('e1', 'a'),
    ('e2', 'tie'),
  ]
  assert made[0]['prompt'] == 'Q1'
  assert report.notes == ('4 of 10 rows have no judgement',)
  refused(
    tmp_path,
    'only one list has rows',
    'columns',
    [{**rows[1], 'more': []}],
    columns={**columns, 'label': 'more[].x'},
  )


@pytest.mark.parametrize(
  ('columns', 'match'),
  [
    (None, 'say what is where'),
    ({'prompt': 'question'}, 'make no form'),
    ({**PAIR, 'chosen': 'one'}, 'make no form'),
    ({**PAIR, 'prompt': 'q'}, 'has no columns q, and has question'),
    ({**PAIR, 'label': 'age[].x'}, 'age: is no list of objects'),
    ({**PAIR, 'label': 'age[].'}, 'neither COLUMN nor LIST'),
    (
      {'prompt': 'question', 'responses': 'one', 'choice': 'better'},
      'two columns or more',
    ),
  ],
)
def test_columns_that_say_nothing(tmp_path, columns, match):
  user = None if 'user_id' in (columns or {}) else 'ann'
  rows = [{**row, 'age': 3} for row in VOTES]
  refused(tmp_path, match, 'columns', rows, columns=columns, user=user)


@pytest.mark.parametrize(
  ('labels', 'match'),
  [
    (None, r"label: 'A' is none of 'a', 'b', 'tie'.*--labels"),
    ({'a': 'A'}, r"label: 'B' is none of \['A'\]"),
    ({'A': 'a'}, "--labels: 'A' is none of"),
    ({'2': 'A'}, "--labels: '2' is none of"),
    ({'a': 'A', 'b': 'A'}, "'A' is given twice"),
  ],
)
def test_labels_that_say_nothing(tmp_path, labels, match):
  refused(tmp_path, match, 'columns', VOTES, columns=PAIR, labels=labels)


def test_a_prompt_has_one_topic(tmp_path):
  rows = [{**row, 'theme': str(n)} for n, row in enumerate(VOTES)]
  _, report, table = converted(
    tmp_path, 'columns', rows, columns={**PAIR, 'topic': 'theme'}, labels=AB
  )
  assert table.topics == ['0', '2', '5', '6', '8']
  assert report.notes[0].startswith('3 judgements are under the topic')
