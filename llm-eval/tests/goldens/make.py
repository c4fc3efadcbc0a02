"""Makes the JSON files beside this one: random data and what other people's code says of them.

    python -m venv venv
    venv/bin/pip install scipy statsmodels scikit-learn pandas choix krippendorff ppi-python crowd-kit
    venv/bin/python make.py SOURCES

SOURCES is a folder with files of projects whose imports are too heavy to install; single functions
are taken out of them and run:

    elo_analysis.py       fschat 0.2.36: fastchat/serve/monitor/elo_analysis.py
    compute_agreement.py  fschat 0.2.36: fastchat/llm_judge/compute_agreement.py
    rating_systems.py     FastChat at 0e6d3e4b: fastchat/serve/monitor/rating_systems.py
    alpaca_helpers.py     alpaca_eval 0.6.6: alpaca_eval/metrics/helpers.py
    glm_winrate.py        alpaca_eval 0.6.6: alpaca_eval/metrics/glm_winrate.py
    alpaca_utils.py       alpaca_eval 0.6.6: alpaca_eval/utils.py
    add_markdown_info.py  arena-hard-auto at 196f6b8: utils/add_markdown_info.py
    show_result.py        arena-hard-auto at 196f6b8: show_result.py
"""

import abc
import ast
import json
import logging
import math
import re
import sys
import types
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from numbers import Number
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.special
import scipy.stats

HERE = Path(__file__).parent
SOURCES = Path(sys.argv[1])


def taken(file, *names, **extra):
    """The named functions, classes and constants of a file, run without the file's imports."""
    tree = ast.parse((SOURCES / file).read_text())
    kept = [node for node in tree.body
            if getattr(node, "name", None) in names or getattr(getattr(node, "targets", [None])[0], "id", None) in names]
    scope = dict(np=np, pd=pd, math=math, re=re, abc=abc, logging=logging, dataclass=dataclass, Number=Number,
                 Optional=Optional, Union=Union, Sequence=Sequence, Any=Any, partial=partial, defaultdict=defaultdict,
                 npt=np.typing, expit=scipy.special.expit, minimize=scipy.optimize.minimize, tqdm=lambda x, **_: x,
                 **extra)
    exec(compile(ast.Module(kept, []), file, "exec"), scope)
    return scope


def write(name, value):
    def plain(x):
        if isinstance(x, np.ndarray):
            return x.tolist()
        if isinstance(x, np.generic):
            return x.item()
        raise TypeError(type(x))

    (HERE / f"{name}.json").write_text(json.dumps(value, default=plain) + "\n")


def summary(rng):
    from statsmodels.api import OLS
    from statsmodels.stats.proportion import proportion_confint

    values = rng.normal(5, 2, 120)
    clusters = rng.integers(0, 25, 120)
    fit = OLS(values, np.ones(120)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True})
    wilson = []
    for hits, n, level in [(0, 5, 0.95), (3, 10, 0.95), (80, 80, 0.9), (411, 805, 0.99), (1, 1, 0.95)]:
        low, high = proportion_confint(hits, n, 1 - level, "wilson")
        wilson.append([hits, n, level, low, high])
    shifts = [-9.0, -5.0, -3.9, -1.0, -1e-8, 0.0, 0.3, 2.0, 4.5, 7.0]
    chances = [1e-12, 1e-5, 0.025, 0.3, 0.5, 0.9, 0.995]
    write("summary", dict(
        values=values, clusters=clusters, mean=values.mean(), sd=values.std(ddof=1),
        standard_error=scipy.stats.sem(values), clustered_error=fit.bse[0], clustered_interval=fit.conf_int()[0],
        wilson=wilson, cdf=[[x, scipy.stats.norm.cdf(x)] for x in shifts],
        quantile=[[p, scipy.stats.norm.ppf(p)] for p in chances]))


