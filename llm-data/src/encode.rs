//! Records to token ids and labels, in one pass.

mod tokens;

use rayon::prelude::*;

use serde_json::Value;

use crate::chat::messages;
pub(crate) use crate::encode::tokens::Tokens;
use crate::encode::tokens::{last_answer, reply_flags};
use crate::ending::Ending;
use crate::error::{Error, Refused, Result};
use crate::place::Place;
use crate::prompt::{Rendered, Template};
use crate::record::{AlpacaRecord, Conversation, Dialogue, Message, Turn, said};
use crate::stats::{Collector, Statistics};
use crate::tokenizer::Tokenizer;
use crate::truncate::{self, Truncation};

/// The label of a token without loss, as in PyTorch and Hugging Face.
pub const IGNORE_INDEX: i64 = -100;

/// How records are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The most tokens of a sample.
    pub max_seq_len: usize,
    /// Supervise only the last answer, not those of the history.
    pub mask_history: bool,
    /// Supervise everything, the user's words too.
    pub train_on_input: bool,
    /// Leave out and count records that the chat template refuses or cannot write, instead of
    /// failing.
    pub skip_refused: bool,
}

impl Default for EncodeOptions {
    /// 512 tokens, every answer supervised and nothing else.
    fn default() -> Self {
        Self {
            max_seq_len: 512,
            mask_history: false,
            train_on_input: false,
            skip_refused: false,
        }
    }
}

/// A training sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// For each token its own id, or [`IGNORE_INDEX`]: not shifted, as in Hugging Face.
    pub labels: Vec<i64>,
}

impl Sample {
    /// Tokens that carry loss.
    pub fn supervised_tokens(&self) -> usize {
        self.labels
            .iter()
            .filter(|&&label| label != IGNORE_INDEX)
            .count()
    }
}

/// A sample and what was cut to make it fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The sample.
    pub sample: Sample,
    /// What was cut.
    pub truncation: Truncation,
}

/// The samples of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedSet {
    /// The samples, in the records' order.
    pub samples: Vec<Sample>,
    /// For each sample the index of its record.
    pub records: Vec<usize>,
    /// What became of the records.
    pub statistics: Statistics,
}

/// Turns records into samples, and conversations into prompts.
///
/// One rule holds for all templates: the ids before an answer in a sample are exactly those that
/// [`prompt`](Self::prompt) gives for the same conversation.
#[derive(Debug, Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    template: Template,
    options: EncodeOptions,
    ending: Ending,
}

