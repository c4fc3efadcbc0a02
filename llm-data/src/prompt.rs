//! Prompt templates: what stands around instructions and answers.

mod model;

use std::sync::Arc;

use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::record::{Dialogue, Turn};
use crate::special::{Specials, unused_mark};
use crate::tokenizer::Tokenizer;

/// How a conversation is written down for the model.
///
/// The three of the Alpaca kind end each answer with the tokenizer's end-of-sequence token; the
/// others end it with a token of their own. Each template is shown with an example in
/// `docs/data-format.md`.
#[derive(Debug, Clone)]
pub struct Template(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Alpaca(&'static Alpaca),
    Chatml,
    Vicuna,
    Model(Arc<ChatTemplate>),
}

/// The texts of one template of the Alpaca kind.
#[derive(Debug)]
struct Alpaca {
    name: &'static str,
    preamble: &'static str,
    preamble_with_input: &'static str,
    instruction: &'static str,
    input: &'static str,
    response: &'static str,
}

/// Stanford Alpaca, `train.py`.
static ALPACA: Alpaca = Alpaca {
    name: "alpaca",
    preamble: "Below is an instruction that describes a task. Write a response that \
               appropriately completes the request.",
    preamble_with_input: "Below is an instruction that describes a task, paired with an input \
                          that provides further context. Write a response that appropriately \
                          completes the request.",
    instruction: "### Instruction:\n",
    input: "### Input:\n",
    response: "### Response:",
};

/// Alpaca-LoRA, `templates/alpaca.json`: the answer begins on a line of its own.
static ALPACA_LORA: Alpaca = Alpaca {
    name: "alpaca-lora",
    preamble: ALPACA.preamble,
    preamble_with_input: ALPACA.preamble_with_input,
    instruction: ALPACA.instruction,
    input: ALPACA.input,
    response: "### Response:\n",
};

static ALPACA_ZH: Alpaca = Alpaca {
    name: "alpaca-zh",
    preamble: "下方是一个描述任务的指令。请为下面的请求编写一个合适的回答。",
    preamble_with_input: "下方是一个描述任务的指令，与之配对的是进一步提供上下文的输入。\
                          请为下面的请求编写一个合适的回答。",
    instruction: "### 指令:\n",
    input: "### 输入:\n",
    response: "### 回答:",
};

/// FastChat, `conversation.py`, `vicuna_v1.1`.
const VICUNA_SYSTEM: &str = "A chat between a curious user and an artificial intelligence \
    assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";
const VICUNA_END: &str = "</s>";
const CHATML_END: &str = "<|im_end|>";
/// Tokens that the templates here write; special wherever a tokenizer has added them.
pub(crate) const BUILT_IN_TOKENS: [&str; 3] = ["<|im_start|>", CHATML_END, VICUNA_END];

/// A stretch of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Template text, in which people's special-token text is marked.
    pub(crate) text: String,
    /// Whether the assistant says it.
    pub(crate) supervised: bool,
    /// Whether the tokenizer's end-of-sequence token follows the text.
    pub(crate) ends: bool,
}

/// A rendered conversation and the mark in it.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) segments: Vec<Segment>,
    pub(crate) mark: char,
}

impl Rendered {
    fn context(&mut self, text: impl Into<String>) {
        self.segments.push(Segment {
            text: text.into(),
            supervised: false,
            ends: false,
        });
    }

    fn answer(&mut self, text: impl Into<String>, ends: bool) {
        self.segments.push(Segment {
            text: text.into(),
            supervised: true,
            ends,
        });
    }
}

impl Template {
    /// The names that [`by_name`](Self::by_name) knows.
    pub const NAMES: [&'static str; 6] = [
        "alpaca",
        "alpaca-lora",
        "alpaca-zh",
        "chatml",
        "vicuna",
        "model",
    ];

