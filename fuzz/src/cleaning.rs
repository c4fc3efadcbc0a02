//! Cleaning, comparing texts, evaluation files.

use std::sync::LazyLock;

use llm_data::clean::{
    Html, HtmlWhen, MinHash, Pipeline, RougeUnit, SimHash, Step, jaccard, near_duplicates, rouge_l,
    simhash_duplicates,
};
use llm_data::{AlpacaRecord, Conversation, EvaluationSet, find_leakage, load_evaluation};

use super::{in_file, messages, parts, shown, split, text, tokens};

/// HTML to Markdown.
pub fn html(data: &[u8]) {
    static HTML: LazyLock<[Pipeline; 2]> = LazyLock::new(|| {
        [HtmlWhen::Found, HtmlWhen::Always]
            .map(|when| Pipeline::new(&[Step::Html(Html { when })]).expect("a step"))
    });
    let text = text(data);
    let conversation = Conversation::from(messages(&[&text], false));
    for pipeline in &*HTML {
        let cleaned = pipeline
            .run(vec![(1, conversation.clone())])
            .expect("cleaned");
        assert_eq!(cleaned.account.kept + cleaned.account.dropped, 1);
    }
}

/// Every step alone, with default options.
static STEPS: LazyLock<Vec<(&str, Pipeline)>> = LazyLock::new(|| {
    const STEPS: &str = r#"[
        {"step": "turns"}, {"step": "phrases", "list": "refusals"},
        {"step": "phrases", "list": "providers"}, {"step": "phrases", "list": "errors"},
        {"step": "leftovers"}, {"step": "empty_turns"}, {"step": "special_texts"},
        {"step": "control_characters"}, {"step": "repeated_digits"}, {"step": "wrong_lists"},
        {"step": "language", "keep": ["eng"]}, {"step": "length", "min_words": 3, "max_characters": 99},
        {"step": "alpaca_faults"}, {"step": "code"}, {"step": "personal_data"},
        {"step": "exact_duplicates"}, {"step": "near_duplicates"}, {"step": "simhash_duplicates"}]"#;
    let steps: Vec<Step> = serde_json::from_str(STEPS).expect("steps");
    let pipeline = |step: &Step| {
        let pipeline =
            Pipeline::with_tokenizer(std::slice::from_ref(step), tokens::bytes().clone());
        (step.name(), pipeline.expect("a step"))
    };
    steps.iter().map(pipeline).collect()
});

/// A conversation, and the same once more, in every step; what repairs texts has then nothing left
/// to repair.
pub fn cleaning(data: &[u8]) {
    let (options, bytes) = split(data);
    let text = text(bytes);
    let conversation = Conversation::from(messages(&parts(&text), options & 16 != 0));
    let records = vec![(1, conversation.clone()), (2, conversation)];
    for (name, pipeline) in &*STEPS {
        let cleaned = pipeline.run(records.clone()).expect("cleaned");
        let account = &cleaned.account;
        assert_eq!(account.kept + account.dropped, 2, "{name}");
        assert_eq!(account.kept, cleaned.records.len(), "{name}");
        let is_repair = matches!(
            *name,
            "special_texts" | "control_characters" | "personal_data"
        );
        if is_repair || name.ends_with("duplicates") || matches!(*name, "turns" | "empty_turns") {
            let again = pipeline.run(cleaned.records).expect("cleaned").account;
            assert_eq!((again.changed, again.dropped), (0, 0), "{name}");
        }
    }
}

