"""A reward model of people, from Python: fit, score, ask, forget, export.

    m = Model.fit('mine.jsonl', method='pref')
    m.score('ann', prompt, [a, b])

A model is never changed: `answer` and `forget` return another one. The command
`prm` does what this module does.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import adapting, places, setting, stance_pool, training, types
from prm_jax.audits import trained
from prm_jax.data import schema
from prm_jax.elicitation import pool, terminal
from prm_jax.elicitation import session as sessions
from prm_jax.models import features
from prm_jax.ops import acquisition, bayes
from prm_jax.runtime import checkpoint, export, processes, train, writers
from prm_jax.runtime.claims import claimed
from prm_jax.systems import inference, scoring
from prm_jax.users import bank as banks
from prm_jax.worlds import stances

_CONFIG, _READER = 'config.json', 'reader.npz'
_METADATA = 'metadata.json'
_WEIGHTS = ('encoder', 'backbone')  # folders of an export, by source


class Said(NamedTuple):
  """What a person answered when asked.

  Attributes:
    answers: numbers of questions, each with 'a', 'b' or 'skip'.
    corrections: coefficient -> the mean that the person gave it.
  """

  answers: tuple[sessions.Answer, ...] = ()
  corrections: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Model:
  """A trained reward model and what it believes of people.

  Attributes:
    setting: what it is.
    state: parameters, and beliefs about everybody who trained.
    reader: how a text becomes features.
    source: of features.
    kept: pairs that can be asked; none in an export.
    asked: name -> what who was asked has answered.
    results: how good it is, on judgements held out; empty if not measured.

  Examples:
    >>> rows = [  # ann likes what is long, bob what is short
    ...   schema.Judgement(user, 'p', 'Why?', 'Because.', 'It ' * n, label, 'p')
    ...   for n in range(2, 32)
    ...   for user, label in (('ann', 0.0), ('bob', 1.0))
    ... ]
    >>> judged = schema.code_judgements(rows)
    >>> m = Model.fit(judged, method='hierarchical', kind='surface')
    >>> short, long = m.score('ann', 'Why?', ['No.', 'It is so.']).score
    >>> bool(long > short)
    True
  """

  setting: setting.Setting
  state: types.TrainState
  reader: features.Reader
  source: features.Source
  kept: pool.Kept | None = None
  asked: Mapping[str, Said] = dataclasses.field(default_factory=dict)
  results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  # ------------------------------------------------------------ fit and files

  @classmethod
  def fit(
    cls,
    data: str | Path | schema.Judgements | schema.Ratings,
    *,
    method: str = 'pref',
    workdir: str | Path | None = None,
    **options: Any,
  ) -> 'Model':
    """Returns a model fitted to judgements, a tenth of which is held out.

    Args:
      data: a .jsonl or .jsonl.gz file of judgements or ratings, or a table.
      method: a kind of `registry.LEARNERS` that scores people or everybody.
      workdir: where checkpoints, the model and its results are written; a
        killed fit goes on there. Nothing is written if None.
      **options: of `training.fit`: `options` of the learner, `kind` of
        features, `components`, `encoder`, `own_features`, `backbone`,
        `reading`, `seed`.

    Raises:
      ValueError: the data, the method or an option cannot be used.
      CheckpointError: the workdir belongs to another setting.
      ClaimedError: another run writes there.
    """
    folder = places.place(workdir) if workdir else None
    with claimed(folder):
      fitted = training.fit(data, method=method, workdir=folder, **options)
      if folder is not None and processes.first():
        _write(folder, fitted.reader, fitted.kept)
    return cls(*fitted[:-1], results=fitted.results)

  @staticmethod
  def compare(
    data: str | Path, workdir: str | Path, **options: Any
  ) -> dict[str, Any]:
    """Returns what personal models gain on judgements; see `comparing.run`."""
    from prm_jax import comparing  # which fits models

    return comparing.run(data, workdir, **options)

  @classmethod
  def load(
    cls, folder: str | Path, *, own_features: Path | None = None
  ) -> 'Model':
    """Returns what `fit`, `save`, `export` or `prm train` wrote.

    Args:
      folder: of the model.
      own_features: .npz of the texts to score, of a model that was trained on
        such.

    Raises:
      ValueError: the folder holds no model, or one of another version.
      CheckpointError: its checkpoint is damaged.
    """
    folder = places.place(folder)
    if (folder / _METADATA).exists():
      return cls._load_export(folder, own_features)
    known = setting.read(folder / _CONFIG)
    saved, state = folder / 'checkpoints', None
    if saved.exists():
      with checkpoint.Checkpoints(saved, read_only=True) as manager:
        if manager.latest() is not None:
          state = manager.restore(known.finished())
    if state is None:
      raise ValueError(f'{folder} holds no checkpoint: run `prm train` again')
    made = cls(
      known,
      state,
      features.Reader.load(folder / _READER),
      _source(own_features, known.encoder, known.backbone, known, folder),
      pool.read(folder),
    )
    return dataclasses.replace(made, asked=made._sessions(folder))

  @classmethod
  def _load_export(cls, folder: Path, own_features: Path | None) -> 'Model':
    card = export.load_parameters(folder)[1]
    known = setting.parse(card, folder / _METADATA)
    state = known.learner().init(known.key, known.spec)
    params, _ = export.load_parameters(folder, state.params)
    encoder, backbone = (
      str(folder / kind) if known.source.startswith(f'{kind} ') else None
      for kind in _WEIGHTS
    )
    return cls(
      known,
      state._replace(params=params),
      features.Reader.load(folder / _READER),
      _source(own_features, encoder, backbone, known, folder),
    )

  def save(self, folder: str | Path) -> None:
    """Writes the model, with everybody's beliefs and answers, to a new folder.

    Raises:
      FileExistsError: the folder has something in it.
    """
    writers.refuse_filled(folder)
    folder = writers.make_folder(places.disk(folder))
    if self.kept is None:
      raise ValueError('an export holds nobody: copy its folder instead')
    writers.write_json_atomic(folder / _CONFIG, self.setting.described())
    _write(folder, self.reader, self.kept)
    self._write_changes(folder)
    learner = self.setting.learner()
    with checkpoint.Checkpoints(folder / 'checkpoints') as manager:
      manager.save(train.length(learner) + 1, self.state)
      manager.wait()
    for user, said in self.asked.items():
      session = sessions.Session(
        pool.session_path(folder, user), user, self._names()
      )
      for pair, answer in said.answers:
        session.answer(pair, answer)
      for coefficient, mean in said.corrections:
        session.correct(coefficient, mean)

  def export(self, folder: str | Path) -> None:
    """Writes all that scores texts, and nothing about a person.

    Parameters, how texts are read, and the encoder's files: another machine
    with only the folder scores for the population.

    Raises:
      FileExistsError: the folder has something in it.
    """
    known = dataclasses.replace(
      self.setting, people=0, encoder=None, backbone=None
    )
    with writers.whole_folder(folder) as part:
      export.export_parameters(
        self.state.params, part, dataclasses.asdict(known)
      )
      self.reader.save(part / _READER)
      kind = known.source.partition(' ')[0]
      if kind in _WEIGHTS:
        target = writers.make_folder(part / kind)
        for path in self.source.files():
          shutil.copyfile(path, target / path.name)
      self._write_changes(part)

  def _write_changes(self, folder: Path) -> None:
    """Writes what training changed in a backbone, if it changed anything."""
    if self.source.changes is not None:
      self.source.changes.save(folder / adapting.FOLDER)

  # -------------------------------------------------------------------- score

  def score(
    self,
    user: str | None,
    prompt: str,
    responses: Sequence[str],
    *,
    bound: str | None = None,
    width: float = 2.0,
    strength: float = 0.5,
  ) -> scoring.Scores:
    """Returns how good responses to a prompt are for a person.

    Args:
      user: who trained, or was asked; the population if None.
      prompt: what was asked for.
      responses: K of them.
      bound: a pessimistic score besides, see `systems.scoring.scores`:
        'lower_bound' of a method with a deviation, 'WCO' or 'UWO' of an
        ensemble; none if None.
      width: of 'lower_bound', standard deviations below the score.
      strength: of 'UWO', per unit of score.

    Raises:
      KeyError: nothing is known of the person.
      ValueError: features cannot be had as in training, or the method has no
        such bound.
    """
    return self.score_rows(
      user,
      [prompt] * len(responses),
      responses,
      bound=bound,
      width=width,
      strength=strength,
    )

  def score_rows(
    self,
    user: str | None,
    prompts: Sequence[str],
    responses: Sequence[str],
    **bound: Any,
  ) -> scoring.Scores:
    """Returns how good M responses to M prompts are for a person.

    Args:
      user: as in `score`.
      prompts: M; responses to the same one are compared.
      responses: M.
      **bound: `bound`, `width` and `strength` of `score`.

    Raises:
      KeyError, ValueError: as in `score`.
    """
    system = self.setting.learner().system
    scoring.check(system, bound.get('bound'))
    return scoring.scores(
      system,
      self.state.params,
      self.context(user),
      jnp.asarray(self.features(prompts, responses)),
      prompts=prompts,
      **bound,
    )

  def members(
    self, user: str | None, prompt: str, responses: Sequence[str]
  ) -> np.ndarray:
    """Returns what every member of an ensemble says, `[E, K]`.

    Less its mean over the responses, which nothing identifies; the mean over
    members is the score. See `ops.ensembles` for what can be made of them.

    Args:
      user: as in `score`.
      prompt: what was asked for.
      responses: K of them.

    Raises:
      KeyError: nothing is known of the person.
      ValueError: the method has no members.
    """
    system = self.setting.learner().system
    scoring.check(system, 'WCO')
    prompts = [prompt] * len(responses)
    return scoring.members(
      system,
      self.state.params,
      self.context(user),
      jnp.asarray(self.features(prompts, responses)),
    )

  @property
  def reads_prompts(self) -> bool:
    """Returns whether a response's features depend on its prompt."""
    return self.setting.kind in features.WITH_PROMPT

  def features(
    self, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns features `[M, D]` of texts, as the model reads them.

    Raises:
      ValueError: they do not come from where those in training came from.
    """
    if self.setting.own_features and not self.source.own:
      raise ValueError(
        'the model was trained on features of your own: give those of these '
        'texts with --features (own_features=), made in the same way'
      )
    if self.source.own and not self.setting.own_features:
      raise ValueError(
        f'the model was trained on features of {self.setting.source}: leave '
        'out --features'
      )
    self.check_weights()
    return self.reader(self.source, prompts, responses)

  def check_weights(self) -> None:
    """Raises ValueError where other weights read texts than in training."""
    kept = self.setting.source
    of_weights = tuple(f'{kind} ' for kind in _WEIGHTS)
    if kept.startswith(of_weights) and self.source.name != kept:
      raise ValueError(
        'the weights are not those that the model was trained with '
        f'({self.source.name} and {kept}): give back their files, or train anew'
      )

  def context(self, user: str | None) -> types.PyTree:
    """Returns what the reward is told of a person, of nobody if None.

    Raises:
      KeyError: nothing is known of the person.
    """
    system, params = self.setting.learner().system, self.state.params['user']
    if user is None:
      return system.user.context(params, system.user.prior(params))
    said, belief = self.asked.get(user), self._belief(user)
    if said is None:
      if belief is None:
        raise KeyError(f'not in the user bank, and never asked: {user!r}')
      return system.user.context(params, belief)
    for coefficient, mean in said.corrections:
      params = sessions.observe(params, coefficient, mean)
    belief = system.user.prior(params) if belief is None else belief
    questions = self.questions()
    rows = [(pair, answer) for pair, answer in said.answers if answer != 'skip']
    index = np.array([pair for pair, _ in rows], int)
    evidence = types.Pair(
      jnp.stack([questions.first[index], questions.second[index]], 1),
      jnp.array([float(answer == 'a') for _, answer in rows]),
      jnp.ones(len(rows)),
    )
    belief, _ = system.user.update(self.setting.key, params, belief, evidence)
    return system.user.context(params, belief)

  def _belief(self, user: str) -> types.PyTree | None:
    """Returns what training left of a person, None if they did not train."""
    try:
      where = banks.rows_of(self.state.people, [user])[0]
    except KeyError:
      return None
    return jax.tree.map(lambda leaf: leaf[where], self.state.people.beliefs)

  # ---------------------------------------------------------------------- ask

  def ask(self, user: str) -> terminal.Question | None:
    """Returns what it would teach most to ask a person next, None if nothing.

    Raises:
      ValueError: the method keeps no Gaussian belief, or the model is an
        export, which has no questions.
    """
    _ = self.prior  # of a method that can say what an answer would teach
    questions = self.questions()
    context = self.context(user if self.knows(user) else None)
    index, _ = sessions.best(
      context.mean,
      context.factor,
      questions.difference,
      [pair for pair, _ in self.asked.get(user, Said()).answers],
      acquisition.information_gain,
    )
    return questions.questions[index] if index >= 0 else None

  def answer(
    self, user: str, question: terminal.Question, answer: str
  ) -> 'Model':
    """Returns the model that knows a person's answer.

    Args:
      user: who answers, known before or not.
      question: from `ask`.
      answer: 'a', 'b' or 'skip'.

    Raises:
      ValueError: no such question, or answer.
    """
    names = self._names()
    if question.name not in names:
      raise ValueError(f'{question.name!r} is not a question of this model')
    if answer not in sessions.ANSWERS:
      raise ValueError(f'answer: {answer!r} is none of {sessions.ANSWERS}')
    said = self.asked.get(user, Said())
    new = sessions.Answer(names.index(question.name), answer)
    said = said._replace(answers=(*said.answers, new))
    return dataclasses.replace(self, asked={**self.asked, user: said})

  def knows(self, user: str) -> bool:
    """Returns whether a person trained, or was asked."""
    return user in self.asked or self._belief(user) is not None

  @property
  def prior(self) -> bayes.GaussianPrior:
    """Returns the population's coefficients.

    Raises:
      ValueError: the method keeps no Gaussian belief.
    """
    prior = self.state.params['user']
    if not isinstance(prior, bayes.GaussianPrior):
      raise ValueError(
        f'{self.setting.method} keeps no Gaussian belief: train pref, '
        'hierarchical or rfm to ask questions'
      )
    return prior

  def session(self, folder: Path, user: str) -> sessions.Session:
    """Returns a person's session on disk, which knows their training answers.

    Args:
      folder: of the model.
      user: who is asked.
    """
    _ = self.prior  # only Gaussian beliefs are asked for
    belief, known = self._belief(user), None
    if belief is not None:
      kept = belief.answers
      known = sessions.Known(
        *(np.asarray(leaf) for leaf in (kept.value, kept.label, kept.mask))
      )
    return sessions.Session(
      pool.session_path(folder, user), user, self._names(), known
    )

  def questions(self) -> terminal.Pool:
    """Returns everything that can be asked.

    Raises:
      ValueError: the model is an export, which has none.
    """
    system = self.setting.learner().system
    return pool.encode(self._kept(), system, self.state.params['reward'])

  def _names(self) -> list[str]:
    return [question.name for question in pool.questions(self._kept())]

  def _kept(self) -> pool.Kept:
    if self.kept is None:
      raise ValueError('an export has no questions: ask the trained model')
    return self.kept

  def _sessions(self, folder: Path) -> Mapping[str, Said]:
    """Returns what everybody has answered on disk."""
    found, names = {}, None
    for path in sorted((folder / 'sessions').glob('*.jsonl')):
      names = names or self._names()
      user = sessions.whose(path)
      session = sessions.Session(path, user, names)
      found[user] = Said(
        tuple(session.answers), tuple(session.corrections.items())
      )
    return found

  # ------------------------------------------------------- forget, audit, know

  def forget(self, *users: str) -> 'Model':
    """Returns the model as if these people had never been in it.

    The shared parameters learned from them and are not changed.

    Raises:
      KeyError: nothing is known of one of them; then nobody is forgotten.
    """
    trained_ = [
      user
      for user in users
      if user not in self.asked or self._belief(user) is not None
    ]
    people = self.state.people
    if trained_:
      people = banks.forget(people, trained_)
    return dataclasses.replace(
      self,
      state=self.state._replace(people=people),
      asked={u: s for u, s in self.asked.items() if u not in users},
    )

  def audit(self, *, questions: int = 20, answers: int = 24) -> dict[str, Any]:
    """Returns what personal rewards break, measured on texts of known stance.

    Args:
      questions: of each kind.
      answers: to each question.

    Returns:
      The content of results.json: rows of the table `audit`, and an answer.

    Raises:
      ValueError: the model reads features of one's own, which these texts
        have not.
    """
    if self.setting.own_features:
      raise ValueError(
        'the model was trained on features of your own, and an audit writes '
        'texts that have none: train on an encoder to audit'
      )
    written = stances.write(
      split='audit',
      seed=self.setting.seed,
      questions=questions,
      answers=answers,
    )
    texts = [text for row in written.texts for text in row]
    prompts = [q.text for q in written.questions for _ in range(answers)]
    system, params = self.setting.learner().system, self.state.params
    encoded = inference.encode(
      system, params, jnp.asarray(self.features(prompts, texts))
    )
    served = stance_pool.candidates(written, encoded)
    contexts = jax.vmap(
      lambda belief: system.user.context(params['user'], belief)
    )(self.state.people.beliefs)
    rows = trained.audit(
      system, params, contexts, served, seed=self.setting.seed
    )
    return {
      'study': 'audit',
      'config': dataclasses.asdict(self.setting),
      'seeds': [self.setting.seed],
      'tables': {'audit': rows},
      'answer': trained.answer(rows),
    }


def _source(
  own: Path | None, encoder, backbone, known: setting.Setting, folder: Path
) -> features.Source:
  """Returns where features come from; a file of one's own comes first."""
  if own is not None:
    return features.Source(own=own)
  return setting.source(
    encoder,
    backbone=backbone,
    changes=None if known.adapt is None else folder / adapting.FOLDER,
    reading=known.reading,
  )


def _write(folder: Path, reader: features.Reader, kept: pool.Kept) -> None:
  """Writes what a model is besides configuration and checkpoint."""
  reader.save(folder / _READER)
  pool.write(folder, kept)