/// The name to count a record under that cannot be learned from; none for other errors.
pub(crate) fn left_out_as(error: &Error) -> Option<&'static str> {
    match error {
        Error::DoesNotFit { .. } => Some("template_does_not_fit"),
        Error::NothingSupervised => Some("nothing_supervised"),
        Error::WhitespaceRun { .. } => Some("white_space_run"),
        _ => None,
    }
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`Error::Option`] for options that make no sense, [`Error::NoEndToken`] where the template
    /// needs an end-of-sequence token and the tokenizer has none, and what a chat template makes of
    /// a plain question and answer.
    pub fn new(tokenizer: Tokenizer, template: Template, options: EncodeOptions) -> Result<Self> {
        if options.max_seq_len == 0 {
            return Err(Error::option("max_seq_len", "at least 1", 0));
        }
        if options.mask_history && options.train_on_input {
            let expected = "not together with train_on_input";
            return Err(Error::option("mask_history", expected, "both"));
        }
        let template = template.bind(&tokenizer);
        if template.needs_eos() && tokenizer.eos_id().is_none() {
            let path = tokenizer.path().to_owned();
            return Err(Error::NoEndToken {
                path,
                template: template.name().to_owned(),
            });
        }
        let mut encoder = Self {
            tokenizer,
            template,
            options,
            ending: Ending::default(),
        };
        encoder.ending = encoder.find_ending()?;
        Ok(encoder)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The options.
    pub fn options(&self) -> &EncodeOptions {
        &self.options
    }

    /// The ids that end an answer: the tokenizer's end-of-sequence tokens and the one that the
    /// template puts behind answers.
    pub fn stop_ids(&self) -> &[u32] {
        &self.ending.ids
    }

    /// The texts that end an answer in this template and for which the tokenizer has no special
    /// token.
    pub fn stop_strings(&self) -> Vec<&str> {
        self.ending.strings.iter().map(String::as_str).collect()
    }

    /// Encodes one record.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`], [`Error::NothingSupervised`], [`Error::WhitespaceRun`], and what a
    /// chat template refuses.
    pub fn encode(&self, record: &AlpacaRecord) -> Result<Encoded> {
        self.encode_dialogue(Dialogue::from_record(record), None)
    }

    /// Encodes one conversation; its last message must be the assistant's, words or a call. Where messages say
    /// whether they are learned ([`Message::loss`](crate::Message::loss)), replies that say no are not supervised.
    ///
    /// Calls of functions are for chat templates: each is supervised as an answer is, and what the functions
    /// gave is not. The conversation's own tools go before those of the template. Words right before a call are
    /// one reply with it, and learned where both are.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and [`Error::Conversation`] for an order of messages that no
    /// template knows and a call that is no JSON of one, [`Error::NoCalls`] where the template has no place for
    /// calls, [`Error::Option`] for tools that are no JSON of functions.
    pub fn encode_conversation(&self, conversation: &Conversation) -> Result<Encoded> {
        let messages = &conversation.messages;
        if messages.iter().any(|message| message.loss.is_some()) {
            let flags: Vec<bool> = messages.iter().map(|m| m.loss.unwrap_or(true)).collect();
            return self.encode_conversation_flagged(conversation, &flags);
        }
        self.encode_answered(conversation, None)
    }

    /// Encodes one conversation of whose answers and calls only those are supervised whose message has a true
    /// flag. There is a flag for each message; those of other roles count for nothing.
    ///
    /// # Errors
    /// As [`encode_conversation`](Self::encode_conversation); [`Error::NothingSupervised`] also where
    /// no flagged answer is left, [`Error::Option`] for another number of flags or together with
    /// [`train_on_input`](EncodeOptions::train_on_input).
    pub fn encode_conversation_flagged(
        &self,
        conversation: &Conversation,
        flags: &[bool],
    ) -> Result<Encoded> {
        let messages = &conversation.messages;
        let wrong = |expected, got| Err(Error::option("flags", expected, got));
        if flags.len() != messages.len() {
            return wrong("one for each message", flags.len().to_string());
        }
        if self.options.train_on_input {
            return wrong("not together with train_on_input", "both".to_owned());
        }
        self.encode_answered(conversation, Some(&reply_flags(messages, flags)))
    }

    /// `flags` says of each reply whether it is supervised.
    fn encode_answered(
        &self,
        conversation: &Conversation,
        flags: Option<&[bool]>,
    ) -> Result<Encoded> {
        let tools = self.tools(conversation)?;
        let mut dialogue = answered(&conversation.messages)?;
        dialogue.tools = tools.as_ref();
        self.encode_dialogue(dialogue, flags)
    }

    /// The conversation's own tools, where the template takes any.
    fn tools(&self, conversation: &Conversation) -> Result<Option<Value>> {
        match &conversation.tools {
            Some(text) if self.template.is_chat() => messages::tools(text),
            _ => Ok(None),
        }
    }

    /// Encodes all records, on all cores. Those that cannot be learned from (the template leaves no room, the
    /// answer has no tokens, a run of white space that the tokenizer gets wrong) are left out and
    /// counted.
    ///
    /// # Errors
    /// [`Error::NothingLeft`] where no sample remains. Where the chat template refuses records or
    /// cannot write them, and [`skip_refused`](EncodeOptions::skip_refused) is not set,
    /// [`Error::Record`] for one and [`Error::Records`] for several; [`Error::Record`] for everything
    /// else. The numbers are those in `records`; [`Error::with_numbers`] makes them the file's.
    pub fn encode_all(&self, records: &[AlpacaRecord]) -> Result<EncodedSet> {
        self.encode_each(records.len(), |index| self.encode(&records[index]))
    }

    /// Encodes all conversations, as [`encode_all`](Self::encode_all) does records.
    ///
    /// # Errors
    /// The same as [`encode_all`](Self::encode_all).
    pub fn encode_conversations(&self, conversations: &[Conversation]) -> Result<EncodedSet> {
        let encode = |index: usize| self.encode_conversation(&conversations[index]);
        self.encode_each(conversations.len(), encode)
    }

    fn encode_each(
        &self,
        count: usize,
        encode: impl Fn(usize) -> Result<Encoded> + Send + Sync,
    ) -> Result<EncodedSet> {
        let _span = tracing::info_span!("encode", records = count).entered();
        let (mut samples, mut records) = (Vec::new(), Vec::new());
        let (mut collector, mut refused) = (Collector::default(), Refused::default());
        let all: Vec<_> = (0..count).into_par_iter().map(encode).collect();
        for (record, encoded) in all.into_iter().enumerate() {
            match encoded {
                Ok(encoded) => {
                    collector.keep(&encoded);
                    samples.push(encoded.sample);
                    records.push(record);
                }
                Err(error) => match self.reason_to_leave_out(error) {
                    Ok(reason) => collector.leave_out(reason),
                    Err(error) if error.is_refusal() => refused.push(error.of_record(record + 1)),
                    Err(error) => return Err(error.of_record(record + 1)),
                },
            }
        }
        refused.check()?;
        let statistics = collector.finish()?;
        if statistics.kept < count {
            tracing::warn!(dropped = count - statistics.kept, "records left out");
        }
        Ok(EncodedSet {
            samples,
            records,
            statistics,
        })
    }

    /// Why a record is left out that cannot be learned from; the error itself where it is another one.
    pub(crate) fn reason_to_leave_out(&self, error: Error) -> Result<&'static str> {
        match left_out_as(&error) {
            Some(reason) => Ok(reason),
            None if error.is_refusal() && self.options.skip_refused => Ok("template_refused"),
            None => Err(error),
        }
    }

    /// The ids that generation starts from: the conversation up to its last user message, or to what
    /// functions gave, and the beginning of the answer.
    ///
    /// # Errors
    /// [`Error::Conversation`] where the last message is the assistant's or the order is one that no
    /// template knows, [`Error::NoCalls`], and what a chat template refuses.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.prompt_with(messages, None)
    }

    /// The ids that generation starts from for a conversation with tools of its own, as
    /// [`prompt`](Self::prompt) gives them for its messages.
    ///
    /// # Errors
    /// Those of [`prompt`](Self::prompt); [`Error::Option`] for tools that are no JSON of functions.
    pub fn prompt_conversation(&self, conversation: &Conversation) -> Result<Vec<u32>> {
        let tools = self.tools(conversation)?;
        self.prompt_with(&conversation.messages, tools.as_ref())
    }

    fn prompt_with(&self, messages: &[Message], tools: Option<&Value>) -> Result<Vec<u32>> {
        let mut dialogue = Dialogue::from_messages(messages)?;
        dialogue.tools = tools;
        if dialogue.turns.last().is_some_and(Turn::is_answered) {
            let (expected, got) = ("user", "nothing");
            return Err(Error::Conversation {
                message: messages.len() + 1,
                expected,
                got,
            });
        }
        Ok(self.tokens(&dialogue)?.ids)
    }

    /// The ids that generation starts from for a record, whose output is left out.
    ///
    /// # Errors
    /// What a chat template refuses.
    pub fn record_prompt(&self, record: &AlpacaRecord) -> Result<Vec<u32>> {
        Ok(self
            .tokens(&Dialogue::from_record(record).unanswered())?
            .ids)
    }

    fn encode_dialogue(&self, dialogue: Dialogue<'_>, flags: Option<&[bool]>) -> Result<Encoded> {
        let says = |turn: &Turn<'_>| turn.answer.and_then(said).is_some() || !turn.calls.is_empty();
        if !dialogue.turns.last().is_some_and(says) {
            return Err(Error::NothingSupervised);
        }
        let flags = flags.map(|flags| (flags, dialogue.clone()));
        let (limit, longest_token) = (self.options.max_seq_len, self.tokenizer.longest_token());
        let (mut tokens, truncation) = truncate::fit(dialogue, limit, longest_token, |dialogue| {
            self.tokens(dialogue)
        })?;
        if tokens.answer.is_empty() {
            return Err(Error::NothingSupervised);
        }
        if self.options.mask_history {
            let last = tokens.last_reply();
            tokens.spoken[..last].fill(false);
        }
        if let Some((flags, whole)) = flags {
            let flags = &flags[whole.replies(truncation.history_turns)..];
            for (reply, range) in &tokens.said {
                if !flags.get(*reply).copied().unwrap_or_default() {
                    let end = range.end.min(tokens.spoken.len());
                    tokens.spoken[range.start.min(end)..end].fill(false);
                }
            }
        }
        if !tokens.spoken.contains(&true) {
            return Err(Error::NothingSupervised);
        }
        let label = |(&id, &spoken): (&u32, &bool)| {
            if spoken || self.options.train_on_input {
                i64::from(id)
            } else {
                IGNORE_INDEX
            }
        };
        let labels = tokens.ids.iter().zip(&tokens.spoken).map(label).collect();
        Ok(Encoded {
            sample: Sample {
                input_ids: tokens.ids,
                labels,
            },
            truncation,
        })
    }

    pub(crate) fn tokens(&self, dialogue: &Dialogue<'_>) -> Result<Tokens> {
        let specials = self.tokenizer.specials();
        self.rendered_tokens(&self.template.render(dialogue, specials)?)
    }

    pub(crate) fn rendered_tokens(&self, rendered: &Rendered) -> Result<Tokens> {
        let mut tokens = Tokens {
            ids: Vec::new(),
            spoken: Vec::new(),
            answer: 0..0,
            said: Vec::new(),
        };
        let mut place = Place::Start;
        for segment in &rendered.segments {
            let begin = tokens.ids.len();
            self.tokenizer.encode_template(
                &segment.text,
                rendered.mark,
                &mut place,
                &mut tokens.ids,
            )?;
            if segment.ends
                && let Some(eos) = self.tokenizer.eos_id()
            {
                tokens.ids.push(eos);
                place = Place::AfterSpecial;
            }
            tokens.spoken.resize(tokens.ids.len(), segment.supervised);
            if segment.supervised {
                tokens.said.push((segment.reply, begin..tokens.ids.len()));
            }
        }
        let prefix = match rendered.bos {
            true => self.tokenizer.prefix_before(&tokens.ids).to_vec(),
            false => Vec::new(),
        };
        tokens.ids.splice(..0, prefix.iter().copied());
        tokens.spoken.splice(..0, prefix.iter().map(|_| false));
        for (_, range) in &mut tokens.said {
            *range = range.start + prefix.len()..range.end + prefix.len();
        }
        tokens.answer = last_answer(&tokens.said, rendered.earlier);
        Ok(tokens)
    }
}

/// The dialogue of messages of which the last is the assistant's.
fn answered(messages: &[Message]) -> Result<Dialogue<'_>> {
    let dialogue = Dialogue::from_messages(messages)?;
    if !dialogue.turns.last().is_some_and(Turn::is_answered) {
        return Err(Error::Conversation {
            message: messages.len() + 1,
            expected: "assistant",
            got: "nothing",
        });
    }
    Ok(dialogue)
}