def alpaca(rng):
    check = taken("alpaca_utils.py", "validate_alpacaeval_preference")["validate_alpacaeval_preference"]
    rules = taken("alpaca_helpers.py", "BaseScoringRule", "AbsoluteScoringRule", "ZeroOneScoringRule",
                  validate_alpacaeval_preference=check)
    cases = []
    for preferences in (
        [1, 2, 2, 1.5, 0, None, 2, 1, 2],
        [None if p < 0.05 else q for p, q in zip(rng.random(300), rng.uniform(1, 2, 300))],
        rng.choice([0.0, 1.0, 1.5, 2.0], 100).tolist(),
        [1, 2, 0.8, 2.4, 0.3, -1, 2.6, None, 1.2],
    ):
        series = pd.Series(preferences, dtype=float)
        found = rules["AbsoluteScoringRule"]().describe_head2head(series)
        found["discrete_win_rate"] = rules["ZeroOneScoringRule"]().describe_head2head(series)["win_rate"]
        cases.append(dict(preferences=preferences, **{k: float(v) for k, v in found.items()}))
    write("alpaca", cases)


def resample(rng):
    from scipy.stats import bootstrap, permutation_test
    from scipy.stats._resampling import BootstrapResult

    data = rng.gamma(1.5, 1, 30)
    replicates = rng.choice(data, (2000, 30)).mean(1)
    left_out = np.array([np.delete(data, i).mean() for i in range(30)])
    intervals = {}
    for method in ("percentile", "BCa"):
        given = BootstrapResult(None, replicates, replicates.std(ddof=1))
        found = bootstrap((data,), np.mean, n_resamples=0, bootstrap_result=given, method=method, vectorized=True)
        intervals[method] = list(found.confidence_interval)
    first, second = rng.integers(0, 3, (2, 24)) / 2
    clusters = np.repeat(np.arange(12), 2)
    sums = np.add.reduceat(first - second, np.arange(0, 24, 2))
    test = permutation_test((sums, np.zeros(12)), lambda a, b: np.sum(a - b), permutation_type="samples",
                            n_resamples=np.inf)
    write("resample", dict(value=data.mean(), replicates=replicates, left_out=left_out, intervals=intervals,
                           first=first, second=second, clusters=clusters, p_value=test.pvalue))


WINNERS = {"first": "model_a", "second": "model_b", "tie": "tie"}


def battles_of(rng, models, n, questions):
    strength = rng.normal(0, 0.8, models)
    rows = []
    for _ in range(n):
        a, b = rng.choice(models, 2, replace=False)
        p = scipy.special.expit(strength[a] - strength[b])
        outcome = "tie" if rng.random() < 0.2 else ("first" if rng.random() < p else "second")
        rows.append([f"model-{a}", f"model-{b}", outcome, f"q{rng.integers(0, questions)}"])
    return rows


def frame(rows):
    return pd.DataFrame([dict(model_a=a, model_b=b, winner=WINNERS[w]) for a, b, w, _ in rows])


def one_hot(rows, scale=1.0):
    names = sorted({m for r in rows for m in r[:2]})
    x = np.zeros((len(rows), len(names)))
    for i, (a, b, *_) in enumerate(rows):
        x[i, names.index(a)], x[i, names.index(b)] = scale, -scale
    y = np.array([{"first": 1.0, "second": 0.0, "tie": 0.5}[r[2]] for r in rows])
    return names, x, y


