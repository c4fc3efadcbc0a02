use llm_eval::stats::{
    Battle, BradleyTerryOptions, Covariates, EloOptions, Outcome, RatingInterval, RatingScale,
    Style, StyleFormula, TieModel, bradley_terry, bradley_terry_controlled, elo, elo_bootstrap,
};
use llm_eval::{Error, stats};

use crate::common::{all_near, battles, counts, floats, golden, near, same_ratings};

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap()
}

fn repeated(outcomes: &[(Outcome, usize)]) -> Vec<Battle> {
    let battles = outcomes
        .iter()
        .flat_map(|(outcome, times)| std::iter::repeat_n(Battle::new("a", "b", *outcome), *times));
    battles.collect()
}

#[test]
fn elo_is_fastchats() {
    let golden = golden("ratings");
    let ours = elo(&battles(&golden["battles"]), &EloOptions::default()).unwrap();
    ours.iter()
        .for_each(|(model, rating)| near(*rating, number(&golden["elo"][model])));
}

#[test]
fn bradley_terry_is_fastchats_with_and_without_its_ridge() {
    let golden = golden("ratings");
    let battles = battles(&golden["battles"]);
    let ridge = BradleyTerryOptions {
        ridge: 0.5,
        ..Default::default()
    };
    let ours = bradley_terry(&battles, &ridge).unwrap();
    same_ratings(&ours, &golden["fastchat_converged"]);
    // What FastChat prints stops at scikit-learn's tolerance, 10⁻⁴.
    for model in &ours.models {
        let printed = number(&golden["fastchat_as_it_is"][&model.model]);
        assert!((model.rating.value - printed).abs() < 0.1);
    }
    let ours = bradley_terry(&battles, &Default::default()).unwrap();
    same_ratings(&ours, &golden["rating_systems_converged"]);
    for model in &ours.models {
        // L-BFGS again.
        let printed = number(&golden["rating_systems_as_it_is"][&model.model]);
        assert!(
            (model.rating.value - printed).abs() < 0.1,
            "{printed} {model:?}"
        );
    }
}

#[test]
fn bradley_terry_and_its_errors_are_those_of_statsmodels() {
    let golden = golden("ratings");
    let battles = battles(&golden["battles"]);
    let ours = bradley_terry(&battles, &Default::default()).unwrap();
    same_ratings(&ours, &golden["glm"]);
    near(ours.log_likelihood, number(&golden["glm_log_likelihood"]));
    assert_eq!(ours.separation, None);
    for model in &ours.models {
        near(
            model.rating.standard_error,
            number(&golden["glm_errors"][&model.model]),
        );
    }
    let anchored = BradleyTerryOptions {
        scale: RatingScale {
            anchor: Some(("model-0".into(), 1114.0)),
            ..Default::default()
        },
        ..Default::default()
    };
    let anchored = bradley_terry(&battles, &anchored).unwrap();
    for model in &anchored.models {
        if model.is_anchor() {
            assert_eq!(
                (model.model.as_str(), model.rating.value),
                ("model-0", 1114.0)
            );
            continue;
        }
        let error = number(&golden["glm_anchored_errors"][&model.model]);
        near(model.rating.standard_error, error);
        let compared = ours.compare(&model.model, "model-0").unwrap();
        near(compared.difference.standard_error, error);
        near(compared.difference.value, model.rating.value - 1114.0);
    }
}

#[test]
fn decided_battles_are_rated_as_choix_rates_them() {
    let golden = golden("ratings");
    let mut battles = battles(&golden["battles"]);
    battles.retain(|battle| battle.outcome != Outcome::Tie);
    for ties in [TieModel::HalfWins, TieModel::Davidson, TieModel::RaoKupper] {
        let options = BradleyTerryOptions {
            ties,
            ..Default::default()
        };
        same_ratings(
            &bradley_terry(&battles, &options).unwrap(),
            &golden["choix"],
        );
    }
}

