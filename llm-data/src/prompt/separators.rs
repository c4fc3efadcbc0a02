//! FastChat's separator styles: how the fields of a template become a prompt (`conversation.py`,
//! fschat 0.2.36).

use serde::Serialize;

use super::{Rendered, user_text};
use crate::record::{Dialogue, Turn};
use crate::special::Specials;

/// Where a conversation's system text, roles and separators go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum SeparatorStyle {
    AddColonSingle,
    AddColonTwo,
    AddColonSpaceSingle,
    NoColonSingle,
    NoColonTwo,
    AddNewLineSingle,
    Llama2,
    Chatglm,
    Chatml,
    Chatintern,
    Dolly,
    Rwkv,
    Phoenix,
    Robin,
    FalconChat,
    Chatglm3,
    DeepseekChat,
    Metamath,
    Yuan2,
}

use SeparatorStyle as Style;

impl SeparatorStyle {
    /// All styles by FastChat's names.
    pub(super) const NAMED: [(&str, Self); 19] = [
        ("ADD_COLON_SINGLE", Self::AddColonSingle),
        ("ADD_COLON_TWO", Self::AddColonTwo),
        ("ADD_COLON_SPACE_SINGLE", Self::AddColonSpaceSingle),
        ("NO_COLON_SINGLE", Self::NoColonSingle),
        ("NO_COLON_TWO", Self::NoColonTwo),
        ("ADD_NEW_LINE_SINGLE", Self::AddNewLineSingle),
        ("LLAMA2", Self::Llama2),
        ("CHATGLM", Self::Chatglm),
        ("CHATML", Self::Chatml),
        ("CHATINTERN", Self::Chatintern),
        ("DOLLY", Self::Dolly),
        ("RWKV", Self::Rwkv),
        ("PHOENIX", Self::Phoenix),
        ("ROBIN", Self::Robin),
        ("FALCON_CHAT", Self::FalconChat),
        ("CHATGLM3", Self::Chatglm3),
        ("DEEPSEEK_CHAT", Self::DeepseekChat),
        ("METAMATH", Self::Metamath),
        ("YUAN2", Self::Yuan2),
    ];

    /// Whether the style writes `sep`.
    pub(super) fn uses_sep(self) -> bool {
        !matches!(self, Self::Rwkv | Self::Phoenix | Self::Chatglm3)
    }

    /// Whether the style writes `sep2`.
    pub(super) fn uses_sep2(self) -> bool {
        matches!(
            self,
            Self::AddColonTwo
                | Self::NoColonTwo
                | Self::Llama2
                | Self::Chatintern
                | Self::Dolly
                | Self::DeepseekChat
                | Self::Metamath
                | Self::Yuan2
        )
    }
}

/// After which answers the tokenizer's end-of-sequence token follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Eos {
    #[default]
    Never,
    Each,
    Last,
}

/// A template of FastChat's fields.
#[derive(Debug, Serialize)]
pub(super) struct Separated {
    pub(super) name: String,
    /// What stands around the system text: one text more than it has places for it.
    pub(super) system_template: Vec<String>,
    pub(super) system_message: String,
    pub(super) roles: [String; 2],
    /// Examples that stand before every conversation: role and text.
    pub(super) messages: Vec<(String, String)>,
    pub(super) sep_style: SeparatorStyle,
    pub(super) sep: String,
    pub(super) sep2: String,
    pub(super) stop_str: Vec<String>,
    pub(super) stop_token_ids: Vec<u32>,
    pub(super) eos: Eos,
    pub(super) bos: bool,
    /// All of the above as JSON.
    #[serde(skip)]
    pub(super) source: String,
}

/// What stands around one message: `lead`, `ask` and, where it says something, `gap`, its text,
/// `end` and `after`. What belongs to an answer, and is supervised, begins with `gap` and ends with
/// `end`.
#[derive(Default)]
struct Frame<'a> {
    lead: String,
    ask: &'a str,
    gap: &'a str,
    end: &'a str,
    after: &'a str,
}

