"""What judging costs: both orders of a pair, votes, and a knockout.

Both orders of a pair are judged by one token each, a verdict. What they share,
the question and all that stands before it, is read once, or as often as it is
judged; asked is that the time falls by at least 90 % of what the number of
tokens falls by.

A small judge of the world of chains writes whole traces, in both orders and k
times each, held to the grammar; a judgement is the vote of all 2 k. What
prompts share is read once.

A knockout of n answers, each pair judged in both orders by one token, which is
one of the two verdicts: every round is padded to the first one's shape.
Programs that are compiled from its start to its end are counted.

Weights are random.
"""

import contextlib
import functools
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import monitoring

from experiments.benchmarks import heads, program
from prm_jax import types
from prm_jax.lab import timing
from prm_jax.models import constraints, decoder, prefixes, sampling
from prm_jax.ops import tournaments
from prm_jax.worlds import judging, judging_grammar, judging_traces

# Of the first runs of judges of chains: 3 layers, 150,000 parameters.
SMALL = decoder.DecoderConfig(
  *(len(judging.TOKENS), 64, 256, 3, 4, 4, 16),
  rope_theta=100.0,
  tie_word_embeddings=False,
)
_COMPILED = '/jax/core/compile/backend_compile_duration'


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: of the first part: 'SmolLM2-135M', its sizes, or 'tiny'.
    pairs: of the first part.
    question: tokens that both orders of a pair share.
    answers: tokens of both answers together.
    problems: pairs that a small judge judges.
    steps: of each problem.
    votes: samples of each order, k.
    candidates: of the knockout, n.
    candidate: tokens of each.
    repeats: timed rounds.
  """

  model: str = 'SmolLM2-135M'
  pairs: int = 4
  question: int = 192
  answers: int = 64
  problems: int = 32
  steps: int = 4
  votes: tuple[int, ...] = (1, 2, 4, 8, 16)
  candidates: int = 64
  candidate: int = 12
  repeats: int = 5


SMOKE = Sizes('tiny', 2, 5, 4, 2, 1, (2,), 8, 3, 1)


@functools.cache
def weights(config: decoder.DecoderConfig) -> types.PyTree:
  """Returns random parameters."""
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(config).init)
  return init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))


def both_orders(sizes: Sizes) -> program.Tables:
  """Returns seconds of reading what orders share once, and twice."""
  config = heads.DECODERS[sizes.model]
  params, rng = weights(config), np.random.default_rng(0)
  pairs, P, S = sizes.pairs, sizes.question, sizes.answers
  shape = (pairs, P + S)
  first = rng.integers(1, config.vocab_size, size=shape, dtype=np.int32)
  half = P + S // 2
  second = np.hstack([first[:, :P], first[:, half:], first[:, P:half]])
  whole, pair = np.concatenate([first, second]), np.tile(np.arange(pairs), 2)
  full = np.ones_like(whole)
  suffix = prefixes.Suffix(whole[:, P:], full[:, P:])
  verdict = constraints.begins(
    [[[1], [2]]] * len(whole), vocabulary=config.vocab_size
  )
  judge = functools.partial(
    sampling.sample,
    *(jax.random.key(0), config, params),
    max_new_tokens=1,
    constraint=verdict,
    filtered=False,
  )
  arms = {
    'twice': functools.partial(judge, whole, full),
    'once': functools.partial(
      judge, first[:, :P], full[:pairs, :P], source=pair, suffix=suffix
    ),
  }
  worked: dict[str, list[float]] = {name: [] for name in arms}

  def turn(name):
    start = time.process_time()
    found = jax.block_until_ready(arms[name]())
    worked[name].append(time.process_time() - start)
    return found

  times = timing.side_by_side(
    {name: functools.partial(turn, name) for name in arms}, sizes.repeats
  )
  one, two = (times[name].result.base_logprob for name in ('once', 'twice'))
  # Of all cores together: what others run on them counts little.
  cores = {name: statistics.median(took[1:]) for name, took in worked.items()}
  tokens = {'twice': whole.size, 'once': pairs * P + 2 * pairs * S}
  ratio = tokens['twice'] / tokens['once']
  faster = times['twice'].times('times_once', times['once'])
  busy = cores['twice'] / cores['once']
  row: dict[str, Any] = {
    'model': sizes.model,
    'parameters': config.parameters,
    'pairs': pairs,
    'question_tokens': P,
    'answers_tokens': S,
    **{f'{name}_tokens': count for name, count in tokens.items()},
    **timing.seconds(times),
    **{f'{name}_core_seconds': took for name, took in cores.items()},
    'token_ratio': ratio,
    **faster,
    'times_once_core_seconds': busy,
    'share_of_token_ratio': faster['times_once'] / ratio,
    'share_of_token_ratio_core_seconds': busy / ratio,
    'logprob_gap_nats': float(np.abs(one - two).max()),
  }
  return {'both_orders': [row]}


def votes(sizes: Sizes) -> program.Tables:
  """Returns judgements a second, by the samples of each order."""
  rng, B, K = np.random.default_rng(0), sizes.problems, sizes.steps
  params, length = weights(SMALL), np.full(B, K)
  given = judging.pairwise(
    rng,
    judging.draw(rng, judging.tables(rng), length, width=K, unseen=False),
    judging.halves(rng, B),
  )
  both = [judging.prompts(one) for one in (given, judging.swapped(given))]
  texts = [row[row != judging.PAD].tolist() for row in np.concatenate(both)]
  split = prefixes.shared(texts, np.tile(np.arange(B), 2).tolist())
  frame = judging_grammar.frame(given.problems, 2)
  N = frame.first.shape[1]

  def judge(k):
    row = np.repeat(np.arange(2 * B), k)
    packed = prefixes.packed(
      [texts[r] for r in row], split[row].tolist(), most=2 * B
    )
    found = sampling.sample(
      *(jax.random.key(0), SMALL, params),
      *(packed.prompts.ids, packed.prompts.mask),
      source=packed.source,
      suffix=packed.suffix,
      max_new_tokens=N,
      stop_ids=(judging.END,),
      constraint=constraints.Constraint(
        judging_grammar.allow, jax.tree.map(lambda leaf: leaf[row % B], frame)
      ),
      filtered=False,
    )
    return judging_traces.parse(np.asarray(found.ids), K, 2)

  times = timing.side_by_side(
    {k: functools.partial(judge, k) for k in sizes.votes}, sizes.repeats
  )
  rows = []
  for k, timed in times.items():
    rows.append(
      {
        'votes': k,
        'texts': 2 * B * k,
        'parameters': SMALL.parameters,
        'prompt_tokens': len(texts[0]),
        'written_tokens': N,
        **timed.columns(),
        'judgements_per_second': B / timed.median,
        'texts_per_second': 2 * B * k / timed.median,
        'whole_share': float(timed.result.whole.mean()),
      }
    )
  return {'votes': rows}


def knockout(sizes: Sizes) -> program.Tables:
  """Returns rounds, programs and seconds of a knockout, first and again."""
  n, T, config = sizes.candidates, sizes.candidate, SMALL
  rng, params = np.random.default_rng(0), weights(SMALL)
  V, size = config.vocab_size, 2 * (n // 2)
  question = rng.integers(1, V, (1, sizes.question), dtype=np.int32)
  answers = rng.integers(1, V, (n, T), dtype=np.int32)
  first, second = judging.VERDICTS[2], judging.VERDICTS[2] + 1
  verdict = constraints.begins([[[first], [second]]] * size, vocabulary=V)
  key, asked = jax.random.key(0), []

  def compare(pairs):
    asked.append(len(pairs))
    ids = answers[pairs].reshape(len(pairs), -1)
    found = sampling.sample(
      *(key, config, params, question, np.ones_like(question)),
      source=np.zeros(len(pairs), np.int32),
      suffix=prefixes.Suffix(ids, np.ones_like(ids)),
      max_new_tokens=1,
      constraint=verdict,
      filtered=False,
    )
    said = np.exp(np.asarray(found.logprob)[:, 0])
    return np.where(np.asarray(found.ids)[:, 0] == first, said, 1 - said)

  judge = tournaments.both_orders(tournaments.padded(compare, size))
  order, rows = rng.permutation(n)[None], []
  for run in ('first', 'again'):
    asked.clear()
    with compilations() as compiled:
      start = time.perf_counter()
      found = tournaments.knockout(judge, order)
      seconds = time.perf_counter() - start
    rows.append(
      {
        'run': run,
        'candidates': n,
        'matches': int(found.matches[0]),
        'winners_wins': int(found.wins[0, found.winner[0]]),
        'rounds': len(asked),
        'texts_a_round': size,
        'compilations': len(compiled),
        'seconds': seconds,
      }
    )
  return {'knockout': rows}


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
  """Yields the seconds of each program that is compiled inside."""
  found: list[float] = []

  def listen(event: str, duration_secs: float, **_: Any) -> None:
    if event == _COMPILED:
      found.append(duration_secs)

  monitoring.register_event_duration_secs_listener(listen)
  try:
    yield found
  finally:
    monitoring.unregister_event_duration_listener(listen)


def measure(sizes: Sizes) -> program.Tables:
  """Returns all tables."""
  return {**both_orders(sizes), **votes(sizes), **knockout(sizes)}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
