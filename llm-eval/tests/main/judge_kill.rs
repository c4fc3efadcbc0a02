//! A run of a judge that is killed and resumed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llm_data::generate::{
    ChatReply, ChatRequest, ModelError, ModelErrorKind, ReplyCache, RunOptions, Runner,
};
use llm_eval::judge::{Judge, Mode, Pairing};

use crate::judge_stubs::{JUDGE, Seen, answers, hash, perfect, questions};
use crate::killed;

const FOLDER: &str = "LLM_EVAL_KILL_FOLDER";
/// Whether the judge's replies are to be bound to a schema, which the model refuses.
const SCHEMA: &str = "LLM_EVAL_KILL_SCHEMA";
const WORKERS: &str = "LLM_EVAL_KILL_WORKERS";
/// The question at which the process kills itself, counted from 1.
const DIE_AT: &str = "LLM_EVAL_KILL_AT";

/// The run in a process of its own; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let die_at = killed::number(DIE_AT).unwrap_or(usize::MAX);
    let asked = AtomicUsize::new(0);
    let model = |request: &ChatRequest| {
        if asked.fetch_add(1, Ordering::SeqCst) + 1 >= die_at {
            std::process::abort();
        }
        let seen = Seen::of(request);
        let refused = !request.sampling.optional.is_empty();
        let log = folder.join(if refused { "refused" } else { "log" });
        let mut log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .unwrap();
        log.write_all(format!("{:x}\n", hash(&seen.user)).as_bytes())
            .unwrap();
        if refused {
            return Err(ModelError::new(ModelErrorKind::Refused(400), "no schema"));
        }
        std::thread::sleep(Duration::from_millis(2));
        // A part is asked again.
        Ok(ChatReply::new(match hash(&seen.user) % 4 {
            0 => "no verdict".to_owned(),
            _ if judge_writes_json(&seen) => r#"{"winner": "A"}"#.to_owned(),
            _ => perfect(&seen),
        }))
    };
    let cache = ReplyCache::open(folder.join("cache.redb")).unwrap();
    assert_eq!(cache.set_aside(), None);
    let options = RunOptions {
        workers: killed::number(WORKERS).unwrap(),
        ..RunOptions::default()
    };
    let runner = Runner::new(&model, &cache, options).unwrap();
    let questions = questions(8);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let mut judge = Judge::new(JUDGE, Mode::Pair(Pairing::default()));
    if std::env::var(SCHEMA).is_ok() {
        judge.grammar = "json".parse().unwrap();
        judge.schema = true;
    }
    let judgments = judge.run(&runner, &questions, &answers).unwrap();
    judgments.write(folder.join("judgments.jsonl")).unwrap();
}

fn judge_writes_json(seen: &Seen) -> bool {
    seen.instruction().contains("JSON")
}

fn spawn(folder: &Path, workers: usize) -> Command {
    let mut command = killed::child("judge_kill::child");
    command
        .env(FOLDER, folder)
        .env(WORKERS, workers.to_string());
    command
}

/// The judgments, and how often each question was asked.
fn result(folder: &Path) -> (String, BTreeMap<String, usize>) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut counts = BTreeMap::new();
    for line in read("log").lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    (read("judgments.jsonl"), counts)
}

fn undisturbed(workers: usize) -> (String, BTreeMap<String, usize>) {
    let folder = tempfile::tempdir().unwrap();
    assert!(spawn(folder.path(), workers).status().unwrap().success());
    let result = result(folder.path());
    assert_eq!(result.0.lines().count(), 32);
    assert!(result.1.len() > 34 && result.1.values().all(|count| *count == 1));
    result
}

/// One question at a time, and a process that dies before it asks the next one: nothing is under
/// way then, so nothing may be asked twice.
#[test]
fn no_question_is_asked_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for die_at in (0..).map(|number| 2 + number * 7 % 5) {
        let mut command = spawn(folder.path(), 1);
        if command
            .env(DIE_AT, die_at.to_string())
            .status()
            .unwrap()
            .success()
        {
            break;
        }
        kills += 1;
        assert!(kills < 200, "the run gets nowhere");
    }
    assert!(kills >= 8, "only {kills} kills");
    assert_eq!(result(folder.path()), undisturbed(1));
}

/// A schema that was refused is not asked with again, once there was a reply without.
#[test]
fn a_refused_schema_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    for die_at in [2, 4, 3, 9, 2, 1000] {
        let mut command = spawn(folder.path(), 1);
        command.env(SCHEMA, "1").env(DIE_AT, die_at.to_string());
        let done = command.status().unwrap().success();
        assert_eq!(done, die_at == 1000);
    }
    let (judgments, asked) = result(folder.path());
    assert_eq!(judgments.lines().count(), 32);
    assert!(
        judgments
            .lines()
            .all(|row| row.contains(r#""schema":false"#))
    );
    assert!(asked.values().all(|count| *count == 1));
    // The first process died before any reply.
    let refused = std::fs::read_to_string(folder.path().join("refused")).unwrap();
    assert_eq!(refused.lines().count(), 2);
}

/// Killed from outside at any time, four questions at a time: only what was under way is asked
/// again, and the judgments are the same.
#[test]
fn a_run_killed_at_random_points_yields_the_same() {
    let (expected, questions) = undisturbed(4);
    let folder = tempfile::tempdir().unwrap();
    let kills = killed::at_random_points(|| spawn(folder.path(), 4));
    let (judgments, asked) = result(folder.path());
    assert_eq!(judgments, expected);
    assert!(asked.keys().eq(questions.keys()));
    let again: usize = asked.values().map(|count| count - 1).sum();
    assert!(
        again <= 4 * kills,
        "{again} asked again after {kills} kills"
    );
}
