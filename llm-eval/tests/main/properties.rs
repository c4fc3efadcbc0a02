use llm_eval::Error;
use llm_eval::stats::{
    Battle, Bootstrap, BootstrapMethod, BradleyTerryOptions, Comparison, DawidSkeneOptions,
    Disagreement, Label, Majority, Measurement, Outcome, Outcomes, PositionBias, PowerTuning,
    RatingInterval, Significance, TieModel, Ties, agreement, bootstrap_mean, bootstrap_statistic,
    bradley_terry, cohen_kappa, compare, dawid_skene, elo_bootstrap, expected_preference,
    fleiss_kappa, krippendorff_alpha, majority, panel_agreement, prediction_powered, rogan_gladen,
    sign_flip_test, wilson,
};
use proptest::prelude::*;

const METHODS: [BootstrapMethod; 3] = [
    BootstrapMethod::Percentile,
    BootstrapMethod::Bca,
    BootstrapMethod::Studentised,
];

fn few(method: BootstrapMethod) -> Bootstrap {
    Bootstrap {
        resamples: 200,
        method,
        ..Default::default()
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::First),
        Just(Outcome::Second),
        Just(Outcome::Tie)
    ]
}

/// Scores of two systems and their questions, at least two.
fn scores() -> impl Strategy<Value = Vec<(u32, u32, usize)>> {
    prop::collection::vec((0..=4_u32, 0..=4_u32, 0..12_usize), 8..40).prop_map(|mut rows| {
        rows[0].2 = 0;
        rows[1].2 = 1;
        rows
    })
}

fn columns(rows: &[(u32, u32, usize)]) -> (Vec<f64>, Vec<f64>, Vec<usize>) {
    let column =
        |of: fn(&(u32, u32, usize)) -> u32| rows.iter().map(|row| of(row).into()).collect();
    (
        column(|row| row.0),
        column(|row| row.1),
        rows.iter().map(|row| row.2).collect(),
    )
}

