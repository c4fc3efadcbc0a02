use std::fs;
use std::path::Path;

use llm_eval::stats::{Battle, Outcome, Ratings};
use serde_json::Value;

/// What other people's code says: `tests/goldens/make.py` made it.
pub(crate) fn golden(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

pub(crate) fn counts(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap())
        .collect()
}

/// Equal to 10⁻⁶ of the golden, and to 10⁻⁹ where that is near 0.
#[track_caller]
pub(crate) fn near(ours: f64, golden: f64) {
    let allowed = 1e-6 * golden.abs() + 1e-9;
    assert!(
        (ours - golden).abs() <= allowed,
        "ours {ours}, golden {golden}"
    );
}

#[track_caller]
pub(crate) fn all_near(ours: &[f64], golden: &[f64]) {
    assert_eq!(ours.len(), golden.len());
    ours.iter()
        .zip(golden)
        .for_each(|(ours, golden)| near(*ours, *golden));
}

pub(crate) fn battles(rows: &Value) -> Vec<Battle> {
    let battle = |row: &Value| {
        let text = |place: usize| row[place].as_str().unwrap();
        let outcome = match text(2) {
            "first" => Outcome::First,
            "second" => Outcome::Second,
            _ => Outcome::Tie,
        };
        Battle::new(text(0), text(1), outcome).about(text(3))
    };
    rows.as_array().unwrap().iter().map(battle).collect()
}

#[track_caller]
pub(crate) fn same_ratings(ours: &Ratings, golden: &Value) {
    assert_eq!(ours.models.len(), golden.as_object().unwrap().len());
    for model in &ours.models {
        near(model.rating.value, golden[&model.model].as_f64().unwrap());
    }
}
