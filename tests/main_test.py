import json
from hashlib import sha256
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from prm_jax import discriminator, kept_summaries, main, types
from prm_jax.audits import copies
from prm_jax.data.schema import read_lines
from prm_jax.lab import held_out
from prm_jax.models.language_model import LanguageModel
from prm_jax.report import page
from prm_jax.rewards import gaussian_likeness
from prm_jax.runtime import export
from tests.counted import source_that_counts

WORDS = [
  *['please', 'kindly', 'sir', 'thanks', 'dude'],
  *['whatever', 'stuff', 'gonna', 'yes', 'no'],
]


@pytest.fixture
def judged(tmp_path, private_cache):
  """A file of judgements by people who like or dislike the first words."""
  rng = np.random.default_rng(0)
  path, own = tmp_path / 'mine.jsonl', tmp_path / 'features.npz'
  rows, texts = [], {}
  for user in range(12):
    for number in range(40):
      pair = []
      for _ in range(2):
        chosen = rng.choice(10, 4)
        text = ' '.join(WORDS[i] for i in chosen)
        texts[text] = np.bincount(chosen, minlength=10)
        pair.append((text, (chosen < 4).sum() * (1 if user % 2 else -1)))
      (a, liked_a), (b, liked_b) = pair
      label = 'tie' if liked_a == liked_b else 'ba'[int(liked_a > liked_b)]
      rows.append(
        {
          'user_id': f'u{user}',
          'prompt_id': f'p{number % 5}',
          'prompt': '?',
          'response_a': a,
          'response_b': b,
          'label': label,
        }
      )
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  np.savez(
    own,
    sha256=[sha256(text.encode()).hexdigest() for text in texts],
    features=np.stack(list(texts.values())).astype(float),
  )
  return path, own


@pytest.fixture
def scored(monkeypatch):
  """Text features without the encoder: counts of the words."""

  source_that_counts(monkeypatch, WORDS)


def train(judged, workdir, *more):
  path, own = judged
  return main.run(
    [
      'train',
      f'--data={path}',
      f'--features={own}',
      '--components=8',
      f'--workdir={workdir}',
      '--set=steps=40',
      '--set=dim=3',
      *more,
    ]
  )


def test_a_mesh_that_is_not_there_is_named(judged, tmp_path, capsys):
  assert train(judged, tmp_path / 'run', '--mesh=data:99') == 2
  assert "'data:99' needs 99 devices" in capsys.readouterr().err


def test_a_run_of_the_first_ground_says_so(judged, tmp_path, capsys):
  kept = '{"method": "pref", "data": "", "people": 3}'
  (tmp_path / 'config.json').write_text(kept)
  assert main.run(['ask', f'--workdir={tmp_path}']) == 2
  assert 'tag first-ground' in capsys.readouterr().err


def test_train_reports_the_gain_and_resumes(judged, tmp_path):
  workdir = tmp_path / 'run'
  assert train(judged, workdir) == 0
  results = json.loads((workdir / 'results.json').read_text())
  gain = {row['method']: row for row in results['tables']['gain']}
  assert gain['pref']['gain'] > 0.1  # half like what the other half dislikes
  tested = {row['control'] for row in results['tables']['controls']}
  assert tested > {
    *('swapped_people', 'population_coefficients', 'exchange', 'slot_probe'),
    *('preference_probe', 'copied_people', 'repeated_judgements'),
  }
  told = [json.loads(x) for x in read_lines(workdir / 'predictions.jsonl.gz')]
  assert {row['method'] for row in told} == {'pref', 'aggregate', 'length_only'}
  assert all(0 <= row['probability'] <= 1 for row in told)
  assert (workdir / 'report' / 'index.html').exists()
  assert train(judged, workdir) == 0  # a finished run is kept


def test_swapped_ids_leave_nothing_that_is_personal(judged, tmp_path):
  path, own = judged
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  swapped = np.random.default_rng(0).permutation([r['user_id'] for r in rows])
  path.write_text(
    ''.join(
      json.dumps({**row, 'user_id': user}) + '\n'
      for row, user in zip(rows, swapped.tolist(), strict=True)
    )
  )
  assert train((path, own), tmp_path / 'run') == 0
  results = json.loads((tmp_path / 'run' / 'results.json').read_text())
  assert 'not personal' in page.plain_answer(results)[0]