fn battles() -> impl Strategy<Value = Vec<Battle>> {
    prop::collection::vec((0..4_usize, 1..4_usize, outcome(), 0..9_usize), 6..60).prop_map(|rows| {
        let battle = |(first, step, outcome, question): (usize, usize, Outcome, usize)| {
            let name = |place: usize| ["a", "b", "c", "d"][place % 4];
            let battle = Battle::new(name(first), name(first + step), outcome);
            if question == 8 {
                battle
            } else {
                battle.about(question.to_string())
            }
        };
        rows.into_iter().map(battle).collect()
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-7 * (1.0 + a.abs())
}

fn mirrored(one: &Comparison, other: &Comparison) -> bool {
    let (a, b) = (one.difference, other.difference);
    let verdict = match one.verdict {
        Significance::FirstHigher => Significance::SecondHigher,
        Significance::SecondHigher => Significance::FirstHigher,
        same => same,
    };
    close(a.value, -b.value)
        && close(a.interval.low, -b.interval.high)
        && close(a.interval.high, -b.interval.low)
        && close(a.standard_error, b.standard_error)
        && close(one.p_value, other.p_value)
        && verdict == other.verdict
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_comparison_is_the_same_with_the_systems_exchanged(rows in scores()) {
        let (first, second, clusters) = columns(&rows);
        for method in METHODS {
            let one = compare(&first, &second, &clusters, &few(method)).unwrap();
            let other = compare(&second, &first, &clusters, &few(method)).unwrap();
            prop_assert!(mirrored(&one, &other), "{one:?} {other:?}");
        }
        let one = sign_flip_test(&first, &second, &clusters, &Default::default()).unwrap();
        let other = sign_flip_test(&second, &first, &clusters, &Default::default()).unwrap();
        prop_assert_eq!(one.p_value, other.p_value);
        prop_assert_eq!(one.difference, -other.difference);
    }

    #[test]
    fn the_order_of_items_is_nothing((rows, shuffled) in scores().prop_flat_map(|rows| {
        (Just(rows.clone()), Just(rows).prop_shuffle())
    })) {
        let (first, second, clusters) = columns(&rows);
        let (other_first, other_second, other_clusters) = columns(&shuffled);
        for method in METHODS {
            let options = few(method);
            prop_assert_eq!(
                bootstrap_mean(&first, &clusters, &options).unwrap(),
                bootstrap_mean(&other_first, &other_clusters, &options).unwrap()
            );
            let one = compare(&first, &second, &clusters, &options).unwrap();
            let other = compare(&other_first, &other_second, &other_clusters, &options).unwrap();
            prop_assert_eq!(one.difference, other.difference);
        }
    }

    #[test]
    fn p_values_and_intervals_agree(rows in scores()) {
        let (first, second, clusters) = columns(&rows);
        for method in METHODS {
            let options = few(method);
            let found = compare(&first, &second, &clusters, &options).unwrap();
            let significant = found.verdict != Significance::NotSignificantlyDifferent;
            // Apart from the resolution of 200 resamples.
            if found.p_value < 0.03 {
                prop_assert!(significant, "{method:?} {found:?}");
            } else if found.p_value > 0.08 {
                prop_assert!(!significant, "{method:?} {found:?}");
            }
        }
    }

    #[test]
    fn ratings_know_neither_order_nor_side((battles, shuffled) in battles().prop_flat_map(|rows| {
        (Just(rows.clone()), Just(rows).prop_shuffle())
    })) {
        let swapped: Vec<Battle> = shuffled
            .iter()
            .map(|battle| Battle {
                first: battle.second.clone(),
                second: battle.first.clone(),
                outcome: battle.outcome.swapped(),
                ..battle.clone()
            })
            .collect();
        for ties in [TieModel::HalfWins, TieModel::Davidson, TieModel::RaoKupper] {
            for interval in [RatingInterval::Sandwich, RatingInterval::Bootstrap { rounds: 20 }] {
                let options = BradleyTerryOptions { ties, interval, ..Default::default() };
                let one = bradley_terry(&battles, &options);
                let other = bradley_terry(&swapped, &options);
                let (Ok(one), Ok(other)) = (&one, &other) else {
                    prop_assert_eq!(one.is_ok(), other.is_ok(), "{:?} {:?}", one, other);
                    continue;
                };
                let sum: f64 = one.models.iter().map(|model| model.rating.value).sum();
                prop_assert!(close(sum, 1000.0 * one.models.len() as f64));
                for model in &one.models {
                    let same = other.models.iter().find(|other| other.model == model.model).unwrap();
                    prop_assert!(close(model.rating.value, same.rating.value));
                    prop_assert!(close(model.rating.standard_error, same.rating.standard_error));
                    prop_assert!(close(model.rating.interval.low, same.rating.interval.low));
                }
            }
        }
        let one = elo_bootstrap(&battles, &Default::default(), 20, 0.9, 3).unwrap();
        let other = elo_bootstrap(&swapped, &Default::default(), 20, 0.9, 3).unwrap();
        for model in &one {
            let same = other.iter().find(|other| other.model == model.model).unwrap();
            prop_assert!(close(model.median, same.median));
            prop_assert!(close(model.interval.low, same.interval.low));
        }
    }

    #[test]
    fn agreement_knows_no_order_of_judges(votes in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_usize), 5..60)) {
        let rater = |of: fn(&(usize, usize, usize)) -> usize| -> Vec<usize> { votes.iter().map(of).collect() };
        let (a, b, c) = (rater(|v| v.0), rater(|v| v.1), rater(|v| v.2));
        for kind in [Disagreement::Nominal, Disagreement::Linear, Disagreement::Quadratic] {
            let (one, other) = (cohen_kappa(&a, &b, 3, kind), cohen_kappa(&b, &a, 3, kind));
            match (&one, &other) {
                (Ok(one), Ok(other)) => prop_assert!(close(*one, *other) && *one <= 1.0),
                _ => prop_assert_eq!(one.is_ok(), other.is_ok()),
            }
        }
        let values = |rater: &[usize]| rater.iter().map(|v| (*v > 0).then_some(*v as f64)).collect::<Vec<_>>();
        for kind in [Measurement::Nominal, Measurement::Ordinal, Measurement::Interval] {
            let one = krippendorff_alpha(&[values(&a), values(&b), values(&c)], kind);
            let other = krippendorff_alpha(&[values(&c), values(&a), values(&b)], kind);
            if let (Ok(one), Ok(other)) = (one, other) {
                prop_assert!(close(one, other) && one <= 1.0 + 1e-12);
            }
        }
    }

    #[test]
    fn dawid_skene_never_falls_and_knows_no_order(
        (labels, shuffled) in prop::collection::vec((0..15_usize, 0..4_usize, 0..3_usize), 5..80)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        smoothing in prop_oneof![Just(0.0), Just(0.5)],
    ) {
        let labels_of = |rows: &[(usize, usize, usize)]| -> Vec<Label> {
            rows.iter().map(|&(item, judge, class)| Label { item, judge, class }).collect()
        };
        let options = DawidSkeneOptions { smoothing, iterations: 50, ..Default::default() };
        let model = dawid_skene(&labels_of(&labels), 15, 4, 3, &options).unwrap();
        for pair in model.objective.windows(2) {
            prop_assert!(pair[1] >= pair[0] - 1e-6, "{:?}", model.objective);
        }
        for row in model.truth.iter().chain(model.confusion.iter().flatten()) {
            prop_assert!(close(row.iter().sum(), 1.0));
        }
        prop_assert_eq!(dawid_skene(&labels_of(&shuffled), 15, 4, 3, &options).unwrap(), model);
    }

    #[test]
    fn rates_are_mirrored(hits in 0..50_u64, more in 1..50_u64, yes in 30..40_u64, no in 25..40_u64) {
        let all = hits + more;
        let (one, other) = (wilson(hits, all, 0.95).unwrap(), wilson(all - hits, all, 0.95).unwrap());
        prop_assert!(close(one.low, 1.0 - other.high) && close(one.high, 1.0 - other.low));
        let one = rogan_gladen((hits, all), (yes, 40), (no, 40), 0.95).unwrap();
        let other = rogan_gladen((all - hits, all), (no, 40), (yes, 40), 0.95).unwrap();
        prop_assert!(close(one.rate.value, 1.0 - other.rate.value));
        prop_assert!(close(one.rate.interval.low, 1.0 - other.rate.interval.high));
        prop_assert!(close(one.delta_interval.low, 1.0 - other.delta_interval.high));
    }

    #[test]
    fn a_judge_that_is_not_heard_changes_nothing(people in prop::collection::vec(0.0..1.0_f64, 3..30)) {
        let judge: Vec<f64> = people.iter().map(|value| 1.0 - value).collect();
        let found = prediction_powered(&people, &judge, &judge, PowerTuning::Fixed(0.0), 0.95).unwrap();
        prop_assert_eq!(found.mean, found.people);
        // What contradicts people is worth nothing: λ is 0.
        let found = prediction_powered(&people, &judge, &judge, PowerTuning::Estimated, 0.95).unwrap();
        prop_assert_eq!(found.lambda, 0.0);
    }

    #[test]
    fn a_slot_is_preferred_whatever_the_order_of_the_games(
        verdicts in prop::collection::vec((outcome(), outcome()), 2..40)
    ) {
        let swapped: Vec<_> = verdicts.iter().map(|(one, other)| (*other, *one)).collect();
        prop_assert_eq!(
            PositionBias::of(&verdicts, 0.95).unwrap(),
            PositionBias::of(&swapped, 0.95).unwrap()
        );
    }
}

