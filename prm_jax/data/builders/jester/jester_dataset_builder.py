"""Jester5k: real ratings of 100 jokes by anonymous people."""

from pathlib import Path

from prm_jax.data import schema
from prm_jax.data.builders import table


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Ratings of 100 jokes in -10..10 (Goldberg et al. 2001)."""

  name = 'jester'

  def read(self):
    """Returns the ratings."""
    jokes_path, ratings_path = self.builder_config.files
    jokes = {
      row['joke']: row['text']
      for row in table.json_rows(jokes_path, {'joke': int, 'text': str})
    }
    rows = []
    for number, row in enumerate(
      table.json_rows(ratings_path, {'user': int, 'ratings': list}), 1
    ):
      for joke, rating in row['ratings']:
        if joke not in jokes:
          raise schema.SchemaError(
            f'{ratings_path}:{number}: ratings: no joke {joke!r}'
          )
        rows.append(
          schema.Rating(
            user_id=f'jester{row["user"]:05d}',
            prompt_id='joke',
            prompt='Tell me a joke.',
            response=jokes[joke],
            rating=float(rating),
            topic='joke',
          )
        )
    return schema.code_ratings(rows), schema.Report(len(rows), 0)


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/jester5k`."""
  folder = data_dir / 'jester5k'
  names = ('jokes.jsonl.gz', 'ratings.jsonl.gz')
  return table.source_config([table.existing(folder / n) for n in names])
