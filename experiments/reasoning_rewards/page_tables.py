"""Tables of the page of judges: what each says, and its columns."""

from prm_jax.report import tables

_TOURNAMENT = {
  'judge': ('text', 'judge'),
  'bonus': ('number', 'bias'),
  'order': ('text', 'order'),
  'answers': ('count', 'candidates'),
  'comparisons': ('count', 'comparisons'),
  'method': ('word', 'method'),
}


def _measured(end: str) -> dict[str, tuple[str, str]]:
  return {
    'rank correlation': ('number', f'spearman{end}'),
    'best one first': ('points', f'best_first{end}'),
    'repetitions': ('count', 'repetitions'),
  }


_JUDGE = {'judge': ('text', 'judge'), 'decoder': ('text', 'state')}
TABLES: dict[str, tables.Spec | None] = {
  'judges': tables.Spec(
    'Judges, by class and steps',
    'Percent, with 95 % intervals over seeds and problems. Steps beyond four '
    'were never trained.',
    {
      'judge': ('word', 'judge'),
      'class': ('text', 'class'),
      'steps': ('count', 'steps'),
      'pair': ('points', 'pair'),
      'verdict': ('points', 'verdict'),
      'chain': ('points', 'chain'),
      'tokens': ('number', 'tokens_per_judgement'),
      'one after another': ('number', 'sequential_steps'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'lead': tables.Spec(
    'What writing a chain is worth',
    'Pairs that the judge that writes prefers rightly, less those of each '
    'scalar judge, in points. A lead over a judge that still gains in the '
    'class, or that fails its control, is not claimed: fair says whether.',
    {
      'over': ('word', 'judge'),
      'class': ('text', 'class'),
      'steps': ('count', 'steps'),
      'lead': ('points', 'lead'),
      'fair': ('text', 'fair'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'plateau': tables.Spec(
    'Are scalar judges at their plateau?',
    'Pairs that are preferred rightly at the end, and what the last third of '
    'the updates adds, in points. A judge gains if that is a point or more '
    'over all seeds, or in one seed and more than noise there; no lead is '
    'claimed in a class of which any length gains, nor where hidden problems '
    'of one step are below 85 %. Near 50 % without a gain it has not left its '
    'start.',
    {
      'judge': ('word', 'judge'),
      'class': ('text', 'class'),
      'steps': ('count', 'length'),
      'rate': ('text', 'rate'),
      'pairs an update': ('count', 'batch'),
      'updates': ('count', 'steps'),
      'train': ('points', 'train'),
      'last third, train': ('points', 'train_gain'),
      'test': ('points', 'test'),
      'last third, test': ('points', 'test_gain'),
      'seeds that gain': ('count', 'seeds_gaining'),
      'gains': ('text', 'gains'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'search': tables.Spec(
    'Rates and batches that were tried',
    'Percent of validation pairs after the updates of the search, on a seed '
    'that serves for nothing else; the best of each judge was taken.',
    {
      'judge': ('word', 'judge'),
      'rate': ('text', 'rate'),
      'pairs an update': ('count', 'batch'),
      'updates': ('count', 'steps'),
      'validation': ('points', 'validation'),
    },
  ),
  'parts': tables.Spec(
    'Which part of a chain fails',
    'The next token is right, where all before it are given rightly.',
    {
      'steps': ('count', 'steps'),
      'token': ('text', 'role'),
      'of steps': ('text', 'part'),
      'right': ('points', 'right'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'votes': tables.Spec(
    'A weak judge, asked again',
    'Percent. Sum and mean P(Y) say which of two solutions is right, majority '
    'says it of single ones. Meta: the better half of the texts, by a meta '
    'reward model that was trained on other problems. Cost: tokens times '
    'parameters, in those of one text of the weak judge.',
    {
      'judge': ('text', 'judge'),
      'rule': ('word', 'rule'),
      'texts': ('count', 'texts'),
      'right': ('points', 'right'),
      'over one text': ('points', 'gain'),
      'over unfiltered': ('points', 'over_unfiltered'),
      'tokens written': ('number', 'tokens_written'),
      'cost': ('number', 'cost'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'single_texts': tables.Spec(
    'Single texts of the weak judge',
    'Percent of texts at temperature 1. Lucky: the verdict is right though the '
    'chain is wrong.',
    {
      'verdict': ('points', 'verdict'),
      'chain': ('points', 'chain'),
      'invalid': ('points', 'invalid'),
      'wrong solution accepted': ('points', 'false_yes'),
      'right solution rejected': ('points', 'false_no'),
      'lucky': ('points', 'lucky'),
      'AUC of meta': ('number', 'meta_auc'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'training': tables.Spec(
    'What a weak judge learns from being right',
    'Percent at temperature 1, before and after, on the same held-out '
    'problems. Flips: the order of the two solutions decides.',
    {
      'method': ('word', 'method'),
      'form': ('text', 'form'),
      **{
        f'{name}, {when}': ('points', f'{name}_{when}')
        for name in ('verdict', 'chain', 'whole', 'flips', 'both')
        for when in ('before', 'after', 'gain')
      },
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'training_against': tables.Spec(
    'One way of training against another',
    'What the one adds less what the other adds, in points; both start from '
    'the same judge, and seeds and problems are paired. Flips and both are of '
    'pairs alone.',
    {
      'method': ('word', 'method'),
      'over': ('word', 'over'),
      'form': ('text', 'form'),
      **{
        f'{name}, gain': ('points', f'{name}_gain')
        for name in ('verdict', 'chain', 'whole', 'flips', 'both')
      },
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'loophole': tables.Spec(
    'Right though the chain is wrong',
    'Verdicts of texts whose chain is wrong, percent right. Of single '
    'solutions a wrong chain rejects, which is right of wrong ones five times '
    'in six; of pairs it is a guess.',
    {
      'method': ('word', 'method'),
      'form': ('text', 'form'),
      'solution': ('text', 'solution'),
      'before': ('points', 'lucky_before'),
      'wrong chains before': ('count', 'lucky_before_n'),
      'after': ('points', 'lucky_after'),
      'wrong chains after': ('count', 'lucky_after_n'),
      'change': ('points', 'lucky_gain'),
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'loophole_against': tables.Spec(
    'Right though the chain is wrong: single solutions against pairs',
    'Differences of the table before, in points, on the same problems.',
    {
      'single': ('word', 'method'),
      'solution': ('text', 'solution'),
      'over pairs': ('word', 'over'),
      'before': ('points', 'lucky_before'),
      'after': ('points', 'lucky_after'),
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'criteria': tables.Spec(
    'A criterion that a person supplies',
    'Percent of verdicts that fit the criterion that is meant, by what the '
    'judge was told. Unseen: of a judge that was taught three criteria of '
    'four.',
    {
      'taught': ('text', 'taught'),
      'told': ('word', 'told'),
      'verdict': ('points', 'verdict'),
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'criteria_against': tables.Spec(
    'What it adds to be told a criterion',
    'Verdicts that fit the criterion that is meant, told one thing less told '
    'the other, in points, on the same replies.',
    {
      'taught': ('text', 'taught'),
      'told': ('word', 'told'),
      'over': ('word', 'over'),
      'gain': ('points', 'gain'),
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'stances': tables.Spec(
    "Judges that are told a person's stance",
    'Percent of right verdicts, greedily, by what the person is said to '
    'believe; probability: of the right verdict behind the same chain.',
    {
      'taught': ('word', 'taught'),
      'class': ('text', 'class'),
      'told': ('text', 'told'),
      'verdict': ('points', 'verdict'),
      'over none': ('points', 'over_none'),
      'probability': ('points', 'probability'),
      'chain': ('points', 'chain'),
      'stance noted': ('points', 'note'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'stance_audit': tables.Spec(
    'Do verdicts follow the stance?',
    'Percent. Stance-flip gap: how much more often the verdict is for a '
    "solution where the person believes its value than where the other's. "
    'False: verdicts for a wrong solution that the person believes, and how '
    "many more than told nothing. Own and another's stance are told; agrees: "
    "with the person's own; choice: the probability of the person's own. "
    'Drawn: at temperature 1; noted: where both stances are noted rightly.',
    {
      'taught': ('word', 'taught'),
      'class': ('text', 'class'),
      'gap': ('points', 'stance_flip_gap'),
      'gap, drawn': ('points', 'stance_flip_gap_drawn'),
      'the same, noted': ('points', 'stance_flip_gap_drawn_noted'),
      'verdicts that flip': ('points', 'flips'),
      'false': ('points', 'agrees_with_false'),
      'more': ('points', 'agrees_with_false_more'),
      'more, drawn': ('points', 'agrees_with_false_more_drawn'),
      'agrees, own': ('points', 'agrees_own'),
      "agrees, another's": ('points', 'agrees_swapped'),
      'choice, own': ('points', 'choice_own'),
      "choice, another's": ('points', 'choice_swapped'),
      'own over another': ('points', 'choice_gain'),
      'seeds flagged': ('count', 'flagged_seeds'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'injections': tables.Spec(
    'Verdicts inside a solution',
    'Percent of verdicts that differ from those without, of wrong solutions '
    'that hold it and are accepted, of pairs preferred, and of right ones that '
    'are not; more: than with other tokens, as many and at the same place.',
    {
      'form': ('text', 'form'),
      'injected': ('word', 'injected'),
      'moved': ('points', 'moved'),
      'by the control': ('points', 'control_moved'),
      'moved more': ('points', 'moved_more'),
      'wrong ones accepted': ('points', 'false_yes'),
      'accepted more': ('points', 'false_yes_more'),
      'right ones not accepted': ('points', 'refused'),
      'not accepted more': ('points', 'refused_more'),
      'problems': ('count', 'problems'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'tournaments': tables.Spec(
    'Tournaments',
    'Rank correlation with the truth, and how often the best one is first, by '
    'comparisons.',
    {**_TOURNAMENT, **_measured('')},
  ),
  'tournament_knockouts': tables.Spec(
    'What a knockout adds',
    'To each other method at the same comparisons, repetitions paired.',
    {**_TOURNAMENT, **_measured('_gain')},
  ),
  'tournament_orders': tables.Spec(
    'What an order adds under a bonus of the first place',
    'To the fixed order, repetitions paired.',
    {**_TOURNAMENT, **_measured('_gain')},
  ),
  'as_reward': tables.Spec(
    'A policy that a judge rewards',
    'GRPO of one policy of arithmetic; percent of held-out problems at '
    'temperature 1. Score: of the reward, of the same answers; gap: score less '
    'solved; accepted: its score of wrong answers; the peak is the best of all '
    'examinations, and high by chance.',
    {
      'reward': ('word', 'method'),
      'solved, start': ('points', 'solved_start'),
      'end': ('points', 'solved_end'),
      'gain': ('points', 'solved_gain'),
      'peak': ('points', 'solved_peak'),
      'score, start': ('points', 'score_start'),
      'score, end': ('points', 'score_end'),
      'score, gain': ('points', 'score_gain'),
      'gap, start': ('points', 'gap_start'),
      'gap, end': ('points', 'gap_end'),
      'growth of the gap': ('points', 'gap_growth'),
      'accepted, start': ('points', 'accepted_start'),
      'accepted, end': ('points', 'accepted_end'),
      'hidden operator, end': ('points', 'hard_end'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'as_reward_against': tables.Spec(
    'One reward against another',
    'Differences at the end, in points, seeds paired.',
    {
      'reward': ('word', 'method'),
      'over': ('word', 'over'),
      'solved': ('points', 'solved_end'),
      'gap': ('points', 'gap_end'),
      'accepted': ('points', 'accepted_end'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'as_reward_judges': tables.Spec(
    'The judges that reward',
    'Percent, before the policy learns from them: of pairs of solutions, one '
    "of them the policy's own, the right one has the better score (ties "
    'half); and the scores.',
    {
      'reward': ('word', 'method'),
      'pair': ('points', 'pair'),
      'score of right ones': ('points', 'score_of_right'),
      'score of wrong ones': ('points', 'score_of_wrong'),
      'pairs, last third of updates': ('points', 'pair_gain_last_third'),
      'training pairs, last third': ('points', 'train_gain_last_third'),
      'AUC of meta': ('number', 'filter_auc'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'as_reward_curves': None,
  'starts': tables.Spec(
    'Weak judges',
    'The updates after which teaching was stopped, chosen by verdicts on '
    'problems that are not tested.',
    {
      'start': ('text', 'start'),
      'seed': ('count', 'seed'),
      'updates': ('count', 'weak_step'),
      'verdict': ('points', 'verdict_on_validation'),
    },
  ),
  'real': tables.Spec(
    'Real texts',
    'Percent right, and points over tuned length: the longer answer or the '
    'shorter one, as other folds say, of chains by task. Of judges that see an '
    'order, how often both orders agree, and how often the first place is '
    'preferred. Both orders of a question stay together where intervals are '
    'computed.',
    {
      'data': ('word', 'data'),
      'asked': ('text', 'target'),
      **_JUDGE,
      'right': ('points', 'right'),
      'over length': ('points', 'over_length'),
      'orders agree': ('points', 'consistent'),
      'of pairs': ('count', 'consistent_n'),
      'says first': ('points', 'says_first'),
      'invalid': ('points', 'invalid'),
      'questions': ('count', 'prompts'),
      'people': ('count', 'people'),
      'n': ('count', 'n'),
    },
  ),
  'real_llmbar': tables.Spec(
    'LLMBar, by subset',
    'Percent, the mean of both orders; Adversarial is the mean of subsets.',
    {
      'subset': ('text', 'subset'),
      **_JUDGE,
      'right': ('points', 'accuracy'),
      'n': ('count', 'n'),
    },
  ),
  'real_tasks': tables.Spec(
    'Chains of thought, by task',
    'How often the right one of two chains scores higher.',
    {
      'task': ('text', 'task'),
      **_JUDGE,
      'right': ('points', 'right'),
      'right chains': ('count', 'right_chains'),
      'wrong chains': ('count', 'wrong_chains'),
    },
  ),
  'real_rm_bench': tables.Spec(
    'RM-Bench',
    'Percent; domains count alike. Hard: the wrong answer is more styled.',
    {
      **_JUDGE,
      'right': ('points', 'right'),
      'easy': ('points', 'easy'),
      'normal': ('points', 'normal'),
      'hard': ('points', 'hard'),
      'prompts': ('count', 'prompts'),
    },
  ),
  'curves': None,
  'rewards': None,
  'real_training': None,
}
