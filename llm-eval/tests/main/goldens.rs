use llm_eval::stats::{
    Disagreement, Label, Measurement, Outcome, PowerTuning, SignFlipOptions, Style, Ties,
    agreement, alpaca_win_rate, bca_interval, clustered_mean, cohen_kappa, dawid_skene,
    fleiss_kappa, krippendorff_alpha, length_controlled_win_rate, mean, percentile,
    prediction_powered, sample_sd, sign_flip_test, standard_error, wilson,
};
use serde_json::Value;

use crate::common::{all_near, counts, floats, golden, near};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn means_and_rates_are_those_of_scipy_and_statsmodels() {
    let golden = golden("summary");
    let values = floats(&golden["values"]);
    near(mean(&values).unwrap(), number(&golden["mean"]));
    near(sample_sd(&values).unwrap(), number(&golden["sd"]));
    near(
        standard_error(&values).unwrap(),
        number(&golden["standard_error"]),
    );
    let estimate = clustered_mean(&values, &counts(&golden["clusters"]), 0.95).unwrap();
    near(estimate.value, number(&golden["mean"]));
    near(estimate.standard_error, number(&golden["clustered_error"]));
    near(
        estimate.interval.low,
        number(&golden["clustered_interval"][0]),
    );
    near(
        estimate.interval.high,
        number(&golden["clustered_interval"][1]),
    );
    for row in list(&golden["wilson"]) {
        let [hits, n] = [0, 1].map(|place| row[place].as_u64().unwrap());
        let interval = wilson(hits, n, number(&row[2])).unwrap();
        near(interval.low, number(&row[3]));
        near(interval.high, number(&row[4]));
    }
}

#[test]
fn win_rates_are_alpaca_evals() {
    for case in list(&golden("alpaca")) {
        let preferences: Vec<Option<f64>> = list(&case["preferences"])
            .iter()
            .map(Value::as_f64)
            .collect();
        let ours = alpaca_win_rate(&preferences).unwrap();
        near(ours.win_rate * 100.0, number(&case["win_rate"]));
        near(
            ours.standard_error.unwrap() * 100.0,
            number(&case["standard_error"]),
        );
        near(
            ours.discrete_win_rate * 100.0,
            number(&case["discrete_win_rate"]),
        );
        near(ours.wins as f64, number(&case["n_wins"]));
        near(ours.base_wins as f64, number(&case["n_wins_base"]));
        near(ours.draws as f64, number(&case["n_draws"]));
        near(
            (preferences.len() as u64 - ours.missing) as f64,
            number(&case["n_total"]),
        );
    }
}

#[test]
fn intervals_and_the_sign_flip_test_are_scipys() {
    let golden = golden("resample");
    let replicates = floats(&golden["replicates"]);
    let left_out = floats(&golden["left_out"]);
    let interval = bca_interval(number(&golden["value"]), &replicates, &left_out, 0.95).unwrap();
    all_near(
        &[interval.low, interval.high],
        &floats(&golden["intervals"]["BCa"]),
    );
    let mut sorted = replicates;
    sorted.sort_by(f64::total_cmp);
    let ends = [percentile(&sorted, 0.025), percentile(&sorted, 0.975)];
    all_near(&ends, &floats(&golden["intervals"]["percentile"]));
    let (first, second) = (floats(&golden["first"]), floats(&golden["second"]));
    let options = SignFlipOptions::default();
    let test = sign_flip_test(&first, &second, &counts(&golden["clusters"]), &options).unwrap();
    assert!(test.exact);
    near(test.p_value, number(&golden["p_value"]));
}

#[test]
fn markdown_is_counted_as_arena_hard_counts_it() {
    for case in list(&golden("markdown")) {
        let text = case[0].as_str().unwrap();
        let ours = Style::of(text, 0);
        let golden = [1, 2, 3].map(|place| case[place].as_u64().unwrap());
        assert_eq!([ours.headers, ours.lists, ours.bolds], golden, "{text:?}");
    }
}

