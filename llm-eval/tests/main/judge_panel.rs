//! Several judges of the same answers.

use llm_data::generate::Language;
use llm_eval::Error;
use llm_eval::judge::{Judge, Judged, Judgments, Mode, Order, Panel, Prompts};
use llm_eval::stats::Bootstrap;

use crate::judge_run::{pair, run};
use crate::judge_stubs::{Seen, by_worth, facts, perfect};

#[test]
fn a_panel_votes_and_agrees() {
    let mut all = Judgments::default();
    let worst = |seen: &Seen| by_worth(seen, |text| -(facts(text) as f64));
    for (name, good) in [("gpt-4", true), ("claude-3", true), ("fair-judge", false)] {
        let mut judge = pair();
        judge.model = name.to_owned();
        let judgments = match good {
            true => run(&judge, perfect, 2),
            false => run(&judge, worst, 2),
        };
        all.rows.extend(judgments.rows);
    }
    // Judges may have met the models in another order.
    for row in all.rows.iter_mut().filter(|row| row.judge == "claude-3") {
        if let Judged::Two { order, .. } = &mut row.judged {
            *order = match order {
                Order::Given => Order::Swapped,
                Order::Swapped => Order::Given,
            };
        }
    }
    let panel = Panel::of(&all, &Bootstrap::default()).unwrap();
    assert_eq!(panel.judges, ["gpt-4", "claude-3", "fair-judge"]);
    assert_eq!(panel.comparisons.len(), 60);
    for one in &panel.comparisons {
        assert_eq!(one.votes[0], one.votes[1]);
        assert_ne!(one.votes[0], one.votes[2]);
        assert_eq!(one.outcome, one.votes[0]);
    }
    let agreement = panel.agreement.unwrap();
    let rates: Vec<_> = agreement.pairs.iter().map(|pair| pair.2.rate).collect();
    assert_eq!(rates, [1.0, 0.0, 0.0]);
    assert!(panel.self_preference.is_empty());
    for row in &mut all.rows {
        if let Judged::Two {
            model_a, model_b, ..
        } = &mut row.judged
        {
            for name in [model_a, model_b] {
                *name = name.replace("good", "gpt-3.5-turbo");
            }
        }
    }
    let warnings = Panel::of(&all, &Bootstrap::default())
        .unwrap()
        .self_preference;
    assert_eq!(
        (&*warnings[0].judge, &*warnings[0].model),
        ("gpt-4", "gpt-3.5-turbo")
    );
    all.rows.retain(|row| row.judge == "gpt-4");
    assert!(matches!(
        Panel::of(&all, &Bootstrap::default()),
        Err(Error::TooFew { .. })
    ));
}

#[test]
fn a_panel_scores() {
    let mut all = Judgments::default();
    for (name, more) in [("one", 0.0), ("two", 2.0)] {
        let mut judge = Judge::new(name, Mode::Single);
        judge.prompts = Prompts::builtin(Language::Zh);
        let replies = move |seen: &Seen| by_worth(seen, |text| facts(text) as f64 + more);
        all.rows.extend(run(&judge, replies, 2).rows);
    }
    let panel = Panel::of(&all, &Bootstrap::default()).unwrap();
    assert_eq!(panel.scores[0].scores, [Some(4.0), Some(6.0)]);
    assert_eq!(panel.scores[0].mean, Some(5.0));
    assert!(panel.score_alpha.is_some() && panel.agreement.is_none());
}
