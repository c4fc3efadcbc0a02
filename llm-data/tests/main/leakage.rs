//! What training data and evaluation records share, planted and real.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use llm_data::{
    AlpacaRecord, Conversation, Error, EvaluationSet, Leakage, LoadOptions, Message, OverlapKind,
    Role, find_leakage, load_alpaca, load_evaluation,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{record, shared, shared_json};

const QUESTION: &str = "A robe takes 2 bolts of blue fiber and half that much white fiber. \
                        How many bolts does it take in all?";

fn compare(training: &[AlpacaRecord], evaluation: &[AlpacaRecord]) -> Leakage {
    let set = EvaluationSet::new("test", (1..).zip(evaluation));
    find_leakage((1..).zip(training), &[set])
}

/// Evaluation record, kind and training records of each overlap.
fn shown(leakage: &Leakage) -> Vec<(usize, OverlapKind, &[usize])> {
    let overlaps = leakage.overlaps.iter();
    overlaps
        .map(|one| (one.record, one.kind, &*one.training))
        .collect()
}

/// `count` different words of the given series.
fn series(name: &str, count: usize) -> String {
    let words: Vec<String> = (0..count).map(|n| format!("{name}{n}")).collect();
    words.join(" ")
}

fn write(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

#[test]
fn the_same_prompt_is_found_in_another_case_punctuation_and_spacing() {
    let training = [
        record("Say hello.", "", "Hello."),
        record("WHO wrote:\n“Hamlet”", "", "Shakespeare"),
        record("Translate", "le  CAFE\u{301}", "coffee"),
    ];
    let evaluation = [
        record("Who wrote Hamlet?", "", "Somebody else."),
        record("Who wrote Macbeth?", "", "Shakespeare"),
        record("translate:", "Le café.", "the coffee"),
    ];
    let leakage = compare(&training, &evaluation);
    let exact = OverlapKind::Exact;
    assert_eq!(shown(&leakage), [(1, exact, &[2][..]), (3, exact, &[3])]);
    assert_eq!(leakage.leaking, [2, 3]);
    assert_eq!(leakage.overlaps[0].text, "who wrote hamlet");
    assert_eq!(leakage.overlaps[0].share, None);
}

#[test]
fn short_answers_and_inputs_are_shared_by_chance_longer_ones_are_not() {
    let seven = "one two three four five six seven";
    let eight = "one two three four five six seven eight";
    let asks = |instruction: &str, input: &str| record(instruction, input, "?");
    assert!(
        compare(&[asks("Sort.", seven)], &[asks("Count.", seven)])
            .overlaps
            .is_empty()
    );
    let found = compare(&[asks("Sort.", eight)], &[asks("Count.", eight)]);
    assert_eq!(shown(&found), [(1, OverlapKind::Exact, &[1][..])]);
    assert!(
        compare(&[record("a", "", seven)], &[record("b", "", seven)])
            .overlaps
            .is_empty()
    );
    let found = compare(&[record("a", "", eight)], &[record("b", "", eight)]);
    assert_eq!(shown(&found), [(1, OverlapKind::Exact, &[1][..])]);
    assert_eq!(found.overlaps[0].share, None);
}

#[test]
fn thirteen_words_in_the_middle_of_an_answer_are_found_and_twelve_are_not() {
    let words: Vec<&str> = QUESTION.split(' ').collect();
    assert_eq!(words.len(), 22);
    let quoting = |count: usize| {
        let quote = words[4..4 + count].join("\n").to_uppercase();
        record("Tell a story.", "", &format!("Once upon ({quote}) a time."))
    };
    let evaluation = [record(QUESTION, "", "3")];
    assert!(compare(&[quoting(12)], &evaluation).overlaps.is_empty());
    let leakage = compare(&[record("Hi", "", "Ho"), quoting(13)], &evaluation);
    assert_eq!(shown(&leakage), [(1, OverlapKind::NGram, &[2][..])]);
    let overlap = &leakage.overlaps[0];
    assert_eq!(
        overlap.text,
        "bolts of blue fiber and half that much white fiber how many bolts"
    );
    assert_eq!(overlap.share, Some(1.0 / 10.0));
    assert_eq!(
        leakage.to_string(),
        "leakage     1 of 2 training records\n  test: 0 exact, 1 by 13-gram, of 1 records\n  \
         test, record 1: 13-gram (10.0 %), training record 2: \"bolts of blue fiber and half that \
         much white fiber how many bolts\""
    );
}

#[test]
fn ten_training_records_are_named_even_if_each_has_the_text_twice() {
    let text = series("w", 8);
    let training = vec![record(&text, "", &text); 12];
    let leakage = compare(&training, &[record("q", "", &text)]);
    assert_eq!(leakage.overlaps[0].training, (1..=10).collect::<Vec<_>>());
    assert_eq!(leakage.leaking, (1..=12).collect::<Vec<_>>());
}

#[test]
fn an_n_gram_stays_within_one_text() {
    let (front, back) = (series("a", 7), series("b", 7));
    let whole = record(&format!("{front} {back}"), "", "x");
    let split_over_answer = record(&front, "", &back);
    let split_over_input = record(&front, &back, "x");
    assert!(
        compare(&[split_over_answer], std::slice::from_ref(&whole))
            .overlaps
            .is_empty()
    );
    assert_eq!(
        compare(&[split_over_input], &[whole]).overlaps[0].kind,
        OverlapKind::Exact
    );
}

#[test]
fn the_words_of_an_input_count_once() {
    let input = series("w", 13);
    let training = [record("Explain.", "", &format!("x {input}"))];
    let leakage = compare(&training, &[record("Sort.", &input, "x")]);
    assert_eq!(leakage.overlaps[0].kind, OverlapKind::NGram);
    assert_eq!(leakage.overlaps[0].share, Some(0.5));
}

#[test]
fn what_stands_under_more_than_ten_prompts_is_boilerplate() {
    let phrase = series("w", 13);
    let evaluation = [record("q", "", &format!("{phrase} end"))];
    let prompts = |count: usize| -> Vec<AlpacaRecord> {
        let numbers = 0..count;
        numbers
            .map(|n| record(&format!("p {n}"), "", &format!("{n} {phrase}")))
            .collect()
    };
    let ten = compare(&prompts(10), &evaluation);
    assert_eq!(ten.overlaps[0].training, (1..=10).collect::<Vec<_>>());
    assert!(
        ten.to_string()
            .contains("training record 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …")
    );
    let eleven = compare(&prompts(11), &evaluation);
    assert!(eleven.overlaps.is_empty() && eleven.leaking.is_empty());

    // Many answers to one question are no boilerplate; a whole text never is.
    let prompt = format!("Solve. {phrase} end");
    let answers: Vec<AlpacaRecord> = (0..20)
        .map(|n| record(&prompt, "", &format!("answer {n}")))
        .collect();
    assert_eq!(compare(&answers, &evaluation).leaking.len(), 20);
    let asked = [record(&phrase, "", "x")];
    let mut training = prompts(11);
    training.push(record(&phrase, "", "y"));
    assert_eq!(
        shown(&compare(&training, &asked)),
        [(1, OverlapKind::Exact, &[12][..])]
    );
}

#[test]
fn history_and_conversations_are_compared_and_system_texts_are_not() {
    let mut long = record("Go on.", "", "Sure.");
    long.history = vec![("Hi.".to_owned(), series("h", 13))];
    long.system = Some(series("s", 13));
    let said = |text: String| record("q", "", &format!("x {text}"));
    let evaluation = [
        said(series("h", 13)),
        said(series("s", 13)),
        record("hi", "", "Hey."),
    ];
    let found = [
        (1, OverlapKind::NGram, &[1][..]),
        (3, OverlapKind::Exact, &[1]),
    ];
    assert_eq!(shown(&compare(&[long], &evaluation)), found);

    let conversation = Conversation::from(vec![
        Message::new(Role::System, series("s", 13)),
        Message::new(Role::User, "Hi."),
        Message::new(Role::Assistant, series("h", 13)),
    ]);
    let set = EvaluationSet::new("test", (1..).zip(&evaluation));
    assert_eq!(shown(&find_leakage([(1, &conversation)], &[set])), found);
}

#[test]
fn chinese_needs_no_spaces() {
    let belle = "利用光能将无机物转化为有机物质的过程";
    let evaluation = [record(
        "什么是光合作用？",
        "",
        &format!("光合作用是{belle}。"),
    )];
    let quoting = |count: usize| {
        let quote: String = belle.chars().take(count).collect();
        record("写一篇文章", "", &format!("植物，{quote}；如此。"))
    };
    assert!(compare(&[quoting(12)], &evaluation).overlaps.is_empty());
    let leakage = compare(&[quoting(13)], &evaluation);
    assert_eq!(leakage.overlaps[0].text, "利用光能将无机物转化为有机");
    let asked = compare(&[record("什么是“光合作用”", "", "?")], &evaluation);
    assert_eq!(shown(&asked), [(1, OverlapKind::Exact, &[1][..])]);
}

#[test]
fn the_result_is_the_same_each_time_and_can_be_written_as_json() {
    let training: Vec<AlpacaRecord> = (0..40)
        .map(|n| record(&series("q", n), &series("i", n % 7), &series("o", n)))
        .collect();
    let evaluation: Vec<AlpacaRecord> = (0..40)
        .map(|n| record(&series("q", 40 - n), "", &series("o", n / 2)))
        .collect();
    let text = |leakage| serde_json::to_string(&leakage).unwrap();
    let first = text(compare(&training, &evaluation));
    assert!((0..5).all(|_| text(compare(&training, &evaluation)) == first));
    let read: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(read["training_records"], 40);
    assert_eq!(read["sets"][0]["name"], "test");
    let kinds = read["overlaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str());
    assert_eq!(
        kinds.flatten().collect::<BTreeSet<_>>(),
        ["13-gram", "exact"].into()
    );
}

#[test]
fn every_form_of_file_yields_the_same_records() {
    let other = "Something else, which nobody asks.";
    let csv = format!("\u{feff}\"id\nor so\",question\n1,\"{other}\"\n2,\"{QUESTION}\"\n");
    let wrapped = QUESTION.replace(". How", ".\nHow");
    let lines = [json!({"q": other}), json!({"turns": [{"value": QUESTION}]})];
    let files = [
        ("a.json", serde_json::to_string_pretty(&lines).unwrap(), 2),
        (
            "a.jsonl",
            format!("\u{feff}{}\n\n{}\n", lines[0], lines[1]),
            2,
        ),
        ("a.CSV", csv, 3),
        ("a.txt", format!("{other}\n\n\n{wrapped}\n"), 2),
        ("b.txt", format!("{other}\n{QUESTION}\n"), 2),
    ];
    for (name, content, number) in files {
        let (_dir, path) = write(name, content);
        let set = load_evaluation(&path).unwrap();
        let training = record(QUESTION, "", "3");
        let leakage = find_leakage([(7, &training)], &[set]);
        assert_eq!(
            shown(&leakage),
            [(number, OverlapKind::Exact, &[7][..])],
            "{name}"
        );
        assert_eq!(leakage.overlaps[0].set, path.display().to_string());
    }
}

#[test]
fn a_broken_file_is_named_with_the_line() {
    let deep = format!("{{\"q\": \"x\"}}\n{}{}\n", "[".repeat(200), "]".repeat(200));
    let cases = [
        (
            "a.jsonl",
            "{\"q\": \"x\"}\n{\"q\"\n".as_bytes(),
            "line 2, record 2",
        ),
        ("a.jsonl", deep.as_bytes(), "recursion limit"),
        ("a.json", b"[{}, ", "a.json:1:5:"),
        (
            "a.csv",
            b"a,b\n1,\"x\n2,y\n",
            "a.csv:2: a quoted field without its closing quote",
        ),
        ("a.csv", b"a\nb\n\xff", "a.csv:3: not UTF-8"),
        ("a.txt", b"\xff", "a.txt:1: not UTF-8"),
        ("a.txt", b" \n\n", "a.txt: no records"),
        (
            "a.parquet",
            b"PAR1",
            "a.parquet: expected a file .json, .jsonl, .csv or .txt",
        ),
    ];
    for (name, content, expected) in cases {
        let (_dir, path) = write(name, content);
        let message = load_evaluation(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(matches!(
        load_evaluation("absent.json"),
        Err(Error::Io { .. })
    ));
}

/// The files of `folder`; none where it is absent.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = shared(folder).map(|path| std::fs::read_dir(path).unwrap());
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .map(|one| one.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_record_of_the_real_files_is_found_where_it_is_planted() {
    for path in [files("data/eval"), files("data/self_instruct")].concat() {
        let set = load_evaluation(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows = text.lines().filter(|line| !line.trim().is_empty());
        let planted: Vec<AlpacaRecord> = rows
            .map(|line| {
                let strings = longest_string(&serde_json::from_str(line).unwrap());
                let changed = strings.to_uppercase().replace(['.', '，'], " …\n ");
                record("Repeat.", "", &format!("“{changed}”"))
            })
            .collect();
        let leakage = find_leakage((1..).zip(&planted), &[set]);
        let found: HashSet<usize> = leakage.overlaps.iter().map(|one| one.record).collect();
        let missed: Vec<usize> = (1..=planted.len())
            .filter(|number| !found.contains(number))
            .filter(|number| words(&planted[number - 1].output) >= 8)
            .collect();
        assert!(missed.is_empty(), "{}: {missed:?}", path.display());
    }
}

fn longest_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => longest(values.iter()),
        Value::Object(object) => longest(object.values()),
        _ => String::new(),
    }
}

fn longest<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values
        .map(longest_string)
        .max_by_key(String::len)
        .unwrap_or_default()
}

/// Words that white space divides, or Chinese characters; the comparison has no fewer.
fn words(text: &str) -> usize {
    let divided = text
        .split_whitespace()
        .filter(|word| word.contains(char::is_alphanumeric));
    let chinese = text
        .chars()
        .filter(|one| matches!(one, '\u{4E00}'..='\u{9FFF}'));
    divided.count().max(chinese.count())
}

#[test]
fn unrelated_real_sets_share_quotations_and_idioms_at_most() {
    let names = ["alpaca_en_1k", "alpaca_zh_1k"];
    let evaluation: Vec<EvaluationSet> = files("data/eval")
        .iter()
        .map(|path| load_evaluation(path).unwrap())
        .collect();
    for name in names {
        let Some(path) = shared(&format!("data/alpaca/{name}.json")) else {
            return;
        };
        let data = load_alpaca(path, &LoadOptions::default()).unwrap();
        let numbered = data.numbers.iter().copied().zip(&data.records);
        let leakage = find_leakage(numbered, &evaluation);
        assert!(leakage.sets.iter().all(|set| set.exact == 0), "{leakage}");
        // Mandela's “greatest glory”, an HTML head; photosynthesis, a loop over a grid.
        assert_eq!(leakage.overlaps.len(), 2, "{leakage}");
        assert!(
            leakage.overlaps.iter().all(|one| one.share.unwrap() <= 0.1),
            "{leakage}"
        );
    }
}

#[test]
fn the_real_set_has_prompts_twice_and_they_are_found() {
    let Some(Value::Array(rows)) = shared_json("data/alpaca/alpaca_en_1k.json") else {
        return;
    };
    let prompt = |row: &Value| (row["instruction"].to_string(), row["input"].to_string());
    let (front, back) = rows.split_at(500);
    let known: HashSet<_> = front.iter().map(prompt).collect();
    let twice = (1..)
        .zip(back)
        .filter(|(_, row)| known.contains(&prompt(row)));
    let twice: BTreeSet<usize> = twice.map(|(number, _)| number).collect();
    assert!(twice.len() > 2);

    let read = |rows: &[Value]| -> Vec<AlpacaRecord> {
        serde_json::from_value(Value::Array(rows.to_vec())).unwrap()
    };
    let leakage = compare(&read(front), &read(back));
    let exact = leakage
        .overlaps
        .iter()
        .filter(|one| one.kind == OverlapKind::Exact);
    let exact: BTreeSet<usize> = exact.map(|one| one.record).collect();
    assert!(exact.is_superset(&twice), "{leakage}");
}

/// Texts of a few phrases, one of them 13 words long, and of words between them.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let phrase = prop_oneof![
        (0..3_usize).prop_map(|n| series(["a", "b", "c"][n], 11 + n)),
        (0..4_usize).prop_map(|n| format!("x{n}")),
    ];
    let text = prop::collection::vec(phrase, 1..5).prop_map(|phrases| phrases.join(" "));
    prop::collection::vec(text, 1..30)
}

proptest! {
    #[test]
    fn what_is_found_is_what_a_search_for_each_n_gram_finds(
        training in texts(),
        evaluation in texts(),
    ) {
        let n_grams = |text: &str| -> Vec<String> {
            let words: Vec<&str> = text.split(' ').collect();
            words.windows(13).map(|words| format!(" {} ", words.join(" "))).collect()
        };
        let having = |n_gram: &str| -> BTreeSet<usize> {
            let texts = (1..).zip(&training);
            let having = texts.filter(|(_, text)| format!(" {text} ").contains(n_gram));
            having.map(|(number, _)| number).collect()
        };
        // Each record under a prompt of its own, and that prompt nowhere else.
        let records = |texts: &[String], name: &str| -> Vec<AlpacaRecord> {
            let texts = texts.iter().enumerate();
            texts.map(|(n, text)| record(&format!("{name} {n}"), "", text)).collect()
        };
        let leakage = compare(&records(&training, "t"), &records(&evaluation, "e"));
        let mut overlaps = leakage.overlaps.iter().peekable();
        for (number, text) in (1..).zip(&evaluation) {
            let n_grams = n_grams(text);
            let mut owners: Vec<_> = n_grams.iter().map(|one| having(one)).collect();
            owners.retain(|owners| (1..=10).contains(&owners.len()));
            let share = (!n_grams.is_empty()).then(|| owners.len() as f64 / n_grams.len() as f64);
            let same: BTreeSet<usize> =
                (1..).zip(&training).filter(|(_, one)| *one == text).map(|(n, _)| n).collect();
            let (kind, named) = if words(text) >= 8 && !same.is_empty() {
                (OverlapKind::Exact, same)
            } else {
                (OverlapKind::NGram, owners.into_iter().flatten().collect())
            };
            let named: Vec<usize> = named.into_iter().take(10).collect();
            match overlaps.next_if(|one| one.record == number) {
                None => prop_assert!(named.is_empty()),
                Some(found) => {
                    prop_assert_eq!((found.kind, found.share), (kind, share));
                    prop_assert_eq!(&found.training, &named);
                    prop_assert!(training[named[0] - 1].contains(&found.text));
                    prop_assert!(text.contains(&found.text));
                }
            }
        }
        prop_assert!(overlaps.next().is_none());
    }

    #[test]
    fn no_text_and_no_file_is_too_strange(content in "\\PC{0,40}|[\",\\n a\u{200b}\u{301}ßΣ中]{0,60}") {
        for name in ["a.csv", "a.txt"] {
            let (_dir, path) = write(name, &content);
            if let Ok(set) = load_evaluation(path) {
                find_leakage([(1, &record(&content, "", &content))], &[set]);
            }
        }
    }
}