impl Separated {
    /// Writes a conversation down.
    pub(super) fn write(
        &self,
        dialogue: &Dialogue<'_>,
        specials: &Specials,
        guard: impl Fn(&str) -> String,
        out: &mut Rendered,
    ) {
        out.bos = self.bos;
        if self.sep_style == Style::Yuan2 {
            return self.write_yuan2(dialogue, guard, out);
        }
        let mut context = self.before_turns(dialogue, &guard);
        let count = dialogue.turns.len();
        for (number, turn) in dialogue.turns.iter().enumerate() {
            out.reply = number;
            let index = self.messages.len() + 2 * number;
            context += &self.question(index, turn, &guard);
            let frame = self.frame(index + 1, &self.roles[1], true);
            context += &(frame.lead + frame.ask);
            out.context(std::mem::take(&mut context));
            let Some(answer) = turn.answer.filter(|answer| !answer.is_empty()) else {
                continue;
            };
            let said = frame.gap.to_owned() + &guard(&self.text(answer));
            let eos = self.eos == Eos::Each || (self.eos == Eos::Last && number + 1 == count);
            let end = match eos {
                true => 0,
                false => supervised_end(frame.end, specials, out.mark),
            };
            out.answer(said + &frame.end[..end], eos);
            context = frame.end[end..].to_owned() + frame.after;
        }
        if !context.is_empty() {
            out.context(context);
        }
    }

    /// FastChat's text of a whole conversation, where it is not what the segments say: `YUAN2`
    /// writes its separator only at the very end, so it stands behind the last answer and not, as in
    /// generation, behind the question.
    pub(super) fn whole(&self, dialogue: &Dialogue<'_>) -> Option<String> {
        let answered = dialogue
            .turns
            .last()
            .is_some_and(|turn| turn.answer.is_some());
        (self.sep_style == Style::Yuan2 && answered)
            .then(|| self.yuan2(dialogue, &|text: &str| text.to_owned()))
    }

    /// The system text and the examples.
    fn before_turns(&self, dialogue: &Dialogue<'_>, guard: &impl Fn(&str) -> String) -> String {
        let system = dialogue
            .system
            .map_or_else(|| self.system_message.clone(), guard);
        let mut text = self.opening(&system);
        for (index, (role, message)) in self.messages.iter().enumerate() {
            text += &self.message(index, role, &self.text(message));
        }
        text
    }

    fn opening(&self, system: &str) -> String {
        let prompt = self.system_template.join(system);
        let sep = self.sep.as_str();
        match self.sep_style {
            Style::AddColonSingle
            | Style::AddColonTwo
            | Style::AddColonSpaceSingle
            | Style::Robin => prompt + sep,
            Style::AddNewLineSingle | Style::Chatglm | Style::Chatml | Style::Metamath
                if prompt.is_empty() =>
            {
                prompt
            }
            Style::AddNewLineSingle | Style::Chatglm | Style::Metamath => prompt + sep,
            Style::Chatml => prompt + sep + "\n",
            Style::NoColonSingle
            | Style::NoColonTwo
            | Style::Rwkv
            | Style::Chatintern
            | Style::Dolly
            | Style::Phoenix
            | Style::DeepseekChat => prompt,
            Style::Llama2 if system.is_empty() => "[INST] ".to_owned(),
            Style::Chatglm3 | Style::FalconChat | Style::Yuan2 if system.is_empty() => {
                String::new()
            }
            Style::Llama2 | Style::Chatglm3 => prompt,
            Style::FalconChat => prompt + sep,
            Style::Yuan2 => prompt + &self.sep2,
        }
    }

    fn question(&self, index: usize, turn: &Turn<'_>, guard: &impl Fn(&str) -> String) -> String {
        let text = guard(&self.text(&user_text(turn)));
        self.message(index, &self.roles[0], &text)
    }

    /// A message; without its text and what follows where it says nothing, as FastChat does it.
    fn message(&self, index: usize, role: &str, text: &str) -> String {
        let frame = self.frame(index, role, !text.is_empty());
        let begin = frame.lead + frame.ask;
        match text {
            "" => begin,
            _ => begin + frame.gap + text + frame.end + frame.after,
        }
    }

