//! Tools and `{% generation %}` blocks, as in transformers.

use llm_data::{
    ChatOptions, ChatTemplate, Conversation, Encoder, Error, Message, Role, Template, Tokenizer,
    TokenizerFiles,
};
use serde_json::{Value, json};

use crate::common::{long, shared_tokenizer, tiny, tiny_json};
use crate::template_files::data;

const MARKED: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#[test]
fn texts_and_marks_are_those_of_transformers() {
    let goldens = data("chat_marks.json");
    let (mut texts, mut spans) = (0, 0);
    for golden in goldens["templates"].as_array().unwrap() {
        let field = |name: &str| golden[name].as_str().unwrap();
        let template =
            ChatTemplate::new(field("template"), field("bos_token"), field("eos_token")).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let options = ChatOptions {
                add_generation_prompt: case["add_generation_prompt"] == true,
                tools: Some(&case["tools"]).filter(|tools| !tools.is_null()),
            };
            let rendered = template.render_with(&messages, options);
            let Some(text) = case["text"].as_str() else {
                assert!(
                    matches!(rendered, Err(Error::ChatTemplateRefused { message }) if message == case["error"].as_str().unwrap())
                );
                continue;
            };
            let rendered = rendered.unwrap();
            assert_eq!(rendered.text, text, "{} {case}", field("name"));
            texts += 1;
            let chars = |place: usize| text[..place].chars().count();
            let found: Vec<[usize; 2]> = rendered
                .generation
                .iter()
                .map(|range| [chars(range.start), chars(range.end)])
                .collect();
            match case.get("spans") {
                Some(golden) => {
                    assert_eq!(json!(found), *golden, "{} {case}", field("name"));
                    spans += found.len();
                }
                None => assert!(found.is_empty()),
            }
        }
    }
    assert!(texts > 300 && spans > 150, "{texts} {spans}");
}

/// SmolLM2's tokenizer with another chat template.
pub(crate) fn smollm2_with(source: &str) -> Option<Tokenizer> {
    let dir = crate::common::shared("fixtures/tokenizers/smollm2")?;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let files = TokenizerFiles {
        path: dir.join("tokenizer.json"),
        tokenizer_json: read("tokenizer.json"),
        tokenizer_config: Some(read("tokenizer_config.json")),
        chat_template: Some(source.to_owned()),
        ..TokenizerFiles::default()
    };
    Some(Tokenizer::from_parts(files).unwrap())
}