#[test]
fn outcomes_are_counted_and_their_errors_are_those_of_the_scores() {
    let outcomes = [
        Outcome::First,
        Outcome::First,
        Outcome::Second,
        Outcome::Tie,
        Outcome::Tie,
    ];
    let counts: Outcomes = outcomes.into_iter().collect();
    assert_eq!((counts.wins, counts.losses, counts.ties), (2, 1, 2));
    assert_eq!(counts.win_rate().unwrap(), 0.4);
    assert_eq!(counts.loss_rate().unwrap(), 0.2);
    assert_eq!(counts.adjusted_win_rate().unwrap(), 0.6);
    let scores = outcomes.map(Outcome::score);
    let wins = scores.map(|score| f64::from(u8::from(score == 1.0)));
    for (ours, values) in [
        (counts.adjusted_win_rate_error().unwrap(), scores),
        (counts.win_rate_error().unwrap(), wins),
    ] {
        assert!((ours - llm_eval::stats::standard_error(&values).unwrap()).abs() < 1e-12);
    }
    assert!(matches!(
        Outcomes::default().win_rate(),
        Err(Error::TooFew { .. })
    ));
}

#[test]
fn position_bias_is_counted() {
    use Outcome::{First, Second, Tie};
    let verdicts = [
        (First, Second),
        (First, First),
        (First, First),
        (Second, Second),
        (Tie, Tie),
        (Tie, First),
    ];
    let bias = PositionBias::of(&verdicts, 0.95).unwrap();
    assert_eq!((bias.items, bias.consistent), (6, 2));
    assert_eq!(
        (bias.first_slot, bias.second_slot, bias.half_tied),
        (2, 1, 1)
    );
    let preference = (0.5 + 1.0 + 1.0 + 0.0 + 0.5 + 0.75) / 6.0;
    assert!((bias.first_slot_preference.value - preference).abs() < 1e-12);
}