@pytest.mark.slow
def test_copied_rows_are_warned_of(judged, tmp_path, capsys):
  path, own = judged
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  copied = [
    {**row, 'user_id': 'again'} for row in rows if row['user_id'] == 'u5'
  ]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows + copied))
  assert train((path, own), tmp_path / 'run') == 0
  said = capsys.readouterr().out
  assert 'Warning: a leak' in said
  assert 'People gave the answers of somebody else' in said


def test_scores_follow_the_person(judged, scored, tmp_path):
  workdir, ask = tmp_path / 'run', tmp_path / 'ask.jsonl'
  assert train(judged, workdir) == 0
  rows = [
    {'response': 'please kindly sir thanks', 'id': 7},
    {'response': 'yes no dude stuff'},
  ]
  ask.write_text(''.join(json.dumps(row) + '\n' for row in rows))

  def scores(*user):
    out = tmp_path / 'scores.jsonl'
    command = ['score', f'--workdir={workdir}', f'--data={ask}', *user]
    assert main.run([*command, f'--output={out}']) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]

  polite, rude = scores('--user=u1'), scores('--user=u2')
  assert polite[0]['id'] == 7
  assert polite[0]['score'] > polite[1]['score']
  assert rude[0]['score'] < rude[1]['score']
  nobody = scores()
  assert nobody[0]['standard_deviation'] > polite[0]['standard_deviation']
  for row in scores('--user=u1', '--bound=lower_bound'):
    deviation = row['standard_deviation']
    assert row['lower'] == pytest.approx(row['score'] - 2 * deviation, rel=1e-4)
  assert 'lower' not in nobody[0]


def test_another_setting_is_refused(judged, tmp_path, capsys):
  workdir = tmp_path / 'run'
  assert train(judged, workdir) == 0
  assert train(judged, workdir, '--seed=1') == 2
  assert 'seed' in capsys.readouterr().err


def test_forgotten_person_is_unknown(judged, tmp_path, capsys):
  workdir = tmp_path / 'run'
  assert train(judged, workdir) == 0
  written = kept_summaries.Folder(workdir)
  draft = written.begin(['u4'])
  assert main.run(['forget', f'--workdir={workdir}', '--user=u3']) == 0
  assert draft.users == written.begin(['u3', 'u4']).users
  assert not (tmp_path / 'cache' / 'tfds' / 'preferences').exists()
  told = [json.loads(x) for x in read_lines(workdir / 'predictions.jsonl.gz')]
  people = {row['user_id'] for row in told}
  assert 'u3' not in people
  assert len(people) > 3
  capsys.readouterr()
  assert main.run(['forget', f'--workdir={workdir}', '--user=u3']) == 2
  assert 'u3' in capsys.readouterr().err


def test_export_reloads(judged, tmp_path, capsys):
  workdir, folder = tmp_path / 'run', tmp_path / 'parameters'
  assert train(judged, workdir) == 0
  command = ['export', f'--workdir={workdir}', f'--output={folder}']
  assert main.run(command) == 0
  parameters, known = export.load_parameters(folder)
  assert parameters['reward']['basis'].shape == (9, 3)  # and length
  assert known['method'] == 'pref'


def test_what_a_person_can_mend_is_told_in_a_line(judged, tmp_path, capsys):
  cases = [
    (['score', f'--workdir={tmp_path}', '--data=x'], 'config.json is missing'),
    (
      ['train', '--data=none.jsonl', f'--workdir={tmp_path}/a'],
      'none.jsonl is not a file',
    ),
  ]
  for command, message in cases:
    assert main.run(command) == 2
    assert message in capsys.readouterr().err
  assert train(judged, tmp_path / 'b', '--set=ridge=big') == 2
  assert "'big' is not a number" in capsys.readouterr().err
  assert train(judged, tmp_path / 'c', '--set=rigde=1') == 2
  assert 'rigde=1: pref takes' in capsys.readouterr().err