/// Steps as YAML, then the texts of a conversation.
pub fn steps_yaml(data: &[u8]) {
    let text = text(data);
    let parts = parts(&text);
    // Steps may name files, which are no part of the input.
    if parts[0].contains(['/', '.']) {
        return;
    }
    let Ok(steps) = serde_saphyr::from_str::<Vec<Step>>(parts[0]) else {
        return;
    };
    let pipeline = match Pipeline::with_tokenizer(&steps, tokens::bytes().clone()) {
        Ok(pipeline) => pipeline,
        Err(error) => return shown(&error),
    };
    let written = serde_json::to_string(&steps).expect("written");
    assert_eq!(
        steps,
        serde_json::from_str::<Vec<Step>>(&written).expect("read again")
    );
    let conversation = Conversation::from(messages(&parts[1..], false));
    let cleaned = pipeline
        .run(vec![(1, conversation.clone()), (2, conversation)])
        .expect("cleaned");
    assert_eq!(cleaned.account.kept + cleaned.account.dropped, 2);
}

/// Two texts: what measures how near they are does not care which comes first.
pub fn similarity(data: &[u8]) {
    let text = text(data);
    let mut parts = parts(&text).into_iter();
    let (a, b) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    for unit in [RougeUnit::Words, RougeUnit::Characters] {
        let (there, back) = (rouge_l(a, b, unit), rouge_l(b, a, unit));
        assert_eq!((there.precision, there.f1), (back.recall, back.f1));
        assert!(
            [there.precision, there.recall, there.f1]
                .iter()
                .all(|x| (0.0..=1.0).contains(x))
        );
        let own = rouge_l(a, a, unit);
        assert!(own.f1 == 0.0 || own.f1 == 1.0);
        let (least, most) = (
            there.precision.min(there.recall),
            there.precision.max(there.recall),
        );
        assert!(least - 1e-12 <= there.f1 && there.f1 <= most + 1e-12);
    }
    let words = rouge_l(a, b, RougeUnit::Words);
    let (target, prediction) = (words_of(a), words_of(b));
    let longest = longest_common(&target, &prediction);
    assert_eq!((words.recall * target.len() as f64).round(), longest as f64);
    near(a, b);
}

fn near(a: &str, b: &str) {
    let similarity = jaccard(a, b, 3);
    assert_eq!(similarity, jaccard(b, a, 3));
    assert!((0.0..=1.0).contains(&similarity));
    let (minhash, simhash) = (MinHash::default(), SimHash::default());
    let texts = [a, b, a];
    let clusters = near_duplicates(&texts, &minhash).expect("compared");
    assert_eq!(clusters.first(2) == 0, jaccard(a, a, 3) == 1.0);
    if clusters.first(1) == 0 {
        assert!(similarity >= minhash.threshold);
    }
    let clusters = simhash_duplicates(&texts, &simhash).expect("compared");
    let hashes = [a, b].map(|text| llm_data::clean::simhash(text, simhash.width));
    assert_eq!(clusters.first(2) == 0, hashes[0].is_some());
    if let [Some(a), Some(b)] = hashes {
        assert_eq!(
            clusters.first(1) == 0,
            (a ^ b).count_ones() <= simhash.distance
        );
    }
}

fn words_of(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// By the table of the textbook.
fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (place, y) in b.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[place])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Evaluation files of all four kinds, compared with a training set.
pub fn leakage(data: &[u8]) {
    let (options, bytes) = split(data);
    let name = ["e.json", "e.jsonl", "e.csv", "e.txt"][usize::from(options % 4)];
    let set = in_file(name, bytes, |path| load_evaluation(path));
    let set = match set {
        Ok(set) => set,
        Err(error) => return shown(&error),
    };
    let text = text(bytes);
    let training = AlpacaRecord {
        instruction: text.lines().next().unwrap_or_default().to_owned(),
        input: text.lines().nth(1).unwrap_or_default().to_owned(),
        output: text.clone().into_owned(),
        ..AlpacaRecord::default()
    };
    let own = EvaluationSet::new("own", [(1, &training)]);
    let leakage = find_leakage([(7, &training)], &[set, own]);
    assert_eq!(leakage.training_records, 1);
    assert!(leakage.leaking.iter().all(|number| *number == 7));
    let shares = leakage.overlaps.iter().filter_map(|overlap| overlap.share);
    assert!({ shares }.all(|share| (0.0..=1.0).contains(&share)));
    let _ = leakage.to_string();
}
