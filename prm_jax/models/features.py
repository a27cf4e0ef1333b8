"""How texts become the columns that a reward reads, kept with a model.

What a text is read from (`Source`: an encoder, or a file of one's own) is
reduced to a few columns by what was seen in training (`Reader`). All kinds of
one size have the same number of columns, so that a search over kinds compiles
nothing anew; only `known_texts` has one more for every text.
"""

import functools
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prm_jax import places, types
from prm_jax.models import adapted, embeddings, reduce, surface, token_states
from prm_jax.models import trunk as trunks
from prm_jax.models.language_model import LanguageModel

BACKBONE = 'backbone'
KINDS = (
  *('response', 'prompt_and_response', 'surface', 'known_texts', BACKBONE),
)
WITH_PROMPT = ('prompt_and_response', 'known_texts', BACKBONE)
OF_TEXT_ALONE = ('surface',)  # no source is read
_LAYERS = (1, 3, 5)  # of the encoder; the last alone carries style poorly
_RESPONSE_SHARE = 3  # a third of the columns beside the prompt's
_REDUCTIONS = ('together', 'response', 'surface', 'length', BACKBONE)


class Source:
  """Where features of texts come from; each text is read once.

  Attributes:
    own: whether it is a file of one's own.
    backbone: folder of a decoder, or None.
    reading: how the backbone reads a response alone; None where it reads
      prompt and response together.
    cache_dir: of units that were read; the user's cache folder if None.
  """

  def __init__(
    self,
    encoder: str | Path | None = None,
    own: Path | None = None,
    backbone: str | Path | None = None,
    changes: adapted.Changes | Path | None = None,
    reading: str | None = None,
    cache_dir: Path | None = None,
    place: Callable[[types.PyTree], types.PyTree] | None = None,
  ):
    """Names it; weights are loaded when they are first needed.

    Args:
      encoder: folder of a BERT checkpoint, the default one if None.
      own: .npz of one's own features, which takes the encoder's place.
      backbone: folder of a decoder, which takes it, too; see `models.trunk`.
      changes: what training changed in its highest layers, or their folder.
      reading: how the backbone reads a response, in place of the last token of
        prompt and response together: 'UNIT:TOKEN:LAYERS', see
        `models.token_states`.
      cache_dir: of units that were read; the user's cache folder if None.
      place: of the backbone's trunk, see `Trunk.load`.

    Raises:
      ValueError: more than one of them is given, or a reading that is none, or
        that has nothing to read.
    """
    given = {'encoder': encoder, 'features': own, 'backbone': backbone}
    several = [name for name, value in given.items() if value]
    if len(several) > 1:
      raise ValueError(f'features come from one source: {several} are given')
    if reading and not backbone:
      raise ValueError(
        f'reading {reading!r} says how a decoder reads: give its folder as '
        'backbone'
      )
    if reading and not Path(str(backbone)).is_dir():
      raise ValueError(f'{backbone} is no folder of a language model')
    self.own = own is not None
    self.backbone = Path(backbone) if backbone else None
    self._changes = changes
    self.reading = token_states.Reading.parse(reading) if reading else None
    self.cache_dir = cache_dir
    self._path, self._place = own, place
    self._folder = Path(encoder) if encoder else None
    self._known: dict[tuple[Any, ...], np.ndarray] = {}

  @functools.cached_property
  def encoder(self) -> embeddings.Encoder:
    """Returns the encoder, where one is read."""
    return embeddings.Encoder.load(self._folder)

  @functools.cached_property
  def trunk(self) -> trunks.Trunk:
    """Returns the decoder, where there is one, with what training changed."""
    if self.backbone is None:
      raise ValueError('no backbone was given')
    if self.reading is not None:
      raise ValueError(
        f'features are states of units ({self.reading}), which no sequence '
        'classifier computes: train without --reading, or export with '
        '--format=orbax'
      )
    found = trunks.Trunk.load(self.backbone, place=self._place)
    return found if self.changes is None else found.changed(self.changes)

  def changed(
    self, changes: adapted.Changes, cache_dir: Path | None = None
  ) -> 'Source':
    """Returns the decoder as training left it; its weights are shared.

    Args:
      changes: of the highest layers.
      cache_dir: of what it reads; the user's cache folder if None.

    Raises:
      ValueError: they are of another decoder.
    """
    found = Source(backbone=self.backbone, changes=changes, cache_dir=cache_dir)
    found.__dict__['trunk'] = self.trunk.changed(changes)  # not loaded anew
    return found

  @functools.cached_property
  def changes(self) -> adapted.Changes | None:
    """Returns what training changed in the decoder; None if nothing."""
    if isinstance(self._changes, Path):
      return adapted.Changes.load(self._changes)
    return self._changes

  @functools.cached_property
  def _language(self) -> LanguageModel:
    return LanguageModel.load(self.backbone)

  def states(self, reading: token_states.Reading) -> token_states.States:
    """Returns the decoder as it is read; SmolLM2-135M without a backbone."""
    return token_states.States.of(self._language, reading)

  @functools.cached_property
  def name(self) -> str:
    """Returns 'encoder SHA-256', 'backbone SHA-256' or 'file SHA-256'.

    Of a backbone the files are named, which training leaves as they are.
    """
    if self.backbone is not None and self.reading is not None:
      states = self.states(self.reading)
      return f'backbone {states.fingerprint} {states.reading}'
    if self.backbone is not None:
      return f'backbone {self.trunk.base}'
    if self._path is not None:
      return f'file {_file_digest(self._path)}'
    return f'encoder {self.encoder.fingerprint}'

  def files(self) -> list[Path]:
    """Returns the files that the encoder or the backbone is read from."""
    if self.backbone is not None:
      return trunks.files(self.backbone)
    return embeddings.files(embeddings.Encoder.folder(self._folder))

  def __call__(
    self,
    texts: Sequence[str],
    unit: str = 'text',
    layers: tuple[int, ...] = _LAYERS,
  ) -> np.ndarray:
    """Returns features `[M, D]`.

    Args:
      texts: M texts.
      unit: what the encoder reads at once; see `embeddings.embed`.
      layers: of the encoder; a file of one's own has neither.
    """
    key = _digest_of(texts), unit, layers
    if key not in self._known:
      if self._path is not None:
        read = embeddings.embed_from_file(texts, self._path)
      else:
        read = embeddings.embed(
          texts,
          self.encoder,
          layers=layers,
          unit=unit,
          cache_dir=self.cache_dir,
        )
      self._known[key] = read
    return self._known[key]

  def read(
    self, texts: Sequence[str], reading: token_states.Reading
  ) -> np.ndarray:
    """Returns features `[M, D]` of texts, by states of the decoder's tokens.

    Args:
      texts: M texts.
      reading: which states.
    """
    key = _digest_of(texts), reading
    if key not in self._known:
      self._known[key] = self.states(reading)(texts, cache_dir=self.cache_dir)
    return self._known[key]

  def together(
    self, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns features `[M, D]` of responses to prompts, by the backbone.

    With a reading of units, of the responses alone.
    """
    if self.reading is not None:
      return self.read(responses, self.reading)
    key = _digest_of([*prompts, *responses]), BACKBONE
    if key not in self._known:
      self._known[key] = self.trunk(
        prompts, responses, cache_dir=self.cache_dir
      )
    return self._known[key]


class Reader(NamedTuple):
  """Columns of texts, by what was seen in training.

  Attributes:
    kind: one of `KINDS`.
    reductions: name -> how the source's features are reduced.
    known: `[M]` uint64 digests of the texts that have a column of their own.
  """

  kind: str
  reductions: dict[str, reduce.Reduction]
  known: np.ndarray

  @property
  def width(self) -> int:
    """Returns the number of columns."""
    columns = [r.directions.shape[1] for r in self.reductions.values()]
    return sum(columns) + len(self.known)

  def __call__(
    self, source: Source, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns columns `[M, C]` float32.

    Args:
      source: of the same name as in training.
      prompts: M prompts; read by kinds `WITH_PROMPT` alone.
      responses: M responses.

    Raises:
      ValueError: the source's features are of another width.
    """
    columns = []
    for name, reduction in self.reductions.items():
      raw = _raw(name, source, prompts, responses)
      if raw.shape[1] != len(reduction.mean):
        raise ValueError(
          f'the source has {raw.shape[1]} features of a text, and the model '
          f'was trained on {len(reduction.mean)}'
        )
      columns.append(reduction(raw))
    if self.kind == 'known_texts':
      own = _digests(prompts, responses)[:, None] == self.known
      columns.append(own.astype(np.float32))
    return np.concatenate(columns, axis=1)

  def save(self, path: Path) -> None:
    """Writes it."""
    arrays = {'kind': np.array(self.kind), 'known': self.known}
    for name, reduction in self.reductions.items():
      for part, array in reduction._asdict().items():
        arrays[f'{name}/{part}'] = array
    with places.whole_file(path) as file:
      np.savez(file, **arrays)  # type: ignore[arg-type]

  @classmethod
  def load(cls, path: Path) -> 'Reader':
    """Returns what `save` wrote."""
    raw = io.BytesIO(path.read_bytes())
    with np.load(raw, allow_pickle=False) as file:
      reductions = {
        name: reduce.Reduction(
          *(file[f'{name}/{part}'] for part in reduce.Reduction._fields)
        )
        for name in _REDUCTIONS
        if f'{name}/mean' in file
      }
      return cls(str(file['kind']), reductions, file['known'])


def fit(
  kind: str,
  source: Source,
  prompts: Sequence[str],
  responses: Sequence[str],
  train: np.ndarray,
  components: int,
) -> Reader:
  """Returns the reader of a kind, of what training texts say.

  Args:
    kind: 'response': components of the response, and its length;
      'prompt_and_response': components of both together and the response's own
      beside them; 'backbone': components of both as a decoder reads them, and
      no length, so that a classifier can hold the reward; 'surface': counts
      of marks, layout and small words; 'known_texts': the response's, and a
      column for each training text.
    source: of features.
    prompts: M texts.
    responses: M texts.
    train: `[M]` bool or indices of the texts that may be looked at.
    components: columns, besides length.

  Raises:
    ValueError: the kind is unknown.
  """
  if kind not in KINDS:
    raise ValueError(f'unknown features {kind!r}: one of {KINDS}')
  own = components // _RESPONSE_SHARE
  sizes = {
    'response': {'response': components},
    'known_texts': {'response': components},
    'prompt_and_response': {'together': components - own, 'response': own},
    'surface': {'surface': components},
    BACKBONE: {BACKBONE: components + 1},
  }[kind]
  reductions = {
    name: reduce.principal_components(
      _raw(name, source, prompts, responses), train, size, whiten=True
    )
    for name, size in sizes.items()
  }
  if kind != BACKBONE:
    reductions['length'] = reduce.standardisation(
      embeddings.text_length_features(responses), train
    )
  known = np.zeros(0, np.uint64)
  if kind == 'known_texts':
    known = np.unique(_digests(prompts, responses)[train])
  return Reader(kind, reductions, known)


def configured(
  nodes: Mapping[str, Mapping[str, Any]],
  source: Source,
  texts: Sequence[str],
  train: np.ndarray,
  prompts: Sequence[str],
) -> dict[str, Callable[[], np.ndarray]]:
  """Returns the makers of a configuration's feature sets, and of `length`.

  A set is the leading components of what the encoder says of a text, perhaps
  with its length, and with components of what it says of the prompt.

  Args:
    nodes: name -> `unit` and `layers` of the encoder, `components`, `whiten`,
      `length` and `prompt_components`; the unit 'identity' is a column a text,
      'backbone' what a decoder says of prompt and text together. With `token`,
      unit and layers are a decoder's; see `token_states.Reading`.
    source: of features.
    texts: M responses.
    train: `[M]` True where a reduction may look.
    prompts: M prompts.
  """
  counts = embeddings.text_length_features(texts)

  def lengths():
    return reduce.standardisation(counts, train)(counts)

  def maker(node):
    layers = tuple(node.get('layers', ()))

    def components(read, count, whiten):
      return reduce.principal_components(read, train, count, whiten=whiten)(
        read
      )

    def make():
      if node['unit'] == 'identity':
        return np.eye(len(texts), dtype=np.float32)
      if node['unit'] == BACKBONE:
        read = source.together(prompts, texts)
      elif node.get('token'):
        reading = token_states.Reading(node['unit'], node['token'], layers)
        read = source.read(texts, reading)
      else:
        read = source(texts, node['unit'], layers)
      columns = [components(read, node['components'], node['whiten'])]
      if node['length']:
        columns.append(lengths())
      if node.get('prompt_components'):
        asked = source(prompts, 'text', layers)
        columns.append(components(asked, node['prompt_components'], True))
      return np.concatenate(columns, 1)

    return make

  makers = {name: maker(dict(node)) for name, node in nodes.items()}
  return {**makers, 'length': lengths}


def _raw(
  name: str, source: Source, prompts: Sequence[str], responses: Sequence[str]
) -> Any:
  if name == 'length':
    return embeddings.text_length_features(responses)
  if name == 'surface':
    return surface.measure(responses)
  if name == BACKBONE:
    return source.together(prompts, responses)
  if name == 'together':
    both = zip(prompts, responses, strict=True)
    return source([f'{prompt}\n\n{response}' for prompt, response in both])
  return source(responses)


def _digest_of(texts: Sequence[str]) -> str:
  return hashlib.sha256('\0'.join(texts).encode()).hexdigest()


def _digests(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
  """Returns the first 64 bits of the SHA-256 of each text `[M]`."""
  both = zip(prompts, responses, strict=True)
  digests = b''.join(
    hashlib.sha256(f'{prompt}\0{response}'.encode()).digest()[:8]
    for prompt, response in both
  )
  return np.frombuffer(digests, '>u8').astype(np.uint64)


def _file_digest(path: Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
