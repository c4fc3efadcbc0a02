//! Verdicts bound to a JSON schema, on servers that have it and on others.

use llm_data::generate::{ChatReply, ChatRequest, ReplyCache, RunOptions, Runner};
use llm_eval::judge::{Criterion, Judge, Judgments, Mode, Pairing, Turns};
use llm_eval::{Error, Result};
use serde_json::{Value, json};

use crate::judge_faults::{Act, client, options, server};
use crate::judge_stubs::{JUDGE, Seen, answers, questions, with_runner};

fn judge(mode: Mode) -> Judge {
    let mut judge = Judge::new(JUDGE, mode);
    if !matches!(judge.mode, Mode::Rubric(_)) {
        judge.grammar = "json".parse().unwrap();
    }
    judge.schema = true;
    judge.turns = Turns::First;
    judge
}

fn body(text: &str) -> String {
    let message = json!({"role": "assistant", "content": text});
    json!({"choices": [{"message": message, "finish_reason": "stop"}]}).to_string()
}

const TIE: &str = r#"{"explanation": "Both say the same.", "winner": "tie"}"#;

/// The judgments of a server's replies in the mode pair, and the bodies that it got.
fn pairs(act: Act, workers: usize, cache: &ReplyCache) -> (Result<Judgments>, Vec<Value>) {
    let (address, bodies) = server(vec![act]);
    let client = client(&address);
    let options = RunOptions {
        workers,
        ..options()
    };
    let runner = Runner::new(&client, cache, options).unwrap();
    let questions = questions(10);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let judge = judge(Mode::Pair(Pairing::default()));
    let judgments = judge.run(&runner, &questions, &answers);
    let bodies = bodies.lock().unwrap();
    let bodies = bodies
        .iter()
        .map(|body| serde_json::from_str(body).unwrap());
    (judgments, bodies.collect())
}

/// The schema in a body, where it has one.
fn schema(body: &Value) -> Option<&Value> {
    body.get("response_format")
}

#[test]
fn a_server_that_has_it_is_asked_with_the_schema() {
    let cache = ReplyCache::in_memory().unwrap();
    let (judgments, bodies) = pairs(Act::Status(200, body(TIE)), 4, &cache);
    let expected = json!({"type": "json_schema", "json_schema": {
        "name": "verdict",
        "strict": true,
        "schema": {
            "type": "object",
            "properties": {
                "explanation": {"type": "string"},
                "winner": {"type": "string", "enum": ["A", "B", "tie"]},
            },
            "required": ["explanation", "winner"],
            "additionalProperties": false,
        },
    }});
    assert_eq!(bodies.len(), 20);
    assert!(bodies.iter().all(|body| schema(body) == Some(&expected)));
    // The explanation is written first.
    assert_eq!(
        schema(&bodies[0]).unwrap().to_string(),
        expected.to_string()
    );
    let rows = judgments.unwrap().rows;
    assert!(
        rows.iter()
            .all(|row| row.schema == Some(true) && row.verdict.is_some())
    );
}

#[test]
fn a_server_that_refuses_it_is_asked_without_from_then_on() {
    for (status, workers) in [(400, 1), (422, 4)] {
        let cache = ReplyCache::in_memory().unwrap();
        let (judgments, bodies) = pairs(Act::RefuseSchema(status, body(TIE)), workers, &cache);
        let refused = bodies.iter().filter(|body| schema(body).is_some()).count();
        assert!((1..=workers).contains(&refused), "{refused} of {workers}");
        assert_eq!(bodies.len() - refused, 20);
        let judgments = judgments.unwrap();
        let rows = &judgments.rows;
        assert!(
            rows.iter()
                .all(|row| row.schema == Some(false) && row.verdict.is_some())
        );
        let text = serde_json::to_string(&rows[0]).unwrap();
        assert!(text.contains(r#""schema":false"#), "{text}");
    }
}

#[test]
fn a_wrong_key_or_model_ends_the_run() {
    for status in [401, 404] {
        let cache = ReplyCache::in_memory().unwrap();
        let (judgments, bodies) = pairs(Act::RefuseSchema(status, body(TIE)), 1, &cache);
        let error = judgments.unwrap_err().to_string();
        assert!(error.contains(&status.to_string()), "{error}");
        assert_eq!(bodies.len(), 1);
    }
}

#[test]
fn scores_and_rubrics_have_schemas_too() {
    let properties = |judge: &Judge, reply: &str| {
        let asked = std::sync::Mutex::new(None);
        let model = |request: &ChatRequest| {
            let instruction = Seen::of(request).instruction().to_owned();
            let schema = request.sampling.optional["response_format"].clone();
            *asked.lock().unwrap() = Some((schema, instruction));
            Ok(ChatReply::new(reply))
        };
        let questions = questions(1);
        let answers = answers(&questions, &[("good", 2)]);
        let judgments = with_runner(&model, 1, |runner| {
            judge.run(runner, &questions, &answers).unwrap()
        });
        let (schema, instruction) = asked.into_inner().unwrap().unwrap();
        let properties = schema["json_schema"]["schema"]["properties"].clone();
        (properties, instruction, judgments.rows[0].score)
    };
    let mut single = judge(Mode::Single);
    let reply = r#"{"explanation": "Short {\"score\": 1}.", "score": 7}"#;
    let (found, _, score) = properties(&single, reply);
    let whole = json!({"type": "integer", "enum": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]});
    assert_eq!((&found["score"], score), (&whole, Some(7.0)));
    single.grammar = "json:0-1".parse().unwrap();
    let (found, _, score) = properties(&single, r#"{"explanation": "", "score": 0.25}"#);
    let share = json!({"type": "number", "minimum": 0.0, "maximum": 1.0});
    assert_eq!((&found["score"], score), (&share, Some(0.25)));
    let criteria = [("explanation", 3.0), ("tone \"x\"", 1.0)].map(|(name, weight)| Criterion {
        name: name.to_owned(),
        description: "good".to_owned(),
        weight,
    });
    let rubric = judge(Mode::Rubric(criteria.to_vec()));
    let reply = r#"{"explanation": "Fine.", "scores": {"explanation": 8, "tone \"x\"": 4}}"#;
    let (found, instruction, score) = properties(&rubric, reply);
    let scores = json!({
        "type": "object",
        "properties": {"explanation": whole, "tone \"x\"": whole},
        "required": ["explanation", "tone \"x\""],
        "additionalProperties": false,
    });
    assert_eq!((&found["scores"], score), (&scores, Some(7.0)));
    let form = r#"{"scores": {"explanation": number, "tone \"x\"": number}}"#;
    assert!(instruction.contains(form), "{instruction}");
}

#[test]
fn a_schema_needs_a_grammar_in_json() {
    let questions = questions(1);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let model = |_: &ChatRequest| Ok(ChatReply::new("[[A]]"));
    let mut brackets = judge(Mode::Pair(Pairing::default()));
    brackets.grammar = "pair".parse().unwrap();
    let mut twice = judge(Mode::Single);
    let extra = &mut twice.sampling.extra;
    extra.insert("response_format".to_owned(), json!({"type": "json_object"}));
    for judge in [brackets, twice] {
        let result = with_runner(&model, 1, |runner| judge.run(runner, &questions, &answers));
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                Error::JudgeOption {
                    option: "schema",
                    ..
                }
            ),
            "{error}"
        );
    }
}