#[test]
fn length_control_is_statsmodels_and_alpaca_evals_without_penalty() {
    let golden = golden("length");
    let preferences = floats(&golden["preferences"]);
    let lengths: Vec<(u64, u64)> = list(&golden["lengths"])
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
        .collect();
    let difficulties = floats(&golden["difficulties"]);
    for (name, difficulties) in [("minimal", None), ("difficulty", Some(&difficulties[..]))] {
        let golden = &golden[name];
        let ours = length_controlled_win_rate(&preferences, &lengths, difficulties, 0.95).unwrap();
        let weights: Vec<f64> = [Some(ours.length), ours.difficulty, Some(ours.model)]
            .into_iter()
            .flatten()
            .collect();
        all_near(&weights, &floats(&golden["coefficients"]));
        near(ours.win_rate.value, number(&golden["win_rate"]));
        assert!((ours.prediction_error - number(&golden["prediction_error"])).abs() < 1e-8);
        // liblinear stops at its own tolerance.
        assert!((ours.win_rate.value - number(&golden["alpaca_win_rate"])).abs() < 1e-6);
        // Their cross-validated L1 penalty moves the figure by less than a point.
        assert!((ours.win_rate.value - number(&golden["cross_validated"])).abs() < 0.01);
    }
}

#[test]
fn agreement_is_that_of_scikit_learn_statsmodels_krippendorff_and_fastchat() {
    let golden = golden("agreement");
    let raters: Vec<Vec<usize>> = list(&golden["raters"])
        .iter()
        .map(|rater| {
            counts(rater)
                .into_iter()
                .map(|value| value as usize)
                .collect()
        })
        .collect();
    for (name, disagreement) in [
        ("nominal", Disagreement::Nominal),
        ("linear", Disagreement::Linear),
        ("quadratic", Disagreement::Quadratic),
    ] {
        let kappa = cohen_kappa(&raters[0], &raters[1], 4, disagreement).unwrap();
        near(kappa, number(&golden["cohen"][name]));
    }
    let table: Vec<Vec<u64>> = list(&golden["counts"]).iter().map(counts).collect();
    near(fleiss_kappa(&table).unwrap(), number(&golden["fleiss"]));
    let values: Vec<Vec<Option<f64>>> = list(&golden["values"])
        .iter()
        .map(|rater| list(rater).iter().map(Value::as_f64).collect())
        .collect();
    for (name, measurement) in [
        ("nominal", Measurement::Nominal),
        ("ordinal", Measurement::Ordinal),
        ("interval", Measurement::Interval),
    ] {
        let alpha = krippendorff_alpha(&values, measurement).unwrap();
        near(alpha, number(&golden["alpha"][name]));
    }
    let votes: Vec<Vec<Option<Outcome>>> = raters
        .iter()
        .map(|rater| {
            let vote = |value: &usize| [Outcome::First, Outcome::Tie, Outcome::Second][value % 3];
            rater.iter().map(|value| Some(vote(value))).collect()
        })
        .collect();
    for (name, ties) in [("included", Ties::Included), ("excluded", Ties::Excluded)] {
        let ours = agreement(&votes[0], &votes[1], ties, 0.95).unwrap();
        assert_eq!(
            [ours.agreed, ours.items],
            counts(&golden["fastchat"][name])[..]
        );
    }
}

#[test]
fn dawid_skene_is_crowd_kits() {
    let golden = golden("dawid_skene");
    let labels: Vec<Label> = list(&golden["labels"])
        .iter()
        .map(|row| {
            let [item, judge, class] = [0, 1, 2].map(|place| row[place].as_u64().unwrap() as usize);
            Label { item, judge, class }
        })
        .collect();
    let count = |number: fn(&Label) -> usize| labels.iter().map(number).max().unwrap() + 1;
    let (items, judges) = (count(|label| label.item), count(|label| label.judge));
    let model = dawid_skene(&labels, items, judges, 3, &Default::default()).unwrap();
    assert!(model.converged);
    all_near(&model.priors, &floats(&golden["priors"]));
    for (ours, golden) in model
        .confusion
        .iter()
        .flatten()
        .zip(list(&golden["confusion"]).iter().flat_map(list))
    {
        ours.iter()
            .zip(floats(golden))
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    }
    for (item, golden) in list(&golden["items"]).iter().zip(list(&golden["truth"])) {
        let ours = &model.truth[item.as_u64().unwrap() as usize];
        ours.iter()
            .zip(floats(golden))
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    }
    near(
        *model.objective.last().unwrap(),
        number(&golden["log_likelihood"]),
    );
}

#[test]
fn prediction_powered_means_are_ppi_pys() {
    for case in list(&golden("powered")) {
        let [people, judge, alone] = ["people", "judge", "alone"].map(|name| floats(&case[name]));
        let tuning = match case["lam"].as_f64() {
            None => PowerTuning::Estimated,
            Some(lambda) => PowerTuning::Fixed(lambda),
        };
        let ours = prediction_powered(&people, &judge, &alone, tuning, 0.95).unwrap();
        near(ours.mean.value, number(&case["value"]));
        near(ours.mean.interval.low, number(&case["low"]));
        near(ours.mean.interval.high, number(&case["high"]));
    }
}