#[test]
fn tie_models_maximise_their_papers_likelihoods() {
    let golden = golden("ratings");
    let battles = battles(&golden["battles"]);
    for (name, ties) in [
        ("davidson", TieModel::Davidson),
        ("rao_kupper", TieModel::RaoKupper),
    ] {
        let options = BradleyTerryOptions {
            ties,
            ..Default::default()
        };
        let ours = bradley_terry(&battles, &options).unwrap();
        same_ratings(&ours, &golden[name]["models"]);
        near(
            ours.tie_parameter.unwrap(),
            number(&golden[name]["parameter"]),
        );
        near(ours.log_likelihood, number(&golden[name]["log_likelihood"]));
    }
}

#[test]
fn two_models_have_closed_forms() {
    let battles = repeated(&[
        (Outcome::First, 30),
        (Outcome::Second, 12),
        (Outcome::Tie, 8),
    ]);
    let fit = |ties| {
        let options = BradleyTerryOptions {
            ties,
            ..Default::default()
        };
        let ratings = bradley_terry(&battles, &options).unwrap();
        let points = ratings.models[0].rating.value - ratings.models[1].rating.value;
        (points / 400.0 * 10_f64.ln(), ratings.tie_parameter)
    };
    let (w, l, t, n) = (30.0_f64, 12.0_f64, 8.0_f64, 50.0);
    near(
        fit(TieModel::HalfWins).0,
        ((w + t / 2.0) / (l + t / 2.0)).ln(),
    );
    let (gap, nu) = fit(TieModel::Davidson);
    near(gap, (w / l).ln());
    near(nu.unwrap(), t / (w * l).sqrt());
    let logit = |share: f64| (share / (1.0 - share)).ln();
    let (gap, theta) = fit(TieModel::RaoKupper);
    near(gap, (logit(w / n) - logit(l / n)) / 2.0);
    near(theta.unwrap().ln(), -(logit(w / n) + logit(l / n)) / 2.0);
}

#[test]
fn a_weight_is_so_many_battles() {
    let many = repeated(&[(Outcome::First, 3), (Outcome::Second, 1)]);
    let few = [
        Battle::new("a", "b", Outcome::First).weighing(3.0),
        Battle::new("b", "a", Outcome::First),
    ];
    let [many, few] =
        [&many[..], &few[..]].map(|battles| bradley_terry(battles, &Default::default()).unwrap());
    near(many.models[0].rating.value, few.models[0].rating.value);
    assert_eq!(many.models[0].battles, 4.0);
    assert_eq!(few.models[0].battles, 4.0);
}

#[test]
fn a_model_that_wins_all_is_placed_by_the_ridge_and_named() {
    let mut battles = repeated(&[(Outcome::First, 5), (Outcome::Second, 5)]);
    battles.extend((0..6).map(|_| Battle::new("best", "a", Outcome::First)));
    let ratings = bradley_terry(&battles, &Default::default()).unwrap();
    let separation = ratings.separation.unwrap();
    assert_eq!(separation.groups, [vec!["a", "b"], vec!["best"]]);
    assert_eq!(
        (ratings.ridge, ratings.models[0].model.as_str()),
        (0.5, "best")
    );
    assert!(ratings.models[0].rating.value < 3000.0);
}

#[test]
fn bootstraps_of_ratings_lie_around_them_and_are_the_seeds() {
    let golden = golden("ratings");
    let battles = battles(&golden["battles"]);
    let sandwich = bradley_terry(&battles, &Default::default()).unwrap();
    let mut options = BradleyTerryOptions::arena();
    options.interval = RatingInterval::Bootstrap { rounds: 400 };
    let ours = bradley_terry(&battles, &options).unwrap();
    for (ours, sandwich) in ours.models.iter().zip(&sandwich.models) {
        assert_eq!(ours.rating.value, sandwich.rating.value);
        assert!(ours.rating.interval.contains(ours.rating.value));
        let ratio = ours.rating.standard_error / sandwich.rating.standard_error;
        assert!((0.85..1.15).contains(&ratio), "{ratio}");
    }
    assert_eq!(bradley_terry(&battles, &options).unwrap(), ours);
    options.seed = 1;
    assert_ne!(bradley_terry(&battles, &options).unwrap(), ours);
    let medians = elo_bootstrap(&battles, &EloOptions::default(), 100, 0.95, 0).unwrap();
    assert_eq!(medians.len(), 6);
    for rating in &medians {
        assert!(rating.interval.contains(rating.median));
    }
    let mut anchored = EloOptions::default();
    anchored.scale.anchor = Some(("model-0".into(), 800.0));
    assert_eq!(elo(&battles, &anchored).unwrap()["model-0"], 800.0);
    for rating in elo_bootstrap(&battles, &anchored, 100, 0.95, 0).unwrap() {
        let free = medians
            .iter()
            .find(|other| other.model == rating.model)
            .unwrap();
        let base = medians
            .iter()
            .find(|other| other.model == "model-0")
            .unwrap();
        assert!((rating.median - 800.0 - (free.median - base.median)).abs() < 15.0);
    }
}