def with_ties(rows, model):
    """Davidson's and Rao & Kupper's likelihoods as their papers have them, by scipy."""
    names, x, y = one_hot(rows)

    def loss(v):
        pi = np.exp(v[:-1])
        a = np.where(x > 0, pi, 0).sum(1)
        b = np.where(x < 0, pi, 0).sum(1)
        if model == "davidson":
            nu = np.exp(v[-1])
            total = a + b + nu * np.sqrt(a * b)
            win, lose, tie = a / total, b / total, nu * np.sqrt(a * b) / total
        else:
            theta = 1 + np.exp(v[-1])
            win, lose = a / (a + theta * b), b / (b + theta * a)
            tie = (theta**2 - 1) * a * b / ((a + theta * b) * (b + theta * a))
        chosen = np.where(y == 1, win, np.where(y == 0, lose, tie))
        return -np.log(chosen).sum() + v[:-1].sum() ** 2

    start = np.append(np.zeros(len(names)), -0.5)
    found = scipy.optimize.minimize(loss, start, method="BFGS", options=dict(gtol=1e-6))
    found = scipy.optimize.minimize(loss, found.x, method="Nelder-Mead",
                                    options=dict(xatol=1e-11, fatol=1e-14, maxiter=40000, maxfev=40000, adaptive=True))
    beta = found.x[:-1] - found.x[:-1].mean()
    parameter = np.exp(found.x[-1]) + (model == "rao_kupper")
    return dict(models=dict(zip(names, 1000 + 400 / math.log(10) * beta)), parameter=parameter,
                log_likelihood=-loss(np.append(beta, found.x[-1])))


def tight(*args, options, **kwargs):
    """rating_systems.py's L-BFGS stops early: its tolerance on the loss is scipy's default."""
    sharp = {**options, "ftol": 1e-16, "gtol": 1e-11, "maxiter": 20000}
    return scipy.optimize.minimize(*args, options=sharp, **kwargs)


def ratings(rng):
    import choix
    import statsmodels.api as sm
    from sklearn.linear_model import LogisticRegression

    old = taken("elo_analysis.py", "compute_elo", "compute_elo_mle_with_tie")
    new = taken("rating_systems.py", "get_matchups_models", "preprocess_for_bt", "bt_loss_and_grad", "fit_bt",
                "scale_and_offset", "compute_bt")
    printed = new["compute_bt"](frame(rows := battles_of(rng, 6, 800, 80))).to_dict()
    new["minimize"] = tight
    table = frame(rows)

    def converged(**options):
        return LogisticRegression(**{**options, "tol": 1e-12, "max_iter": 10000})

    import sklearn.linear_model
    plain = old["compute_elo_mle_with_tie"](table)
    sklearn.linear_model.LogisticRegression = converged
    sharp = old["compute_elo_mle_with_tie"](table)
    sklearn.linear_model.LogisticRegression = LogisticRegression
    names, x, y = one_hot(rows)
    # The first model at 0, so that the rest are determined; then contrasts against the mean.
    fit = sm.GLM(y, x[:, 1:], family=sm.families.Binomial()).fit(
        tol=1e-14, cov_type="cluster",
        cov_kwds={"groups": pd.factorize(np.array([r[3] for r in rows]))[0], "use_correction": False})
    size = len(names)
    contrast = np.vstack([np.zeros((1, size - 1)), np.eye(size - 1)]) - 1 / size
    clusters = len({r[3] for r in rows})
    points = 400 / math.log(10)
    errors = points * np.sqrt(np.diag(contrast @ fit.cov_params() @ contrast.T) * clusters / (clusters - 1))
    anchored = points * np.sqrt(np.diag(fit.cov_params()) * clusters / (clusters - 1))
    decided = [r for r in rows if r[2] != "tie"]
    pairs = [(names.index(r[0]), names.index(r[1])) if r[2] == "first" else (names.index(r[1]), names.index(r[0]))
             for r in decided]
    write("ratings", dict(
        battles=rows, elo=old["compute_elo"](table),
        fastchat_as_it_is=plain.to_dict(), fastchat_converged=sharp.to_dict(),
        rating_systems_as_it_is=printed, rating_systems_converged=new["compute_bt"](table, tol=1e-12).to_dict(),
        glm=dict(zip(names, 1000 + points * (contrast @ fit.params))), glm_errors=dict(zip(names, errors)),
        glm_anchored_errors=dict(zip(names[1:], anchored)),
        glm_log_likelihood=float((y * np.log(fit.fittedvalues) + (1 - y) * np.log1p(-fit.fittedvalues)).sum()),
        choix=dict(zip(names, 1000 + points * choix.opt_pairwise(size, pairs, method="Newton-CG", tol=1e-12))),
        davidson=with_ties(rows, "davidson"), rao_kupper=with_ties(rows, "rao_kupper")))