@pytest.fixture
def typed(monkeypatch):
  """Lines that a person at the terminal types, in turn; then end of input."""

  def type_(*lines):
    waiting = iter(lines)

    def read(prompt):
      print(prompt)
      try:
        return next(waiting)
      except StopIteration:
        raise EOFError from None

    monkeypatch.setattr('builtins.input', read)

  return type_


def test_asked_answers_change_the_scores(
  judged, scored, typed, tmp_path, capsys
):
  workdir, ask = tmp_path / 'run', tmp_path / 'ask.jsonl'
  assert train(judged, workdir) == 0
  command = ['ask', f'--workdir={workdir}', '--user=new', '--questions=3']
  typed('a', 'b')
  assert main.run(command) == 0
  shown = capsys.readouterr().out
  assert 'Question 1 of 3' in shown
  assert 'coefficient 1:' in shown
  typed('a')
  assert main.run(command) == 0  # resumed: one question is left
  shown = capsys.readouterr().out
  assert '2 answers are kept' in shown
  assert 'Question 3 of 3' in shown
  ask.write_text(json.dumps({'response': 'please kindly sir thanks'}) + '\n')

  def score(*user):
    out = tmp_path / 'scores.jsonl'
    base = ['score', f'--workdir={workdir}', f'--data={ask}', *user]
    assert main.run([*base, f'--output={out}']) == 0
    return json.loads(out.read_text())

  asked, nobody = score('--user=new'), score()
  assert asked['standard_deviation'] < nobody['standard_deviation']
  assert asked['score'] != nobody['score']
  assert main.run(['forget', f'--workdir={workdir}', '--user=new']) == 0
  assert 'forgot the answers of 1 people' in capsys.readouterr().out
  assert (
    main.run(['score', f'--workdir={workdir}', f'--data={ask}', '--user=new'])
    == 2
  )


def test_a_method_without_a_gaussian_belief_cannot_ask(
  judged, tmp_path, capsys
):
  workdir = tmp_path / 'run'
  assert train(judged, workdir, '--method=lore') == 0
  assert main.run(['ask', f'--workdir={workdir}']) == 2
  assert 'keeps no Gaussian belief' in capsys.readouterr().err


@pytest.mark.slow
def test_answers_that_find_no_room_are_told(judged, tmp_path, capsys):
  options = ('--method=in_context', '--set=capacity=5', '--set=width=8')
  assert train(judged, tmp_path / 'run', *options) == 0
  assert 'gave more answers than a belief keeps' in capsys.readouterr().err


@pytest.mark.usefixtures('scored')
def test_audit_writes_its_page(judged, tmp_path, capsys):
  workdir = tmp_path / 'run'
  assert train(judged, workdir) == 0
  command = ['audit', f'--workdir={workdir}', '--questions=6', '--answers=6']
  assert main.run(command) == 0
  assert 'one model for everyone has 0' in capsys.readouterr().out
  known = json.loads((workdir / 'audit' / 'results.json').read_text())
  methods = {row['method'] for row in known['tables']['audit']}
  assert methods == {'population', 'base', 'personal', 'matching'}
  assert (workdir / 'audit' / 'report' / 'index.html').exists()


def test_audit_needs_a_trained_model(tmp_path, capsys):
  assert main.run(['audit', f'--workdir={tmp_path}']) == 2
  assert 'run `prm train`' in capsys.readouterr().err


