//! ROUGE-L against Google's, near-duplicates against a count of all pairs.

use std::collections::BTreeSet;

use llm_data::clean::{
    Clusters, MinHash, RougeUnit, SimHash, exact_duplicates, jaccard, near_duplicates, rouge_l,
    simhash_duplicates,
};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

use crate::common::shared_json;

/// `tests/goldens/gen_rouge.py` says where they are from.
#[test]
fn rouge_l_is_googles_on_500_random_pairs() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/rouge.json")).unwrap();
    for (language, unit) in [("en", RougeUnit::Words), ("zh", RougeUnit::Characters)] {
        let Some(records) = shared_json(&format!("data/alpaca/alpaca_{language}_1k.json")) else {
            return;
        };
        let text = |place: &Value, field: &Value| {
            let record = &records[place.as_u64().unwrap() as usize];
            let part = |name: &str| record[name].as_str().unwrap();
            match field.as_str().unwrap() {
                "prompt" => format!("{}\n{}", part("instruction"), part("input")),
                _ => part("output").to_owned(),
            }
        };
        let rows = goldens[language].as_array().unwrap();
        assert_eq!(rows.len(), 250);
        for row in rows {
            let target = text(&row[0], &row[1]);
            let step = row[4].as_u64().unwrap() as usize;
            let prediction = text(&row[2], &row[3]);
            let prediction: String = prediction.chars().step_by(step).collect();
            let score = rouge_l(&target, &prediction, unit);
            let number = |place: usize| row[place].as_f64().unwrap();
            assert_eq!(
                (score.precision, score.recall, score.f1),
                (number(5), number(6), number(7)),
                "{row}"
            );
        }
    }
}

/// The texts' answers, long enough to be edited.
fn answers(language: &str) -> Option<Vec<String>> {
    let records = shared_json(&format!("data/alpaca/alpaca_{language}_1k.json"))?;
    let answers = records.as_array().unwrap().iter();
    let answers = answers.map(|record| record["output"].as_str().unwrap().to_owned());
    Some(answers.filter(|text| text.chars().count() >= 40).collect())
}

fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    (random.next_u64() % end.max(1) as u64) as usize
}

/// Edits that know of characters alone: some are cut out, typed wrong, put elsewhere or doubled;
/// the case changes, or line ends come in.
fn edited(text: &str, edits: usize, random: &mut ChaCha8Rng) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..edits {
        let at = below(random, text.len());
        let end = (at + 1 + below(random, 12)).min(text.len());
        match below(random, 6) {
            0 => drop(text.drain(at..end)),
            1 => text[at] = char::from(b'a' + below(random, 26) as u8),
            2 => {
                let moved: Vec<char> = text.drain(at..end).collect();
                let to = below(random, text.len() + 1);
                text.splice(to..to, moved);
            }
            3 => {
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            4 => text[at] = text[at].to_uppercase().next().unwrap(),
            _ => text.insert(at, '\n'),
        }
        if text.is_empty() {
            break;
        }
    }
    text.into_iter().collect()
}

/// The Jaccard similarity of 3-word shingles by other code than the crate's.
fn true_jaccard(a: &BTreeSet<Vec<String>>, b: &BTreeSet<Vec<String>>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common) as f64
}