    /// The frame of message `index`, which `says` something or not.
    fn frame<'a>(&'a self, index: usize, role: &str, says: bool) -> Frame<'a> {
        let user = index.is_multiple_of(2);
        let sep = self.sep.as_str();
        let alternate = if user { sep } else { &self.sep2 };
        let frame = |ask, gap, end| Frame {
            lead: role.to_owned(),
            ask,
            gap,
            end,
            after: "",
        };
        match self.sep_style {
            Style::AddColonSingle | Style::FalconChat => frame(":", " ", sep),
            Style::AddColonTwo | Style::DeepseekChat => frame(":", " ", alternate),
            Style::AddColonSpaceSingle => frame(": ", "", sep),
            Style::NoColonSingle => frame("", "", sep),
            Style::NoColonTwo => frame("", "", alternate),
            Style::AddNewLineSingle => frame("\n", "", sep),
            Style::Rwkv => frame(":", " ", "\n\n"),
            Style::Robin => frame(":\n", "", sep),
            Style::Chatglm3 => frame("", "\n", ""),
            Style::Phoenix => frame(": <s>", "", "</s>"),
            Style::Llama2 if index == 0 && says => Frame {
                end: " ",
                ..Frame::default()
            },
            Style::Llama2 => Frame {
                lead: self.roles[index % 2].clone(),
                ..frame("", " ", alternate)
            },
            Style::Chatglm => Frame {
                lead: self.round(index) + role,
                ..frame("：", "", sep)
            },
            Style::Chatml => Frame {
                after: "\n",
                ..frame("\n", "", sep)
            },
            Style::Chatintern => Frame {
                lead: if user { "<s>" } else { "" }.to_owned() + role,
                after: "\n",
                ..frame(":", "", alternate)
            },
            Style::Dolly => Frame {
                after: if user { "" } else { "\n\n" },
                ..frame(":\n", "", alternate)
            },
            Style::Metamath if user => frame(":\n", "", sep),
            Style::Metamath => Frame {
                lead: format!("{role}: {}", self.sep2),
                ..Frame::default()
            },
            Style::Yuan2 => Frame {
                end: "<n>",
                ..Frame::default()
            },
        }
    }

    /// What ChatGLM writes before a question. FastChat knows the second version, which counts from 1,
    /// by its name.
    fn round(&self, index: usize) -> String {
        let round = index / 2 + usize::from(self.name == "chatglm2");
        match index % 2 {
            0 => format!("[Round {round}]{}", self.sep),
            _ => String::new(),
        }
    }

    /// The text of a message as the style has it.
    fn text(&self, text: &str) -> String {
        match self.sep_style {
            Style::Rwkv => text.replace("\r\n", "\n").replace("\n\n", "\n"),
            _ => text.to_owned(),
        }
    }

    /// The question behind all that was said before it, then the answer. Only the last answer can be
    /// supervised: the earlier ones stand in a text that generation for them did not have.
    fn write_yuan2(
        &self,
        dialogue: &Dialogue<'_>,
        guard: impl Fn(&str) -> String,
        out: &mut Rendered,
    ) {
        out.context(self.yuan2(&dialogue.clone().unanswered(), &guard));
        out.reply = dialogue.turns.len().saturating_sub(1);
        let answer = dialogue.turns.last().and_then(|turn| turn.answer);
        if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
            let end = self.stop_str.first().map_or("", String::as_str);
            out.answer(guard(answer) + end, self.eos != Eos::Never);
        }
    }

    fn yuan2(&self, dialogue: &Dialogue<'_>, guard: &impl Fn(&str) -> String) -> String {
        let mut text = self.before_turns(dialogue, guard);
        for (number, turn) in dialogue.turns.iter().enumerate() {
            let index = self.messages.len() + 2 * number;
            text += &self.question(index, turn, guard);
            let answer = turn.answer.map(guard).unwrap_or_default();
            text += &self.message(index + 1, &self.roles[1], &answer);
        }
        // Python's `rstrip("<n>")` strips these characters, not this text, and does not stop at the
        // template's own.
        text.trim_end_matches(['<', 'n', '>']).to_owned() + &self.sep
    }
}

/// How much of the separator behind an answer the model has to write itself: up to the end of the
/// token or text that ends the answer, or all of it where there is none.
fn supervised_end(separator: &str, specials: &Specials, mark: char) -> usize {
    const END: &str = "</s>";
    let spans = specials.spans(separator, mark);
    let special = spans.iter().find(|(_, special)| special.is_some());
    special
        .map(|(range, _)| range.end)
        .or_else(|| separator.find(END).map(|place| place + END.len()))
        .unwrap_or(separator.len())
}
