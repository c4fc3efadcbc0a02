//! Long conversations in pieces, against FastChat's own.

use llm_data::{Conversation, Message, PieceRule, Pieces, Role};
use serde_json::Value;

use crate::common::{shared_json, shared_tokenizer, tiny};

fn talk(lengths: &[usize]) -> Conversation {
    let role = |index| [Role::User, Role::Assistant][index % 2];
    let message = |(index, length): (usize, &usize)| Message::new(role(index), "a".repeat(*length));
    Conversation {
        id: Some("talk".to_owned()),
        ..Conversation::from(lengths.iter().enumerate().map(message).collect::<Vec<_>>())
    }
}

fn ids(pieces: &[Conversation]) -> Vec<(&str, usize)> {
    let mut ids = Vec::new();
    for piece in pieces {
        ids.push((piece.id.as_deref().unwrap(), piece.messages.len()));
    }
    ids
}

#[test]
fn compat_is_what_fastchat_does() {
    let Some(tokenizer) = shared_tokenizer("smollm2") else {
        return;
    };
    let golden: Vec<Value> =
        serde_json::from_str(include_str!("../goldens/split_fastchat.json")).unwrap();
    let mut divided = 0;
    for file in ["fastchat_dummy", "glaive_toolcall_en"] {
        let Some(records) = shared_json(&format!("data/sharegpt/{file}.json")) else {
            return;
        };
        for (number, record) in records.as_array().unwrap().iter().enumerate() {
            let message = |message: &Value| {
                let role = match message["from"].as_str().unwrap() {
                    "human" => Role::User,
                    "gpt" => Role::Assistant,
                    _ => return None,
                };
                Some(Message::new(role, message["value"].as_str().unwrap()))
            };
            let messages = record["conversations"].as_array().unwrap().iter();
            let conversation = Conversation {
                id: Some("x".to_owned()),
                ..Conversation::from(messages.filter_map(message).collect::<Vec<_>>())
            };
            for max_tokens in [60, 100, 200, 400] {
                let pieces = Pieces::new(tokenizer.clone()).max_tokens(max_tokens);
                let pieces = pieces
                    .rule(PieceRule::Compat)
                    .divide(&conversation)
                    .unwrap();
                let here =
                    |row: &&Value| row[0] == file && row[1] == number && row[2] == max_tokens;
                let whole = serde_json::json!([["x_0", conversation.messages.len()]]);
                let expected = golden.iter().find(here).map_or(whole, |row| row[3].clone());
                divided += usize::from(pieces.len() > 1);
                assert_eq!(
                    serde_json::json!(ids(&pieces)),
                    expected,
                    "{file} {number} {max_tokens}"
                );
            }
        }
    }
    assert!(divided > 100, "{divided}");
}

#[test]
fn the_fixed_rule_loses_nothing() {
    // A byte is a token, a message six more.
    let pieces = Pieces::new(tiny()).max_tokens(100);
    let divided = pieces
        .divide(&talk(&[10, 20, 10, 20, 30, 40, 200, 10, 1, 1]))
        .unwrap();
    let expected = [("talk_0", 4), ("talk_4", 2), ("talk_6", 2), ("talk_8", 2)];
    assert_eq!(ids(&divided), expected);
    // FastChat loses a last pair that no longer fits.
    let compat = pieces.clone().rule(PieceRule::Compat);
    let compat = compat.divide(&talk(&[10, 20, 60, 20])).unwrap();
    assert_eq!(ids(&compat), [("talk_0", 2)]);
    assert_eq!(
        ids(&pieces.divide(&talk(&[10, 20, 60, 20])).unwrap()).len(),
        2
    );
}

/// The messages of a piece are copied, not all of them for each piece.
#[test]
fn a_long_conversation_is_divided_in_time() {
    let begun = std::time::Instant::now();
    let pieces = Pieces::new(tiny()).max_tokens(14);
    assert_eq!(pieces.divide(&talk(&[1; 32_000])).unwrap().len(), 16_000);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn a_sample_that_is_not_there_is_an_error() {
    let samples: Vec<llm_data::Sample> = Vec::new();
    let error = llm_data::Samples::get(&samples, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no sample 3 of 0, counted from 0"
    );
}

#[test]
fn system_text_and_tools_go_with_every_piece() {
    let mut conversation = talk(&[10, 20, 10, 20, 10, 20]);
    conversation
        .messages
        .insert(0, Message::new(Role::System, "s".repeat(20)));
    // A call and its result stay with their question.
    conversation
        .messages
        .insert(4, Message::new(Role::FunctionCall, "{}"));
    conversation
        .messages
        .insert(5, Message::new(Role::Observation, "1"));
    conversation.tools = Some("[]".to_owned());
    let pieces = Pieces::new(tiny()).max_tokens(100);
    let divided = pieces.divide(&conversation).unwrap();
    let roles: Vec<Vec<&str>> = divided
        .iter()
        .map(|piece| piece.messages.iter().map(|m| m.role.as_str()).collect())
        .collect();
    let plain = vec!["system", "user", "assistant"];
    let calls = vec![
        "system",
        "user",
        "function_call",
        "observation",
        "assistant",
    ];
    assert_eq!(roles, [plain.clone(), calls, plain]);
    assert!(
        divided
            .iter()
            .all(|piece| piece.tools == conversation.tools)
    );
}
