"""Arguments for every function of ops and users, for `precision_test`."""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.heads import paired
from prm_jax.ops import (
  acquisition,
  bayes,
  beliefs,
  collaborative,
  conformal,
  counting,
  decoding,
  discrimination,
  distillation,
  ensembles,
  factorization,
  laplace,
  opinions,
  recall,
  rotary,
  traits,
  voting,
)
from prm_jax.ops.heads import (
  choices,
  distributions,
  gating,
  implicit,
  ordinal,
  ratings,
  steps,
)
from prm_jax.users import (
  episodic,
  gaussian,
  meta,
  ring,
  simplex,
  summaries,
  variational,
)

KEY, J, N, U = jax.random.key(0), 3, 6, 4
RNG = np.random.default_rng(0)


def a(*shape):
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def p(*shape):
  return jax.nn.softmax(a(*shape))


def one(*shape):
  return jnp.ones(shape)


VOTES = collaborative.Votes(one(5, 4), one(5, 4))
PERSON, STATEMENT = collaborative.priors(1)
MEMBERS, STATEMENTS = PERSON.everybody(5), STATEMENT.everybody(4)
VOTED = collaborative.Fit(MEMBERS, STATEMENTS, PERSON, STATEMENT, *one(2))
PRIOR = bayes.GaussianPrior(a(J), jnp.eye(J))
POSTERIOR = bayes.laplace(PRIOR, a(N, J), one(N), one(N))
MANY = jax.vmap(bayes.laplace, (None, 0, 0, 0))(
  PRIOR, a(U, N, J), one(U, N), one(U, N)
)
MEMORY = episodic.empty(U, N, J)
PAIR = types.Pair(a(N, 2, J), one(N), one(N))
EVENT = types.Event(
  types.Tokens(jnp.ones((N, 2), jnp.int32), jnp.ones((N, 2), jnp.int32)),
  a(N),
  one(N),
)
SIDE = types.Pair(a(N, J), one(N), one(N))
SAID = types.Judgements(*(jnp.arange(N) % U, one(N), one(N), jnp.arange(N)))
INDEX = jnp.stack([jnp.arange(N), jnp.arange(N) + 1], 1)
MATRIX = factorization.preference_matrix(SAID, INDEX)
HEARD = types.Said(
  a(N, 2, J), a(N, 2, 0), one(N, 2), {}, one(N), one(N), paired.bradley_terry()
)
OUTPUT = types.RewardOutput(a(N, 2), jnp.broadcast_to(jnp.eye(2), (N, 2, 2)))
TOLD = types.Tokens(jnp.ones(3, jnp.int32), jnp.ones(3, jnp.int32))
WRITTEN = summaries.State(EVENT.tokens, TOLD, jnp.int32(N), a(), a())
RING = ring.keep(ring.empty(N, J), SIDE)
BELIEF = gaussian.State(a(J), RING)
LOG = jax.nn.log_softmax(a(N, 5))
WEIGHED = one(N), one(N)  # a target and its mask
NIG = distributions.Evidence(a(N), one(N), 2 * one(N), one(N))
BINS = np.arange(3.0)
PLACE = jnp.arange(N) % 2
HEADS = {
  'choices': {
    'bradley_terry': (a(N), one(N)),
    'strength_margin': (jnp.arange(N) % 3, a(3)),
    'scaled_bradley_terry': (a(N), one(N), one(N)),
    'conservative': (lambda: choices.conservative(a(N), one(N), flip=0.1),),
    'robust': (lambda: choices.robust(a(N), one(N), flip=0.1),),
    'hinge': (a(N), one(N)),
    'squared': (lambda: choices.squared(a(N), one(N), beta=0.5),),
    'thurstone': (a(N), one(N)),
    'log_normal_cdf': (a(N),),
    'classifier': (a(N, 2), one(N)),
    'sampled': (a(N), one(N), one(N), a(N, 3)),
    'moderated_probability': (a(N), one(N)),
    'pair_margin': (OUTPUT,),
    'pair_probability': (OUTPUT,),
    'pair_nll': (OUTPUT, one(N)),
  },
  'ordinal': {
    'rao_kupper': (a(N), one(N), 1.0),
    'davidson': (a(N), one(N), 0.0),
    'cut_points': (lambda: ordinal.cut_points(a(2), levels=5),),
    'cumulative': (a(N), one(N), jnp.arange(2.0)),
    'expected_label': (p(N, 3),),
    'level_weights': (lambda: ordinal.level_weights(one(N), 3),),
  },
  'lists': {
    'plackett_luce': (a(N, 3), a(N, 3), one(N, 3)),
    'best_of_n': (a(N, 3), jnp.arange(N) % 3, one(N, 3)),
    'listnet': (a(N, 3), a(N, 3), one(N, 3)),
    'all_pairs': (a(N, 3), a(N, 3), one(N, 3)),
  },
  'ratings': {
    'error': (a(N), *WEIGHED),
    'squared': (a(N), *WEIGHED),
    'huber': (a(N), *WEIGHED),
    'binned': (lambda: ratings.binned(a(N, 3), *WEIGHED, BINS),),
    'two_hot': (lambda: ratings.two_hot(a(N, 3), *WEIGHED, BINS),),
    'two_hot_weights': (lambda: ratings.two_hot_weights(a(N), BINS),),
    'expected': (lambda: ratings.expected(a(N, 3), BINS),),
    'ridge': (
      lambda: ratings.ridge(a(N, J), one(N, 2), one(N, 2), penalty=1.0),
    ),
  },
  'distributions': {
    'levels': None,
    'pinball': (a(N, 2), *WEIGHED, jnp.array([0.3, 0.6])),
    'around': (a(N), a(N, 2)),
    'lower_mean': (lambda: distributions.lower_mean(a(N, 3), share=0.5),),
    'quantile': (lambda: distributions.quantile(a(N, 3), level=0.5),),
    'gaussian_nll': (a(N), a(N), *WEIGHED),
    'sampled_squared': (a(N), a(N), *WEIGHED, a(N)),
    'overlap': (a(N), one(N), a(N), one(N)),
    'evidence': (a(N, 4),),
    'evidential_nll': (NIG, *WEIGHED),
    'evidence_penalty': (NIG, *WEIGHED),
    'evidence_parts': (NIG,),
  },
  'steps': {
    'step_nll': (a(N, 4, 2), one(N, 4), one(N, 4)),
    'placeholder_nll': (
      lambda: steps.placeholder_nll(
        a(N, 4, 7), one(N, 4), one(N, 4), classes=(1, 2)
      ),
    ),
    'rollout_label': (
      lambda: steps.rollout_label(one(N, 4), one(N, 4), soft=True),
    ),
    'aggregated': (
      lambda: steps.aggregated(
        a(N, 4), one(N, 4), one(N, 4), segments=2, by='min'
      ),
    ),
    'differences': (a(N, 4), one(N, 4), one(N, 4)),
  },
  'implicit': {
    'reward': (lambda: implicit.reward(a(N, 4), a(N, 4), one(N, 4), beta=0.1),),
    'average': (lambda: implicit.average(a(N, 4), one(N, 4), beta=0.1),),
    'step_reward': (
      lambda: implicit.step_reward(
        a(N, 4), a(N, 4), one(N, 4), one(N, 4), steps=2, beta=0.1
      ),
    ),
    'hybrid': (a(N), a(N, 2), one(N)),
    'yes_logit': (lambda: implicit.yes_logit(a(N, 5), yes=1, no=2),),
    'token_score': (
      lambda: implicit.token_score(a(N, 5), tokens=(1, 2), values=np.ones(2)),
    ),
  },
  'penalties': {
    'centring': (a(N, 2),),
    'barrier': (a(N),),
    'positive': (a(N, 2), one(N)),
    'correlation': (a(N), a(N), one(N)),
    'length_parts': (a(N, 2), a(N, 2), a(N, 2), one(N)),
    'disentangled': (a(N, 2), a(N, 2), one(N)),
  },
  'gating': {
    'gate': (lambda: gating.gate(a(N, 3), axis=-1, objectives=3),),
    'debiased': (lambda: gating.debiased(a(N, 3), a(3), verbosity=0),),
    'gated_score': (a(N, 3), a(N, 3)),
    'gated_quantiles': (a(N, 3), a(N, 3, 4)),
    'contributions': (a(N, 3), a(N, 3)),
    'report': None,
    'rank_correlation': None,
    'solve_debiasing': None,
  },
}
EXAMPLES = {
  'acquisition': {
    'margin_moments': (a(J, N), a(J), jnp.eye(J)),
    'random': (lambda: acquisition.random(KEY, 4),),
    'variance': (a(N), one(N)),
    'log_determinant': (a(N), one(N)),
    'slope': (a(N),),
    'information_gain': (a(N), one(N)),
    'information_gain_quadrature': (a(N), one(N)),
    'disagreement': (p(4, N),),
    'thompson_duel': (KEY, a(N, J), a(J), jnp.eye(J)),
    'greedy_batch': (
      lambda: acquisition.greedy_batch(a(J, N), a(J), jnp.eye(J), size=2),
    ),
    'condition': (jnp.eye(J), a(J), jnp.float32(0.2)),
    'best': (a(N), one(N) > 0),
    'best_for_people': (
      lambda: acquisition.best_for_people(
        acquisition.variance,
        a(J, N),
        a(U, J),
        jnp.tile(jnp.eye(J), (U, 1, 1)),
        one(U, N) > 0,
      ),
    ),
  },
  'bayes': {
    'isotropic_prior': (a(J), 1.0),
    'laplace': (PRIOR, a(N, J), one(N), one(N)),
    'whitened_mode': (PRIOR, a(N, J), one(N), one(N)),
    'at_mode': (PRIOR, a(J), a(N, J), one(N)),
    'posterior_mode': (PRIOR, a(N, J), one(N), one(N)),
    'pooled_mode': (
      lambda: bayes.pooled_mode(a(N + 1, J), INDEX, one(N), one(N), ridge=1.0),
    ),
    'assumed_density': (PRIOR, POSTERIOR, a(J), jnp.float32(1)),
    'one_answer': (a(J), jnp.eye(J), a(J), jnp.float32(1)),
    'coefficients': (PRIOR, POSTERIOR),
    'covariance_factor': (PRIOR, POSTERIOR),
    'solve': (jnp.eye(J), a(J)),
    'population_moments': (PRIOR, MANY, one(U)),
    'empirical_prior': (PRIOR, bayes.population_moments(PRIOR, MANY, one(U))),
  },
  'beliefs': {
    'minimum': (
      lambda: beliefs.minimum(lambda x: jnp.sum(x**2), a(J), iterations=2),
    ),
    'posterior': (
      lambda: beliefs.posterior(PRIOR, lambda x: jnp.sum(x**2), iterations=2),
    ),
  },
  'conformal': {
    'rank': (lambda: conformal.rank(jnp.arange(N), alpha=0.1),),
    'threshold': (lambda: conformal.threshold(a(U, N), one(U, N), alpha=0.1),),
    'by_person': (
      lambda: conformal.by_person(
        a(N), jnp.arange(N) % U, one(N), people=U, alpha=0.1
      ),
    ),
    'with_fallback': (a(U), jnp.float32(1)),
    'absolute_residual': (a(N), a(N), one(N)),
    'residual_interval': (a(N), jnp.float32(1), one(N)),
    'quantile_residual': (a(N), a(N), a(N)),
    'quantile_interval': (a(N), a(N), jnp.float32(1)),
    'of_pair': (p(N),),
    'least_ambiguous': (p(N, 3),),
    'adaptive': (p(N, 3), one(N)),
    'of_label': (p(N, 3), jnp.arange(N) % 3),
    'prediction_set': (p(N, 3), one(N)),
  },
  'decoding': {
    'args': (lambda: decoding.args(a(N, 5), a(N, 5), weight=1.0, top_k=2),),
    'value_augmented': (
      lambda: decoding.value_augmented(a(N, 5), a(N, 5), beta=1.0),
    ),
    'multi_objective': (a(2, N, 5), one(2)),
    'autoregressive_reward': (
      lambda: decoding.autoregressive_reward(
        a(N, 5), a(2, N, 5), weights=one(2)
      ),
    ),
    'td_lambda': (a(N), a(N), one(N)),
    'tilted': (LOG, a(N, 5), 1.0),
    'best_of_n': (p(5), a(5), 4),
    'soft_best_of_n': (KEY, a(N, 5), 1.0),
    'divergence': (p(5), p(5)),
    'best_of_n_bound': None,
    'value_of_best': None,
  },
  'discrimination': {
    'triple': (a(N), a(N, 2), one(N, 2)),
    'ranked': (a(N, 3), a(N, 3), one(N, 3)),
    'focal_weight': (a(N),),
    'log_barrier': (a(N),),
    'in_batch': (a(N, N), jnp.arange(N), jnp.arange(N), jnp.arange(N), one(N)),
    'gather': (a(N), None),
    'offset': None,
    'learning_rate': None,
    'batch_size': None,
    'likelihood_ratio': (a(N, J), a(N, 2, J), one(N, 2), one(J)),
    'difference_ratio': (a(N, J), a(N, 2, J), one(N, 2), one(J)),
    'discriminant': (
      lambda: discrimination.discriminant(
        a(N, J), jnp.arange(N) % 2, one(N), policies=2, dim=2, shrinkage=0.5
      ),
    ),
  },
  'distillation': {
    'divergence': (lambda: distillation.divergence(LOG, LOG, alpha=0.5),),
    'top_and_tail': (LOG, jnp.zeros((N, 2), int)),
    'sampled_reverse': (a(N), a(N)),
    'directive': (a(N), a(N)),
    'combined': (a(U), a(U, N)),
    'select_hint': (LOG[None], jnp.stack([LOG, LOG])[None], one(1, N)),
  },
  'ensembles': {
    'mean': (a(4, N),),
    'variance': (a(4, N),),
    'worst': (a(4, N),),
    'penalized': (lambda: ensembles.penalized(a(4, N), strength=0.5),),
    'lower_bound': (lambda: ensembles.lower_bound(a(4, N), width=2.0),),
    'quantile': (lambda: ensembles.quantile(a(4, N), level=0.25),),
    'covariance': (a(4, N, 2),),
    'decompose': (a(4, N), one(4, N)),
  },
  'factorization': {
    'bilinear_score': (a(N, 2, J), a(N, J)),
    'simplex_score': (a(N, 2, J), a(N, J)),
    'preference_matrix': (SAID, INDEX),
    'weighted_als': (
      lambda: factorization.weighted_als(KEY, MATRIX, people=U, rank=2),
    ),
    'balanced_factors': (a(N, 2), a(N, 2)),
    'regress_basis': (
      lambda: factorization.regress_basis(
        a(N + 1, J), INDEX, a(N, 2), one(N), ridge=1.0
      ),
    ),
  },
  **HEADS,
  'laplace': {
    'hessian': (
      lambda: laplace.hessian(a(N + 1, J), INDEX, one(N), a(J), ridge=1.0),
    ),
    'cholesky': (
      lambda: laplace.cholesky(a(N + 1, J), INDEX, one(N), a(J), ridge=1.0),
    ),
    'whiten': (jnp.eye(J), a(N, J)),
    'margin_variance': (jnp.eye(J), a(N, J)),
    'centred_covariance': (a(N, 2, J),),
    'score_covariance': (jnp.eye(J), a(N, 2, J)),
    'draws': (lambda: laplace.draws(KEY, a(J), jnp.eye(J), count=5),),
    'evidence': (
      lambda: laplace.evidence(
        a(N + 1, J), INDEX, one(N), one(N), a(J), ridge=1.0
      ),
    ),
  },
  'judge_rewards': {
    'correct': (PLACE, PLACE),
    'consistent': (PLACE, PLACE, PLACE),
    'strict_argmax': (a(N, 3), a(N, 3), one(N, 3)),
    'ordered': (a(N, 3), a(N, 3), one(N, 3)),
    'half_credit': (one(N), one(N)),
    'judge_lrm': (one(N, 2), one(N, 2), one(N)),
  },
  'opinions': {
    'degroot': (a(N), p(N, N)),
    'friedkin_johnsen': (a(N), a(N), p(N, N), 0.5),
    'laplacian': (one(N, N),),
    'equilibrium': (a(N), one(N, N)),
    'deffuant': (
      lambda: opinions.deffuant(
        a(N), jnp.array([0, 1]), threshold=0.5, rate=0.5
      ),
    ),
    'hegselmann_krause': (
      lambda: opinions.hegselmann_krause(a(N), threshold=0.5),
    ),
    'biased_assimilation': (p(N), one(N, N), one(N)),
    'served': (
      lambda: opinions.served(a(N), a(N), a(N), rate=0.1, anchor=0.1),
    ),
    'reproduction': (0.5, 0.5, N),
    'polarization': (a(N),),
    'disagreement': (a(N), one(N, N)),
    'bimodality': (a(N),),
    'esteban_ray': (p(N), a(N)),
    'jensen_shannon': (p(U, N),),
    'drift': (a(N), a(N)),
    'extremity': (a(N),),
    'exposure_entropy': (p(U, N),),
    'cross_cutting': (a(U), a(U, N)),
    'worst_decile': (a(20), a(20)),
    'split_half_variance': (a(N), a(N)),
  },
  'pairs': {
    'margins': (a(N + 1, J), INDEX, a(J)),
    'moment': (a(N + 1, J), INDEX, a(N)),
    'gram': (a(N + 1, J), INDEX, a(N)),
  },
  'profiles': {
    'profile_gain': (a(J, N), a(J), jnp.eye(J), a(J, 2), one(N, 2)),
    'profile_gain_for_people': (
      a(J, N),
      a(U, J),
      jnp.tile(jnp.eye(J), (U, 1, 1)),
      jnp.arange(2),
      one(U, N) > 0,
    ),
  },
  'policy_gradient': {
    'centred': (a(U, N),),
    'leave_one_out': (a(U, N),),
    'group_normalized': (a(U, N),),
    'rewards_normalized': (a(U, N, 2), one(2)),
    'first_turn': (a(U, N), a(U, N)),
    'joint': (a(U, N),),
    'surrogate': (a(U, N), a(U, N), a(U, N), one(U, N)),
    'summed': (a(U, N), one(U, N)),
    'kl_estimate': (a(N), a(N)),
    'entropy': (a(N, 5),),
  },
  'returns': {
    'choice_reward': (a(N), one(N)),
    'token_rewards': (a(U), a(U, N), one(U, N)),
    'generalized_advantages': (a(U, N), a(U, N), one(U, N)),
    'value_loss': (a(N), a(N), a(N)),
  },
  'traits': {
    'log_probability': (a(N), a(N)),
    'nll': (a(J), a(N, J - 1), a(N), one(N)),
    'infer': (
      traits.Population(a(J), one(J)),
      a(N, J - 1),
      a(N),
      one(N),
      one(N),
    ),
    'estimate': (a(U, N, J - 1), a(U, N), one(U, N), one(U, N)),
  },
  'transport': {
    'wasserstein': (a(J), a(J), a(U, J), a(U, J)),
    'matched_weights': (a(J), a(J), a(U, J), a(U, J)),
  },
  'tilting': {
    'inverse_temperature': None,
    'gain': (LOG, a(N, 5), a(N, 5), 1.0),
    'minimal_correction': (LOG, a(N, 5), a(N, 5), 1.0),
    'trust_region': (LOG, a(N, 5), LOG, 1.0, 0.1),
    'match': (LOG, a(N, 5), 0.0),
    'at_least': (LOG, a(N, 5), 0.0),
    'residual': (LOG, a(N, 5), a(N, 5)),
    'project': (a(J), a(J), a(J)),
    'bridging': (a(U, N), 1.0),
    'lower_bound': (a(N, 2), OUTPUT.covariance, 1.0),
    'information': (a(N, J), a(N), one(N)),
    'reliability': (1.0, 1.0, 3.0),
    'shrink': (a(J), a(J), 0.5),
  },
  'voting': {
    'restored': (a(N, 2), jnp.tile(jnp.arange(2), (N, 1))),
    'restored_verdict': (PLACE, jnp.tile(jnp.arange(2), (N, 1))),
    'valid': (a(U, N, 3),),
    'ballots': (lambda: voting.ballots(PLACE, answers=2),),
    'filtered': (a(U, N), one(U, N)),
    'total': (a(U, N, 3), one(U, N)),
    'mean': (a(U, N, 3), one(U, N)),
    'mean_yes': (p(U, N), one(U, N)),
    'majority': (a(U, N, 3), one(U, N)),
    'split': (a(N, 3),),
    'drawn': (KEY, a(N, 3)),
  },
  'counting': {
    'most_frequent': (
      lambda: counting.most_frequent(
        jnp.zeros((N, J), jnp.int32), one(N), size=2
      ),
    )
  },
  'collaborative': {
    'priors': (lambda: collaborative.priors(1),),
    'moments': (MEMBERS, STATEMENTS),
    'probability': (MEMBERS, STATEMENTS),
    'bound': (VOTES, VOTED),
    'fit': (lambda: collaborative.fit(KEY, VOTES, factors=1, most=2),),
    'infer': (lambda: collaborative.infer(VOTES, STATEMENTS, PERSON),),
    'estimate': (
      lambda: collaborative.estimate(VOTES, STATEMENTS, PERSON, (0, -1, 0)),
    ),
  },
  'rotary': {
    'frequencies': (
      lambda: rotary.frequencies(9.0, 8, rotary.Scaling('llama3', 2.0, 16)),
    )
  },
  'recall': {
    'unit': (a(N, J),),
    'latest_first': (a(N), one(N)),
    'top': (lambda: recall.top(a(N), one(N), count=2),),
    'most_similar': (
      lambda: recall.most_similar(a(J), a(N, J), one(N), count=2),
    ),
    'at_random': (lambda: recall.at_random(KEY, one(N), count=2),),
    'similar': (lambda: recall.similar(a(J), a(N, J), one(N), count=2),),
  },
  'episodic': {
    'empty': None,
    'blank': (MEMORY,),
    'append': (MEMORY, MEMORY.events),
    'recency': (lambda: episodic.recency(MEMORY, count=2),),
    'similarity': (lambda: episodic.similarity(MEMORY, a(U, J), count=2),),
    'similarity_then_recency': (
      lambda: episodic.similarity_then_recency(
        MEMORY, a(U, 2, J), count=2, pool=3
      ),
    ),
    'at_random': (lambda: episodic.at_random(KEY, MEMORY, count=2),),
    'most_complex': (lambda: episodic.most_complex(MEMORY, count=2),),
    'earliest_first': (
      lambda: episodic.earliest_first(
        MEMORY, episodic.recency(MEMORY, count=2)
      ),
    ),
    'take': (lambda: episodic.take(MEMORY, episodic.recency(MEMORY, count=2)),),
    'remove': (MEMORY, one(U, N)),
    'forget': (MEMORY, jnp.array([1])),
  },
  'ring': {
    'empty': None,
    'differences': (PAIR,),
    'keep': (RING, SIDE),
    'evidence': (RING,),
    'dropped': (RING,),
    'drop': (RING, 0),
    'last_slot': (RING,),
  },
  'bank': dict.fromkeys(
    ('user_digest', 'empty', 'with_beliefs', 'with_ids', 'rows_of', 'forget')
  ),
  'gaussian': {
    'posterior': (PRIOR, PAIR),
    'gaussian': None,
    'online': None,
    'to_context': (PRIOR, POSTERIOR),
    'solve': (PRIOR, BELIEF),
    'delete': (PRIOR, BELIEF, 0),
  },
  'latent': dict.fromkeys(('latent', 'flow', 'kept')),
  'meta': {
    'meta': None,
    'adapt': (
      lambda: meta.adapt(meta.Params(a(J), jnp.float32(0)), SIDE, steps=2),
    ),
  },
  'references': {'given': (a(N, 3, J),), 'references': None},
  'simplex': {
    'simplex': None,
    'under_head': (
      lambda: simplex.under_head(simplex.Params(a(J), jnp.float32(1)), HEARD),
    ),
    'mirror_descent': (
      lambda: simplex.mirror_descent(
        simplex.Params(a(J), jnp.float32(1)),
        a(N, J),
        one(N),
        one(N),
        iterations=3,
      ),
    ),
  },
  # What runs a decoder is of `models`, and edits are made on the host.
  'summaries': {
    'summaries': None,
    'edited': None,
    'released': (WRITTEN,),
    'asked': None,
    'write': None,
  },
  'variational': {
    'variational': None,
    'match': (
      lambda: variational.match(
        variational.Bases(a(U, J), a(U, J)), a(J), a(J)
      ),
    ),
  },
  # Its own products are one function; tests of the reward read the rest.
  'fast_weights': {
    'fast_weights': None,
    'belief': None,
    'update': None,
    'blank': None,
    'layers': None,
  },
}
# Where there has to be one: the walk sees what it should.