    /// The template of a name; `model` is the chat template that comes with `tokenizer`.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] with the known names; for `model` those of
    /// [`model`](Self::model).
    pub fn by_name(name: &str, tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self(match name {
            "alpaca" => Kind::Alpaca(&ALPACA),
            "alpaca-lora" => Kind::Alpaca(&ALPACA_LORA),
            "alpaca-zh" => Kind::Alpaca(&ALPACA_ZH),
            "chatml" => Kind::Chatml,
            "vicuna" => Kind::Vicuna,
            "model" => return Self::model(tokenizer),
            _ => {
                let known = Self::NAMES.join(", ");
                return Err(Error::UnknownTemplate {
                    name: name.to_owned(),
                    known,
                });
            }
        }))
    }

    /// The checkpoint's own chat template.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`], [`Error::NoDefaultTemplate`] where there are several and none is
    /// the default, or [`Error::ChatTemplateSyntax`] where it cannot be parsed.
    pub fn model(tokenizer: &Tokenizer) -> Result<Self> {
        let Some(source) = tokenizer.chat_template() else {
            if !tokenizer.named_templates().is_empty() {
                return Err(Error::NoDefaultTemplate {
                    path: tokenizer.path().with_file_name("tokenizer_config.json"),
                    names: tokenizer.named_templates().to_vec(),
                });
            }
            return Err(Error::NoChatTemplate {
                path: tokenizer.path().to_owned(),
            });
        };
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
        let (bos, eos) = (token(tokenizer.bos_id()), token(tokenizer.eos_id()));
        Ok(Self(Kind::Model(Arc::new(ChatTemplate::new(
            source, &bos, &eos,
        )?))))
    }

    /// The template for a checkpoint when none is named: its own where it has one, else `alpaca`.
    ///
    /// # Errors
    /// Those of [`model`](Self::model) where it has one that cannot be used.
    pub fn default_for(tokenizer: &Tokenizer) -> Result<Self> {
        match Self::model(tokenizer) {
            Err(Error::NoChatTemplate { .. }) => Ok(Self(Kind::Alpaca(&ALPACA))),
            own => own,
        }
    }

    /// The template's name, one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Alpaca(texts) => texts.name,
            Kind::Chatml => "chatml",
            Kind::Vicuna => "vicuna",
            Kind::Model(_) => "model",
        }
    }

    /// All that makes up the template, as text: two templates of the same definition write the same.
    /// To be hashed, where one must know later which it was.
    pub fn definition(&self) -> String {
        let parts: Vec<&str> = match &self.0 {
            Kind::Alpaca(texts) => vec![
                texts.preamble,
                texts.preamble_with_input,
                texts.instruction,
                texts.input,
                texts.response,
            ],
            Kind::Chatml => vec!["<|im_start|>", CHATML_END],
            Kind::Vicuna => vec![VICUNA_SYSTEM, VICUNA_END],
            Kind::Model(chat) => vec![chat.source()],
        };
        format!("{}\n{}", self.name(), parts.join("\n"))
    }

    /// The text that ends an answer, for tokenizers that have no token for it; empty where answers
    /// end with the tokenizer's own end-of-sequence token.
    pub fn stop_strings(&self) -> &'static [&'static str] {
        match &self.0 {
            Kind::Alpaca(_) | Kind::Model(_) => &[],
            Kind::Chatml => &[CHATML_END],
            Kind::Vicuna => &[VICUNA_END],
        }
    }

    /// Whether answers end with the tokenizer's end-of-sequence token.
    pub(crate) fn needs_eos(&self) -> bool {
        matches!(self.0, Kind::Alpaca(_))
    }

    /// Writes a conversation down. The text before an answer is what the same conversation
    /// without that answer and what follows gives.
    pub(crate) fn render(&self, dialogue: &Dialogue<'_>, specials: &Specials) -> Result<Rendered> {
        let source = match &self.0 {
            Kind::Model(chat) => chat.source(),
            _ => "",
        };
        let mark = unused_mark(dialogue.texts().chain([source]));
        let mut out = Rendered {
            segments: Vec::new(),
            mark,
        };
        let guard = |text: &str| specials.guard(text, mark).into_owned();
        match &self.0 {
            Kind::Alpaca(texts) => alpaca(texts, dialogue, guard, &mut out),
            Kind::Chatml => chatml(dialogue, guard, &mut out),
            Kind::Vicuna => vicuna(dialogue, guard, &mut out),
            Kind::Model(chat) => model::write(chat, dialogue, specials, guard, &mut out)?,
        }
        Ok(out)
    }
}

impl<'a> Dialogue<'a> {
    fn texts(&self) -> impl Iterator<Item = &'a str> + Clone {
        let turns = self.turns.clone().into_iter();
        self.system.into_iter().chain(turns.flat_map(|turn| {
            [
                turn.instruction,
                turn.input,
                turn.answer.unwrap_or_default(),
            ]
        }))
    }
}

/// The system text or the preamble once, then instruction, input and answer of each turn. Which
/// preamble is decided by the first turn alone: a later one must not change what stands before
/// an earlier answer.
fn alpaca(
    texts: &Alpaca,
    dialogue: &Dialogue<'_>,
    guard: impl Fn(&str) -> String,
    out: &mut Rendered,
) {
    let with_input = dialogue
        .turns
        .first()
        .is_some_and(|turn| !turn.input.is_empty());
    let mut context = match dialogue.system {
        Some(system) => guard(system),
        None if with_input => texts.preamble_with_input.to_owned(),
        None => texts.preamble.to_owned(),
    };
    for turn in &dialogue.turns {
        context += &format!("\n\n{}{}\n\n", texts.instruction, guard(turn.instruction));
        if !turn.input.is_empty() {
            context += &format!("{}{}\n\n", texts.input, guard(turn.input));
        }
        out.context(std::mem::take(&mut context) + texts.response);
        if let Some(answer) = turn.answer {
            out.answer(guard(answer), true);
        }
    }
}

fn chatml(dialogue: &Dialogue<'_>, guard: impl Fn(&str) -> String, out: &mut Rendered) {
    let mut context = String::new();
    if let Some(system) = dialogue.system {
        context = format!("<|im_start|>system\n{}{CHATML_END}\n", guard(system));
    }
    for turn in &dialogue.turns {
        let user = guard(&user_text(turn));
        context += &format!("<|im_start|>user\n{user}{CHATML_END}\n<|im_start|>assistant\n");
        out.context(std::mem::take(&mut context));
        if let Some(answer) = turn.answer {
            out.answer(guard(answer) + CHATML_END, false);
            context.push('\n');
        }
    }
    if !context.is_empty() {
        out.context(context);
    }
}

fn vicuna(dialogue: &Dialogue<'_>, guard: impl Fn(&str) -> String, out: &mut Rendered) {
    let mut context = dialogue
        .system
        .map_or_else(|| VICUNA_SYSTEM.to_owned(), &guard)
        + " ";
    for turn in &dialogue.turns {
        context += &format!("USER: {} ASSISTANT:", guard(&user_text(turn)));
        out.context(std::mem::take(&mut context));
        if let Some(answer) = turn.answer {
            out.answer(format!(" {}{VICUNA_END}", guard(answer)), false);
        }
    }
}

/// The user's message in chat templates: the instruction, and the input on the line below.
pub(crate) fn user_text(turn: &Turn<'_>) -> String {
    match turn.input {
        "" => turn.instruction.to_owned(),
        input => format!("{}\n{input}", turn.instruction),
    }
}