def test_closeness_to_references(tmp_path, monkeypatch, capsys):
  params = gaussian_likeness.likeness(dim=2).init(
    jax.random.key(0), types.Spec(3, 1)
  )
  params['log_between'] = np.full(2, 2.0, np.float32)
  folder = tmp_path / 'discriminator'
  card = {
    'kind': 'likeness',
    'fingerprint': 'f',
    'reading': {},
    'model': '',
    'same_prompt': False,
  }
  export.export_parameters(params, folder, card)
  model = LanguageModel(None, None, None, 'f')
  monkeypatch.setattr(
    discriminator.LanguageModel, 'load', lambda source=None: model
  )

  def encode(judge, answers):
    counts = [[a.response.count(c) for c in 'xyz'] for a in answers]
    return judge.reward.encode(judge.params, np.array(counts, np.float32))

  monkeypatch.setattr(discriminator.closeness, 'encode', encode)
  known, data = tmp_path / 'known.jsonl', tmp_path / 'data.jsonl'
  known.write_text(json.dumps({'prompt': '?', 'response': 'xxxx'}) + '\n')
  data.write_text(
    ''.join(
      json.dumps({'prompt': '?', 'response': r, 'id': i}) + '\n'
      for i, r in enumerate(['yyzz', 'xxxx'])
    )
  )
  command = ['score', f'--workdir={folder}', f'--data={data}']
  assert main.run([*command, f'--reference={known}']) == 0
  rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [row['id'] for row in rows] == [0, 1]
  assert rows[1]['score'] > rows[0]['score']
  nothing = ['score', f'--workdir={tmp_path}', f'--data={data}']
  assert main.run([*nothing, f'--reference={known}']) == 2
  assert 'holds no finished export' in capsys.readouterr().err
  data.write_text('{"prompt": "?"}\n')
  assert main.run([*command, f'--reference={known}']) == 2
  assert 'data.jsonl:1: response: is missing' in capsys.readouterr().err
  assert main.run([*command, f'--reference={tmp_path / "none"}']) == 2


def test_a_pair_lands_on_one_side_in_any_order_and_spacing():
  rng = np.random.default_rng(0)
  pair = rng.integers(0, 50, (400, 2))
  user = rng.integers(0, 5, 400)
  texts = [f'text {t}' for t in range(50)]
  spaced = [f' Text\u200b  {t}\n' for t in range(50)]
  both = SimpleNamespace(
    user_ids=[f'u{u}' for u in range(6)],
    user=np.tile(user, 3),
    items=np.concatenate([pair, pair[:, ::-1], pair + 50]),
    texts=texts + spaced,
  )
  found = copies.Copies(copies.texts(both.texts), np.arange(6))
  split = held_out.split(both, found, 0).reshape(3, 400)
  assert (split == split[0]).all()
  assert set(split[0]) == {'train', 'new_pairs'}
  # What a copy of somebody said is on their side.
  both.user[400:] = np.where(both.user[400:] == 3, 5, both.user[400:])
  found = found._replace(person=np.array([0, 1, 2, 3, 4, 3]))
  assert (held_out.split(both, found, 0).reshape(3, 400) == split[0]).all()


def test_a_public_set_is_converted(tmp_path, capsys):
  given, out = tmp_path / 'trl.jsonl', tmp_path / 'mine.jsonl'
  rows = [
    {'prompt': f'{i}?', 'chosen': f'good {i}', 'rejected': f'bad {i}'}
    for i in range(10)
  ]
  given.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  call = ['convert', '--from=trl', str(given), f'--output={out}']
  assert main.run(call) == 2  # nobody is said to have judged
  assert '--user=NAME' in capsys.readouterr().err
  assert not out.exists()
  assert main.run([*call, '--user=ann']) == 0
  assert 'wrote 10 rows' in capsys.readouterr().out
  made = [json.loads(line) for line in out.read_text().splitlines()]
  assert {row['user_id'] for row in made} == {'ann'}
  for row, source in zip(made, rows, strict=True):
    chosen = row[f'response_{row["label"]}']
    assert chosen == source['chosen']
  assert main.run([*call, '--user=ann']) == 2
  assert 'exists: choose another file' in capsys.readouterr().err
  names = 'prompt=prompt,chosen=chosen,rejected=rejected'
  columns = ['convert', '--from=columns', str(given), f'--columns={names}']
  columns += ['--user=ann']
  assert main.run([*columns, f'--output={tmp_path / "x.jsonl.gz"}']) == 0
  assert len(list(read_lines(tmp_path / 'x.jsonl.gz'))) == 10
  assert (
    main.run(
      [
        'convert',
        '--from=magic',
        str(given),
        f'--output={tmp_path / "y.jsonl"}',
      ]
    )
    == 2
  )
  assert 'magic' in capsys.readouterr().err
