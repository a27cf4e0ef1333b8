"""Constrained judges that think: a thought is ended before a verdict."""

import jax
import numpy as np
import pytest
import tokenizers

from prm_jax.rewards import judge_choices
from tests.rewards import judged_texts, tiny_judge

FORMS = judged_texts.forms()
CHARACTERS = [tiny_judge.END, '\n', *map(chr, range(32, 127))]
N = 128


def characters():
  """A tokenizer of characters, which every text comes back from."""
  vocabulary = {each: i for i, each in enumerate(CHARACTERS)}
  found = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
  found.decoder = tokenizers.decoders.Fuse()
  found.add_special_tokens([tiny_judge.END])
  return found


def written(constraint, wished):
  """Texts that are as wished, wherever a constraint lets them."""
  ids, run = np.zeros((len(wished), N), np.int32), jax.jit(constraint.allow)
  going = np.ones(len(wished), bool)
  texts = [''] * len(wished)
  for step in range(N):
    allowed = np.asarray(run(constraint.data, ids, step))
    for row in np.flatnonzero(going):
      token = CHARACTERS.index(wished[row][step])
      if not allowed[row, token]:
        token = allowed[row].argmax()
      ids[row, step] = token
      going[row] = token != 0
      texts[row] += CHARACTERS[token] * bool(token)
  assert not going.any()
  return texts


@pytest.mark.parametrize('name', ['rm_r1', 'rrm', 'j1', 'j1, scores'])
def test_a_thought_that_does_not_end_is_ended_before_the_verdict(name):
  form, tokenizer = FORMS[name], characters()
  held = judge_choices.held(
    form,
    tokenizer,
    stop=[tiny_judge.END],
    max_new_tokens=N,
    vocabulary=len(CHARACTERS),
  )
  verdict = form.cue + form.choices[0]
  filler = 'x' * N
  wished = [
    f'<think>so {verdict}{filler}',  # a cue in a thought of its own
    f'so {verdict}{filler}',  # in one that the prompt began
    f'so </think>{verdict}{filler}',  # which ends
    f'so {verdict}{filler}',  # no thought
    filler,  # and no cue
  ]
  opened = [False, True, True, False, False]
  texts = written(held(opened), wished)
  for text, wish, begun in zip(texts, wished, opened, strict=True):
    said = form.parse('<think>' * begun + text)
    assert said.valid, text
    assert text.count('</think>') == (begun or '<think>' in wish)
  for row in (0, 1):  # the thought is free
    begin, close, end = texts[row].partition('</think>')
    assert wished[row].startswith(begin)
    assert verdict in begin
    assert close
    assert end.startswith(form.cue)
  assert texts[2] == f'so </think>{verdict}'
  assert texts[3] == f'so {verdict}'
  assert texts[4].count(form.cue) == 1


def test_a_cue_that_ends_the_thought_itself_ends_it_once():
  form = FORMS['judge_lrm']
  held = judge_choices.held(
    form,
    characters(),
    stop=[tiny_judge.END],
    max_new_tokens=N,
    vocabulary=len(CHARACTERS),
  )
  (text,) = written(held([True]), ['<answer>' + 'x' * N])
  assert form.parse(text).valid
  assert text.count('</think>') == 1


def test_a_tokenizer_that_cannot_write_an_end_leaves_thoughts_alone():
  held = judge_choices.held(
    FORMS['j1'],
    tiny_judge.tokenizer(),
    stop=[tiny_judge.END],
    max_new_tokens=3,
    vocabulary=len(tiny_judge.WORDS),
  )
  assert held([True]).data.closing.shape == (1, 0)
