//! A generation run that is killed at random points and resumed.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use llm_data::generate::{
    ChatRequest, Evolve, GenerateOptions, Language, PromptSet, ReplyCache, RunOptions, Runner,
    SelfInstruct,
};

use crate::generate::{random_model, seeds};
use crate::killed;

const FOLDER: &str = "LLM_DATA_KILL_FOLDER";
const WORKERS: &str = "LLM_DATA_KILL_WORKERS";
/// The question at which the process kills itself, counted from 1.
const DIE_AT: &str = "LLM_DATA_KILL_AT";

/// The run in a process of its own; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let die_at = killed::number(DIE_AT).unwrap_or(usize::MAX);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let log = |what: &str, request: &ChatRequest| {
        let path = folder.join("log");
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let hash = {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            serde_json::to_string(request).unwrap().hash(&mut hasher);
            hasher.finish()
        };
        file.write_all(format!("{what} {hash:x}\n").as_bytes())
            .unwrap();
    };
    let model = |request: &ChatRequest| {
        if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 >= die_at {
            std::process::abort();
        }
        log("asked", request);
        std::thread::sleep(Duration::from_millis(3));
        random_model(request)
    };
    let cache = ReplyCache::open(folder.join("cache.redb")).unwrap();
    assert_eq!(cache.set_aside(), None);
    let options = RunOptions {
        workers: killed::number(WORKERS).unwrap(),
        ..RunOptions::default()
    };
    let text = data_set(&Runner::new(&model, &cache, options).unwrap());
    std::fs::write(folder.join("result.part"), text).unwrap();
    std::fs::rename(folder.join("result.part"), folder.join("result")).unwrap();
}

/// Self-Instruct, and two rounds of Evol-Instruct on what it makes.
fn data_set(runner: &Runner<'_>) -> String {
    let (seeds, prompts) = (seeds(), PromptSet::builtin(Language::En));
    let mut options = GenerateOptions::new("m");
    options.seed = 11;
    let tasks = SelfInstruct::new(options.clone(), &seeds, &prompts, 24)
        .run(runner)
        .unwrap();
    assert_eq!(tasks.records.len(), 24);
    let mut evolve = Evolve::new(options, &tasks.records, &prompts);
    evolve.rounds = 2;
    let evolved = evolve.run(runner).unwrap();
    serde_json::to_string_pretty(&(tasks, evolved)).unwrap()
}

/// The data set of a run that nobody kills, and how often it asks each question. (A question that
/// is asked at several attempts looks the same to the model.)
fn expected(workers: usize) -> (String, HashMap<String, usize>) {
    let folder = tempfile::tempdir().unwrap();
    assert!(spawn(folder.path(), workers).status().unwrap().success());
    let text = std::fs::read_to_string(folder.path().join("result")).unwrap();
    (text, asked(folder.path()))
}

fn spawn(folder: &Path, workers: usize) -> Command {
    let mut command = killed::child("generate_kill::child");
    command
        .env(FOLDER, folder)
        .env(WORKERS, workers.to_string());
    command
}

/// How often each question was asked.
fn asked(folder: &Path) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in std::fs::read_to_string(folder.join("log"))
        .unwrap_or_default()
        .lines()
    {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// One question at a time, and a process that dies before it asks the next one: nothing is under
/// way then, so nothing may be asked twice.
#[test]
fn no_question_is_asked_twice() {
    let (expected, questions) = expected(1);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut kills = 0;
    for die_at in (0..).map(|number| 2 + number * 7 % 13) {
        let status = spawn(folder, 1)
            .env(DIE_AT, die_at.to_string())
            .status()
            .unwrap();
        if status.success() {
            break;
        }
        kills += 1;
        assert!(kills < 1000, "the run gets nowhere");
    }
    assert!(kills >= 10, "only {kills} kills");
    assert_eq!(
        std::fs::read_to_string(folder.join("result")).unwrap(),
        expected
    );
    assert_eq!(asked(folder), questions);
}

/// Killed from outside at any time, four questions at a time: only what was under way is asked
/// again, and the data set is the same.
#[test]
fn a_run_killed_at_random_points_yields_the_same() {
    let (expected, questions) = expected(4);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let kills = killed::at_random_points(|| spawn(folder, 4));
    assert_eq!(
        std::fs::read_to_string(folder.join("result")).unwrap(),
        expected
    );
    let total = |asked: &HashMap<String, usize>| asked.values().sum::<usize>();
    let again = total(&asked(folder)) - total(&questions);
    eprintln!("{kills} kills, {again} questions asked again");
    assert!(
        again <= 4 * kills,
        "{again} questions asked again after {kills} kills"
    );
}