#[test]
fn a_panel_is_heard_with_and_without_ties() {
    use Outcome::{First, Second, Tie};
    assert_eq!(
        majority(&[Some(First), None, Some(First), Some(Tie)]),
        Majority::Label(First)
    );
    assert_eq!(majority(&[Some(2), Some(1)]), Majority::Tie(vec![1, 2]));
    assert_eq!(majority::<u8>(&[None, None]), Majority::None);
    let votes = [
        vec![Some(First), Some(Second), Some(Tie), Some(First), None],
        vec![
            Some(First),
            Some(Second),
            Some(First),
            Some(Second),
            Some(First),
        ],
    ];
    let with = panel_agreement(&votes, Ties::Included, 0.95).unwrap();
    let without = panel_agreement(&votes, Ties::Excluded, 0.95).unwrap();
    assert_eq!((with.complete, without.complete), (4, 3));
    assert_eq!((with.pairs[0].2.agreed, with.pairs[0].2.items), (2, 4));
    assert_eq!(
        (without.pairs[0].2.agreed, without.pairs[0].2.items),
        (2, 3)
    );
    assert!(without.fleiss.unwrap() > with.fleiss.unwrap());
    assert!(with.ordinal_alpha.is_some() && with.alpha.is_some());
    assert!(matches!(
        agreement(&votes[0][4..], &votes[1][4..], Ties::Included, 0.95),
        Err(Error::TooFew { .. })
    ));
}