#[test]
fn style_control_is_the_arenas() {
    let golden = golden("style");
    let battles = battles(&golden["battles"]);
    let answers: Vec<(Style, Style)> = golden["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .zip(golden["counts"].as_array().unwrap())
        .map(|(tokens, of_both)| {
            let style = |place: usize| {
                let markdown = counts(&of_both[place]);
                Style {
                    tokens: tokens[place].as_u64().unwrap(),
                    headers: markdown[0],
                    lists: markdown[1],
                    bolds: markdown[2],
                }
            };
            (style(0), style(1))
        })
        .collect();
    let arena = Covariates::style(&answers, StyleFormula::Arena).unwrap();
    let mut options = BradleyTerryOptions::arena_ridge();
    options.interval = RatingInterval::Sandwich;
    let ours = bradley_terry_controlled(&battles, &arena, &options).unwrap();
    same_ratings(&ours, &golden["ratings"]);
    let coefficients = |ours: &stats::Ratings| -> Vec<f64> {
        ours.coefficients
            .iter()
            .map(|found| found.coefficient.value)
            .collect()
    };
    let golden_coefficients = floats(&golden["coefficients"]);
    for (ours, golden) in coefficients(&ours).iter().zip(golden_coefficients) {
        assert!((ours - golden).abs() < 1e-6, "{ours} {golden}");
    }

    let hard = Covariates::style(&answers, StyleFormula::ArenaHard).unwrap();
    let independent: Vec<Battle> = battles
        .iter()
        .map(|battle| Battle::new(&*battle.first, &*battle.second, battle.outcome))
        .collect();
    let ours = bradley_terry_controlled(&independent, &hard, &Default::default());
    let ours = ours.unwrap();
    same_ratings(&ours, &golden["hard_ratings"]);
    all_near(&coefficients(&ours), &floats(&golden["hard_coefficients"]));
    let errors: Vec<f64> = ours
        .coefficients
        .iter()
        .map(|found| found.coefficient.standard_error)
        .collect();
    all_near(&errors, &floats(&golden["hard_errors"]));
}

#[test]
fn bad_battles_and_options_are_refused() {
    let options = BradleyTerryOptions::default();
    assert!(matches!(
        bradley_terry(&[], &options),
        Err(Error::TooFew { .. })
    ));
    let own = [
        Battle::new("a", "a", Outcome::Tie),
        Battle::new("a", "b", Outcome::Tie),
    ];
    assert!(matches!(
        bradley_terry(&own, &options),
        Err(Error::SelfBattle(_))
    ));
    let bad = [Battle::new("a", "b", Outcome::Tie).weighing(-1.0)];
    assert!(matches!(
        bradley_terry(&bad, &options),
        Err(Error::BadValue { .. })
    ));
    let ties = repeated(&[(Outcome::Tie, 4)]);
    let davidson = BradleyTerryOptions {
        ties: TieModel::Davidson,
        ..Default::default()
    };
    assert!(matches!(
        bradley_terry(&ties, &davidson),
        Err(Error::Undefined { .. })
    ));
    let mut anchored = options.clone();
    anchored.scale.anchor = Some(("nobody".into(), 1.0));
    assert!(matches!(
        bradley_terry(&ties, &anchored),
        Err(Error::UnknownModel(_))
    ));
    let mut negative = options;
    negative.ridge = -1.0;
    assert!(matches!(
        bradley_terry(&ties, &negative),
        Err(Error::BadOption { .. })
    ));
}