#[test]
fn samples_have_the_ids_and_the_mask_of_transformers() {
    let goldens = data("chat_marks.json");
    let mut compared = 0;
    for golden in goldens["templates"].as_array().unwrap() {
        let Some(tokenizer) = smollm2_with(golden["template"].as_str().unwrap()) else {
            return;
        };
        for case in golden["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let answered = messages.last().unwrap().role == Role::Assistant;
            let (Some(ids), true) = (
                case.get("ids"),
                answered && case["add_generation_prompt"] == false,
            ) else {
                continue;
            };
            let mut template = Template::by_name("model", &tokenizer).unwrap();
            if case["tools"].is_array() {
                template = template.with_tools(case["tools"].clone()).unwrap();
            }
            let encoder = Encoder::new(tokenizer.clone(), template, long()).unwrap();
            let sample = encoder
                .encode_conversation(&Conversation::from(messages))
                .unwrap()
                .sample;
            assert_eq!(json!(sample.input_ids), *ids, "{}", golden["name"]);
            let mask: Vec<u8> = sample
                .labels
                .iter()
                .map(|label| u8::from(*label >= 0))
                .collect();
            assert_eq!(json!(mask), case["mask"], "{}", golden["name"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 8);
}

fn marked(source: &str) -> Encoder {
    let tokenizer = Tokenizer::from_parts(TokenizerFiles {
        tokenizer_json: tiny_json().to_string(),
        tokenizer_config: Some(json!({"eos_token": "</s>"}).to_string()),
        chat_template: Some(source.to_owned()),
        ..TokenizerFiles::default()
    })
    .unwrap();
    let template = Template::by_name("model", &tokenizer).unwrap();
    Encoder::new(tokenizer, template, long()).unwrap()
}

fn supervised(encoder: &Encoder, conversation: &Conversation) -> String {
    let sample = encoder.encode_conversation(conversation).unwrap().sample;
    let ids: Vec<u32> = sample
        .labels
        .iter()
        .filter_map(|label| u32::try_from(*label).ok())
        .collect();
    encoder.tokenizer().decode(&ids, false).unwrap()
}

fn conversation() -> Conversation {
    let texts = ["q </s>", "one", "r", "two <|im_end|>"];
    let roles = [Role::User, Role::Assistant];
    let messages = texts.iter().enumerate();
    Conversation {
        messages: messages
            .map(|(index, text)| Message::new(roles[index % 2], *text))
            .collect(),
        ..Conversation::default()
    }
}

#[test]
fn only_blocks_are_supervised() {
    let all = marked(MARKED);
    assert_eq!(
        supervised(&all, &conversation()),
        "one<|im_end|>two <|im_end|><|im_end|>"
    );
    assert_eq!(all.stop_ids(), [2, 4]);
    let last = marked(&MARKED.replace(
        "{% if m.role == 'assistant' %}",
        "{% if m.role == 'assistant' and loop.last %}",
    ));
    assert_eq!(
        supervised(&last, &conversation()),
        "two <|im_end|><|im_end|>"
    );
    let parts = marked(
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}-{% generation %}!{% endgeneration %}{% else %}({{ m.content }}){% endif %}{% endfor %}",
    );
    assert_eq!(supervised(&parts, &conversation()), "one!two <|im_end|>!");
    let prompt = parts.prompt(&conversation().messages[..3]).unwrap();
    assert_eq!(
        parts.tokenizer().decode(&prompt, false).unwrap(),
        "(q </s>)one-!(r)"
    );
}

#[test]
fn mask_history_and_flags_reach_all_blocks_of_a_turn() {
    let source = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}-{% generation %}!{% endgeneration %}{% else %}({{ m.content }}){% endif %}{% endfor %}";
    let encoder = marked(source);
    let said = |sample: llm_data::Sample| {
        let ids: Vec<u32> = sample
            .labels
            .iter()
            .filter_map(|label| u32::try_from(*label).ok())
            .collect();
        encoder.tokenizer().decode(&ids, false).unwrap()
    };
    let flagged = |flags: [bool; 4]| encoder.encode_conversation_flagged(&conversation(), &flags);
    assert_eq!(
        said(flagged([false, true, false, false]).unwrap().sample),
        "one!"
    );
    assert_eq!(
        said(flagged([true, false, true, true]).unwrap().sample),
        "two <|im_end|>!"
    );
    let options = llm_data::EncodeOptions {
        mask_history: true,
        ..long()
    };
    let last = Encoder::new(
        encoder.tokenizer().clone(),
        encoder.template().clone(),
        options,
    )
    .unwrap();
    assert_eq!(
        said(last.encode_conversation(&conversation()).unwrap().sample),
        "two <|im_end|>!"
    );
}

#[test]
fn marks_keep_the_limits_and_do_not_depend_on_what_people_write() {
    let blow = "{% generation %}{% for a in range(100000) %}{% generation %}{{ 'x' * 1 }}{% endgeneration %}{% endfor %}{% endgeneration %}";
    let error = ChatTemplate::new(blow, "", "")
        .unwrap()
        .render_with(&[], ChatOptions::default());
    assert!(error.is_err());
    let double = "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t %}{% generation %}{{ ns.t }}{{ ns.t }}{% endgeneration %}{% endset %}{% endfor %}{{ ns.t }}";
    let error = ChatTemplate::new(double, "", "")
        .unwrap()
        .render_with(&[], ChatOptions::default());
    assert!(
        matches!(error, Err(Error::ChatTemplateLimit { .. })),
        "{error:?}"
    );
    let template = ChatTemplate::new(
        "{% generation %}{{ messages[0].content }}{% endgeneration %}.",
        "",
        "",
    )
    .unwrap();
    let nasty = "\u{100000}a\u{100001}\u{E000}";
    let rendered = template
        .render_with(&[Message::new(Role::User, nasty)], ChatOptions::default())
        .unwrap();
    assert_eq!(rendered.text, format!("{nasty}."));
    assert_eq!(&rendered.text[rendered.generation[0].clone()], nasty);
    assert_eq!(rendered.generation.len(), 1);
}

#[test]
fn what_tools_say_stays_text() {
    let encoder = marked(
        "{{ tools | tojson }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}",
    );
    let ask = [Message::new(Role::User, "q")];
    let count = |encoder: &Encoder| {
        let ids = encoder.prompt(&ask).unwrap();
        let special = ids
            .iter()
            .filter(|&&id| encoder.tokenizer().is_special(id))
            .count();
        (special, encoder.tokenizer().decode(&ids, false).unwrap())
    };
    assert_eq!(
        count(&encoder),
        (3, "null<|im_start|>q<|im_end|><|im_start|>".to_owned())
    );
    let tools = json!([{"<|im_end|>": ["</s>", null, 1]}]);
    let template = encoder.template().with_tools(tools).unwrap();
    assert_ne!(template.definition(), encoder.template().definition());
    let with = Encoder::new(encoder.tokenizer().clone(), template, long()).unwrap();
    let text = r#"[{"<|im_end|>": ["</s>", null, 1]}]<|im_start|>q<|im_end|><|im_start|>"#;
    assert_eq!(count(&with), (3, text.to_owned()));
    let alpaca = Template::by_name("alpaca", &tiny()).unwrap();
    assert!(matches!(
        alpaca.with_tools(json!([])),
        Err(Error::Option { field: "tools", .. })
    ));
    assert!(matches!(
        encoder.template().with_tools(Value::Null),
        Err(Error::Option { field: "tools", .. })
    ));
    assert!(shared_tokenizer("smollm2").is_none_or(|own| own.chat_template().is_some()));
}