#[test]
fn expected_preferences_are_means_over_the_verdicts() {
    let verdicts = [
        (1.0, 0.6_f64.ln()),
        (0.0, 0.2_f64.ln()),
        (0.5, f64::NEG_INFINITY),
    ];
    let found = expected_preference(&verdicts).unwrap();
    assert!((found.value - 0.75).abs() < 1e-12 && (found.mass - 0.8).abs() < 1e-12);
    assert!(matches!(
        expected_preference(&[]),
        Err(Error::TooFew { .. })
    ));
    assert!(matches!(
        expected_preference(&[(1.0, f64::NEG_INFINITY)]),
        Err(Error::Undefined { .. })
    ));
    assert!(matches!(
        expected_preference(&[(1.0, 0.5)]),
        Err(Error::BadValue { .. })
    ));
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let options = Bootstrap::default();
    assert!(matches!(
        bootstrap_mean(&[1.0, 2.0], &[1, 1], &options),
        Err(Error::TooFew {
            what: "clusters",
            ..
        })
    ));
    assert!(matches!(
        bootstrap_mean(&[1.0], &[1, 2], &options),
        Err(Error::Lengths { .. })
    ));
    assert!(matches!(
        compare(&[f64::NAN, 1.0], &[0.0, 0.0], &[1, 2], &options),
        Err(Error::BadValue { .. })
    ));
    let level = Bootstrap {
        level: 1.0,
        ..Default::default()
    };
    assert!(matches!(
        bootstrap_mean(&[1.0, 2.0], &[1, 2], &level),
        Err(Error::BadOption { .. })
    ));
    assert!(matches!(
        bootstrap_statistic(5, |_| Some(1.0), &options),
        Err(Error::Undefined { .. })
    ));
    assert!(fleiss_kappa(&[vec![3, 0], vec![2, 0]]).is_err());
    assert!(fleiss_kappa(&[vec![3, 0], vec![3, 0]]).is_err());
    assert!(rogan_gladen((5, 10), (1, 10), (1, 10), 0.95).is_err());
    assert!(krippendorff_alpha(&[vec![Some(1.0), None]], Measurement::Nominal).is_err());
    assert!(PositionBias::of(&[], 0.95).is_err());
    // Their mean is another number than they are.
    let same = vec![Some(0.1); 3];
    for measurement in [
        Measurement::Nominal,
        Measurement::Ordinal,
        Measurement::Interval,
    ] {
        assert!(matches!(
            krippendorff_alpha(&[same.clone(), same.clone()], measurement),
            Err(Error::Undefined { .. })
        ));
    }
    for (label, reason) in [
        ((usize::MAX, 0, 0), "items"),
        ((0, usize::MAX, 0), "judges"),
        ((0, 0, 2), "classes"),
    ] {
        let (item, judge, class) = label;
        let labels = [Label { item, judge, class }];
        let error = dawid_skene(&labels, 1, 1, 2, &Default::default()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// Scores that are all different cost no more memory than their number, and huge ones have an α.
#[test]
fn many_different_values_have_an_alpha() {
    let one: Vec<_> = (0..20_000)
        .map(|item| Some(f64::from(item) * 1e303))
        .collect();
    let other: Vec<_> = one
        .iter()
        .map(|value| value.map(|v| v * 1.000_001))
        .collect();
    for measurement in [Measurement::Ordinal, Measurement::Interval] {
        let alpha = krippendorff_alpha(&[one.clone(), other.clone()], measurement).unwrap();
        assert!((0.999..=1.0).contains(&alpha), "{alpha}");
    }
    let alpha = krippendorff_alpha(&[one, other], Measurement::Nominal).unwrap();
    assert!((-0.01..0.01).contains(&alpha), "{alpha}");
}

#[test]
fn equal_systems_are_not_significantly_different() {
    let scores = [1.0, 0.0, 0.5, 1.0, 0.0, 1.0];
    let clusters = [1, 1, 2, 2, 3, 3];
    for method in METHODS {
        let found = compare(&scores, &scores, &clusters, &few(method)).unwrap();
        assert_eq!((found.difference.value, found.p_value), (0.0, 1.0));
        assert_eq!(found.verdict.to_string(), "not significantly different");
    }
    let found = sign_flip_test(&scores, &scores, &clusters, &Default::default()).unwrap();
    assert_eq!(
        (found.p_value, found.verdict),
        (1.0, Significance::NotSignificantlyDifferent)
    );
}
