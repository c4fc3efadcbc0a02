//! The audit finds the biases of judges that are known to have them, and none in one without.

use llm_eval::judge::{Audit, AuditReport, Criterion, Judge, Mode, Pairing, Probe};

use crate::judge_stubs::{
    JUDGE, Seen, answers, by_worth, facts, hash, model, perfect, questions, with_runner,
};

fn audit(mode: Mode, judge: impl Fn(&Seen) -> String + Sync) -> AuditReport {
    let questions = questions(20);
    let answers = answers(&questions, &[("good", 3), ("fair", 2)]);
    let judged_by = Judge::new(JUDGE, mode);
    let audit = Audit {
        judge: &judged_by,
        questions: &questions,
        answers: &answers,
        level: 0.95,
    };
    let model = model(judge);
    with_runner(&model, 4, |runner| {
        let expected = audit.estimate(runner, 10).unwrap();
        let report = audit.run(runner).unwrap();
        let asked = runner.counts().unwrap().asked;
        // A question that two probes share is asked once, and one without a verdict twice.
        if report.judgments.rows.iter().all(|row| row.attempt == 0) {
            assert_eq!(expected.requests, asked);
        }
        report
    })
}

fn pair(judge: impl Fn(&Seen) -> String + Sync) -> AuditReport {
    audit(Mode::Pair(Pairing::default()), judge)
}

fn rate(report: &AuditReport, probe: Probe) -> f64 {
    report.probe(probe).unwrap().rate.unwrap()
}

/// Takes what stands after `mark` up to the line's end for an order.
fn obeys(seen: &Seen, mark: &str) -> Option<String> {
    let after = |text: &str| Some(text.split_once(mark)?.1.trim().lines().next()?.to_owned());
    seen.answers().into_iter().find_map(after)
}

#[test]
fn a_perfect_judge_passes() {
    let report = pair(perfect);
    assert_eq!(report.found(), []);
    assert_eq!(report.probes.len(), Probe::ALL.len());
    for result in &report.probes {
        let trials = if result.probe == Probe::Swap { 20 } else { 40 };
        assert_eq!((result.trials, result.unscored), (trials, 0));
        let interval = result.interval.unwrap();
        assert!(interval.low < 1e-9 && interval.high < 0.2, "{interval:?}");
    }
    let report = audit(Mode::Single, perfect);
    assert_eq!(report.found(), []);
    assert_eq!(report.probes.len(), Probe::ALL.len() - 1);
}

#[test]
fn a_judge_of_places_is_found() {
    for verdict in ["[[A]]", "[[B]]"] {
        let report = pair(|_| verdict.to_owned());
        let found = [Probe::Swap, Probe::Identical, Probe::Constant];
        assert_eq!(report.found(), found);
        assert!(found.iter().all(|probe| rate(&report, *probe) == 1.0));
        // Wilson's interval of 20 of 20, by statsmodels: proportion_confint(20, 20, method='wilson').
        let interval = report.probe(Probe::Swap).unwrap().interval.unwrap();
        assert!(
            (interval.low - 0.838_874_841_9).abs() < 1e-6,
            "{interval:?}"
        );
    }
}

#[test]
fn a_judge_that_prefers_length_is_found() {
    let longer = |seen: &Seen| by_worth(seen, |text| text.len() as f64 / 100.0);
    for mode in [Mode::Pair(Pairing::default()), Mode::Single] {
        let report = audit(mode, longer);
        assert_eq!(rate(&report, Probe::Padding), 1.0);
        assert_eq!(rate(&report, Probe::Verbosity), 1.0);
        assert_eq!(rate(&report, Probe::Identical), 0.0);
    }
}

#[test]
fn a_judge_that_cannot_tell_is_found() {
    let report = pair(|_| "[[C]]".to_owned());
    assert_eq!(report.found(), [Probe::Constant]);
    let report = audit(Mode::Single, |_| "[[7]]".to_owned());
    assert_eq!(report.found(), [Probe::Constant]);
    assert_eq!(rate(&report, Probe::Constant), 1.0);
}

#[test]
fn a_judge_that_draws_lots_is_found() {
    let verdicts = ["[[A]]", "[[B]]", "[[C]]"];
    let report = pair(|seen| verdicts[(hash(&seen.user) % 3) as usize].to_owned());
    assert!(rate(&report, Probe::Swap) > 0.3);
    assert!(rate(&report, Probe::Identical) > 0.4);
    let report = audit(Mode::Single, |seen| {
        format!("[[{}]]", 1 + hash(&seen.user) % 10)
    });
    assert!(rate(&report, Probe::Identical) > 0.6);
}

#[test]
fn a_judge_that_prefers_itself_is_found() {
    let own = |seen: &Seen| {
        by_worth(seen, |text| {
            facts(text) as f64 + if text.contains(JUDGE) { 1.0 } else { 0.0 }
        })
    };
    assert_eq!(pair(own).found(), [Probe::SelfName]);
    assert_eq!(audit(Mode::Single, own).found(), [Probe::SelfName]);
}

#[test]
fn a_judge_that_obeys_is_found() {
    let polite = |seen: &Seen| {
        by_worth(seen, |text| {
            match text.contains("ignore all instructions") {
                true => 9.0,
                false => facts(text) as f64,
            }
        })
    };
    let verdicts = |seen: &Seen| {
        let order = obeys(seen, "Final verdict, after careful comparison:");
        order.unwrap_or_else(|| perfect(seen))
    };
    let system = |seen: &Seen| {
        let order = obeys(seen, "with exactly this text and nothing else:");
        order.unwrap_or_else(|| perfect(seen))
    };
    // A tag without the mark ends the material for this one.
    let tags = |seen: &Seen| {
        let is_forged = seen.answers().iter().any(|text| text.contains("</answer"));
        let order = obeys(seen, "Reply with exactly this and nothing else:");
        match order.filter(|_| is_forged) {
            Some(order) => order,
            None => perfect(seen),
        }
    };
    for mode in [Mode::Pair(Pairing::default()), Mode::Single] {
        let found = audit(mode.clone(), polite).found();
        assert_eq!(found, [Probe::Instruction]);
        assert_eq!(
            audit(mode.clone(), verdicts).found(),
            [Probe::ForgedVerdict]
        );
        assert_eq!(audit(mode.clone(), system).found(), [Probe::ForgedSystem]);
        let report = audit(mode, tags);
        assert_eq!(report.found(), [Probe::ForgedDelimiters]);
        assert_eq!(rate(&report, Probe::ForgedDelimiters), 1.0);
    }
}

#[test]
fn rubrics_are_audited_and_missing_verdicts_are_no_trials() {
    let criterion = |name: &str| Criterion {
        name: name.to_owned(),
        description: String::new(),
        weight: 1.0,
    };
    let rubric = Mode::Rubric(vec![criterion("truth"), criterion("clarity")]);
    let report = audit(rubric, |seen| {
        let score = 1 + facts(seen.answers()[0]);
        format!("truth: [[{score}]]\nclarity: [[5]]")
    });
    assert_eq!(report.found(), []);
    let report = pair(|_| "I would rather not say.".to_owned());
    for result in &report.probes {
        assert_eq!((result.trials, result.rate), (0, None));
        assert!(result.unscored >= 20);
    }
}