class Tensor(np.ndarray):
    """As much of torch's as Arena-Hard's script uses, in double precision."""

    def isnan(self):
        return np.isnan(self)


def arena_hard_features(tokens, counts):
    """What Arena-Hard's script makes of the styles before it fits anything."""
    def tensor(data, dtype=None):
        return np.asarray(data, dtype=float).view(Tensor)

    seen = {}

    def stop(features, outcomes, loss_type):
        seen["features"] = np.asarray(features)
        raise StopIteration

    torch = types.SimpleNamespace(
        tensor=tensor, zeros_like=np.zeros_like, float32=float, mean=np.mean, std=partial(np.std, ddof=1),
        cat=lambda parts, dim: np.concatenate(parts, axis=dim).view(Tensor))
    count = len(tokens)
    metadata = [[{"token_len": int(t[side])} | {name: {"all": int(value)} for name, value in zip(("header", "list", "bold"), c[side])}
                 for t, c in zip(tokens, counts)] for side in range(2)]
    script = taken("show_result.py", "print_leaderboard_with_style_features", torch=torch, bootstrap_pairwise_model=stop,
                   get_model_style_metadata=lambda _: dict(zip(("first", "second"), metadata)),
                   JUDGE_SETTINGS={"all": {"baseline": "second"}},
                   one_hot_encode=lambda models, baseline: (np.empty((count, 0)), ["first"]))
    battles = pd.DataFrame({"model": "first", "uid": range(count), "category": "all", "scores": 0.0})
    try:
        script["print_leaderboard_with_style_features"](battles, "", "all", ["length", "markdown"])
    except StopIteration:
        return seen["features"]


def style(rng):
    new = taken("rating_systems.py", "get_matchups_models", "preprocess_for_elo", "preprocess_for_style",
                "contextual_bt_loss_and_grad", "fit_contextual_bt", "scale_and_offset", "compute_style_control",
                "STYLE_CONTROL_ELEMENTS_V1", "DIFF_MASK")
    new["minimize"] = tight
    import statsmodels.api as sm

    rows = battles_of(rng, 5, 500, 60)
    tokens = rng.integers(20, 900, (500, 2))
    counts = rng.poisson(2, (500, 2, 3))
    table = frame(rows)
    table["conv_metadata"] = [
        {f"{name}_{side}": int(value)
         for place, side in enumerate("ab")
         for name, value in [("sum_assistant", t[place]), ("header_count", c[place][0]), ("list_count", c[place][1]),
                             ("bold_count", c[place][2])]}
        for t, c in zip(tokens, counts)]
    for row in table["conv_metadata"]:
        for side in "ab":
            row[f"sum_assistant_{side}_tokens"] = row.pop(f"sum_assistant_{side}")
    found, coefficients = new["compute_style_control"](table, tol=1e-10)

    # Arena-Hard 2's features in double precision, its logistic regression by statsmodels.
    features = arena_hard_features(tokens, counts)
    names, x, y = one_hot(rows)
    fit = sm.GLM(y, np.column_stack([x[:, 1:], features]), family=sm.families.Binomial()).fit(tol=1e-14, cov_type="HC0")
    beta = np.append(0, fit.params[: len(names) - 1])
    write("style", dict(
        battles=rows, tokens=tokens, counts=counts, ratings=found.to_dict(), coefficients=coefficients,
        hard_ratings=dict(zip(names, 1000 + 400 / math.log(10) * (beta - beta.mean()))),
        hard_coefficients=fit.params[-4:], hard_errors=fit.bse[-4:] * math.sqrt(500 / 499)))