fn true_shingles(text: &str) -> BTreeSet<Vec<String>> {
    let mut words: Vec<String> = vec![String::new()];
    for character in text.to_lowercase().chars() {
        let chinese = ('\u{3400}'..='\u{9FFF}').contains(&character);
        if chinese || !(character.is_alphanumeric() || "'’".contains(character)) {
            words.push(String::new());
        }
        if character.is_alphanumeric() {
            words.last_mut().unwrap().push(character);
        }
        if chinese {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words.windows(3).map(<[String]>::to_vec).collect()
}

struct Planted {
    texts: Vec<String>,
    originals: usize,
    /// Original, copy and their similarity.
    pairs: Vec<(usize, usize, f64)>,
}

/// Four edited copies of each text, with 1 to 24 edits.
fn planted(language: &str) -> Option<Planted> {
    let mut texts = answers(language)?;
    let originals = texts.len();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut pairs = Vec::new();
    for place in 0..originals {
        for _ in 0..4 {
            let edits = 1 + below(&mut random, 24);
            let copy = edited(&texts[place], edits, &mut random);
            let (a, b) = (true_shingles(&texts[place]), true_shingles(&copy));
            if !a.is_empty() && !b.is_empty() {
                pairs.push((place, texts.len(), true_jaccard(&a, &b)));
                texts.push(copy);
            }
        }
    }
    Some(Planted {
        texts,
        originals,
        pairs,
    })
}

impl Planted {
    /// How many of the pairs with a similarity in the range are found, each alone so that no third
    /// text connects them, and how many there are.
    fn recall(&self, find: impl Fn(&[&str]) -> Clusters, from: f64, to: f64) -> (usize, usize) {
        let pairs = self.pairs_in(from, to);
        let found = pairs.clone().filter(|&&(original, copy, _)| {
            find(&[&self.texts[original], &self.texts[copy]]).first(1) == 0
        });
        (found.count(), pairs.count())
    }

    fn pairs_in(&self, from: f64, to: f64) -> impl Iterator<Item = &(usize, usize, f64)> + Clone {
        let pairs = self.pairs.iter();
        pairs.filter(move |pair| (from..to).contains(&pair.2))
    }

    /// Originals that are dropped though no other original is so similar; and pairs of originals
    /// that are.
    fn wrong(&self, find: impl Fn(&[&str]) -> Clusters, threshold: f64) -> (usize, usize) {
        let texts = self.texts[..self.originals].iter();
        let texts: Vec<&str> = texts.map(String::as_str).collect();
        let sets: Vec<_> = texts.iter().map(|text| true_shingles(text)).collect();
        let alike = |a: usize, b: usize| {
            let (small, large) = (
                sets[a].len().min(sets[b].len()),
                sets[a].len().max(sets[b].len()),
            );
            small as f64 >= threshold * large as f64
                && true_jaccard(&sets[a], &sets[b]) >= threshold
        };
        let clusters = find(&texts);
        let wrong = clusters
            .duplicates()
            .filter(|(place, _)| !(0..*place).any(|other| alike(other, *place)));
        let pairs = (0..texts.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        (wrong.count(), pairs.filter(|(a, b)| alike(*a, *b)).count())
    }
}

#[test]
fn minhash_finds_planted_duplicates_and_no_others() {
    for language in ["en", "zh"] {
        let Some(planted) = planted(language) else {
            return;
        };
        let options = MinHash::default();
        let find = |texts: &[&str]| near_duplicates(texts, &options).unwrap();
        let ranges = [(0.8, 0.85), (0.85, 0.9), (0.9, 1.1), (0.8, 1.1)];
        let mut shown = String::new();
        for (from, to) in ranges {
            let (found, all) = planted.recall(find, from, to);
            shown += &format!(" {from}: {found} of {all};");
            assert!(all >= 100, "{shown}");
            assert!(found as f64 >= 0.95 * all as f64, "{language}{shown}");
        }
        // The crate's words are not quite those of this file.
        let (below, pairs) = planted.recall(find, 0.0, 0.8);
        shown += &format!(" below 0.8: {below} of {pairs};");
        assert!(below <= pairs / 50, "{language}{shown}");
        let (wrong, alike) = planted.wrong(find, options.threshold);
        shown += &format!(" wrong: {wrong} of {}; alike {alike}", planted.originals);
        println!("minhash {language}{shown}");
        assert_eq!(wrong, 0, "{shown}");
    }
}

/// With few bands many pairs are missed: as many as the formula says, if the hash functions are
/// as good as random ones.
#[test]
fn minhash_misses_what_theory_says_and_no_more() {
    for language in ["en", "zh"] {
        let Some(planted) = planted(language) else {
            return;
        };
        for (bands, rows) in [(1, 5), (4, 5), (2, 10)] {
            let options = MinHash {
                bands,
                rows,
                threshold: 0.01,
                ..MinHash::default()
            };
            let find = |texts: &[&str]| near_duplicates(texts, &options).unwrap();
            let (found, all) = planted.recall(find, 0.3, 0.95);
            let chance = |s: f64| 1.0 - (1.0 - s.powi(rows as i32)).powi(bands as i32);
            let expected: f64 = planted.pairs_in(0.3, 0.95).map(|pair| chance(pair.2)).sum();
            println!(
                "minhash {language} {bands} × {rows}: {found} of {all}, expected {expected:.0}"
            );
            assert!((found as f64 - expected).abs() < 0.04 * all as f64);
        }
    }
}

/// The rates that RedPajama's own library finds such pairs at, in three ranges of similarity:
/// `tests/goldens/check_simhash.py`. Other edits of the same kind, another hash function.
const LIBRARY: [(&str, [f64; 3]); 2] =
    [("en", [0.761, 0.940, 0.988]), ("zh", [0.041, 0.285, 0.715])];

#[test]
fn simhash_finds_what_redpajamas_library_finds() {
    for (language, rates) in LIBRARY {
        let Some(planted) = planted(language) else {
            return;
        };
        let options = SimHash::default();
        let find = |texts: &[&str]| simhash_duplicates(texts, &options).unwrap();
        let mut shown = String::new();
        for ((from, to), rate) in [(0.8, 0.9), (0.9, 0.95), (0.95, 1.1)]
            .into_iter()
            .zip(rates)
        {
            let (found, all) = planted.recall(find, from, to);
            shown += &format!(" {from}: {found} of {all};");
            let difference = found as f64 / all as f64 - rate;
            assert!(difference.abs() < 0.08, "{language}{shown} but {rate}");
        }
        let (wrong, _) = planted.wrong(find, 0.5);
        shown += &format!(" wrong: {wrong} of {}", planted.originals);
        println!("simhash {language}{shown}");
        assert!(wrong <= planted.originals / 100, "{language}{shown}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut texts = Vec::new();
    for text in 0..120 {
        let words: Vec<String> = (0..60)
            .map(|word| format!("w{}", (word * (text % 30 + 1)) % 97))
            .collect();
        texts.push(edited(&words.join(" "), text % 12, &mut random));
    }
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            (
                near_duplicates(&texts, &MinHash::default()).unwrap(),
                simhash_duplicates(&texts, &SimHash::default()).unwrap(),
                exact_duplicates(&texts, true).unwrap(),
            )
        })
    };
    let one = run(1);
    assert!(one.0.duplicates().count() > 10);
    for threads in [2, 3, 8] {
        assert_eq!(run(threads), one);
    }
}

#[test]
fn many_copies_are_one_cluster() {
    let texts: Vec<String> = (0..3_000)
        .map(|number| match number % 3 {
            0 => "the same text over and over again in every record of the file".to_owned(),
            1 => format!("one two three four five six seven eight nine ten eleven twelve {number}"),
            _ => format!("a{number} b{number} c{number} d{number} e{number}"),
        })
        .collect();
    let minhash = near_duplicates(&texts, &MinHash::default()).unwrap();
    assert_eq!(minhash.duplicates().count(), 1_998);
    let simhash = simhash_duplicates(&texts, &SimHash::default()).unwrap();
    assert!(simhash.duplicates().count() >= 999);
}

#[test]
fn options_without_sense_are_refused() {
    let wrong = [
        MinHash {
            threshold: 0.0,
            ..MinHash::default()
        },
        MinHash {
            threshold: f64::NAN,
            ..MinHash::default()
        },
        MinHash {
            shingle: 0,
            ..MinHash::default()
        },
        MinHash {
            rows: 0,
            ..MinHash::default()
        },
        MinHash {
            bands: usize::MAX,
            ..MinHash::default()
        },
    ];
    for options in wrong {
        assert!(near_duplicates(&["a"], &options).is_err(), "{options:?}");
    }
    let wrong = [
        SimHash {
            width: 0,
            ..SimHash::default()
        },
        SimHash {
            distance: 17,
            ..SimHash::default()
        },
        SimHash {
            jaccard: Some(1.5),
            ..SimHash::default()
        },
    ];
    for options in wrong {
        assert!(simhash_duplicates(&["a"], &options).is_err(), "{options:?}");
    }
}

/// The table of rouge-score's `_lcs_table`, cell by cell.
fn slow_lcs(a: &[char], b: &[char]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            table[i + 1][j + 1] = if x == y {
                table[i][j] + 1
            } else {
                table[i][j + 1].max(table[i + 1][j])
            };
        }
    }
    table[a.len()][b.len()]
}

proptest! {
    #[test]
    fn the_common_subsequence_is_the_tables(a in "[ab语c]{1,200}", b in "[ab语c]{1,200}") {
        let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let score = rouge_l(&a, &b, RougeUnit::Characters);
        let common = slow_lcs(&x, &y) as f64;
        prop_assert_eq!(score.recall, common / x.len() as f64);
        prop_assert_eq!(score.precision, common / y.len() as f64);
    }

    #[test]
    fn any_texts_are_compared(texts in prop::collection::vec(any::<String>(), 0..8)) {
        let clusters = near_duplicates(&texts, &MinHash::default()).unwrap();
        simhash_duplicates(&texts, &SimHash::default()).unwrap();
        exact_duplicates(&texts, true).unwrap();
        for (place, first) in clusters.duplicates() {
            prop_assert!(first < place);
            prop_assert!(jaccard(&texts[place], &texts[first], 3) > 0.0);
        }
        for text in &texts {
            let same = jaccard(text, text, 3);
            prop_assert!(same == 1.0 || same == 0.0);
        }
    }
}
