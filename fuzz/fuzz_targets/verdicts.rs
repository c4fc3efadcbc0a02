#![no_main]

use llm_eval::verdict::{Compat, Grammar, Parsed, Verdict, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| verdicts(data));

/// A reply has a verdict on its scale or none, twice the same, and both ends of what
/// `judge parse --json` writes agree.
fn verdicts(data: &[u8]) {
    let reply = String::from_utf8_lossy(data);
    let names = Grammar::NAMES
        .into_iter()
        .chain(Compat::ALL.map(Compat::name));
    for name in names.chain(["rubric:accuracy,clarity"]) {
        let grammar: Grammar = name.parse().expect("a grammar's name");
        let parsed = parse(&grammar, &reply);
        assert_eq!(parsed, parse(&grammar, &reply));
        let json = serde_json::to_string(&parsed).expect("finite numbers");
        assert_eq!(
            serde_json::from_str::<Parsed>(&json).expect("what was written"),
            parsed
        );
        let compat = matches!(grammar, Grammar::Compat(_));
        let on_scale = |score: &f64| compat || (1.0..=10.0).contains(score);
        match parsed.verdict() {
            Some(Verdict::Score(score)) if name == "belle" => assert!((0.0..=1.0).contains(score)),
            Some(Verdict::Score(score)) => assert!(on_scale(score)),
            Some(Verdict::Pair(first, second)) => assert!(on_scale(first) && on_scale(second)),
            Some(Verdict::Scores(scores)) => {
                assert!(!scores.is_empty() && scores.values().all(on_scale))
            }
            Some(Verdict::Preference(_)) | None => {}
        }
    }
}