TEXTS = [
    "# Title\n\nSome **bold** text and __more__.\n\n- one\n- two\n  * three\n1. four\n 12. five\n",
    "####### seven\n###### six\n#no\n#\nend", "```python\n# not a header\n- no item\n```\n# yes\n", "**a** **b**c**", "***x***",
    "**a\nb** ** c **", "__init__ and **__both__** ****", "-no\n- yes\n-\n+\tplus\n*\n", "1.5 is no item\n1. is\n２. full width",
    "```a``` # b\n```\n- x\n``` - y", "no end ```\n# header\n- item", "````\n- a\n````\n- b", "", "#\u00a0header\r\n## two\r\n* x\r\n",
    "\n\n   - after blanks\n\n\n3. x\n", "text ```- x``` then - x\n- x\n",
]


def markdown():
    found = taken("add_markdown_info.py", "count_markdown_elements", "remove_pattern")
    pattern = re.compile("```([^`]*)```")
    cases = []
    for text in TEXTS:
        counts = found["count_markdown_elements"](found["remove_pattern"](text, pattern), "")
        cases.append([text] + [sum(counts[f"{k}_count"].values()) for k in ("header", "list", "bold")])
    write("markdown", cases)


def length(rng):
    import statsmodels.api as sm

    n = 400
    lengths = rng.integers(50, 3000, (n, 2))
    delta = lengths[:, 0] - lengths[:, 1].astype(float)
    feature = np.tanh(delta / delta.std(ddof=1))
    difficulty = rng.normal(0, 1, n)
    logit = 0.3 - 0.8 * feature + 0.4 * difficulty
    preference = 1 + np.clip(scipy.special.expit(logit + rng.normal(0, 1, n)), 0, 1)
    preference[:5] = 0
    import sklearn
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GroupKFold

    glm = taken("glm_winrate.py", "fit_LogisticRegressionCV", "logloss", "logloss_continuous", sklearn=sklearn,
                LogisticRegression=LogisticRegression, LogisticRegressionCV=LogisticRegressionCV,
                GroupKFold=GroupKFold, make_scorer=make_scorer)
    y = np.where(preference == 0, 1.5, preference) - 1
    out = dict(preferences=preference, lengths=lengths, difficulties=difficulty)
    for name, columns in (("minimal", [feature]), ("difficulty", [feature, difficulty])):
        x = np.column_stack(columns + [np.ones(n)])
        fit = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-14)
        equal = x.copy()
        equal[:, 0] = 0
        predicted = fit.predict(equal)
        # alpaca_eval's own fit, with so weak a penalty that it is none.
        data = pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
        data["preference"] = y
        theirs = glm["fit_LogisticRegressionCV"](data, "preference", n_splits=0, C=1e9, tol=1e-12, max_iter=100000)
        crossed = glm["fit_LogisticRegressionCV"](data, "preference", n_splits=5)
        out[name] = dict(coefficients=fit.params, win_rate=predicted.mean(),
                         prediction_error=scipy.stats.sem(predicted), alpaca_coefficients=theirs.coef_[0],
                         alpaca_win_rate=theirs.predict_proba(pd.DataFrame(equal, columns=data.columns[:-1]))[:, 1].mean(),
                         cross_validated=crossed.predict_proba(
                             pd.DataFrame(equal, columns=data.columns[:-1]))[:, 1].mean())
    write("length", out)


def agreement(rng):
    import krippendorff
    from sklearn.metrics import cohen_kappa_score
    from statsmodels.stats.inter_rater import fleiss_kappa

    truth = rng.integers(0, 4, 150)
    noisy = [np.where(rng.random(150) < 0.6, truth, rng.integers(0, 4, 150)) for _ in range(4)]
    cohen = {name: cohen_kappa_score(noisy[0], noisy[1], weights=weights, labels=range(4))
             for name, weights in (("nominal", None), ("linear", "linear"), ("quadratic", "quadratic"))}
    counts = np.array([[sum(r[i] == c for r in noisy) for c in range(4)] for i in range(150)])
    values = np.array(noisy, float) * np.where(np.array(noisy) == 3, 1.7, 1)
    values[rng.random(values.shape) < 0.25] = np.nan
    alpha = {level: krippendorff.alpha(reliability_data=values, level_of_measurement=level)
             for level in ("nominal", "ordinal", "interval")}
    ours = taken("compute_agreement.py", "get_mt_bench_agreement", "convertvote", "equalvote")
    names = ["model_a", "tie", "model_b"]
    votes = {i: {"gpt4-pair": [names[int(a) % 3]], "human": [names[int(b) % 3]]}
             for i, (a, b) in enumerate(zip(noisy[0], noisy[1]))}
    fastchat = {k: ours["get_mt_bench_agreement"](votes, "gpt4-pair", "human", ban=ban)
                for k, ban in (("included", []), ("excluded", ["tie"]))}
    write("agreement", dict(
        raters=noisy, cohen=cohen, counts=counts, fleiss=fleiss_kappa(counts),
        values=[[None if math.isnan(v) else v for v in r] for r in values], alpha=alpha, fastchat=fastchat))


def dawid_skene(rng):
    from crowdkit.aggregation import DawidSkene

    truth = rng.choice(3, 120, p=[0.5, 0.3, 0.2])
    labels = []
    for judge, skill in enumerate([0.9, 0.75, 0.6, 0.8, 0.5]):
        for item in range(120):
            if rng.random() < 0.8:
                labels.append([item, judge, int(truth[item] if rng.random() < skill else rng.integers(0, 3))])
    data = pd.DataFrame(labels, columns=["task", "worker", "label"])
    model = DawidSkene(n_iter=3000, tol=-1.0).fit(data)
    confusion = [[[float(model.errors_.loc[(judge, given), true]) for given in range(3)] for true in range(3)]
                 for judge in range(5)]
    items = sorted(model.probas_.index)
    # crowd-kit's own figure counts the prior once per label; this is Dawid & Skene's (2.3).
    log_likelihood = sum(
        math.log(sum(model.priors_[true] * math.prod(confusion[j][true][c] for i, j, c in labels if i == item)
                     for true in range(3))) for item in items)
    write("dawid_skene", dict(
        labels=labels, items=items, truth=[[float(model.probas_.loc[i, c]) for c in range(3)] for i in items],
        priors=[float(model.priors_[c]) for c in range(3)], confusion=confusion,
        log_likelihood=log_likelihood))


def powered(rng):
    import ppi_py

    cases = []
    for n, big, noise in ((60, 1000, 0.2), (200, 300, 0.45), (40, 5000, 0.0)):
        truth = rng.choice([0, 0.5, 1], n + big, p=[0.3, 0.1, 0.6])
        judge = np.where(rng.random(n + big) < noise, rng.choice([0, 0.5, 1], n + big), truth)
        people, labelled, alone = truth[:n], judge[:n], judge[n:]
        for lam in (None, 1.0, 0.3):
            low, high = ppi_py.ppi_mean_ci(people, labelled, alone, alpha=0.05, lam=lam)
            value = ppi_py.ppi_mean_pointestimate(people, labelled, alone, lam=lam)
            cases.append(dict(people=people, judge=labelled, alone=alone, lam=lam, value=float(np.squeeze(value)),
                              low=float(np.squeeze(low)), high=float(np.squeeze(high))))
    write("powered", cases)


def main():
    for place, make in enumerate((summary, alpaca, resample, ratings, style, length, agreement, dawid_skene, powered)):
        print(make.__name__)
        make(np.random.default_rng(100 + place))
    markdown()


main()
